"""Cases of convolutions, pooling and resizing: against loops over the definition."""

import itertools
from math import ceil, floor

import numpy as np
from support.mil_programs import arrays, case, mb

__all__ = ["CASES"]

X, W, BIAS = arrays((1, 4, 7, 9), (6, 4, 3, 3), (6,), seed=5)
(GROUPED,) = arrays((6, 2, 3, 2), seed=6)
(LINE,) = arrays((2, 3, 11), seed=7)
(CUBE,) = arrays((1, 2, 5, 4, 6), seed=8)


def pads(kind, pad, sizes, kernel, strides, dilations):
    """(before, after) of each axis, from the lengths that the padding has to bring about."""
    if kind == "valid":
        return [(0, 0)] * len(sizes)
    if kind == "custom":
        return [(pad[2 * i], pad[2 * i + 1]) for i in range(len(sizes))]
    pairs = []
    for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
        pairs.append((total // 2, total - total // 2) if kind == "same" else (total - total // 2, total // 2))
    return pairs


def convolved(x, w, bias, strides=None, dilations=None, groups=1, pad_type="valid", pad=None):
    """One output element at a time."""
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    pairs = pads(pad_type, pad, x.shape[2:], w.shape[2:], strides, dilations)
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pairs])
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    lengths = [(n - span) // s + 1 for n, span, s in zip(padded.shape[2:], spans, strides, strict=True)]
    out = np.zeros((x.shape[0], w.shape[0], *lengths))
    share = w.shape[0] // groups
    for o, place in itertools.product(range(w.shape[0]), itertools.product(*map(range, lengths))):
        window = [slice(i * s, i * s + span, d) for i, s, span, d in zip(place, strides, spans, dilations, strict=True)]
        first = o // share * w.shape[1]
        patch = padded[(slice(None), slice(first, first + w.shape[1]), *window)]
        out[(slice(None), o, *place)] = (patch * w[o]).reshape(x.shape[0], -1).sum(1)
    return out if bias is None else out + bias.reshape(-1, *[1] * rank)


def conv(note, x=X, w=W, bias=BIAS, ios=17, **options):
    constant = {} if bias is None else {"bias": bias}
    return case(
        "conv", x, lambda x: mb.conv(x=x, weight=w, **constant, **options), convolved(x, w, bias, **options),
        ios=ios, tolerance=1e-5, note=note,
    )  # fmt: skip


CONVOLUTIONS = [
    conv("valid"),
    conv("no-bias", bias=None, pad_type="valid"),
    conv("custom", pad_type="custom", pad=[1, 1, 1, 1]),
    conv("uneven", pad_type="custom", pad=[0, 2, 1, 3]),
    conv("dilated", pad_type="custom", pad=[2, 2, 2, 2], dilations=[2, 2]),
    conv("dilated-8", pad_type="custom", pad=[8, 8, 8, 8], dilations=[8, 8]),
    conv("same", pad_type="same"),
    conv("same-stride", pad_type="same", strides=[2, 3]),
    conv("same-dilated", pad_type="same", strides=[2, 1], dilations=[1, 3]),
    conv("same-lower", pad_type="same_lower", strides=[2, 2], ios=16),
    conv("groups", w=GROUPED, groups=2, pad_type="same"),
    conv("groups-lower", w=GROUPED, groups=2, pad_type="same_lower"),
    conv("line", LINE, *arrays((4, 3, 4), (4,)), strides=[2], pad_type="same"),
    conv("cube", CUBE, *arrays((3, 2, 2, 3, 2), (3,)), pad_type="custom", pad=[1, 0, 1, 1, 0, 1]),
]


def transposed(x, w, bias, strides=(1, 1), dilations=(1, 1), groups=1, cut=((0, 0), (0, 0)), size=None):
    """Every input element stamps the kernel onto the output."""
    n, c_in, h, wide = x.shape
    share = c_in // groups
    kh, kw = (w.shape[2] - 1) * dilations[0] + 1, (w.shape[3] - 1) * dilations[1] + 1
    full = np.zeros((n, w.shape[1] * groups, (h - 1) * strides[0] + kh + 20, (wide - 1) * strides[1] + kw + 20))
    for c, i, j in itertools.product(range(c_in), range(h), range(wide)):
        to = c // share * w.shape[1]
        rows, cols = (
            slice(i * strides[0], i * strides[0] + kh, dilations[0]),
            slice(j * strides[1], j * strides[1] + kw, dilations[1]),
        )
        full[:, to : to + w.shape[1], rows, cols] += x[:, c, i, j, None, None, None] * w[c]
    (top, bottom), (left, right) = cut
    lengths = size or (full.shape[2] - 20 - top - bottom, full.shape[3] - 20 - left - right)
    full = full[:, :, top : top + lengths[0], left : left + lengths[1]]
    return full if bias is None else full + bias.reshape(-1, 1, 1)


def deconv(note, w=W[:4], bias=None, expect=None, **options):
    constant = {} if bias is None else {"bias": bias}
    given = {key: value for key, value in options.items() if key in ("strides", "dilations", "groups")}
    return case(
        "conv_transpose", X, lambda x: mb.conv_transpose(x=x, weight=w, **constant, **options),
        transposed(X, w, bias, **given, **(expect or {})), tolerance=1e-5, note=note,
    )  # fmt: skip


TRANSPOSED = [
    deconv("valid", strides=[2, 2]),
    deconv("bias-dilated", bias=BIAS[:4], strides=[1, 2], dilations=[2, 1]),
    deconv("custom", strides=[2, 2], pad_type="custom", pad=[1, 1, 0, 2], expect={"cut": ((1, 1), (0, 2))}),
    deconv("same", strides=[2, 2], pad_type="same", expect={"size": (14, 18)}),
    deconv("same-narrow", strides=[4, 4], pad_type="same", expect={"size": (28, 36)}),
    deconv("groups", w=GROUPED[:4], groups=2, strides=[2, 1]),
    deconv(
        "output-shape", strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], bias=BIAS[:4],
        output_shape=[1, 4, 14, 18], expect={"cut": ((1, 0), (1, 0)), "size": (14, 18)},
    ),
]  # fmt: skip


def pooled(x, kernel, reduce, strides=None, pad_type="valid", pad=None, ceil_mode=False):
    """`reduce` of the elements of each window that are no padding, and of how many the window has in all."""
    rank = len(kernel)
    strides = strides or [1] * rank
    pairs = pads(pad_type, pad, x.shape[2:], kernel, strides, [1] * rank)
    lengths = []
    for n, k, s, (before, after) in zip(x.shape[2:], kernel, strides, pairs, strict=True):
        length = (ceil if ceil_mode else floor)((n + before + after - k) / s) + 1
        lengths.append(length - 1 if ceil_mode and (length - 1) * s >= n + before else length)
    out = np.zeros((*x.shape[:2], *lengths))
    for place in itertools.product(*map(range, lengths)):
        window, count = [], 1
        for i, k, s, n, (before, after) in zip(place, kernel, strides, x.shape[2:], pairs, strict=True):
            start = i * s - before
            window.append(slice(max(0, start), min(n, start + k)))
            count *= min(start + k, n + after) - start
        out[(..., *place)] = reduce(x[(..., *window)].reshape(*x.shape[:2], -1), count)
    return out


def pool(op, note, reduce, x=X, kernel_sizes=(3, 2), **options):
    extra = {key: value for key, value in options.items() if key != "exclude_padding_from_average"}
    options = {"pad_type": "valid", **options}
    return case(
        op, x, lambda x: getattr(mb, op)(x=x, kernel_sizes=kernel_sizes, **options),
        pooled(x, kernel_sizes, reduce, **extra), note=note,
    )  # fmt: skip


def pools(op, reduce, prefix="", **common):
    settings = [
        ("valid", {"strides": [2, 2]}),
        ("ceil", {"strides": [2, 2], "kernel_sizes": (2, 2), "ceil_mode": True}),
        ("ceil-pad", {"strides": [2, 3], "pad_type": "custom", "pad": [1, 1, 1, 1], "ceil_mode": True}),
        ("same", {"strides": [2, 2], "pad_type": "same"}),
        ("same-lower", {"strides": [2, 2], "pad_type": "same_lower"}),
        ("uneven", {"pad_type": "custom", "pad": [0, 2, 1, 0]}),
        ("line", {"x": LINE, "kernel_sizes": (4,), "strides": [2]}),
        ("cube", {"x": CUBE, "kernel_sizes": (2, 2, 3), "strides": [2, 1, 2]}),
    ]
    return [pool(op, prefix + note, reduce, **options, **common) for note, options in settings]


POOLS = [
    *pools("max_pool", lambda values, count: values.max(-1)),
    *pools("avg_pool", lambda values, count: values.sum(-1) / count),
    *pools(
        "avg_pool", lambda values, count: values.mean(-1), prefix="excluded-", exclude_padding_from_average=True
    ),
]  # fmt: skip


def sampled(x, points_h, points_w):
    """Linear interpolation at a grid of points, by weights of all input pixels."""

    def weights(points, n):
        clipped = np.clip(points, 0, n - 1)
        return np.maximum(0, 1 - np.abs(clipped[:, None] - np.arange(n)))

    return np.einsum("ih,jw,...hw->...ij", weights(points_h, x.shape[-2]), weights(points_w, x.shape[-1]), x)


def grid(n, m, mode):
    """MIL's own formulas, as they are written in its documentation."""
    i = np.arange(m)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if m == 1:
            return np.array([(n - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0])
        return i * (n - 1) / (m - 1)
    if mode == "DEFAULT":
        return i * ((n - n / m) / (m - 1) if m > 1 else 0)
    if mode == "OFFSET_CORNERS":
        delta = max(1, n - 1) / m
        return 0.5 * delta + i * (((m - 1) * delta) / (m - 1) if m > 1 else 0)
    return i * n / m + 0.5 * n / m - 0.5


def resized(x, h, w, mode):
    return sampled(x, grid(x.shape[-2], h, mode), grid(x.shape[-1], w, mode))


def nearest(x, h, w, centre):
    rows, cols = (
        np.floor((np.arange(m) + centre) * n / m).astype(int) for n, m in zip(x.shape[-2:], (h, w), strict=True)
    )
    return x[..., rows, :][..., cols]


def bilinear_cases():
    for mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"):
        for h, w in ((14, 18), (3, 5), (1, 1), (10, 9)):

            def build(x, h=h, w=w, mode=mode):
                return mb.resize_bilinear(x=x, target_size_height=h, target_size_width=w, sampling_mode=mode)

            yield case("resize_bilinear", X, build, resized(X, h, w, mode), note=f"{mode}-{h}x{w}")


def upsampling(note, mode, h, w, ios=16, **options):
    return case(
        "upsample_bilinear",
        X,
        lambda x: mb.upsample_bilinear(x=x, **options),
        resized(X, h, w, mode),
        ios=ios,
        note=note,
    )


TWICE = {"scale_factor_height": 2, "scale_factor_width": 2}
RESIZES = [
    *bilinear_cases(),
    upsampling("half-pixel", "UNALIGN_CORNERS", 14, 18, ios=15, align_corners=False, **TWICE),
    upsampling("corners", "STRICT_ALIGN_CORNERS", 14, 18, ios=15, align_corners=True, **TWICE),
    upsampling("default-corners", "STRICT_ALIGN_CORNERS", 14, 18, **TWICE),
    upsampling("no-centres", "DEFAULT", 14, 18, align_corners=False, half_pixel_centers=False, **TWICE),
    upsampling(
        "fraction", "UNALIGN_CORNERS", 11, 13, align_corners=False, scale_factor_height=1.6, scale_factor_width=1.5
    ),
    case(
        "upsample_nearest_neighbor", X,
        lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
        X.repeat(2, 2).repeat(3, 3),
    ),
    case(
        "upsample_nearest_neighbor", X,
        lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=1.5, scale_factor_width=1.0),
        nearest(X, 10, 9, 0.0), note="fraction",
    ),
    case(
        "resize_nearest_neighbor", X,
        lambda x: mb.resize_nearest_neighbor(x=x, target_size_height=5, target_size_width=20), nearest(X, 5, 20, 0.5),
    ),
    case(
        "resize", X,
        lambda x: mb.resize(x=x, shape=[12, 5], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"),
        resized(X, 12, 5, "UNALIGN_CORNERS"),
    ),
    case(
        "resize", np.float32([[[0, 1]]]), lambda x: mb.resize(x=x, shape=[1, 1, 5], resized_dims=np.uint32(2)),
        [[[0, 0.4, 0.8, 1, 1]]], note="published-linear",
    ),
    case(
        "resize", X, lambda x: mb.resize(x=x, shape=[5], resized_dims=np.uint32(1)), resized(X, 7, 5, "DEFAULT"),
        note="one-axis",
    ),
    case(
        "resize", np.float32([-6.174, 9.371]).reshape(1, 1, 2, 1),
        lambda x: mb.resize(x=x, shape=[1, 1, 3, 2], resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR"),
        np.float32([[[[-6.174] * 2, [9.371] * 2, [9.371] * 2]]]), note="published-nearest",
    ),
]  # fmt: skip

CASES = [*CONVOLUTIONS, *TRANSPOSED, *POOLS, *RESIZES]
