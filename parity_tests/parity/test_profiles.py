"""Profiles against their sources: what goes into the network, and what its answer becomes."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import resize
from support import photographs
from support.agreement import mask_agreement
from support.data import DATA, needs

from u2net_zoo.preprocessing import PROFILES, letterbox, linear, read_image


def photograph(height: int, width: int) -> np.ndarray:
    return np.asarray(photographs.photograph("chelsea.png").resize((width, height)))


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_profile_prepares_any_photograph(name, mode):
    profile = PROFILES[name]
    image = Image.fromarray(photograph(90, 130)).convert(mode)
    x = profile.tensor(image, (96, 64))
    assert (x.shape, x.dtype) == ((1, 3, 96, 64), np.float32)
    output = np.random.default_rng(0).random((96, 64), np.float32)
    mask = profile.mask(output, image.size)
    assert (mask.mode, mask.size) == ("L", image.size)


def test_isnet_is_fed_as_its_authors_do():
    """Their own lines, in Torch: bilinear, cast to 8 bits, / 255, - 0.5; the answer resized, then min-max."""
    pixels = photograph(150, 200)
    chw = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
    theirs = torch.nn.functional.interpolate(chw, (256, 256), mode="bilinear").type(torch.uint8) / 255.0 - 0.5
    ours = PROFILES["isnet"].tensor(Image.fromarray(pixels), (256, 256))
    assert np.abs(ours - theirs.numpy()).max() < 1.01 / 255
    assert (np.abs(ours - theirs.numpy()) > 1e-6).mean() < 0.005
    d0 = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(d0, (150, 200), mode="bilinear")[0, 0].numpy()
    expected = ((large - large.min()) / (large.max() - large.min()) * 255).astype(np.uint8)
    mask = np.asarray(PROFILES["isnet"].mask(d0[0, 0].numpy(), (200, 150)), np.int16)
    assert np.abs(mask - expected).max() <= 1


def test_linear_is_opencvs():
    import cv2

    pixels = photograph(150, 200)
    for size in ((96, 64), (300, 401)):
        theirs = cv2.resize(pixels, size[::-1]).astype(int)
        assert np.abs(np.rint(linear(pixels, size)) - theirs).max() <= 1


def test_the_sky_is_halved_as_opencv_does():
    import cv2

    from u2net_zoo.resizing import _halve

    pixels = photograph(151, 201)
    np.testing.assert_array_equal(_halve(pixels), cv2.pyrDown(pixels, dstsize=(100, 75)))


def skies(paths) -> list[float]:
    """IoU of the original pair's mask and the published one, for each photograph."""
    import ncnn

    net, weights = ncnn.Net(), needs(DATA / "weights" / "skyseg_u2netp_fp16.ncnn.param")
    net.opt.num_threads = 1
    net.load_param(str(weights))
    net.load_model(str(weights.with_suffix(".bin")))
    ious = []
    for path in paths:
        image = read_image(path)
        x = PROFILES["sky"].tensor(image, (384, 384))  # named: an ncnn.Mat does not keep its array alive
        run = net.create_extractor()
        run.input("input.1", ncnn.Mat(x[0]).clone())
        d0 = np.array(run.extract("1959")[1])[0]
        published = DATA / "sky" / "masks" / f"{path.stem}.png"
        ious.append(mask_agreement([(PROFILES["sky"].mask(d0, image.size), published)])[0])
    return ious


def test_a_sky_is_found_by_the_original_pair():
    assert skies(sorted(needs(DATA / "sky" / "images").iterdir())[:1])[0] > 0.92


@pytest.mark.full
def test_skies_are_found_by_the_original_pair():
    """The published masks are by a larger model of the same authors, so they agree roughly: mean IoU 0.970."""
    ious = skies(sorted(needs(DATA / "sky" / "images").iterdir()))
    assert len(ious) == 4
    assert np.mean(ious) > 0.96
    assert min(ious) > 0.92


@pytest.mark.parametrize("shape", [(90, 130), (130, 90), (64, 64), (500, 3)])
def test_a_letterbox_is_undone(shape):
    profile = PROFILES["isnet-anime"]
    x = profile.tensor(Image.fromarray(np.full((*shape, 3), 255, np.uint8)), (128, 128))
    assert set(np.unique(x)) <= {0.0, 1.0}
    rows, columns = letterbox(shape, (128, 128))
    assert x[0, 0, rows, columns].all()
    assert x[0, 0].sum() == (rows.stop - rows.start) * (columns.stop - columns.start)
    # The network finds exactly the photograph: the mask is white to its edges.
    mask = profile.mask(x[0, 0], shape[::-1])
    assert mask.size == shape[::-1]
    assert np.asarray(mask).min() == 255


def test_logits_and_probabilities_give_the_same_mask():
    profile = PROFILES["isnet-anime"]
    logits = np.random.default_rng(0).normal(0, 5, (64, 64)).astype(np.float32)
    a, b = (np.asarray(profile.mask(x, (64, 64)), int) for x in (logits, 1 / (1 + np.exp(-logits))))
    np.testing.assert_allclose(a, b, atol=1)


def test_a_drawing_is_inverted():
    stroke = np.zeros((8, 8), np.float32)
    stroke[2:4] = 0.8
    drawing = np.asarray(PROFILES["portrait"].mask(stroke, (8, 8)))
    assert (drawing[2:4] == 0).all()
    assert (drawing[4:] == 255).all()


def test_clothes_are_a_class_map(tmp_path):
    logits = np.zeros((4, 8, 8), np.float32)
    logits[2, :4] = 1
    picture = PROFILES["cloth"].class_map(logits, (16, 16))
    assert (picture.mode, picture.size) == ("P", (16, 16))
    assert set(np.unique(picture)) == {0, 2}
    picture.save(tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").convert("RGB").getpixel((0, 0)) == (0, 128, 0)


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name in ("paper", "rembg") for mode in ("RGB", "L")])
def test_paper_and_rembg_are_their_formulas(name, mode):
    """Written out once more, bit for bit; the published masks hold `paper` in test_published_masks."""
    image = Image.fromarray(photograph(200, 300)).convert(mode)
    rgb = image.convert("RGB")
    if name == "paper":
        resized = resize(np.asarray(rgb), (320, 320), order=1, mode="constant", anti_aliasing=False)
    else:
        resized = np.asarray(rgb.resize((320, 320), Image.Resampling.LANCZOS), np.float64) / 255
    first = name == "paper" and mode == "L"  # the authors' own way with greyscale photographs
    mean, std = ((0.485,) * 3, (0.229,) * 3) if first else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = ((resized / resized.max() - mean) / std).transpose(2, 0, 1)[None].astype(np.float32)
    np.testing.assert_array_equal(PROFILES[name].tensor(image, (320, 320)), expected)
    d0 = np.random.default_rng(0).random((320, 320), np.float32)
    grey = Image.fromarray(((d0 - d0.min()) / (d0.max() - d0.min()) * 255).astype(np.uint8))
    filter = Image.Resampling.BILINEAR if name == "paper" else Image.Resampling.LANCZOS
    np.testing.assert_array_equal(PROFILES[name].mask(d0, (300, 200)), grey.resize((300, 200), filter))
