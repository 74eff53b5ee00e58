"""Cases of compressed constants and of quantisation: each added to the input, against its definition."""

import numpy as np
from support.mil_programs import arrays, case, mb, types

__all__ = ["CASES"]

RNG = np.random.default_rng(9)
(X,) = arrays((4, 6, 2), seed=10)
SHAPE = X.shape


def packed(values, bits):
    """Little-endian bits, the lowest bit of a value first."""
    flat = ((np.asarray(values).reshape(-1, 1) >> np.arange(bits)) & 1).astype(np.uint8).reshape(-1)
    return np.packbits(flat, bitorder="little")


def narrow(values, name):
    return np.asarray(values).astype(types.type_mapping.string_to_nptype(name))


def added(op, make, dense, ios, note="", **options):
    """`make` gives the constant; its value is seen through an addition to the input, in float32."""

    def build(x):
        constant = make()
        return mb.add(x=x, y=constant if constant.dtype == types.fp32 else mb.cast(x=constant, dtype="fp32"))

    return case(op, X, build, lambda x: x + np.asarray(dense, np.float32), ios=ios, note=note, **options)


BYTES = RNG.integers(-128, 128, SHAPE).astype(np.int8)
SCALE = RNG.uniform(0.01, 0.1, 6).astype(np.float32)
ZERO = RNG.integers(-20, 20, 6).astype(np.int8)
ROWS = (1, 6, 1)


def affine(note, data, zero, scale, axis=1, **options):
    rows = [np.asarray(v, np.float32).reshape(ROWS if np.ndim(v) else ()) for v in (scale, zero)]
    return added(
        "constexpr_affine_dequantize",
        lambda: mb.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=np.int32(axis)),
        (rows[0] * (data.astype(np.float32) - rows[1])).astype(np.asarray(scale).dtype), 16, note, **options,
    )  # fmt: skip


AFFINE = [
    affine("int8", BYTES, ZERO, SCALE),
    affine("uint8", BYTES.view(np.uint8), ZERO.view(np.uint8), SCALE),
    affine("number", BYTES, np.int8(3), np.float32(0.05), axis=0),
    affine("fp16", BYTES, ZERO, SCALE.astype(np.float16), tolerance=0),
    affine("negative-axis", BYTES, ZERO, SCALE, axis=-2),
]


def palette(bits, dtype=np.float32):
    table = RNG.standard_normal(1 << bits).astype(dtype)
    places = RNG.integers(0, 1 << bits, SHAPE)
    return added(
        "constexpr_lut_to_dense",
        lambda: mb.constexpr_lut_to_dense(indices=packed(places, bits), lut=table, shape=np.uint32(SHAPE)),
        table[places], 16, f"ios16-{bits}-bit-{np.dtype(dtype).name}",
    )  # fmt: skip


def tables(note, bits, blocks, width=1, axis=None):
    """iOS 18: a table for each block of indices; the loop is the definition."""
    sizes = tuple(n // width if i == axis else n for i, n in enumerate(SHAPE))
    lut = RNG.standard_normal((*blocks, 1 << bits, width)).astype(np.float32)
    places = RNG.integers(0, 1 << bits, sizes)
    dense = np.zeros(SHAPE, np.float32)
    for at in np.ndindex(*sizes):
        block = tuple(i * count // n for i, count, n in zip(at, blocks, sizes, strict=True))
        for step in range(width):
            target = tuple(i * width + step if k == axis else i for k, i in enumerate(at))
            dense[target] = lut[block][places[at], step]
    extra = {} if axis is None else {"vector_axis": np.int32(axis)}
    return added(
        "constexpr_lut_to_dense",
        lambda: mb.constexpr_lut_to_dense(indices=narrow(places, f"uint{bits}"), lut=lut, **extra), dense, 18, note,
    )  # fmt: skip


PALETTES = [
    *(palette(bits) for bits in (1, 2, 4, 6, 8)),
    palette(6, np.float16),
    *(tables(f"ios18-{bits}-bit", bits, (1, 1, 1)) for bits in (1, 2, 3, 4, 6, 8)),
    tables("ios18-grouped", 4, (2, 3, 1)),
    tables("ios18-vectors", 2, (1, 1, 1), width=3, axis=1),
    tables("ios18-grouped-vectors", 3, (2, 1, 1), width=2, axis=0),
]

MASK = RNG.integers(0, 2, SHAPE)
KEPT = RNG.standard_normal(MASK.sum()).astype(np.float32)
SPARSE_DENSE = np.zeros(SHAPE, np.float32)
SPARSE_DENSE[MASK != 0] = KEPT


def blockwise(note, name, blocks, offset):
    low, high = (0, 16) if name == "uint4" else (-8, 8) if name == "int4" else (-128, 128)
    data, shift = RNG.integers(low, high, SHAPE), RNG.integers(max(low, -8), min(high, 8), blocks)
    scale = RNG.uniform(0.01, 0.1, blocks).astype(np.float32)
    spread = [np.kron(v, np.ones([n // c for n, c in zip(SHAPE, blocks, strict=True)])) for v in (scale, shift)]
    extra = {"offset": narrow(shift, name)} if offset else {}
    return added(
        "constexpr_blockwise_shift_scale",
        lambda: mb.constexpr_blockwise_shift_scale(data=narrow(data, name), scale=scale, **extra),
        spread[0] * (data - (spread[1] if offset else 0)), 18, note,
    )  # fmt: skip


def sparse_tables():
    table = np.float32([2.0, 3.0]).reshape(1, 1, 1, 2, 1)
    places = RNG.integers(0, 2, KEPT.size)
    dense = np.zeros(SHAPE, np.float32)
    dense[MASK != 0] = table.reshape(-1)[places]

    def make():
        mask, values = mb.constexpr_lut_to_sparse(
            indices_mask=narrow(MASK, "uint1"), indices_nonzero_data=narrow(places, "uint1"), lut=table
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)

    return added("constexpr_lut_to_sparse", make, dense, 18)


def sparse_blocks():
    values = RNG.integers(-128, 128, KEPT.size).astype(np.int8)
    dense = np.zeros(SHAPE, np.float32)
    dense[MASK != 0] = values
    scale = SCALE.reshape(ROWS)

    def make():
        mask, kept = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=narrow(MASK, "uint1"), nonzero_data=values, scale=scale
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=kept, mask=mask)

    return added("constexpr_sparse_blockwise_shift_scale", make, dense * scale, 18)


OTHERS = [
    added(
        "constexpr_sparse_to_dense",
        lambda: mb.constexpr_sparse_to_dense(
            nonzero_data=KEPT, mask=packed(MASK, 1), shape=np.uint32(SHAPE)
        ),
        SPARSE_DENSE, 16, "ios16",
    ),
    added(
        "constexpr_sparse_to_dense",
        lambda: mb.constexpr_sparse_to_dense(nonzero_data=KEPT, mask=narrow(MASK, "uint1")), SPARSE_DENSE, 18, "ios18",
    ),
    added(
        "constexpr_cast", lambda: mb.constexpr_cast(source_val=X.astype(np.float16), output_dtype="fp32"),
        X.astype(np.float16), 16,
    ),
    *(blockwise(f"{name}-{'offset' if offset else 'plain'}", name, (2, 3, 1), offset)
      for name in ("int4", "uint4", "int8") for offset in (True, False)),
    sparse_tables(),
    sparse_blocks(),
]  # fmt: skip


def quantized(x, scale, zero, low, high):
    return np.clip(np.rint(x / np.float32(scale)) + zero, low, high)


def channel(vector):
    return np.asarray(vector, np.float32).reshape(ROWS)


QUANTIZATION = [
    case(
        "quantize", X,
        lambda x: mb.cast(x=mb.quantize(input=x, scale=np.float32(0.01), output_dtype="int8"), dtype="fp32"),
        lambda x: quantized(x, 0.01, 0, -128, 127),
    ),
    case(
        "quantize", X,
        lambda x: mb.cast(
            x=mb.quantize(input=x, scale=SCALE, zero_point=np.uint8(ZERO + 30), output_dtype="uint8", axis=1),
            dtype="fp32",
        ),
        lambda x: quantized(x, channel(SCALE), channel(ZERO + 30), 0, 255), note="axis",
    ),
    case(
        "dequantize", X,
        lambda x: mb.dequantize(input=mb.cast(x=x, dtype="int8"), scale=SCALE, zero_point=ZERO, axis=1),
        lambda x: channel(SCALE) * (np.trunc(x) - channel(ZERO)),
    ),
    case(
        "dequantize", X, lambda x: mb.dequantize(input=mb.cast(x=x, dtype="int8"), scale=np.float32(0.5)),
        lambda x: 0.5 * np.trunc(x), note="number",
    ),
]  # fmt: skip

CASES = [*AFFINE, *PALETTES, *OTHERS, *QUANTIZATION]
