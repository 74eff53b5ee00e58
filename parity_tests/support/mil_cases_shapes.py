"""Cases of ops that move values about: against NumPy."""

import numpy as np
from support.mil_programs import arrays, case, mb

__all__ = ["CASES"]

(X,) = arrays((2, 3, 4, 6), seed=2)
(B,) = arrays((1, 8, 3, 2), seed=3)
ROW = np.arange(6, dtype=np.int32)


def sliced(note, expected, **options):
    return case("slice_by_index", X, lambda x: mb.slice_by_index(x=x, **options), expected, note=note)


def depth_to_space(x, b):
    n, c, h, w = x.shape
    out = np.zeros((n, c // (b * b), h * b, w * b), x.dtype)
    for i in range(b):
        for j in range(b):
            block = (i * b + j) * (c // (b * b))
            out[:, :, i::b, j::b] = x[:, block : block + c // (b * b)]
    return out


def pixel_shuffle(x, b):
    n, c, h, w = x.shape
    out = np.zeros((n, c // (b * b), h * b, w * b), x.dtype)
    for i in range(b):
        for j in range(b):
            out[:, :, i::b, j::b] = x[:, i * b + j :: b * b]
    return out


SHAPES = [
    case("const", X, lambda x: mb.add(x=x, y=mb.const(val=X)), lambda x: 2 * x),
    case("shape", X, lambda x: mb.shape(x=x), [2, 3, 4, 6]),
    case("reshape", X, lambda x: mb.reshape(x=x, shape=[4, -1, 9]), lambda x: x.reshape(4, -1, 9)),
    case("reshape", X, lambda x: mb.reshape(x=x, shape=[0, 0, -1, 2]), lambda x: x.reshape(2, 3, -1, 2), note="zeros"),
    case(
        "reshape_like", (X, B),
        lambda x, y: mb.reshape_like(
            x=x, ref_tensors=(mb.reshape(x=x, shape=[6, 24]), y), begins=(0, 0), ends=(2, 1), end_masks=(True, False)
        ),
        lambda x, y: x.reshape(6, 24, 1),
    ),
    case("transpose", X, lambda x: mb.transpose(x=x, perm=[0, 2, 3, 1]), lambda x: x.transpose(0, 2, 3, 1)),
    case(
        "transpose", X, lambda x: mb.transpose(x=x, perm=[-1, 0, -3, 2]), lambda x: x.transpose(3, 0, 1, 2),
        note="negative",
    ),
    case("expand_dims", X[0], lambda x: mb.expand_dims(x=x, axes=[-1, 0]), lambda x: x[None, ..., None]),
    case("squeeze", B, lambda x: mb.squeeze(x=x, axes=[0]), lambda x: x[0]),
    case("squeeze", B, lambda x: mb.squeeze(x=x), lambda x: x[0], note="all"),
    case("flatten2d", X, lambda x: mb.flatten2d(x=x, axis=2), lambda x: x.reshape(6, 24)),
    case("depth_to_space", B, lambda x: mb.depth_to_space(x=x, block_size=2), lambda x: depth_to_space(x, 2)),
    case(
        "space_to_depth", B,
        lambda x: mb.space_to_depth(x=mb.depth_to_space(x=x, block_size=2), block_size=2), lambda x: x,
    ),
    case("pixel_shuffle", B, lambda x: mb.pixel_shuffle(x=x, upscale_factor=2), lambda x: pixel_shuffle(x, 2)),
    case(
        "pixel_unshuffle", B,
        lambda x: mb.pixel_unshuffle(x=mb.pixel_shuffle(x=x, upscale_factor=2), downscale_factor=np.uint32(2)),
        lambda x: x,
    ),
    case("tile", X, lambda x: mb.tile(x=x, reps=[1, 2, 1, 3]), lambda x: np.tile(x, (1, 2, 1, 3))),
    case("fill", X, lambda x: mb.fill(shape=mb.shape(x=x), value=2.5), np.full((2, 3, 4, 6), 2.5)),
    case("fill_like", X, lambda x: mb.fill_like(ref_tensor=x, value=-1.5), np.full((2, 3, 4, 6), -1.5)),
    case("range_1d", ROW, lambda x: mb.range_1d(start=1, end=mb.reduce_max(x=x), step=2), [1, 3]),
    case("one_hot", ROW, lambda x: mb.one_hot(indices=x, one_hot_vector_size=7), np.eye(7)[:6]),
    case(
        "one_hot", ROW, lambda x: mb.one_hot(indices=x, one_hot_vector_size=4, axis=0, on_value=2.0, off_value=-1.0),
        np.where(np.arange(4)[:, None] == ROW, 2.0, -1.0), note="axis",
    ),
]  # fmt: skip

JOINING = [
    case("concat", (X, X), lambda x, y: mb.concat(values=[x, y, x], axis=1), lambda x, y: np.concatenate([x, y, x], 1)),
    case(
        "concat", (X, 2 * X), lambda x, y: mb.concat(values=[x, y], axis=-3, interleave=True),
        lambda x, y: np.stack([x, y], 2).reshape(2, 6, 4, 6), note="interleaved",
    ),
    case("concat", X, lambda x: mb.concat(values=[x], axis=1), lambda x: x, note="of-one"),
    case("stack", (X, 2 * X), lambda x, y: mb.stack(values=[x, y], axis=-1), lambda x, y: np.stack([x, y], -1)),
    case("split", X, lambda x: mb.split(x=x, num_splits=3, axis=1), lambda x: tuple(np.split(x, 3, 1))),
    case(
        "split", X, lambda x: mb.split(x=x, split_sizes=[1, 3, 2], axis=-1),
        lambda x: (x[..., :1], x[..., 1:4], x[..., 4:]), note="sizes",
    ),
]  # fmt: skip

INDEXING = [
    sliced("plain", X[0:1, 1:3, 0:4, 2:5], begin=[0, 1, 0, 2], end=[1, 3, 4, 5]),
    sliced("stride", X[:, ::2, 1:4:2, ::3], begin=[0, 0, 1, 0], end=[2, 3, 4, 6], stride=[1, 2, 2, 3]),
    sliced("negative", X[-1:, -2:, :-1, :], begin=[-1, -2, 0, 0], end=[2, 3, -1, 6]),
    sliced(
        "reversed", X[:, ::-1, :, 4:1:-2], begin=[0, 0, 0, 4], end=[0, 0, 0, 1], stride=[1, -1, 1, -2],
        begin_mask=[True, True, True, False], end_mask=[True, True, True, False],
    ),
    sliced(
        "squeezed", X[:, 1, 0, -1], begin=[0, 1, 0, -1], end=[0, 0, 0, 0],
        begin_mask=[True, False, False, False], end_mask=[True, False, False, False],
        squeeze_mask=[False, True, True, True],
    ),
    case(
        "slice_by_size", X, lambda x: mb.slice_by_size(x=x, begin=[0, 1, 2, 3], size=[2, 1, -1, 2]), X[:, 1:2, 2:, 3:5],
    ),
    case("crop", X, lambda x: mb.crop(x=x, crop_height=[1, 0], crop_width=[2, 1]), X[:, :, 1:, 2:-1]),
    case("reverse", X, lambda x: mb.reverse(x=x, axes=[1, -1]), X[:, ::-1, :, ::-1]),
    case("reverse", X, lambda x: mb.reverse(x=x), X[::-1, ::-1, ::-1, ::-1], note="all"),
    case("gather", X, lambda x: mb.gather(x=x, indices=[[2, 0], [1, 1]], axis=1), X[:, [[2, 0], [1, 1]]]),
    case("gather", X, lambda x: mb.gather(x=x, indices=[-1, 0], axis=3), X[..., [-1, 0]], ios=16, note="negative"),
    case("gather", X, lambda x: mb.gather(x=x, indices=1, axis=2), X[:, :, 1], note="scalar"),
    case(
        "gather", X, lambda x: mb.gather(x=x, indices=[[0, 2], [1, 0]], axis=1, batch_dims=1),
        np.stack([X[0][[0, 2]], X[1][[1, 0]]]), note="batch",
    ),
    case(
        "gather_along_axis", X,
        lambda x: mb.gather_along_axis(x=x, indices=np.zeros((2, 3, 1, 6), np.int32), axis=2), X[:, :, :1]
    ),
    case(
        "pad", X, lambda x: mb.pad(x=x, pad=[1, 2, 0, 3], constant_val=7.0),
        np.pad(X, [(0, 0)] * 2 + [(1, 2), (0, 3)], constant_values=7),
    ),
    case(
        "pad", X, lambda x: mb.pad(x=x, pad=[1, 2, 3, 0], mode="reflect"),
        np.pad(X, [(0, 0)] * 2 + [(1, 2), (3, 0)], mode="reflect"), note="reflect",
    ),
    case(
        "pad", X, lambda x: mb.pad(x=x, pad=[1, 2, 3, 1], mode="replicate"),
        np.pad(X, [(0, 0)] * 2 + [(1, 2), (3, 1)], mode="edge"), note="replicate",
    ),
]  # fmt: skip

CASES = [*SHAPES, *JOINING, *INDEXING]
