"""A fit that takes up the one before: the same bits, without what is the same."""

from dataclasses import replace

import numpy as np
import pytest
from support.networks import TINY, hard_checkpoint

from converters import Options, sample_images
from converters.options import W8A8
from converters.quantise import integer_fit, integer_search
from converters.quantise.equalise import equalised
from converters.quantise.integer_fit import fit
from converters.quantise.integer_network import IntegerNetwork, Recipe, Steps
from converters.quantise.integer_walk import masks
from converters.quantise.sensitivity import SensitivityAnalysis

SIZE = (64, 96)
IMAGE = Steps.between(-2.2, 2.7)


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    return sample_images.tensors(SIZE)[:3]


@pytest.fixture(scope="module")
def level(inputs):
    network = hard_checkpoint(TINY).fold()
    return equalised(network, SensitivityAnalysis(network, inputs).reach())


def same(one: IntegerNetwork, other: IntegerNetwork) -> bool:
    return one.image == other.image and all(
        all(np.array_equal(getattr(a, leaf), getattr(b, leaf)) for leaf in ("codes", "scale", "bias"))
        and (a.given, a.answered, a.copies) == (b.given, b.answered, b.copies)
        for a, b in ((unit, other.units[path]) for path, unit in one.units.items())
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((), ("stage2d.rebnconv2d",)),
        (("stage2d.rebnconv2d",), ("stage2d.rebnconv2d", "stage1d.rebnconv1d")),
        (("stage1.rebnconvin",), ("side1",)),
        (("side2",), ()),
        ((), ()),
    ],
    ids=str,
)
def test_it_is_the_fit_that_begins_anew(level, inputs, monkeypatch, old, new):
    before = fit(level, inputs, IMAGE, Recipe(frozenset(old)))
    anew = fit(level, inputs, IMAGE, Recipe(frozenset(new)))
    asked = []
    fitted = integer_fit.fitted
    monkeypatch.setattr(integer_fit, "fitted", lambda *given: asked.append(given) or fitted(*given))
    found = fit(level, inputs, IMAGE, Recipe(frozenset(new)), before)
    assert same(found.network, anew.network)
    assert same(found.network, before.network) == (old == new)
    assert (len(asked) < len(anew.network.units)) == ("stage1.rebnconvin" not in old)
    assert found.reach == before.reach


def test_its_masks_are_those_of_the_network(level, inputs):
    found = fit(level, inputs, IMAGE, Recipe(frozenset(("side1",))))
    assert all(np.array_equal(a, b) for a, b in zip(found.masks, masks(found.network, inputs), strict=True))


def test_photographs_that_are_not_fitted_on_are_judged_too(monkeypatch):
    """Every second one is fitted on then; the masks are in the order of the photographs."""
    monkeypatch.setattr(integer_search, "FITTED_ON", 3)
    network = hard_checkpoint(replace(TINY, final="none")).fold()
    search = integer_search._Search(network, Options((32, 32), precision=W8A8), None)
    search.errors(())
    assert search.last is not None
    assert (len(search.inputs), len(search.last.masks)) == (6, 3)
    right = masks(search.last.network, search.inputs)
    assert all(np.array_equal(a, b) for a, b in zip(search._masks(search.last, 2), right, strict=True))
