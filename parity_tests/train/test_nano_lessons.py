"""What the bundled network was taught with: its pictures, their labels, and the quicker walk it learnt by."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nano_compose import Composer, CutOut, Stock
from nano_lessons import Lesson, Upsample2x, Walk, boundary_weights
from nano_packages import BACKGROUNDS, STAMPS, Packages
from nano_pictures import split
from PIL import Image
from support.data import DATA, needs
from support.networks import hard_checkpoint
from support.training import SHALLOW

from u2net_zoo.torch_model import build

SIDE = 64


@pytest.fixture(scope="module")
def stock() -> Stock:
    """A dark background, a bright disc with a soft edge."""
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    disc = CutOut(np.full((40, 40, 3), 250, np.uint8), (8 * (0.9 - np.hypot(x, y))).clip(0, 1).astype(np.float32))
    return Stock([], [np.full((80, 100, 3), 20, np.uint8)], [], [disc])


def composites(stock: Stock, seed: int, count: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    composer = Composer(stock, SIDE, seed, {"composite": 1.0})
    return [(picture, alpha) for picture, alpha in (composer() for _ in range(count)) if alpha is not None]


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 8, 1, 1), (1, 2, 5, 1)])
def test_the_quick_gradient_is_the_slow_one(shape):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weight = torch.randn(
        (*shape[:2], 2 * shape[2], 2 * shape[3]), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    found, wanted = (
        torch.autograd.grad((of(x) * weight).sum(), x)[0]
        for of in (Upsample2x.apply, lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
    )
    torch.testing.assert_close(found, wanted)


def test_the_lessons_walk_is_the_networks():
    checkpoint = hard_checkpoint(SHALLOW)
    model = build(checkpoint.fold())
    x = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = model.logits(x)
        found = Lesson(model, model).answers(model, x)
        exact = model.arch.run(Walk(model), x)  # without bfloat16
    assert [map_.shape[2] for map_ in found] == [SIDE, SIDE, *(SIDE // 2**n for n in range(1, len(found) - 1))]
    for ours, theirs in zip(exact, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    for ours, theirs in zip(found, wanted, strict=True):
        ours = F.interpolate(ours, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 0.05  # bfloat16 has 8 bits


def test_labels_are_the_teachers_or_the_alpha(stock):
    model = build(hard_checkpoint(SHALLOW).fold())
    (_, alpha), *_ = composites(stock, 3)
    pictures = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    lesson = Lesson(model, model)
    *labels, weight = lesson.label(pictures, [None, alpha, None])
    np.testing.assert_allclose(labels[0][1, 0], alpha, atol=1e-3)
    np.testing.assert_allclose(labels[2][1, 0].float().mean(), alpha.mean(), atol=1e-3)
    for row in (0, 2):
        answers = lesson.answers(model, pictures[row : row + 1])
        for label, answer in zip(labels, answers, strict=True):
            torch.testing.assert_close(label[row : row + 1].float(), answer.sigmoid(), atol=0.02, rtol=0)
    assert weight.shape == labels[0].shape


def test_what_counts_more_is_the_outline():
    label = torch.zeros(1, 1, SIDE, SIDE)
    label[..., 20:40, 20:40] = 1
    weight = boundary_weights(label)[0, 0]
    assert float(weight.mean()) == pytest.approx(1)
    assert weight[20, 30] == weight[18, 30] > weight[30, 30] == weight[5, 5]


def test_a_composites_alpha_is_where_its_object_is(stock):
    """Whatever light, shadow and noise do: the disc is the bright part."""
    for picture, alpha in composites(stock, 1):
        assert picture.shape == (SIDE, SIDE, 3)
        assert picture.dtype == np.uint8
        assert 0 <= alpha.min() <= alpha.max() <= 1
        assert alpha.max() > 0.99
        grey = picture.mean(-1)
        assert grey[alpha > 0.99].mean() > grey[alpha < 0.01].mean() + 30


def test_colours_that_cannot_be_seen_make_no_halo(tmp_path):
    """A white disc whose transparent pixels are black, on white: whatever its size and turn, all is white."""
    y, x = np.mgrid[-1:1:60j, -1:1:60j]
    alpha = (6 * (0.8 - np.hypot(x, y))).clip(0, 1)
    pixels = np.dstack([np.where(alpha[..., None] > 0, 255, [0, 0, 0]), alpha * 255]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "disc.png")
    composer = Composer(Stock([], [], [], [CutOut.read(tmp_path / "disc.png")]), SIDE, 0, {"composite": 1.0})
    for _ in range(8):
        image, alpha = composer._placed(composer.stock.alpha_cutouts[0], 2.5)
        assert image[alpha > 0].min() >= 254


def test_a_composite_is_background_and_object_by_its_alpha(stock, monkeypatch):
    monkeypatch.setattr(Composer, "_harmonised", lambda self, image, alpha, scene: image)
    monkeypatch.setattr(Composer, "_shadowed", lambda self, picture, alpha: picture)
    monkeypatch.setattr(Composer, "_scene", lambda self: np.full((SIDE, SIDE, 3), 20, np.uint8))
    composer = Composer(stock, SIDE, 0, {"composite": 1.0})
    for _ in range(12):
        picture, alpha = composer.composite()
        np.testing.assert_allclose(picture[..., 0], 20 + 230 * alpha, atol=1.01)


def test_pictures_follow_from_their_seed(stock):
    first, again, other = (composites(stock, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for pair in zip(first, again, strict=True) for a, b in zip(*pair, strict=True))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


@pytest.fixture
def packages(tmp_path) -> Packages:
    rng = np.random.default_rng(0)
    for number in range(60):
        for view in ("", "-2"):
            stamp(tmp_path / STAMPS / "animals" / f"kind{chr(97 + number % 26)}{number // 26 * 'x'}{view}.png", rng)
    stamp(tmp_path / STAMPS / "animals" / "flat.png", None)
    stamp(tmp_path / STAMPS / "animals" / "cartoon" / "kinda-3.png", rng)
    return Packages(tmp_path)


def stamp(path, rng) -> None:
    noise = rng.integers(0, 255, (60, 60, 3)) if rng else np.full((60, 60, 3), 90)
    path.parent.mkdir(parents=True, exist_ok=True)
    alpha = np.full((60, 60, 1), 255)
    Image.fromarray(np.concatenate([noise, alpha], -1).astype(np.uint8), "RGBA").save(path)


def test_drawings_are_left_out_and_kinds_stay_together(packages):
    parts = packages.cut_outs()
    names = {part: {path.stem for path in paths} for part, paths in parts.items()}
    assert sum(map(len, names.values())) == 120
    assert len(names["test"]) == 40
    assert len(names["development"]) == 24
    kinds = {part: {name.removesuffix("-2") for name in each} for part, each in names.items()}
    assert sum(map(len, kinds.values())) == 60
    assert len(set.union(*kinds.values())) == 60


def test_backgrounds_have_one_part_each(tmp_path):
    for folder, names in BACKGROUNDS.items():
        for name in names.split():
            inside = f"{name}/contents/images/2560x1600" if folder.endswith("/wallpapers") else name
            path = tmp_path / folder / f"{inside}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    parts = Packages(tmp_path).backgrounds()
    count = sum(len(names.split()) for names in BACKGROUNDS.values())
    assert (len(parts["test"]), len(parts["development"])) == (count // 5, count // 10)
    assert len({path for paths in parts.values() for path in paths}) == count


def test_our_own_photographs_have_one_part_each():
    needs(DATA / "sod" / "images")
    parts = split()
    paths = [path for each in parts.values() for path in each]
    assert len(paths) == len(set(paths))
    names = [path.stem for path in parts["test"]]
    assert names[:6] == ["0003", "girl", "im_01", "im_27", "rifle1", "vangogh"]
    assert len(names) == 12
    assert [path.stem for path in parts["shown"]] == ["astronaut"]
    assert {"chelsea", "rocket"} <= {path.stem for path in parts["learn"]}
