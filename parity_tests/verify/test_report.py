"""The page that `u2zoo verify --report` writes, read without a browser: structure, names, figures, pictures."""

import base64
import io
import re

import pytest
from PIL import Image, ImageColor
from support.browser import luminance
from support.reports import PHOTOGRAPHS, Node, parsed


@pytest.fixture(scope="module")
def html(reported) -> str:
    return reported.page.read_text("utf-8")


@pytest.fixture(scope="module")
def tree(html) -> Node:
    return parsed(html)


def cells(row: Node) -> list[str]:
    return [cell.text for cell in row.children if isinstance(cell, Node)]


def test_it_is_html_whose_elements_are_closed_in_order(html, tree):
    assert html.startswith("<!doctype html>\n")
    (page,) = tree.all("html")
    assert page.attributes["lang"] == "en"
    assert tree.all("meta")[0].attributes == {"charset": "utf-8"}
    assert len(tree.all("h1")) == 1
    assert "$" not in re.sub(r"\$\{[^}]*\}", "", html)  # no place of the templates was left


def test_what_is_pointed_at_is_there_once(tree):
    ids = [node.attributes["id"] for node in tree.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    wanted = [node.attributes["href"] for node in tree.all("a")]
    wanted += ["#" + node.attributes["aria-labelledby"] for node in tree.walk() if "aria-labelledby" in node.attributes]
    assert set(wanted) == {"#artifact0", "#artifact1", "#summary", "#artifacts", "#photographs"}
    assert {target[1:] for target in wanted} <= set(ids)


def test_nothing_in_it_asks_for_anything_else(html, tree):
    sources = [node.attributes[key] for node in tree.walk() for key in ("src", "href") if key in node.attributes]
    assert {source.partition(":")[0] for source in sources if not source.startswith("#")} == {"data"}
    assert not [node.tag for node in tree.walk() if node.tag in ("iframe", "object", "embed", "base", "form", "audio")]
    assert not any(node.attributes.keys() & {"srcset", "action", "background", "poster"} for node in tree.walk())
    assert not [node for node in tree.all("script") + tree.all("link") if node.attributes.get("src")]
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.findall(
        r"https?:|//[a-z]+\.|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", text
    )


def test_no_element_carries_a_script_of_its_own(tree):
    assert not [name for node in tree.walk() for name in node.attributes if name.startswith("on")]


def test_names_are_text_and_not_markup(html, tree):
    names = [f"photo & <{n}>.png" for n in range(PHOTOGRAPHS)]
    photos = tree.all("article", "photo")
    assert sorted(photo.all("h3")[0].text for photo in photos) == sorted(names)
    assert sorted(photo.all("img")[0].attributes["alt"] for photo in photos) == sorted(names)
    assert "<0>" not in html


def test_every_picture_decodes_and_has_the_place_that_is_kept_for_it(tree):
    pictures = tree.all("img")
    assert len(pictures) == PHOTOGRAPHS * (4 + 2 * 2)
    for node in pictures:
        kind, _, data = node.attributes["src"].partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as picture:
            picture.load()
            kept = (int(node.attributes["width"]), int(node.attributes["height"]))
            assert picture.size in (kept, (1, 1))  # one transparent pixel where nothing differs
            assert picture.size != (1, 1) or picture.getpixel((0, 0))[3] == 0


def test_its_figures_are_those_of_the_command(tree, reported):
    head = [cell.text for cell in tree.all("thead")[0].all("th")]
    (summary,) = tree.all("table", "summary")
    rows = [dict(zip(head, cells(row), strict=True)) for row in summary.all("tbody")[0].all("tr")]
    assert len(rows) == len(reported.said["artifacts"]) == 2
    for row, found in zip(rows, reported.said["artifacts"], strict=True):
        outputs, pictures = found["model"]["outputs"], found["pictures"]
        mean = {key: sum(p[key] for p in pictures) / PHOTOGRAPHS for key in ("iou", "mae", "off")}
        assert row["artifact"] == found["path"].rpartition("/")[2]
        assert row["result"] == ("agrees" if found["ok"] else "differs")
        assert row["mean |Δ|"] == f"{max(o['mean_abs'] for o in outputs):.1e}"
        assert float(row["max |Δ|"]) in [float(f"{o['max_abs']:.1e}") for o in outputs]
        assert row["IoU"] == f"{mean['iou']:.4f}"
        assert row["MAE of 255"] == f"{mean['mae']:.3f}"
        assert row["pixels off"] == ("0" if found["ok"] else f"{mean['off']:.2%}")
        assert row["ms / picture"] == f"{1000 * found['seconds']:.0f}"
        assert row["file"] == f"{found['bytes'] / 1e6:.1f} MB"


def test_a_card_lists_every_output_beside_its_noise(tree, reported):
    for card, found in zip(tree.all("article", "card"), reported.said["artifacts"], strict=True):
        outputs = found["model"]["outputs"]
        rows = [cells(row) for row in card.all("tbody")[0].all("tr")]
        assert rows == [
            [o["name"], f"{o['max_abs']:.1e}", f"{o['mean_abs']:.1e}", f"{o['noise']:.1e}", f"{o['ratio']:,.1f}×"]
            for o in outputs
        ]
        (drawn,) = card.all("svg")
        assert drawn.attributes["aria-label"].endswith(f"of mask: largest {outputs[0]['max_abs']:.1e}")
        assert len(drawn.all("line", "bound")) == 1
        assert drawn.all("rect")


def test_it_says_what_is_wrong_and_where(tree, reported):
    assert tree.all("p", "result")[0].text.strip() == "1 of 2 artifacts differs"
    (card,) = tree.all("article", "wide")
    assert card.all("h3")[0].text == "wrong.onnx"
    (why,) = tree.all("div", "why")
    assert why in card.walk()
    headline, *lines = [line.text for line in why.all("p")]
    assert headline == "resizing: align_corners=True"
    assert lines == reported.said["artifacts"][1]["diagnosis"]["summary"]
    assert lines[0].startswith("first divergence: stage1.rebnconv5d: ")


def test_each_photograph_shows_the_artifact_that_is_furthest_off(tree, reported):
    clean, wrong = ({p["name"]: p for p in found["pictures"]} for found in reported.said["artifacts"])
    for photo in tree.all("article", "photo"):
        name = photo.all("h3")[0].text
        assert {node.text for node in photo.all("span", "chosen")} == {"wrong.onnx"}
        tiles = {tile.attributes["data-name"]: tile for tile in photo.all("button", "tile")}
        assert [tiles[key].attributes["aria-pressed"] for key in ("small.onnx", "wrong.onnx")] == ["false", "true"]
        for key, found in (("small.onnx", clean), ("wrong.onnx", wrong)):
            assert f"IoU {found[name]['iou']:.4f}MAE {found[name]['mae']:.3f}" in tiles[key].text
        assert tiles["small.onnx"].attributes["data-note"] == "no pixel differs"
        assert tiles["wrong.onnx"].attributes["data-note"] == ""
        shown = photo.all("img", "large-mask")[0].attributes["src"]
        assert shown == tiles["wrong.onnx"].all("img")[0].attributes["src"]
        assert shown != tiles["small.onnx"].all("img")[0].attributes["src"]


def test_every_control_has_a_name(tree):
    sliders = tree.all("input")
    assert len(sliders) == PHOTOGRAPHS
    for slider in sliders:
        assert (slider.attributes["type"], slider.attributes["min"], slider.attributes["max"]) == ("range", "0", "100")
        assert slider.attributes["aria-label"].startswith("Divider between photograph and mask: photo & <")
    assert all(button.text.strip() for button in tree.all("button"))
    assert all("alt" in picture.attributes for picture in tree.all("img"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "ground", "ratio"), [
    ("ink", "bg", 7), ("ink", "card", 7), ("soft", "bg", 4.5), ("soft", "card", 4.5),
    ("good", "good-bg", 4.5), ("bad", "bad-bg", 4.5), ("warn", "warn-bg", 4.5), ("hi", "bg", 4.5), ("lo", "bg", 4.5),
])  # fmt: skip
def test_colours_can_be_told_apart(tree, scheme, ink, ground, ratio):
    """WCAG's contrast: AAA for what is read most, AA for the rest."""
    style = tree.all("style")[0].text
    chosen = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[["light", "dark"].index(scheme)]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", chosen))
    light, dark = sorted((luminance(ImageColor.getrgb(colours[name])) for name in (ink, ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= ratio


def test_it_is_small(reported):
    assert reported.page.stat().st_size < 15e6
