"""ML Programs in all the forms that coremltools can write: compressed, for many sizes, with images; against Torch."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.mil_models import SMALL, AnySize, MaskOnly, Photo, answer, converted, convolutions, tiny_network
from support.mil_programs import arrays, ct, mb, save

from converters.mil import Package, evaluate
from u2net_zoo.checkpoint import Checkpoint
from u2net_zoo.errors import UnknownNameError, UsageError

torch = pytest.importorskip("torch", reason="torch is not installed: there is nothing to compare with")

from u2net_zoo import torch_model  # noqa: E402  after the skip


@pytest.fixture(scope="module", params=["block", pytest.param("stages", marks=pytest.mark.full)])
def tiny(request) -> torch_model.U2Net:
    return tiny_network(request.param)


@pytest.fixture(scope="module")
def uncompressed(tiny, tmp_path_factory) -> Callable[..., Any]:
    """`uncompressed(ios, sparse=False)`: coremltools' own object of a float32 program, to be compressed.

    In iOS 18 compression takes newer forms than in iOS 16.
    """
    folder = tmp_path_factory.mktemp("uncompressed")

    @functools.cache
    def made(ios: int, sparse: bool = False) -> Any:
        if sparse:
            return compressions()["sparse"](made(ios))
        return converted(MaskOnly(tiny), folder / f"{ios}.mlpackage", target=getattr(ct.target, f"iOS{ios}"))

    return made


def test_a_trailing_batch_norm_is_folded_into_its_convolution(tmp_path):
    torch.manual_seed(0)
    conv, norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4, eps=1e-3)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        torch.nn.init.uniform_(tensor, 0.5, 1.5)
    model, path = torch.nn.Sequential(conv, norm), tmp_path / "norm.mlpackage"
    pipeline = ct.PassPipeline.DEFAULT
    pipeline.remove_passes({"common::fuse_conv_batchnorm"})
    converted(model, path, pass_pipeline=pipeline)
    package = Package.open(path)
    assert "batch_norm" in {op.kind for op in package.function.operations}
    (found,) = convolutions(package)
    x = np.random.default_rng(0).random((1, 3, *SMALL)).astype(np.float32)
    with torch.no_grad():
        folded = torch.nn.functional.conv2d(*map(torch.from_numpy, (x, found.kernel, found.bias))).numpy()
    np.testing.assert_allclose(folded, model(torch.from_numpy(x)).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(evaluate(package, {"image": x})["mask"], folded, atol=1e-5)


def compressions():
    from coremltools.optimize import coreml as cto

    def palette(bits, **options):
        settings = cto.OpPalettizerConfig(mode="uniform", nbits=bits, weight_threshold=64, **options)
        return lambda model: cto.palettize_weights(model, cto.OptimizationConfig(settings))

    def linear(**options):
        settings = cto.OpLinearQuantizerConfig(weight_threshold=64, **options)
        return lambda model: cto.linear_quantize_weights(model, cto.OptimizationConfig(settings))

    def sparse(model):
        settings = cto.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=64)
        return cto.prune_weights(model, cto.OptimizationConfig(settings))

    return {
        "palette8": palette(8),
        "palette6": palette(6),
        "palette4": palette(4),
        "palette3-grouped": palette(3, granularity="per_grouped_channel", group_size=8),
        "int8": linear(mode="linear_symmetric"),
        "int8-asymmetric": linear(mode="linear"),
        "int4-blocks": linear(mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=8),
        "sparse": sparse,
        "palette4-of-sparse": palette(4),
    }


FORMS = [(18, name) for name in compressions()] + [(16, name) for name in ("palette6", "int8", "sparse")]


@pytest.mark.parametrize(("ios", "name"), FORMS)
def test_a_compressed_program_computes_with_coremltools_own_decompression(uncompressed, tiny, tmp_path, ios, name):
    from coremltools.optimize import coreml as cto

    pruned = name.endswith("sparse")
    compressed = uncompressed(ios, pruned)
    if name != "sparse":
        compressed = compressions()[name](compressed)
    paths = tmp_path / f"{name}-{ios}.mlpackage", tmp_path / f"{name}-{ios}-dense.mlpackage"
    compressed.save(str(paths[0]))
    cto.decompress_weights(compressed).save(str(paths[1]))
    packed, dense = map(Package.open, paths)
    assert any(op.kind.startswith("constexpr_") for op in packed.function.operations)
    for a, b in zip(convolutions(packed), convolutions(dense), strict=True):
        np.testing.assert_allclose(a.kernel, b.kernel, rtol=1e-6, atol=1e-9)
    x = np.random.default_rng(1).standard_normal((1, 3, *SMALL)).astype(np.float32)
    model = torch_model.build(rebuilt(tiny.arch, convolutions(packed)))
    np.testing.assert_allclose(evaluate(packed, {"image": x})["mask"], answer(model, x), atol=1e-5)


def rebuilt(arch, found) -> Checkpoint:
    state = {}
    for unit, conv in zip(arch.units(), found, strict=True):
        state[f"{unit.conv_path}.weight"], state[f"{unit.conv_path}.bias"] = conv.kernel, conv.bias
    return Checkpoint.from_state(state, arch=arch)


@pytest.mark.parametrize("kind", ["enumerated", "range"])
def test_one_program_is_right_at_every_size(tiny, tmp_path, kind):
    sizes = [(64, 64), (96, 160), (32, 32)]
    side = ct.RangeDim(32, 256, default=64)
    shape = ct.EnumeratedShapes([(1, 3, *size) for size in sizes]) if kind == "enumerated" else (1, 3, side, side)
    path = tmp_path / f"{kind}.mlpackage"
    converted(AnySize(tiny), path, (1, 3, 64, 64), inputs=[ct.TensorType("image", shape=shape)], target=ct.target.iOS17)
    package = Package.open(path)
    assert package.inputs["image"].sizes.flexible
    for size in sizes:
        x = np.random.default_rng(2).standard_normal((1, 3, *size)).astype(np.float32)
        np.testing.assert_allclose(evaluate(package, {"image": x})["mask"], answer(tiny, x), atol=1e-5)
    with pytest.raises(
        UsageError, match=r"input 'image': got shape \(1, 3, 288, 288\); allowed: .*1.*3.*(64|32\.\.256)"
    ):
        evaluate(package, {"image": np.zeros((1, 3, 288, 288), np.float32)})


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_an_image_goes_in_and_a_grey_image_comes_out(tiny, tmp_path, colour):
    layout = getattr(ct.colorlayout, colour)
    path = tmp_path / f"{colour}.mlpackage"
    converted(
        Photo(tiny),
        path,
        inputs=[ct.ImageType("photo", shape=(1, 3, *SMALL), color_layout=layout)],
        outputs=[ct.ImageType("mask", color_layout=ct.colorlayout.GRAYSCALE)],
    )
    package = Package.open(path)
    pixels = np.random.default_rng(3).integers(0, 201, (*SMALL, 3)).astype(np.uint8)
    mask = evaluate(package, {"photo": pixels})["mask"]
    ordered = pixels if colour == "RGB" else pixels[..., ::-1]
    with torch.inference_mode():
        wanted = Photo(tiny)(torch.from_numpy(ordered.astype(np.float32).transpose(2, 0, 1)[None]))[0, 0].numpy()
    assert mask.shape == SMALL
    assert mask.dtype == np.uint8
    assert np.abs(mask - wanted).max() <= 0.5 + 1e-3


class Pixels(torch.nn.Module):
    """The pixels themselves, so that what the program makes of an image can be seen."""

    def forward(self, x):
        return x * 1.0


def image_model(tmp_path, name, image, outputs=None):
    path = tmp_path / f"{name}.mlpackage"
    converted(Pixels(), path, (1, 3, 8, 6), [image], outputs)
    return Package.open(path)


PIXELS = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)


def test_scale_and_bias_of_an_image_are_part_of_the_program(tmp_path):
    image = ct.ImageType("photo", shape=(1, 3, 8, 6), scale=1 / 127.5, bias=[-1, -0.5, 0.25])
    package = image_model(tmp_path, "scaled", image)
    wanted = PIXELS / 127.5 + np.array([-1, -0.5, 0.25])
    got = evaluate(package, {"photo": PIXELS})["mask"]
    np.testing.assert_allclose(got[0].transpose(1, 2, 0), wanted, atol=1e-6)


def test_a_colour_image_out_is_rgb_whatever_the_model_gives(tmp_path):
    for name, layout in (("rgb", ct.colorlayout.RGB), ("bgr", ct.colorlayout.BGR)):
        image = ct.ImageType("photo", shape=(1, 3, 8, 6))
        package = image_model(tmp_path, f"out-{name}", image, [ct.ImageType("mask", color_layout=layout)])
        got = evaluate(package, {"photo": PIXELS})["mask"]
        np.testing.assert_array_equal(got, PIXELS if name == "rgb" else PIXELS[..., ::-1])


@pytest.mark.parametrize(("layout", "dtype"), [("GRAYSCALE", np.uint8), ("GRAYSCALE_FLOAT16", np.float16)])
def test_grey_images_of_both_depths(tmp_path, layout, dtype):
    colour = getattr(ct.colorlayout, layout)
    image = ct.ImageType("photo", shape=(1, 1, 8, 6), color_layout=colour)
    path = tmp_path / f"{layout}.mlpackage"
    converted(
        Pixels(), path, (1, 1, 8, 6), [image], [ct.ImageType("mask", color_layout=colour)],
        compute_precision=ct.precision.FLOAT16,
    )  # fmt: skip
    pixels = (PIXELS[..., 0] * (1 if dtype == np.uint8 else 0.25)).astype(dtype)
    got = evaluate(Package.open(path), {"photo": pixels})["mask"]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, pixels)


def test_an_eight_bit_output_is_clipped_and_rounded(tmp_path):
    feature = image_model(
        tmp_path, "clipped", ct.ImageType("photo", shape=(1, 3, 8, 6)), [ct.ImageType("mask")]
    ).outputs["mask"]
    values = np.tile(np.float32([-5, 0.4, 0.6, 254.6, 300, np.nan]), (1, 3, 8, 1))
    np.testing.assert_array_equal(feature.decode(values)[0, :, 0], [0, 0, 1, 255, 255, 0])


@pytest.mark.parametrize("kind", ["enumerated", "range"])
def test_images_of_several_sizes(tmp_path, kind):
    sizes = [(8, 6), (6, 10)]
    shape = ct.EnumeratedShapes([(1, 3, *size) for size in sizes])
    if kind == "range":
        shape = ct.Shape((1, 3, ct.RangeDim(4, 20, default=8), ct.RangeDim(4, 20, default=6)))
    package = image_model(tmp_path, f"sizes-{kind}", ct.ImageType("photo", shape=shape))
    for height, width in sizes:
        pixels = np.resize(PIXELS, (height, width, 3))
        got = evaluate(package, {"photo": pixels})["mask"]
        np.testing.assert_array_equal(got[0].transpose(1, 2, 0), pixels)
    for wrong in (np.zeros((30, 30, 3), np.uint8), PIXELS.astype(np.float32), PIXELS[..., 0]):
        with pytest.raises(UsageError, match=r"input 'photo': got .*; allowed: "):
            evaluate(package, {"photo": wrong})


def test_each_function_of_a_package_with_several_can_be_opened(tmp_path):
    (x,) = arrays((1, 3, 4, 4))
    tools = ct.utils.MultiFunctionDescriptor()
    for name, build in (("plain", lambda x: mb.relu(x=x)), ("negative", lambda x: mb.relu(x=mb.mul(x=x, y=-1.0)))):
        tools.add_function(str(save(tmp_path, build, (x,), 18)), "main", name)
    tools.default_function_name = "negative"
    path = tmp_path / "several.mlpackage"
    ct.utils.save_multifunction(tools, str(path))
    for name, sign in ((None, -1), ("plain", 1), ("negative", -1)):
        (got,) = evaluate(Package.open(path, name), {"x": x}).values()
        np.testing.assert_array_equal(got, np.maximum(sign * x, 0))
    with pytest.raises(UnknownNameError, match="unknown function 'third'; functions: negative, plain"):
        Package.open(path, "third")
