"""Every registered format answers as the authors' own code did in float64, on weights that saturate."""

from pathlib import Path

import numpy as np
import pytest
from support.artifacts import ALL, PICTURES, SLOW
from support.goldens import FLOAT32, recorded
from support.lasting import full_for

from converters import FORMATS, Options, convert
from converters.parity import Reference, compare, in_batches
from u2net_zoo.errors import OptionError

ODD = [name for name in ALL if FORMATS[name].multiple == 1]


def settings(name: str, i: int) -> Options:
    """Of a file for input `i`, every output in it: of its batch where there is a choice, one by one elsewhere."""
    batch, _, *size = recorded("u2netp").input(i).shape
    return Options(batch=batch if "batch" in FORMATS[name].choices else None, size=tuple(size), outputs="all")


def written(name: str, folder: Path, options: Options) -> Path:
    """A file that no gate has looked at: it is the test that does."""
    fmt = FORMATS[name]
    path = fmt.target(folder, "u2netp")
    fmt.write(recorded("u2netp").checkpoint, path, fmt.settle(options))
    return path


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.full if n in SLOW else ()) for n in ALL])
def test_every_format_answers_the_authors_figures(name, tmp_path):
    """At an odd size and in a batch of two where the format takes them, otherwise at 96x128."""
    golden, i = recorded("u2netp"), 1 if name in ODD else 0
    results = in_batches(FORMATS[name].run(written(name, tmp_path, settings(name, i)), exact=True), golden.input(i))
    assert tuple(results) == golden.arch.outputs
    assert golden.beyond(i, results) == {}


@pytest.mark.parametrize("name", [name for name in ALL if name not in ODD])
def test_a_size_that_a_format_cannot_take_is_refused(name):
    with pytest.raises(OptionError, match=f"cannot honour --size .*: multiples of {FORMATS[name].multiple}"):
        FORMATS[name].settle(settings(name, 1))


@pytest.mark.full
@pytest.mark.parametrize(("name", "i"), [(name, 0) for name in ALL] + [(name, 1) for name in ODD])
def test_every_proved_file_answers_the_authors_figures(name, i, tmp_path):
    """At 96x128, and at 65x47 in a batch of two."""
    golden = recorded("u2netp")
    (artifact,) = convert(golden.checkpoint, name, tmp_path, options=settings(name, i))
    assert golden.beyond(i, in_batches(FORMATS[name].run(artifact.path, exact=True), golden.input(i))) == {}


def test_the_reference_is_the_authors_network():
    """The yardstick itself, by the same path that the gate takes."""
    golden = recorded("u2netp")
    reference = Reference(golden.checkpoint, (96, 128))
    reference.inputs = golden.input(0)
    for name, expected in golden.outputs(0).items():
        assert expected.by == "authors"
        assert expected.error(reference.exact[name]) <= FLOAT32
    assert compare(reference.single, reference).ok


@pytest.mark.parametrize("i", range(3), ids=lambda i: str(recorded("u2net_nano").file[f"input{i}_photograph"]))
def test_float64_gives_the_bundled_networks_figures(i):
    golden = recorded("u2net_nano")
    for name, expected in golden.outputs(i).items():
        assert expected.error(golden.exact(i)[name]) <= 1e-9


def check_the_bundled_network(name: str, path: Path, numbers: range) -> None:
    golden = recorded("u2net_nano")
    predictor = FORMATS[name].run(path, exact=True)
    for i in numbers:
        results = in_batches(predictor, golden.input(i))
        assert {"mask"} <= set(results) <= set(golden.arch.outputs)
        assert np.ptp(results["mask"]) > 0.9
        assert golden.beyond(i, results) == {}


@pytest.mark.parametrize("name", full_for([name for name in ALL if name not in PICTURES], "savedmodel", "h5"))
def test_every_format_of_the_bundled_network_answers_its_figures(name, nano_made):
    """Trained weights, on photographs: the file that `u2zoo convert` writes when nothing is said."""
    check_the_bundled_network(name, nano_made.one(name).path, range(1))


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in ALL if name not in PICTURES])
def test_every_format_of_the_bundled_network_answers_all_its_figures(name, nano_made):
    check_the_bundled_network(name, nano_made.one(name).path, range(3))


@pytest.mark.full
@pytest.mark.parametrize("name", PICTURES)
def test_apples_formats_of_the_bundled_network_answer_its_figures(name, nano_made):
    """As files that take the tensor; the pictures of theirs are compared in `test_masks_of_every_format`."""
    check_the_bundled_network(name, nano_made.one(name, Options(io="tensor")).path, range(3))
