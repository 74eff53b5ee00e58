"""The parity gate: what differs is not kept, and the first unit that differs is named."""

import itertools

import numpy as np
import pytest
from support.artifacts import ALL, BLIND, SLOW
from support.commands import called
from support.networks import hard_checkpoint
from support.training import SHALLOW

from converters import FORMATS, Options, convert
from converters.parity import MaskBound, Reference, compare
from converters.parity.compare import grey_error
from converters.parity.reference import farthest
from converters.torch_predictor import TorchPredictor
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import ArtifactError, ExportError, OutputError, ParityError
from u2net_zoo.keras_model import load_keras_module

UNITS = ("stage1.rebnconvin", "stage4.rebnconv2", "stage3d.rebnconv1d", "side3")
OF_THREE_STAGES = ("stage1.rebnconvin", "stage3.rebnconv2", "stage2d.rebnconv1d", "side3")


def spoilt(checkpoint: Checkpoint, unit: str) -> Checkpoint:
    key = f"{unit}.conv_s1.weight" if f"{unit}.conv_s1.weight" in checkpoint.state else f"{unit}.weight"
    state = {**checkpoint.state, key: checkpoint.state[key] * np.float32(1.02)}
    return Checkpoint(checkpoint.arch, state)


class Wrong:
    """Makes a format write another network than it was given."""

    def __init__(self, monkeypatch, name: str, unit: str):
        write = type(FORMATS[name]).write
        monkeypatch.setattr(
            type(FORMATS[name]), "write", lambda fmt, ck, path, options: write(fmt, spoilt(ck, unit), path, options)
        )


def refused(checkpoint: Checkpoint, name: str, unit: str, folder) -> None:
    """The format's file is not kept, and the unit is named where the format's runtime lets it be looked at."""
    where = r"\w+ \(no inner values to look at in this format\)" if name in BLIND else unit
    with pytest.raises(ParityError, match=rf"{name}: not kept: .*x noise; first divergence at {where}$"):
        convert(checkpoint, name, folder, options=Options(size=(64, 64), outputs="all"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("name", "unit"), list(zip(SLOW, itertools.cycle(OF_THREE_STAGES), strict=False)))
def test_a_wrong_artifact_of_three_stages_is_not_kept_and_the_first_unit_is_named(monkeypatch, tmp_path, name, unit):
    Wrong(monkeypatch, name, unit)
    refused(hard_checkpoint(SHALLOW), name, unit, tmp_path)


SIX_STAGES = [
    *(("onnx", unit) for unit in UNITS),
    *(
        pytest.param(name, unit, marks=pytest.mark.full if name in SLOW else ())
        for name, unit in zip(ALL, itertools.cycle(UNITS), strict=False)
        if name != "onnx"
    ),
]


@pytest.mark.parametrize(("name", "unit"), SIX_STAGES)
def test_a_wrong_artifact_is_not_kept_and_the_first_unit_is_named(monkeypatch, small, tmp_path, name, unit):
    Wrong(monkeypatch, name, unit)
    refused(small, name, unit, tmp_path)


@pytest.mark.parametrize("name", ["ncnn", pytest.param("savedmodel", marks=pytest.mark.full)])
def test_what_stood_there_before_stays_when_the_new_one_is_wrong(monkeypatch, small, tmp_path, name):
    path = convert(small, name, tmp_path, options=Options(size=(64, 64)))[0].path
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    Wrong(monkeypatch, name, "stage2.rebnconv1")
    with pytest.raises(ParityError):
        convert(small, name, tmp_path, options=Options(size=(64, 64)))
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before != {}
    assert [path] == list(tmp_path.iterdir())


def test_a_broken_exporter_leaves_nothing(monkeypatch, small, tmp_path):
    def write(fmt, checkpoint, path, options):
        path.write_bytes(b"half")
        raise RuntimeError("the exporter's own words\nand more")

    monkeypatch.setattr(type(FORMATS["onnx"]), "write", write)
    with pytest.raises(ExportError, match=r"onnx: the exporter failed: RuntimeError: the exporter's own words$"):
        convert(small, "onnx", tmp_path, options=Options(size=(64, 64)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["ncnn", pytest.param("savedmodel", marks=pytest.mark.full)])
def test_a_replaced_artifact_is_the_new_one(small, tmp_path, folder):
    for outputs in ("all", "mask"):
        convert(small, f"{folder},onnx", tmp_path, options=Options(size=(64, 64), outputs=outputs))
    for name in (folder, "onnx"):
        assert FORMATS[name].run(FORMATS[name].target(tmp_path, "u2net-custom")).outputs == ("mask",)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["u2net-custom.onnx", f"u2net-custom_{folder}"]


def test_a_folder_of_somebody_else_is_not_replaced(small, tmp_path):
    mine = tmp_path / "u2net-custom_savedmodel" / "diary.txt"
    mine.parent.mkdir()
    mine.write_text("dear diary")
    with pytest.raises(OutputError, match="a folder that is no TensorFlow SavedModel is in the way"):
        convert(small, "savedmodel", tmp_path)
    assert mine.read_text() == "dear diary"


def test_reduced_precision_is_judged_by_masks(small):
    reference = Reference(small, (96, 96))
    worse = Reference(spoilt(small, "stage1d.rebnconv1d"), (96, 96)).single
    strict, lenient = (compare(worse, reference, MaskBound(iou=iou, mae=1)) for iou in (0.9999999, 0.5))
    assert not strict.ok
    assert lenient.ok
    assert strict.masks.iou == lenient.masks.iou < 1


def test_a_network_that_says_the_same_everywhere_is_pointed_out(small_file, tmp_path, small):
    state = {key: np.zeros_like(v) if key.startswith("outconv") else v for key, v in small.full_state().items()}
    from safetensors.numpy import save_file

    save_file(state, tmp_path / "flat.safetensors")
    done = called("convert", tmp_path / "flat.safetensors", "--to", "pth", "--size", "64", "-o", tmp_path)
    assert done.returncode == 0
    assert "hardly vary" in done.stderr
    done = called("convert", small_file, "--to", "pth", "--size", "64", "-o", tmp_path)
    assert "hardly vary" not in done.stderr


class Claims:
    """A predictor that answers as told."""

    size = default = batch = embedded = None

    def __init__(self, answers):
        self.answers = answers
        self.outputs = tuple(answers(np.zeros((1, 3, 64, 64), np.float32)))

    def __call__(self, x):
        return self.answers(x)

    def taps(self, x, arch):
        return iter(())


@pytest.fixture(scope="module")
def reference(small):
    return Reference(small, (64, 64))


def test_a_fainter_mask_or_a_broken_side_output_fails_at_half_precision_too(reference):
    bound = MaskBound(iou=0.98, mae=0.005)
    single = reference.single
    assert compare(Claims(single), reference, bound).ok
    faint = Claims(lambda x: {**single(x), "mask": single(x)["mask"] * np.float32(0.1)})
    broken = Claims(lambda x: {**single(x), "side4": np.full_like(single(x)["mask"], np.nan)})
    shifted = Claims(lambda x: {**single(x), "side2": np.roll(single(x)["side2"], 9, axis=3)})
    for wrong in (faint, broken, shifted):
        assert not compare(wrong, reference, bound).ok


@pytest.mark.parametrize("name", ["mask", "side1", "side6"])
def test_fast_kernels_that_answer_no_number_in_any_output_fail(reference, name):
    single = reference.single
    assert grey_error(Claims(single), reference).ok
    wrong = Claims(lambda x: {**single(x), name: np.full_like(single(x)["mask"], np.nan)})
    assert not grey_error(wrong, reference).ok
    noise = farthest([single(reference.inputs), wrong(reference.inputs)], reference.exact)
    assert np.isnan(noise[name])  # of two answers the one that is no number is not passed over


def test_missing_outputs_fail(reference, small):
    only = Claims(lambda x: {"mask": reference.single(x)["mask"]})
    assert compare(only, reference, expected=("mask",)).ok
    with pytest.raises(ArtifactError, match=r"outputs \['mask'\]; expected: "):
        compare(only, reference, expected=small.arch.outputs)


def test_an_artifact_that_does_not_even_run_fails_the_gate(monkeypatch, small, tmp_path):
    monkeypatch.setattr(type(FORMATS["onnx"]), "write", lambda fmt, ck, path, options: path.write_bytes(b"not ONNX"))
    with pytest.raises(ParityError, match="onnx: not kept: it does not run as the network: ArtifactError"):
        convert(small, "onnx", tmp_path, options=Options(size=(64, 64)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["keras", "tf_keras"])
def test_a_keras_file_with_code_in_it_is_refused_unopened(tmp_path, module):
    keras = load_keras_module(module)
    trap = tmp_path / "trap"
    code = keras.layers.Lambda(lambda x, path=str(trap): (__import__("pathlib").Path(path).touch(), x)[1])
    model = keras.Sequential([keras.layers.Input((8, 8, 3)), code])
    trap.unlink(missing_ok=True)
    suffix = ".keras" if module == "keras" else ".h5"
    model.save(tmp_path / f"m{suffix}", **({} if module == "keras" else {"save_format": "h5"}))
    with pytest.raises(ArtifactError, match=r"layers that are not Keras' own plain ones: Lambda"):
        FORMATS[suffix[1:]].run(tmp_path / f"m{suffix}")
    assert not trap.exists()


def test_the_noise_floor_is_that_of_the_memory_layout_which_strays_farther(small):
    """Kernels for one layout can be many times more exact than those for the other, as the processor has it."""
    reference = Reference(small, (64, 96))
    layouts = [TorchPredictor(small, channels_last=last) for last in (False, True)]
    answers = [[layout(x[None]) for x in reference.inputs] for layout in layouts]
    strays = {
        name: [
            max(np.abs(a[name] - right).max() for a, right in zip(each, exact[:, None], strict=True))
            for each in answers
        ]
        for name, exact in reference.exact.items()
    }
    assert any(contiguous != last for contiguous, last in strays.values())
    assert reference.noise == {name: max(each) for name, each in strays.items()}
