"""Dilated or pooling: what shapes leave open comes from the file, or is asked for; and heads in any order."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from skimage import data
from support.agreement import largest_relative
from support.artifacts import ALL
from support.commands import called
from support.deeper import STAGES, Deeper, Unit
from support.hard_weights import hard_weights
from support.lasting import full_for
from support.networks import TINY

from converters import FORMATS, Options, convert
from converters.formats import torch_archive
from converters.formats.weight_graph import Conv, Graph, Node
from converters.loading import read_source
from converters.torch_predictor import TorchPredictor
from converters.verify.self_check import agreement
from u2net_zoo import load_keras
from u2net_zoo.arch import U2NETP, Architecture, two_level
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.dilation import BLOCKS, kinds_of
from u2net_zoo.errors import CheckpointError, OptionError
from u2net_zoo.keras_model import load_keras_module
from u2net_zoo.reading import read_checkpoint

KINDS = [f"{height}{'F' if dilated else ''}" for height, dilated in STAGES]
DEEPER = two_level("deeper", [(k, 4, 8) for k in KINDS], [(k, 4, 8) for k in KINDS[-2::-1]])
PLAIN = two_level("plain", [(k.rstrip("F"), 4, 8) for k in KINDS], [(k.rstrip("F"), 4, 8) for k in KINDS[-2::-1]])
SIZE = (64, 64)


def weights_of(arch: Architecture) -> Checkpoint:
    """Hard ones, with a fusion that tells the sides apart."""
    state = hard_weights(arch.state_shapes(), 1, 1.0)
    depth = len(arch.encoder)
    fusion = 0.1 * np.arange(1, depth + 1, dtype=np.float32) * np.resize([1, -1], depth)
    return Checkpoint.from_state(state | {"outconv.weight": fusion.reshape(1, depth, 1, 1)}, arch=arch)


@pytest.fixture(scope="module")
def stranger() -> Deeper:
    model = Deeper().eval()
    state = weights_of(DEEPER).full_state()
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in state.items()})
    return model


@pytest.fixture(scope="module")
def pth(stranger, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("deeper") / "deeper.pth"
    torch.save(stranger.state_dict(), path)
    return path


def picture() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 3, *SIZE)).astype(np.float32)


def test_a_deeper_network_is_the_one_that_others_wrote(stranger):
    with torch.inference_mode():
        theirs = stranger.double()(torch.from_numpy(picture()).double())
    stranger.float()
    ours = TorchPredictor(weights_of(DEEPER), "float64")(picture())
    for value, expected in zip(ours.values(), theirs, strict=True):
        np.testing.assert_allclose(value, expected.numpy(), rtol=0, atol=1e-12)
    other = TorchPredictor(weights_of(PLAIN), "float64")(picture())
    apart = [np.abs(other[name] - value).mean() for name, value in ours.items()]
    assert max(apart) > 0.01  # what is at stake


def test_weights_that_leave_it_open_are_not_guessed(pth):
    with pytest.raises(CheckpointError, match=r"stage5 has height 5: dilated or not\?.*--arch dilated or --arch plain"):
        read_source(pth)


@pytest.mark.parametrize(("said", "arch"), [("dilated", DEEPER), ("plain", PLAIN), (kinds_of(DEEPER), DEEPER)])
def test_the_answer_decides(pth, said, arch):
    assert read_source(pth, arch=said).arch == arch
    assert read_checkpoint(pth, blocks=said).arch == arch


@pytest.mark.parametrize("said", ["yes", "8,7,6,5,5,5", kinds_of(TINY)])
def test_an_answer_that_fits_nothing_is_an_option_error(pth, said):
    with pytest.raises(OptionError, match="dilated, plain, or a kind for each block, 8,7,6,5,5,5,5,5,6,7,8"):
        read_source(pth, arch=said)


def test_the_command_asks_once_and_safetensors_keep_the_answer(pth, tmp_path):
    refused = called("convert", pth, "--to", "safetensors", "--out", tmp_path)
    assert (refused.returncode, list(tmp_path.iterdir())) == (2, [])
    assert refused.stderr.count("\n") == 1
    done = called("convert", pth, "--to", "safetensors", "--arch", "dilated", "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_source(tmp_path / "deeper.safetensors").arch == DEEPER


@pytest.mark.parametrize("words", ["12", "", "9" * 100_000, kinds_of(TINY)])
def test_words_that_fit_no_tensors_are_one_short_line(words, tmp_path):
    state = {key: np.array(value) for key, value in weights_of(DEEPER).full_state().items()}
    save_file(state, tmp_path / "w.safetensors", metadata={BLOCKS: words})
    done = called("info", tmp_path / "w.safetensors", "--no-run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{tmp_path / 'w.safetensors'}: its metadata says '{words[:40]}' of its blocks" in done.stderr
    assert len(done.stderr) < 400


def test_an_answer_that_the_file_contradicts_is_refused(tmp_path):
    convert(weights_of(DEEPER), "safetensors", tmp_path, name="deeper")
    with pytest.raises(OptionError, match="--arch plain: the file says 8,7,6,5,5F,5F,5F,5,6,7,8; leave --arch out"):
        read_source(tmp_path / "deeper.safetensors", arch="plain")
    assert read_source(tmp_path / "deeper.safetensors", arch="dilated").arch == DEEPER


def test_other_widths_are_taken_as_published_and_said(tmp_path):
    checkpoint = weights_of(TINY)
    convert(checkpoint, "pth", tmp_path, name="tiny")
    assert "stage2, stage3, stage2d" in " ".join(read_source(tmp_path / "tiny.pth").assumed)
    assert read_source(tmp_path / "tiny.pth", arch="dilated").assumed == ()


@pytest.mark.parametrize(("mid", "said"), [(16, False), (12, True)])
def test_published_heights_of_other_widths_are_taken_as_published_and_said(mid, said, tmp_path):
    """Their maker may have dilated another stage: of u2netp's own widths nobody did."""
    arch = replace(U2NETP, encoder=tuple(replace(block, mid_ch=mid) for block in U2NETP.encoder))
    arch = replace(arch, decoder=tuple(replace(block, mid_ch=mid) for block in U2NETP.decoder))
    state = {key: np.zeros(shape, np.float32) for key, shape in arch.state_shapes().items()}
    save_file(state, tmp_path / "x.safetensors")
    assert [("stage5, stage6, stage5d" in line) for line in read_source(tmp_path / "x.safetensors").assumed] == [
        True
    ] * said
    assert read_source(tmp_path / "x.safetensors", arch="dilated").assumed == ()


@pytest.mark.parametrize("module", full_for(["keras", "tf_keras"], "tf_keras"))
def test_a_network_inside_a_keras_model_says_it(module, tmp_path):
    """A wrapper's own layers stand around it; the dilations stand a level deeper in the configuration."""
    inner = load_keras(weights_of(PLAIN), size=SIZE, module=module)
    image = load_keras_module(module).layers.Input((*SIZE, 3))
    wrapped = load_keras_module(module).Model(image, inner(image))
    path = tmp_path / ("x.keras" if module == "keras" else "x.h5")
    wrapped.save(path)
    found = read_source(path)
    assert kinds_of(found.arch) == kinds_of(PLAIN)
    assert largest_relative(found, weights_of(PLAIN)) <= 1e-6


def test_a_format_that_cannot_say_it_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"does not say which blocks are dilated.*--to safetensors"):
        convert(weights_of(DEEPER), "pth", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("mask",), ("info",), ("convert", "--to", "safetensors"), ("cutout",)])
def test_every_command_says_once_what_it_assumes(command, tmp_path):
    convert(weights_of(TINY), "pth", tmp_path, name="tiny")
    Image.fromarray(data.astronaut()[:64, :64]).save(tmp_path / "photo.png")
    photo = () if command[0] in ("info", "convert") else (tmp_path / "photo.png", "--model")
    out = () if command[0] == "info" else ("-o", tmp_path / "out")
    done = called(command[0], *photo, tmp_path / "tiny.pth", *command[1:], *out)
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if "which blocks are dilated" in line]
    assert len(said) == 1
    assert said[0].startswith(f"warning: {tmp_path / 'tiny.pth'}: ")


ASKED = [name for name in ALL if name == "pth"]
TOLD = [name for name in ALL if name not in ASKED]
LASTING = ("keras", "h5", "savedmodel", "tflite", "mlmodel", "coreml", "coreai", "pt2")


@pytest.mark.parametrize(
    ("name", "arch"),
    [pytest.param(name, DEEPER, marks=pytest.mark.full if name in LASTING else ()) for name in TOLD]
    + [pytest.param(name, PLAIN, marks=pytest.mark.full) for name in TOLD],
)
def test_every_format_that_says_it_is_believed(name, arch, tmp_path):
    checkpoint = weights_of(arch)
    side = max(SIZE[0], arch.stride)  # several runtimes cannot pool what is one pixel wide already
    artifact = convert(checkpoint, name, tmp_path, options=Options(size=(side, side), outputs="all"))[0]
    assert artifact.report.ok
    found = read_source(artifact.path)
    assert found.arch == arch
    assert largest_relative(found, checkpoint) <= 1e-6
    if FORMATS[name].has_graph:
        with pytest.raises(OptionError, match="--arch"):
            read_source(artifact.path, arch="plain" if arch is DEEPER else "dilated")


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("folded", full_for([True, False], False))
def test_another_makers_onnx_file_is_read_by_its_graph(stranger, reverse, folded, dynamic, tmp_path):
    """Also where it fuses the sides from the deepest to the first, and where their sizes are those of other sides."""
    model = Deeper(reverse).eval()
    model.load_state_dict(stranger.state_dict())
    training = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        model, (torch.zeros(1, 3, *SIZE),), tmp_path / "x.onnx", dynamo=False, training=training,
        do_constant_folding=folded, keep_initializers_as_inputs=not folded, input_names=["image"],
        dynamic_axes={"image": {2: "height", 3: "width"}} if dynamic else None,
    )  # fmt: skip
    found = read_source(tmp_path / "x.onnx")
    assert found.arch == DEEPER
    order = slice(None, None, -1 if reverse else 1)
    fusion = stranger.outconv.weight.detach().numpy()
    np.testing.assert_allclose(found.state["outconv.weight"], fusion[:, order], rtol=1e-6)
    with torch.inference_mode():
        theirs = model(torch.from_numpy(picture()))
    for value, expected in zip(TorchPredictor(found)(picture()).values(), theirs, strict=True):
        np.testing.assert_allclose(value, expected.numpy(), rtol=0, atol=1e-5)
    assert agreement(FORMATS["onnx"], tmp_path / "x.onnx", found).ok


@pytest.mark.parametrize("freeze", [False, True])
def test_another_makers_torchscript_is_read_by_its_code(stranger, freeze, tmp_path):
    traced = torch.jit.trace(stranger, torch.zeros(1, 3, *SIZE))
    (torch.jit.freeze(traced.eval()) if freeze else traced).save(tmp_path / "x.torchscript")
    assert read_source(tmp_path / "x.torchscript").arch == DEEPER


@pytest.mark.parametrize("dilation", [1, 2, 16])
def test_a_scripted_convolution_says_its_dilation(dilation, tmp_path):
    torch.jit.script(Unit(4, 8, dilation)).save(tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        tree = torch_archive.records(archive.read("x/data.pkl"))
        assert torch_archive.dilations(archive, "x", tree)["conv_s1"] == dilation


@pytest.mark.parametrize("name", ["keras", "savedmodel"])
def test_a_file_under_our_names_that_fuses_from_the_deepest_is_read_so(name, tmp_path, monkeypatch):
    """As somebody edits the model and keeps the names of its layers."""
    from u2net_zoo.keras_model import _KerasOps

    joined = _KerasOps.concat
    monkeypatch.setattr(_KerasOps, "concat", lambda ops, *maps: joined(ops, *(maps[::-1] if len(maps) > 2 else maps)))
    checkpoint = weights_of(TINY)
    options = FORMATS[name].settle(Options(size=SIZE, outputs="all"))
    path = FORMATS[name].target(tmp_path, "reversed")
    FORMATS[name].write(checkpoint, path, options)
    found = read_source(path)
    expected = checkpoint.state["outconv.weight"][:, ::-1]
    np.testing.assert_allclose(found.state["outconv.weight"], expected, rtol=1e-6)
    assert agreement(FORMATS[name], path, found).ok


def test_a_convolution_before_the_network_shifts_nothing(stranger, tmp_path):
    before = torch.nn.Conv2d(3, 3, 1)
    model = torch.nn.Sequential(before, stranger).eval()
    torch.onnx.export(
        model, (torch.zeros(1, 3, *SIZE),), tmp_path / "x.onnx", dynamo=False, do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE, keep_initializers_as_inputs=True,
    )  # fmt: skip
    assert read_source(tmp_path / "x.onnx").arch == DEEPER


def test_a_graph_that_joins_itself_over_and_over_ends():
    """2^64 ways lead from its end to its start."""
    kernel = np.ones((1, 1, 3, 3), np.float32)
    sides = [Node("Conv", ("image",), (f"side{n}",), Conv(kernel)) for n in range(2)]
    joins = [Node("Concat", (f"c{n}", f"c{n}"), (f"c{n + 1}",)) for n in range(1, 64)]
    fusion = Node("Conv", ("c64",), ("d0",), Conv(np.ones((1, 2, 1, 1), np.float32)))
    graph = Graph([*sides, Node("Concat", ("side0", "side1"), ("c1",)), *joins, fusion], ["d0"])
    with pytest.raises(CheckpointError):
        graph.checkpoint()


def test_a_file_whose_dilations_are_none_of_ours_is_not_taken_for_published(tmp_path):
    """Exported with every dilation dropped, as converters do: neither way of dilating, and no answer would be right."""
    model = Deeper().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation, module.padding = (1, 1), (1, 1)
    torch.onnx.export(model, (torch.zeros(1, 3, *SIZE),), tmp_path / "x.onnx", dynamo=False)
    with pytest.raises(
        CheckpointError, match=r"stage5: its convolutions dilate by 1, 1, .*, as no known block of height 5 does"
    ):
        read_source(tmp_path / "x.onnx")


def test_the_same_widths_without_any_dilated_block_are_told_apart(tmp_path):
    """A published shape whose graph says that nothing is dilated: believed, where weights alone are taken as usual."""
    kinds = [kind.rstrip("F") for kind in kinds_of(TINY).split(",")]
    arch = two_level("undilated", [(k, 4, 8) for k in kinds[:3]], [(k, 4, 8) for k in kinds[3:]])
    artifact = convert(weights_of(arch), "keras", tmp_path, options=Options(size=SIZE, outputs="all"))[0]
    assert read_source(artifact.path).arch == replace(arch, name="x")
