"""The dialect of Core AI's assets, `aicode`: its types, its attributes, and the functions of a file.

Apple's authoring library writes it in a stable encoding of its own and documents none of it. The numbers here were read
off files that the library wrote, beside the text that it prints of them; the tests compare both for every type, and for
every operation of a program.
"""

from math import prod
from typing import Any

from u2net_zoo.errors import ArtifactError

from ..mil.dtypes import BY_NAME
from ..mil.program import MAX_ELEMENTS
from .bytecode import Bytecode, Cursor, Node, Region
from .functions import YIELD, Function, Operation, Value, ValueType, check

__all__ = ["DIALECT", "functions_of"]

DIALECT = "aicode"
VERSIONS = (20250101, 20261231)  # of programs: each says the oldest one that has all of its operations
ASSET, GRAPH, OUTPUT = "serialization.asset", "dataflow.graph_v1", "dataflow.output_v1"
INVOKE = "dataflow.invoke_v1"
NAME = "aicode.name"
# Their region says how two elements become one, or which of them stays.
COMBINING = ("primitive.reduce_v1", "primitive.reduce_index_v1", "primitive.scan_v1")
TENSOR = 2
STRING, INTEGER, ARRAY, ELEMENTS, RESOURCE, NAMED, SYMBOL, BOUND = 1, 2, 5, 6, 7, 9, 14, 16
ELEMENT_TYPES = {
    4: "bool",
    5: "fp64",
    6: "fp32",
    7: "fp16",
    17: "int64",
    18: "int32",
    19: "int16",
    20: "int8",
    21: "int4",
    23: "uint64",
    24: "uint32",
    25: "uint16",
    26: "uint8",
    27: "uint4",
    28: "uint2",
    29: "uint1",
    36: "uint6",
    37: "uint3",
}
ENUMS = {
    17: ("circular", "constant", "reflect", "replicate", "symmetric"),
    43: ("linear", "nearest_neighbor"),
}
# Names of what operations are made with, in the order in which they are stored; optional ones end in a question mark.
PROPERTIES = {
    "serialization.asset": ("", "version?"),
    "dataflow.graph_v1": (
        "argAttrs",
        "",
        "externalize",
        "functionType",
        "isPrivate",
        "name",
        "noInline",
        "paramDecls",
        "resAttrs",
    ),
    "dataflow.invoke_v1": ("arg_attrs", "callee", "res_attrs"),
    "primitive.constant_v1": ("value",),
    "primitive.pad_v1": ("padding_mode",),
    "primitive.interpolate_v1": ("interpolation_mode",),
}
MOST = 1 << 17
DEEPEST = 8  # attributes inside of attributes, definitions inside of definitions


def functions_of(code: Bytecode) -> dict[str, Function]:
    """The functions of an asset that others may call, by name.

    Raises:
        ArtifactError: it is no program of Core AI, of a version that is not read, or one that does not fit together.
    """
    return _Reader(code).functions()


class _Reader:
    """Attributes and types of one file, decoded when something asks for them."""

    def __init__(self, code: Bytecode):
        self.code = code
        self.kinds: dict[int, ValueType | None] = {}
        self.graphs: dict[str, Node] = {}
        self.made = 0

    def functions(self) -> dict[str, Function]:
        if [node.kind for node in self.code.nodes] != [ASSET] or len(self.code.nodes[0].regions) != 1:
            raise ArtifactError("holds no program of Core AI")
        (asset,) = self.code.nodes
        version = self._properties(asset).get("version")
        if not isinstance(version, int) or not VERSIONS[0] <= version <= VERSIONS[1]:
            raise ArtifactError(f"a program of version {version}; read are {VERSIONS[0]} to {VERSIONS[1]}")
        graphs = [node for node in asset.regions[0].nodes if node.kind == GRAPH]
        words = [self._properties(node) for node in graphs]
        self.graphs = {str(said.get("name")): node for said, node in zip(words, graphs, strict=True)}
        public = [node for said, node in zip(words, graphs, strict=True) if not said.get("isPrivate")]
        return {function.name: function for function in map(self._function, public)}

    def _function(self, node: Node) -> Function:
        if len(node.regions) != 1 or not node.regions[0].nodes or node.regions[0].nodes[-1].kind != OUTPUT:
            raise ArtifactError("a function without a body, or whose body answers nothing")
        (region,) = node.regions
        words = self._properties(node)
        taken, answered = region.arguments, region.nodes[-1].operands
        inputs = [Value(region.first + n, self._kind(index)) for n, index in enumerate(taken)]
        names = _names(words.get("argAttrs"), len(inputs), "input")
        results = _names(words.get("resAttrs"), len(answered), "output")
        steps = tuple(self._operation(each, 1) for each in region.nodes[:-1])
        function = Function(
            str(words.get("name")),
            dict(zip(names, inputs, strict=True)),
            dict(zip(results, answered, strict=True)),
            steps,
        )
        check(function)
        return function

    def _operation(self, node: Node, depth: int) -> Operation:
        results = tuple(Value(node.first + n, self._kind(index)) for n, index in enumerate(node.results))
        arguments: tuple[int, ...] = ()
        body: tuple[Operation, ...] = ()
        if len(node.regions) > 1:
            raise ArtifactError(f"{node.kind}: control flow is not supported")
        self._count(1 + len(node.results) + len(node.operands))
        if depth > DEEPEST:
            raise ArtifactError(f"operations are defined by others more than {DEEPEST} deep")
        words = self._properties(node)
        for region in self._called(words) if node.kind == INVOKE else node.regions:
            arguments = tuple(range(region.first, region.first + len(region.arguments)))
            body = tuple(self._operation(each, depth + 1) for each in region.nodes)
        if node.kind in COMBINING:
            words["combine"] = body[0].kind if len(body) == 2 else "more than one operation"
            words["turned"] = bool(body) and body[0].operands == arguments[::-1]
            arguments, body = (), ()
        if body and (body[-1].kind != YIELD or len(arguments) != len(node.operands)):
            raise ArtifactError(f"{node.kind}: its definition does not fit what it takes")
        kind = YIELD if node.kind == OUTPUT else node.kind.rpartition(".")[2]
        return Operation(kind, node.operands, words, results, arguments, body)

    def _count(self, entries: int) -> None:
        """Functions that call each other several times are few bytes and many operations."""
        self.made += entries
        if self.made > MOST:
            raise ArtifactError(f"more than {MOST} operations, values and attributes; no U²-Net needs that")

    def _called(self, words: dict[str, Any]) -> tuple[Region, ...]:
        """What an invocation runs: the body of another function of the file, which takes nothing from outside."""
        name = words.get("callee")
        if not isinstance(name, str) or name not in self.graphs:
            raise ArtifactError(f"calls a function {name!r}, which is not there")
        return self.graphs[name].regions

    def _properties(self, node: Node) -> dict[str, Any]:
        names, cursor = PROPERTIES.get(node.kind, ()), Cursor(node.properties)
        found: dict[str, Any] = {}
        for name in names:
            index, present = cursor.flagged() if name.endswith("?") or not name else (cursor.number(), True)
            if present and name:
                found[name.removesuffix("?")] = self._attribute(index)
        return found

    def _entry(self, index: int, types: bool = False) -> Cursor:
        index += self.code.attributes if types else 0
        if index >= (len(self.code.encoded) if types else self.code.attributes):
            raise ArtifactError(f"{'type' if types else 'attribute'} {index} is not there")
        dialect, own, data = self.code.encoded[index]
        if dialect != DIALECT or not own:
            raise ArtifactError(f"an attribute or a type of {dialect!r}; read are those of {DIALECT!r}")
        return Cursor(data)

    def _kind(self, index: int) -> ValueType | None:
        """The type of that index; None where it is that of no tensor."""
        if index not in self.kinds:
            self.kinds[index] = self._tensor(self._entry(index, types=True))
        return self.kinds[index]

    def _tensor(self, cursor: Cursor) -> ValueType | None:
        if cursor.number() != TENSOR:
            return None
        sides = [cursor.signed() for _ in range(cursor.count())]
        element = self._entry(cursor.number(), types=True).number()
        if element not in ELEMENT_TYPES:
            known = ", ".join(sorted(ELEMENT_TYPES.values()))
            raise ArtifactError(f"elements of the type number {element}; there are: {known}")
        shape = tuple(None if side < 0 else side for side in sides)
        if prod(side for side in shape if side is not None) > MAX_ELEMENTS:
            raise ArtifactError(f"a value of shape {shape} is larger than {MAX_ELEMENTS} elements")
        return ValueType(BY_NAME[ELEMENT_TYPES[element]], shape)

    def _attribute(self, index: int, depth: int = 0) -> Any:
        """A text, a number, a list, a literal, a pair of a name and its values; None for whatever is not looked at."""
        self._count(1)
        if depth > DEEPEST:
            raise ArtifactError(f"attributes are nested more than {DEEPEST} deep")
        cursor = self._entry(index)
        code = cursor.number()
        if code == STRING:
            return self.code.string(cursor.number())
        if code == INTEGER:
            width = cursor.number()
            cursor.byte()  # whether it has a sign
            return cursor.byte() if width <= 8 else cursor.signed()
        if code == ARRAY:
            return [self._attribute(cursor.number(), depth + 1) for _ in range(cursor.count())]
        if code == NAMED:
            name = self.code.string(cursor.number())
            return name, [self._attribute(cursor.number(), depth + 1) for _ in range(cursor.count())]
        if code == ELEMENTS:
            return bool(cursor.byte()), cursor.take(cursor.number())
        if code == RESOURCE:
            return False, self.code.resource(cursor.number())
        if code == BOUND:
            return self._attribute(cursor.number(), depth + 1)
        if code == SYMBOL:
            return ".".join(self.code.string(cursor.number()) for _ in range(cursor.count()))
        if code in ENUMS:
            return _choice(ENUMS[code], cursor.number())
        return None


def _choice(values: tuple[str, ...], index: int) -> str:
    if index >= len(values):
        raise ArtifactError(f"choice {index}; there are: {', '.join(values)}")
    return values[index]


def _names(attributes: Any, count: int, usual: str) -> list[str]:
    """Of inputs or outputs: each has a list of pairs, one of which is its name."""
    rows = attributes if isinstance(attributes, list) and len(attributes) == count else [[]] * count
    names = []
    for n, row in enumerate(rows):
        pairs = row if isinstance(row, list) else ()
        said = [pair[1] for pair in pairs if isinstance(pair, tuple) and pair[0] == NAME]
        names.append(str(said[0][0]) if said and said[0] else f"{usual}{n}")
    if len(set(names)) != count:
        raise ArtifactError(f"two of its {usual}s have the same name")
    return names
