"""TensorFlow SavedModels of any maker -> Checkpoint: variables, or the constants of a frozen graph. No graph is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from u2net_zoo.batch_norm import batch_norm
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, CheckpointError, one_line
from u2net_zoo.identify import ANCHOR
from u2net_zoo.limits import check_size, inside

from .keras_reader import named_state
from .weight_graph import Affine, Conv, Graph, Node, beside_constant

__all__ = ["check_ops", "read"]

MARKER = "saved_model.pb"
FUSION = "outconv.weight"
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
PASSING = ("Identity", "ReadVariableOp", "Cast", "Enter", "Reshape", "ExpandDims", "Squeeze")
# Ops that a network needs and that touch no file; the restoring of variables is TensorFlow's own.
_HARMLESS = """
    Placeholder Const NoOp Identity IdentityN VarHandleOp ReadVariableOp AssignVariableOp VarIsInitializedOp Conv2D
    BiasAdd Relu MaxPool ResizeBilinear ResizeNearestNeighbor ConcatV2 AddV2 Add Sub Mul RealDiv Sigmoid Softmax
    FusedBatchNormV3 Pad PadV2 MirrorPad Transpose Reshape Shape StridedSlice Pack Cast Max Min Mean Sum Maximum
    Minimum Rsqrt Sqrt SpaceToBatchND BatchToSpaceND AvgPool ExpandDims Squeeze Slice Split SplitV ArgMax Round
    Floor Neg StopGradient SaveV2 RestoreV2 MergeV2Checkpoints ShardedFilename StringJoin StaticRegexFullMatch
    Select SelectV2 DisableCopyOnRead Prod Range FloorMod FloorDiv ResizeBicubic ClipByValue Tile Fill
"""
HARMLESS = frozenset(_HARMLESS.split()) | set(CALLS)


def read(path: Path) -> Checkpoint:
    """Ours by the variables' names, others by the graph. Raises CheckpointError: damaged, or no U²-Net."""
    meta_graph = _parse(path)
    variables = _Variables(path, meta_graph)
    functions = {f.signature.name: f for f in meta_graph.graph_def.library.function}
    state = named_state(variables.groups())
    if ANCHOR in state:
        sigmoid = any(node.op == "Sigmoid" for f in functions.values() for node in f.node_def)
        final = "sigmoid" if sigmoid else "none"
    try:
        graph = _graph(meta_graph, functions, variables)
        if ANCHOR not in state:
            return graph.checkpoint()
        if FUSION in state:
            state[FUSION] = graph.arranged(state[FUSION])
        found = Checkpoint.from_state(state, dilations=graph.dilations())
        graph.refuse_other_activations(found.arch)
        return found.with_final(final).unfold()
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise CheckpointError(f"damaged SavedModel ({one_line(error)})") from None


def check_ops(path: Path) -> None:
    """Raises ArtifactError when the graph holds an op that could do more than compute."""
    try:
        graph = _parse(path).graph_def
    except CheckpointError as error:
        raise ArtifactError(f"{path}: {error}") from None
    ops = {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}
    functions = {f.signature.name for f in graph.library.function}
    foreign = sorted(ops - HARMLESS - functions)
    if foreign:
        raise ArtifactError(f"{path}: not run: its graph has ops that no U²-Net needs: {', '.join(foreign[:3])}")


def _parse(path: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    file = inside(path, MARKER)
    if not file.is_file():
        raise CheckpointError(f"holds no {MARKER}")
    check_size(file.stat().st_size, MARKER)
    try:
        graphs = saved_model_pb2.SavedModel.FromString(file.read_bytes()).meta_graphs
    except Exception as error:  # protobuf's own types differ by its backend
        raise CheckpointError(f"{MARKER} is damaged ({one_line(error)})") from None
    if not graphs:
        raise CheckpointError(f"{MARKER} holds no graph")
    return graphs[0]


class _Variables:
    """The stored variables by the full names that they had in the model, such as `conv2d_3/kernel`."""

    def __init__(self, path: Path, meta_graph: Any):
        self.path = path
        self.nodes = meta_graph.object_graph_def.nodes
        self.constants = {node.name: node for node in meta_graph.graph_def.node if node.op == "Const"}
        self.keys: dict[str, str] = {}
        self.reader: Any = None
        if (path / "variables" / "variables.index").exists():
            self.keys, self.reader = self._open()

    def _open(self) -> tuple[dict[str, str], Any]:
        import tensorflow as tf
        from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

        for file in (self.path / "variables").iterdir():
            check_size(inside(self.path, f"variables/{file.name}").stat().st_size, file.name)
        try:
            reader = tf.train.load_checkpoint(str(self.path / "variables" / "variables"))
            shapes = reader.get_variable_to_shape_map()
            key = "_CHECKPOINTABLE_OBJECT_GRAPH"
            graph = TrackableObjectGraph.FromString(reader.get_tensor(key)) if key in shapes else TrackableObjectGraph()
        except Exception as error:  # TensorFlow raises a class for each of its status codes
            raise CheckpointError(f"its variables are damaged ({one_line(error)})") from None
        stored = [a for node in graph.nodes for a in node.attributes if a.checkpoint_key in shapes and a.full_name]
        self.shapes = shapes
        return {a.full_name: a.checkpoint_key for a in stored}, reader

    def name_of(self, number: int) -> str:
        """Name of a variable, or of a constant that a function captured, by its place in the object graph."""
        node = self.nodes[number] if 0 <= number < len(self.nodes) else None
        if node is None:
            return ""
        return node.constant.operation if node.WhichOneof("kind") == "constant" else node.variable.name

    def __getitem__(self, name: str) -> np.ndarray:
        if name in self.constants:
            return _value(self.constants[name])
        key = self.keys[name]
        check_size(4 * int(np.prod(self.shapes[key], dtype=object)), name)
        try:
            return np.asarray(self.reader.get_tensor(key))
        except Exception as error:
            raise CheckpointError(f"{name}: the variable is damaged ({one_line(error)})") from None

    def groups(self) -> dict[str, dict[str, np.ndarray]]:
        """Layer -> leaf -> array, for the layers that could be ours."""
        result: dict[str, dict[str, np.ndarray]] = {}
        for name in self.keys:
            owner, _, leaf = name.rpartition("/")
            if leaf in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"):
                result.setdefault(owner.rpartition("/")[2], {})[leaf] = self[name]
        return result


def _graph(meta_graph: Any, functions: Mapping[str, Any], variables: _Variables) -> Graph:
    """The function with the convolutions, or the main graph of a frozen model."""
    known = meta_graph.object_graph_def.concrete_functions
    for name in sorted(known, key=lambda n: "signature" not in n):
        bound = [variables.name_of(n) for n in known[name].bound_inputs]
        function = functions.get(name)
        if function is None:
            continue
        arguments = [arg.name for arg in function.signature.input_arg]
        bindings = dict(zip(arguments[len(arguments) - len(bound) :], bound, strict=False)) if bound else {}
        function, bindings = _follow_calls(function, bindings, functions)
        if _convolutions(function.node_def):
            outputs = [_node_name(value) for value in function.ret.values()]
            return Graph(_nodes(function.node_def, bindings, variables), outputs)
    return Graph(_nodes(meta_graph.graph_def.node, {}, variables))


def _follow_calls(function: Any, bindings: dict[str, str], functions: Mapping[str, Any]) -> tuple[Any, dict[str, str]]:
    """Follows calls from a signature's wrapper to the function that computes."""
    for _ in range(8):
        calls = [node for node in function.node_def if node.op in CALLS and node.attr["f"].func.name in functions]
        if _convolutions(function.node_def) or not calls:
            break
        inner = functions[calls[0].attr["f"].func.name]
        given = [bindings.get(_node_name(name), "") for name in calls[0].input]
        bindings = {arg.name: value for arg, value in zip(inner.signature.input_arg, given, strict=False) if value}
        function = inner
    return function, bindings


def _convolutions(nodes: Any) -> int:
    return sum(node.op == "Conv2D" for node in nodes)


def _node_name(name: str) -> str:
    """`scope/Relu:activations:0` and `^scope/Relu` -> `scope/Relu`."""
    return name.removeprefix("^").partition(":")[0]


def _nodes(nodes: Any, bindings: Mapping[str, str], variables: _Variables) -> list[Node]:
    by_name = {node.name: node for node in nodes}

    def constant(name: str) -> np.ndarray | None:
        for _ in range(8):
            if name in bindings:
                return variables[bindings[name]]
            node = by_name.get(name)
            if node is None or (node.op not in PASSING and node.op != "Const"):
                return None
            if node.op == "Const":
                return _value(node)
            name = _node_name(node.input[0])
        return None

    return [_node(node, constant) for node in nodes]


def _value(node: Any) -> np.ndarray:
    import tensorflow as tf

    tensor = node.attr["value"].tensor
    count = int(np.prod([max(dim.size, 0) for dim in tensor.tensor_shape.dim], dtype=object))
    check_size(8 * count, node.name)  # a single stored value may stand for a tensor of any size
    return tf.make_ndarray(tensor)


def _node(node: Any, constant: Any) -> Node:
    inputs = tuple(_node_name(name) for name in node.input)
    role: Conv | Affine | None = None
    if node.op == "Conv2D":
        kernel = constant(inputs[1])
        if kernel is not None and kernel.ndim == 4:
            role = Conv(kernel.transpose(3, 2, 0, 1), dilation=max(node.attr["dilations"].list.i, default=1))
    elif node.op.startswith("FusedBatchNorm"):
        gamma, beta, mean, var = (constant(name) for name in inputs[1:5])
        role = None if mean is None or var is None else batch_norm(gamma, beta, mean, var, node.attr["epsilon"].f)
    elif node.op in ("BiasAdd", "Add", "AddV2", "Mul") and len(inputs) == 2:
        values = [constant(name) for name in inputs]
        role, inputs = beside_constant(inputs, values, product=node.op == "Mul")
    spread = constant(inputs[1]) if node.op == "SpaceToBatchND" else None
    return Node(node.op, tuple(inputs), (node.name,), role, 1 if spread is None else int(spread.max(initial=1)))
