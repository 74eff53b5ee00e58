"""Every op of the ML Program evaluator against its definition, in programs that coremltools built and saved."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import mil_cases_constexpr, mil_cases_elementwise, mil_cases_shapes, mil_cases_windows
from support.mil_programs import Case, arrays, mb, run, run_together

from converters.mil import supported_ops

CASES = [
    *mil_cases_windows.CASES,
    *mil_cases_elementwise.CASES,
    *mil_cases_shapes.CASES,
    *mil_cases_constexpr.CASES,
]


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Callable[[int], tuple[dict[str, list[np.ndarray]], Exception | None]]:
    """iOS version -> (name -> outputs of its cases, all of one program that is made once; what broke it)."""

    @functools.cache
    def outcome(ios: int) -> tuple[dict[str, list[np.ndarray]], Exception | None]:
        cases = {str(case): (case.build, case.inputs) for case in CASES if case.ios == ios}
        try:
            answers = run_together(tmp_path_factory.mktemp(f"ios{ios}"), list(cases.values()), ios)
        except Exception as error:  # of whatever op is wrong
            return {}, error
        return dict(zip(cases, answers, strict=True)), None

    return outcome


@pytest.mark.parametrize("ios", sorted({case.ios for case in CASES}))
def test_the_cases_of_one_target_make_one_program(ios, together):
    answers, broken = together(ios)
    if broken:
        raise broken
    assert len(answers) == sum(case.ios == ios for case in CASES)  # no two have one name


@pytest.mark.parametrize("case", CASES, ids=str)
def test_op_computes_its_definition(case: Case, together, tmp_path):
    wanted = case.expected(*case.inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    answers, broken = together(case.ios)
    if broken:  # by whichever case: alone it says so itself, and the others are right
        answers = {str(case): run(tmp_path, case.build, *case.inputs, ios=case.ios)}
    got = answers[str(case)]
    assert len(got) == len(wanted)
    for actual, expected in zip(got, wanted, strict=True):
        expected = np.asarray(expected)
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected.astype(np.float64), rtol=case.tolerance, atol=case.tolerance)


def test_every_op_has_a_case():
    assert sorted({case.op for case in CASES}) == list(supported_ops())


HALF = [
    (lambda x, y: mb.add(x=x, y=y), np.add),
    (lambda x, y: mb.mul(x=x, y=y), np.multiply),
    (lambda x, y: mb.sigmoid(x=x), lambda x, y: 1 / (1 + np.exp(-x))),
    (lambda x, y: mb.exp(x=mb.mul(x=x, y=np.float16(8))), lambda x, y: np.exp(np.float32(np.float16(x * 8)))),
    (lambda x, y: mb.reduce_sum(x=x), lambda x, y: x.sum(dtype=np.float64)),
    (lambda x, y: mb.concat(values=[x, y], axis=1), lambda x, y: np.concatenate([x, y], 1)),
    (lambda x, y: mb.max_pool(x=x, kernel_sizes=[1, 5], pad_type="valid"), lambda x, y: x.max(-1, keepdims=True)),
    (lambda x, y: mb.relu(x=x), lambda x, y: np.maximum(x, 0)),
]
HALF_NAMES = ["add", "mul", "sigmoid", "exp", "reduce_sum", "concat", "max_pool", "relu"]


@pytest.mark.parametrize(("build", "definition"), HALF, ids=HALF_NAMES)
def test_a_float16_op_rounds_once_from_float32(build, definition, tmp_path):
    inputs = tuple(array.astype(np.float16) for array in arrays((1, 3, 4, 5), (1, 3, 4, 5), seed=11))
    (got,) = run(tmp_path, build, *inputs)
    wide = definition(*(array.astype(np.float32) for array in inputs))
    with np.errstate(over="ignore"):
        expected = np.asarray(wide).astype(np.float16)
    assert got.dtype == np.float16
    # one ulp: the exponentials and sums of Torch and of NumPy may fall on different sides of a tie
    np.testing.assert_array_max_ulp(got, expected, 1)
    assert (got == expected).mean() > 0.95


def test_a_float16_convolution_sums_in_float32(tmp_path):
    """4096 products of 1/4096 make 1; summed in float16, which stalls, they would not."""
    x, w = np.full((1, 4096, 1, 1), 1 / 64, np.float16), np.full((1, 4096, 1, 1), 1 / 64, np.float16)
    (got,) = run(tmp_path, lambda x: mb.conv(x=x, weight=w, pad_type="valid"), x)
    assert got.item() == 1.0


QUICK = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(data=st.data())
def test_any_convolution(data, tmp_path):
    draw = data.draw
    kernel, strides, dilations = (draw(st.lists(st.integers(1, 3), min_size=2, max_size=2)) for _ in range(3))
    options = {"pad_type": draw(st.sampled_from(["valid", "same", "same_lower", "custom"]))}
    if options["pad_type"] == "custom":
        options["pad"] = draw(st.lists(st.integers(0, 4), min_size=4, max_size=4))
    groups = draw(st.sampled_from([1, 2]))
    size = draw(st.tuples(st.integers(7, 10), st.integers(7, 10)))
    x, w = arrays((2, 4, *size), (2, 4 // groups, *kernel), seed=draw(st.integers(0, 99)))
    options |= {"strides": strides, "dilations": dilations, "groups": groups}
    wanted = mil_cases_windows.convolved(x, w, None, **options)
    (got,) = run(tmp_path, lambda x: mb.conv(x=x, weight=w, **options), x)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@QUICK
@given(data=st.data())
def test_any_slice(data, tmp_path):
    draw = data.draw
    (x,) = arrays((3, 5, 7))
    steps = [draw(st.sampled_from([-3, -2, -1, 1, 2, 3])) for _ in x.shape]
    places = [sorted((draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1)))) for n in x.shape]
    bounds = [(low, high + 1) if step > 0 else (high + 1, low) for (low, high), step in zip(places, steps, strict=True)]
    ranges = [slice(a, b, step) for (a, b), step in zip(bounds, steps, strict=True)]
    begin, end = map(list, zip(*bounds, strict=True))
    wanted = x[tuple(ranges)]
    (got,) = run(tmp_path, lambda x: mb.slice_by_index(x=x, begin=begin, end=end, stride=steps), x)
    np.testing.assert_array_equal(got, wanted)


@QUICK
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    target=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    mode=st.sampled_from(["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]),
)
def test_any_bilinear_resize(size, target, mode, tmp_path):
    (x,) = arrays((1, 2, *size))
    h, w = target
    (got,) = run(
        tmp_path, lambda x: mb.resize_bilinear(x=x, target_size_height=h, target_size_width=w, sampling_mode=mode), x
    )
    np.testing.assert_allclose(got, mil_cases_windows.resized(x, h, w, mode), rtol=1e-5, atol=1e-5)
