"""Every registered format answers as the authors' own code did in float64, on weights that saturate."""

import numpy as np
import pytest
from conftest import ALL, Golden

from converters import FORMATS, Options, convert
from converters.parity import Reference, compare, in_batches
from u2net_zoo.errors import OptionError


def check(artifacts, golden: Golden, i: int) -> None:
    for artifact in artifacts:
        results = in_batches(FORMATS[artifact.format].run(artifact.path), golden.input(i))
        for (name, expected), noise in zip(golden.outputs(i).items(), golden.noise(i), strict=True):
            assert np.abs(results[name] - expected).max() <= 3 * noise + 1e-6, (artifact.format, name)


def test_every_format_at_96x128(u2netp_golden: Golden, tmp_path):
    artifacts = convert(u2netp_golden.checkpoint, "all", tmp_path, options=Options(size=(96, 128), outputs="all"))
    assert [artifact.format for artifact in artifacts] == ALL
    check(artifacts, u2netp_golden, 0)


@pytest.mark.parametrize("batch", [None, 2])
def test_an_odd_size_and_a_batch_of_two(u2netp_golden: Golden, tmp_path, batch):
    """Of every format that takes them: in a file of batch 2, or one by one where there is no choice."""
    options = Options(batch=batch, size=u2netp_golden.input(1).shape[2:], outputs="all")
    formats = [name for name in ALL if ("batch" in FORMATS[name].choices) == (batch is not None)]
    able = [name for name in formats if FORMATS[name].multiple == 1]
    for name in set(formats) - set(able):
        with pytest.raises(OptionError, match=f"cannot honour --size .*: multiples of {FORMATS[name].multiple}"):
            FORMATS[name].settle(options)
    check(convert(u2netp_golden.checkpoint, able, tmp_path, options=options), u2netp_golden, 1)


def test_every_format_of_full_u2net(tmp_path):
    """At 96x128, where it is quick; at 320 it is what `make bench` measures."""
    golden = Golden("u2net")
    check(convert(golden.checkpoint, "all", tmp_path, options=Options(size=(96, 128), outputs="all")), golden, 0)


def test_the_reference_is_the_authors_network(u2netp_golden: Golden):
    """The yardstick itself, by the same path that the gate takes."""
    reference = Reference(u2netp_golden.checkpoint, (96, 128))
    reference.inputs = u2netp_golden.input(0)
    for name, expected in u2netp_golden.outputs(0).items():
        np.testing.assert_allclose(reference.exact[name], expected, rtol=0, atol=3.1e-8)
    assert compare(reference.single, reference).ok
