"""What people do with a mask, on real photographs: sizes and modes, edges, backgrounds, boxes, crops, options."""

import csv
import io
import json
import pickle
import sys
import types
import typing
from dataclasses import MISSING, fields

import numpy as np
import pytest
from PIL import Image
from support.photographs import in_mode

from u2net_zoo.apps import APPLICATIONS, cutout, highlight, objects, postprocessed, thresholded
from u2net_zoo.apps.crop import Crop
from u2net_zoo.apps.cutout import Cutout
from u2net_zoo.apps.mask import Mask
from u2net_zoo.apps.objects import Boxes
from u2net_zoo.catalog import load_catalog
from u2net_zoo.errors import ArtifactError, MissingExtraError, OptionError

MODES = ("RGB", "RGBA", "LA", "L", "I;16", "P", "CMYK", "1", "F")
OF_A_MASK = ("mask", "cutout", "replace", "boxes", "highlight", "crop", "human", "sky")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", OF_A_MASK)
def test_photographs_of_every_mode_give_a_result_of_their_size(name, mode, cat, mask):
    image = in_mode(cat, mode)
    result = APPLICATIONS[name]().after(APPLICATIONS[name]().before(image), mask)
    assert "" in result.pictures
    json.dumps(result.facts)
    for picture in result.pictures.values():
        if name == "crop":
            x0, y0, x1, y1 = result.facts["box"]
            assert picture.size == (x1 - x0, y1 - y0)
        else:
            assert picture.size == image.size


@pytest.mark.parametrize("name", OF_A_MASK)
def test_an_empty_mask_gives_a_result_too(name, cat):
    result = APPLICATIONS[name]().after(cat, Image.new("L", cat.size))
    assert result.pictures[""].size == cat.size


def test_a_photograph_is_left_as_it_was(cat, mask):
    image, before = in_mode(cat, "RGBA"), in_mode(cat, "RGBA").tobytes()
    for name in OF_A_MASK:
        APPLICATIONS[name]().after(image, mask)
    assert image.tobytes() == before


# --- masks


def test_a_threshold_includes_its_value():
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    assert np.array_equal(np.asarray(thresholded(ramp, 0.5))[0], np.where(np.arange(256) >= 127.5, 255, 0))
    assert np.array_equal(np.asarray(thresholded(ramp, 0.2))[0], np.where(np.arange(256) >= 51, 255, 0))


def test_postprocessing_is_an_opening_a_blur_and_a_hard_edge(mask):
    """As rembg 2.0.86 has it, written with other functions; a mask of several bands."""
    from scipy import ndimage

    tall = mask.resize((100, 700))
    cross = ndimage.generate_binary_structure(2, 1)
    eroded = ndimage.grey_erosion(np.asarray(tall), footprint=cross, mode="constant", cval=255)
    opened = ndimage.grey_dilation(eroded, footprint=cross, mode="constant", cval=0).astype(float)
    line = np.exp(-(np.arange(-8, 9) ** 2) / (2 * 2.0**2))
    smooth = ndimage.convolve(opened, np.outer(line, line) / line.sum() ** 2, mode="reflect")
    certain = np.abs(smooth - 127) > 1e-6
    assert certain.mean() > 0.999
    assert np.array_equal(np.asarray(postprocessed(tall))[certain], np.where(smooth < 127, 0, 255)[certain])


def test_specks_are_removed():
    specks = Image.new("L", (40, 40))
    specks.putpixel((20, 20), 255)
    assert Mask(postprocess=True).after(specks, specks).pictures[""].getbbox() is None


def test_a_class_map_stays_one_and_has_no_grey_levels(labels):
    assert Mask().after(labels, labels).pictures[""].mode == "P"
    with pytest.raises(OptionError, match="no grey levels"):
        Mask(threshold=0.5).after(labels, labels)


# --- boxes


@pytest.fixture(scope="module")
def two() -> Image.Image:
    mask = Image.new("L", (200, 100))
    mask.paste(204, (20, 10, 70, 60))
    mask.paste(255, (120, 30, 150, 90))
    mask.paste(255, (180, 5, 181, 6))  # a speck
    mask.paste(100, (5, 80, 60, 95))  # unlikely
    return mask


def test_boxes_are_those_of_the_objects_largest_first(two):
    found = objects(two, minimum=0.001)
    assert [box.box for box in found] == [(20, 10, 70, 60), (120, 30, 150, 90)]
    assert [box.area for box in found] == [2500, 1800]
    assert [box.score for box in found] == [0.8, 1.0]
    assert len(objects(two, minimum=0)) == 3


def test_parts_that_meet_at_a_corner_are_one_object():
    mask = Image.new("L", (40, 40))
    mask.paste(255, (0, 0, 20, 20))
    mask.paste(255, (20, 20, 40, 40))
    assert [(box.box, box.area) for box in objects(mask)] == [((0, 0, 40, 40), 800)]


def test_a_lower_threshold_finds_more_and_scores_stay_the_masks(two):
    found = Boxes(threshold=0.3).after(two.convert("RGB"), two).facts["objects"]
    assert [box["box"] for box in found] == [[20, 10, 70, 60], [120, 30, 150, 90], [5, 80, 60, 95]]
    assert [box["score"] for box in found] == [0.8, 1.0, round(100 / 255, 4)]


def test_a_runs_boxes_are_written_as_coco_and_csv(two):
    facts = Boxes().after(two.convert("RGB"), two).facts
    texts = Boxes().conclude([("a, b.jpg", (200, 100), facts), ("none.jpg", (10, 10), {"objects": []})])
    content = json.loads(texts["boxes.json"])
    assert [image["file_name"] for image in content["images"]] == ["a, b.jpg", "none.jpg"]
    assert [box["bbox"] for box in content["annotations"]] == [[20, 10, 50, 50], [120, 30, 30, 60]]
    assert {box["image_id"] for box in content["annotations"]} == {1}
    assert {box["category_id"] for box in content["annotations"]} == {kind["id"] for kind in content["categories"]}
    rows = list(csv.DictReader(io.StringIO(texts["boxes.csv"])))
    assert [(row["image"], row["x0"], row["y1"], row["area"]) for row in rows] == [
        ("a, b.jpg", "20", "60", "2500"),
        ("a, b.jpg", "120", "90", "1800"),
    ]


# --- highlight and crop


def test_the_object_keeps_its_colours_and_the_rest_loses_them(cat, mask):
    pixels = np.asarray(highlight(cat, mask, dim=0.5), int)
    alpha, before = np.asarray(mask), np.asarray(cat)
    assert np.array_equal(pixels[alpha == 255], before[alpha == 255])
    rest = pixels[alpha == 0]
    assert (rest == rest[:, :1]).all()
    assert np.abs(rest[:, 0] - np.asarray(cat.convert("L"), int)[alpha == 0] / 2).max() <= 1


def test_a_crop_holds_the_whole_object_and_its_mask(two):
    mask = two.crop((100, 20, 170, 100))  # one object, 30 by 60, at (20, 10)
    image = Image.linear_gradient("L").resize(mask.size)
    result = Crop(margin=0.1).after(image, mask)
    assert result.facts["box"] == [14, 4, 56, 76]
    assert result.pictures[""] == image.crop((14, 4, 56, 76))
    assert result.pictures["_mask"] == mask.crop((14, 4, 56, 76))


# --- clothes


@pytest.fixture(scope="module")
def labels() -> Image.Image:
    labels = Image.fromarray(np.random.default_rng(0).integers(0, 4, (40, 30), np.uint8))
    labels.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return labels


def test_clothes_give_a_mask_of_each_garment(labels):
    result = APPLICATIONS["clothes"]().after(labels.convert("RGB"), labels)
    assert list(result.pictures) == ["", "_upper_body", "_lower_body", "_full_body"]
    for index, picture in enumerate(result.pictures.values()):
        if index:
            assert np.array_equal(np.asarray(picture) == 255, np.asarray(labels) == index)
    assert sum(result.facts["pixels"].values()) == 40 * 30


def test_clothes_refuse_weights_that_know_none(cat, mask):
    with pytest.raises(ArtifactError, match="u2net_cloth_seg"):
        APPLICATIONS["clothes"]().after(cat, mask)


def test_of_a_class_map_everything_but_the_background_is_the_object(labels):
    alpha = np.asarray(cutout(labels.convert("RGB"), labels, clean=False).getchannel("A"))
    assert np.array_equal(alpha == 255, np.asarray(labels) > 0)


# --- applications as such


@pytest.mark.parametrize("kind", APPLICATIONS.values(), ids=APPLICATIONS)
def test_options_are_simple_explained_and_optional(kind):
    for option in fields(kind):
        simple = option.type if isinstance(option.type, types.UnionType) else option.type | None
        assert set(typing.get_args(simple)) <= {bool, int, float, str, type(None)}
        assert option.default is not MISSING
        assert option.metadata["help"].endswith(".")
    assert kind.title.endswith(".")
    assert kind.model in load_catalog()
    assert pickle.loads(pickle.dumps(kind())) == kind()  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mask", {"threshold": 0}),
        ("mask", {"threshold": 1.1}),
        ("mask", {"threshold": float("nan")}),
        ("cutout", {"matting": "closedform"}),
        ("cutout", {"foreground_threshold": 5}),
        ("cutout", {"erode": -1}),
        ("boxes", {"minimum": 2}),
        ("cutout", {"erode": 5}),
        ("cutout", {"foreground_threshold": 200}),
        ("cutout", {"background_threshold": 5, "matting": "guided"}),
        ("highlight", {"grey": False}),
        ("highlight", {"dim": -0.1}),
        ("crop", {"margin": -1}),
        ("crop", {"margin": float("inf")}),
        ("composite", {"sigma": float("nan")}),
        ("composite", {"alpha": 2}),
    ],
)
def test_options_out_of_range_are_refused_before_any_photograph(name, options):
    with pytest.raises(OptionError) as error:
        APPLICATIONS[name](**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("package", "name"), [("pymatting", "cutout"), ("cv2", "portrait")])
def test_a_package_that_is_missing_is_named_with_its_extra(package, name, cat, mask, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    options = {"matting": "closed-form"} if name == "cutout" else {}
    application = APPLICATIONS[name](**options)
    with pytest.raises(MissingExtraError, match=r"\[apps\]"):
        application.after(application.before(cat), mask)


def test_a_cutout_needs_no_extra(cat, mask, monkeypatch):
    for package in ("pymatting", "cv2"):
        monkeypatch.setitem(sys.modules, package, None)
    assert Cutout(matting="guided", postprocess=True).after(cat, mask).pictures[""].mode == "RGBA"
