"""Beside what ExecuTorch's own tools write: the same graph, and files of networks that were built elsewhere."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.data import ROOT
from support.networks import TINY, hard_checkpoint

from converters import FORMATS, Options, convert
from converters.formats.executorch_program import parsed_program
from converters.formats.xnnpack_graph import xnnpack_graph
from converters.formats.xnnpack_parsing import parsed_payload
from converters.formats.xnnpack_payload import Node, Payload
from converters.formats.xnnpack_schema import LAYOUTS, NONE, NodeKind
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import inspect
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.dilation import BLOCKS, kinds_of
from u2net_zoo.errors import ExportError, OptionError

pytestmark = pytest.mark.full  # ExecuTorch's exporter takes from 10 to 40 s for a network
FMT = FORMATS["executorch"]
SIDE = 64
EXACT = ["delegate.pte", "kernels.pte", "pieces.pte", "outside/outside.pte", "named/named.pte"]


@pytest.fixture(scope="module")
def tiny() -> Checkpoint:
    return hard_checkpoint(TINY)


@pytest.fixture(scope="module")
def tiny_file(tiny, tmp_path_factory) -> Path:
    from safetensors.numpy import save_file

    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_file(tiny.full_state(), path, metadata={BLOCKS: kinds_of(tiny.arch)})
    return path


@pytest.fixture(scope="module")
def makers(tiny_file, tmp_path_factory) -> Path:
    """A folder of files that ExecuTorch's tools made of a network of other modules."""
    folder = tmp_path_factory.mktemp("makers")
    script = ROOT / "parity_tests" / "support" / "executorch_makers.py"
    command = [sys.executable, str(script), str(tiny_file), str(folder), str(SIDE)]
    subprocess.run(command, check=True, capture_output=True, timeout=580)
    return folder


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)


@pytest.mark.parametrize("name", EXACT)
def test_weights_of_other_modules_are_read(makers, tiny, name):
    found, expected = read_source(makers / name).fold(), tiny.fold()
    assert found.arch.blocks == expected.arch.blocks
    for key, value in expected.state.items():
        np.testing.assert_allclose(found.state[key], value, rtol=1e-5, atol=1e-6 * np.abs(value).max())


@pytest.mark.parametrize("name", EXACT)
def test_files_of_other_modules_are_run(makers, tiny, name, x):
    answers = FMT.run(makers / name)(x)
    expected = TorchPredictor(tiny)(x)
    for found, value in zip(answers.values(), expected.values(), strict=True):
        np.testing.assert_allclose(found, value, rtol=0, atol=1e-5)


def test_what_the_vendors_quantizer_wrote_is_read_and_run(makers, tiny):
    found, agreement = inspect(makers / "int8.pte")
    count = len(tiny.arch.units())
    assert found.meta["quantised"] == f"int8 per channel in {count} of {count} convolutions"
    assert "its own weights" in agreement.summary()
    for unit in tiny.fold().arch.units():
        kernel = tiny.fold().state[f"{unit.conv_path}.weight"]
        step = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
        assert np.all(np.abs(found.fold().state[f"{unit.conv_path}.weight"] - kernel) <= 0.51 * step)


def test_weights_that_were_left_behind_are_asked_for(makers, tmp_path):
    (tmp_path / "alone.pte").write_bytes((makers / "outside" / "outside.pte").read_bytes())
    with pytest.raises(Exception, match=r"are in another file; put that \.ptd beside it"):
        read_source(tmp_path / "alone.pte")


def canonical(graph: Payload) -> list[tuple[object, ...]]:
    """The nodes with their values numbered as they come; constants by their content."""
    numbers: dict[int, int] = {}

    def value(n: int) -> tuple[object, ...]:
        tensor = graph.tensors[n]
        return numbers.setdefault(n, len(numbers)), tensor.shape, None if tensor.data is None else tensor.data.tobytes()

    def fields(node: Node) -> dict[int, object]:
        layout = LAYOUTS[NodeKind(node.kind)]
        plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in node.fields.items()}
        return {k: v for k, v in plain.items() if k not in (*layout.inputs, layout.output) and v not in (0, NONE)}

    listed: list[tuple[object, ...]] = [tuple(value(n) for n in graph.externals[: graph.taken])]
    for node in graph.nodes:
        ends = tuple(value(n) for n in (*node.inputs, node.output))
        listed.append((node.kind, node.bounds, fields(node), ends))
    return [*listed, tuple(value(n) for n in graph.externals)]


@pytest.mark.parametrize("outputs", ["mask", "all"])
def test_the_graph_is_what_executorchs_exporter_makes(tiny, tmp_path, outputs):
    """Node for node and byte for byte; sides that are odd, too."""
    options = Options(size=(65, 48), outputs=outputs, via="executorch")
    (artifact,) = convert(tiny, "executorch", tmp_path, options=options)
    program = parsed_program(artifact.path)
    (step,) = program.method.steps
    theirs = parsed_payload(step.data, program.named)
    ours = xnnpack_graph(tiny, FMT.settle(Options(size=(65, 48), outputs=outputs)))
    assert canonical(ours) == canonical(theirs)
    assert program.words["u2zoo.outputs"].split()[0] == "mask"


def test_pieces_are_an_error_that_names_what_is_outside(tiny):
    import torch

    from converters.formats.executorch_export import lowered

    class Rounded(torch.nn.Module):
        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            return torch.erf(torch.relu(x) + 1) * 2 + x

    program = torch.export.export(Rounded(), (torch.zeros(1, 3, 8, 8),))
    with pytest.raises(ExportError, match=r"2 delegates of XNNPACK; one is needed\. Outside: 1 x .*erf"):
        lowered(program, {})


def test_integers_go_with_our_own_writer():
    with pytest.raises(OptionError, match="--precision int8 goes with --via native"):
        FMT.settle(Options(precision="int8", via="executorch"))


ALONE = """
import sys
FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.exec", "os.posix_spawn",
             "os.system", "os.fork", "os.startfile")
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event in FORBIDDEN else None)
from dataclasses import replace
from pathlib import Path
import numpy as np, psutil
from converters import FORMATS, Options
from converters.loading import read_source
source, target = map(Path, sys.argv[1:])
fmt = FORMATS["executorch"]
network = read_source(source)
import torch
seen.clear()  # what Python packages of others ask the system at their start
options = fmt.settle(Options(size=(64, 64)))
fmt.write(network, target, options)
fmt.run(target)(np.zeros((1, 3, 64, 64), np.float32))
read_source(target)
assert psutil.Process().children(recursive=True) == []
assert not psutil.Process().net_connections()
assert not [name for name in sys.modules if name.startswith(("executorch.exir", "torchao", "huggingface_hub"))]
print("seen", seen)
"""


def watched(code: str, source: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code, str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_writing_running_and_reading_call_nobody_and_start_nothing(tiny_file, tmp_path):
    done = watched(ALONE, tiny_file, tmp_path / "tiny.pte")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "seen []"


def test_the_watch_sees_the_vendors_compiler_of_tables(tiny_file, tmp_path):
    loud = ALONE.replace("Options(size=(64, 64))", "Options(size=(64, 64), via='executorch')").replace(
        "assert not [", "["
    )
    assert "subprocess.Popen" in watched(loud, tiny_file, tmp_path / "tiny.pte").stdout


def test_it_opens_by_the_documented_interface(made, x):
    """`executorch.runtime`, in a process of its own: it imports the exporter."""
    artifact = made.one("executorch", Options(size=(SIDE, SIDE)))
    code = (
        "import sys, torch; from executorch.runtime import Runtime; program = Runtime.get().load_program(sys.argv[1]);"
        "print(tuple(program.load_method('forward').execute([torch.zeros(1, 3, 64, 64)])[0].shape))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(artifact.path)], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines()[-1] == "(1, 1, 64, 64)"
