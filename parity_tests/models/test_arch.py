"""The specification against what is published of the networks."""

import dataclasses

import pytest
from support.networks import SMALL

from u2net_zoo.arch import U2NET, U2NETP, Architecture


@pytest.mark.parametrize(("arch", "count"), [(U2NET, 44_009_869), (U2NETP, 1_131_181)])
def test_parameter_counts_are_the_published_ones(arch: Architecture, count: int):
    assert arch.parameters() == count


def test_units_come_in_execution_order():
    paths = [unit.path for unit in U2NET.units()]
    assert paths[:3] == ["stage1.rebnconvin", "stage1.rebnconv1", "stage1.rebnconv2"]
    assert paths[7:10] == ["stage1.rebnconv7", "stage1.rebnconv6d", "stage1.rebnconv5d"]
    assert paths[-8:-5] == ["stage1d.rebnconv1d", "side1", "side2"]
    assert paths[-1] == "outconv"
    assert len(paths) == len(set(paths)) == 119


def test_dilations_are_those_of_the_paper():
    dilations = {unit.path: unit.dilation for unit in U2NETP.units()}
    assert [dilations[f"stage5.rebnconv{n}"] for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert [dilations[f"stage5.rebnconv{n}d"] for n in (3, 2, 1)] == [4, 2, 1]
    assert [dilations[f"stage1.rebnconv{n}"] for n in range(1, 8)] == [1] * 6 + [2]


def test_units_cover_the_state_dict():
    units = {key for unit in SMALL.units() for key, _ in unit.shapes()}
    assert units == set(SMALL.state_shapes())


def test_stride_is_where_every_pooling_halves_exactly():
    assert U2NET.stride == U2NETP.stride == 32


def test_the_specification_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        U2NET.out_ch = 2
