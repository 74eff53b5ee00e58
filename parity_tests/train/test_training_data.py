"""What a training run is fed: pairs found and checked, pictures that follow from seed, epoch and pair alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.data import DATA, needs

from u2net_zoo.errors import InputError, OptionError, UnknownNameError
from u2net_zoo.preprocessing import get_profile
from u2net_zoo.train import pairs
from u2net_zoo.train.augment import Augment
from u2net_zoo.train.labels import Labels
from u2net_zoo.train.recipe import Recipe
from u2net_zoo.train.samples import Order, Samples
from u2net_zoo.train.schedule import rate_at, total_steps


@pytest.fixture
def found(eight) -> list[pairs.Pair]:
    """Eight real photographs, and masks of them."""
    return pairs.find(eight / "images", eight / "masks")


@pytest.fixture
def folders(tmp_path):
    """Three photographs of 20x12 with their masks."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 255, (12, 20, 3), np.uint8)).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray((rng.random((12, 20)) > 0.5).astype(np.uint8) * 255).save(tmp_path / "masks" / f"{i}.png")
    return tmp_path / "images", tmp_path / "masks"


def test_every_photograph_finds_its_mask(found):
    assert len(found) == 8
    assert all(pair.mask is not None and pair.mask.stem == pair.image.stem for pair in found)
    pairs.check(found)


def test_every_published_photograph_finds_its_mask():
    found = pairs.find(needs(DATA / "sod" / "images"), needs(DATA / "sod" / "u2net"))
    assert len(found) == 18
    assert all(pair.mask is not None and pair.mask.stem == pair.image.stem for pair in found)
    pairs.check(found)


def test_a_missing_mask_is_named(folders):
    images, masks = folders
    (masks / "1.png").unlink()
    with pytest.raises(
        InputError, match=r"no mask for 1\.png \(1 of 3 photographs\); add it, or take the photograph out"
    ):
        pairs.find(images, masks)


def test_what_is_wrong_with_all_masks_is_said_once(folders):
    images, masks = folders
    for mask in masks.iterdir():
        Image.new("RGB", (20, 12), (255, 0, 0)).save(mask)
    with pytest.raises(
        InputError, match=r"0\.png, .*1\.png, .*2\.png: the mask is not grey .*\(3 of 3 masks"
    ) as caught:
        pairs.check(pairs.find(images, masks))
    assert str(caught.value).count("not grey") == 1
    assert "swapped" not in str(caught.value)


@pytest.mark.parametrize("labels", [Labels(), Labels(("ground", "road"))])
def test_folders_that_are_swapped_are_asked_about(folders, labels):
    images, masks = folders
    with pytest.raises(InputError, match=r"masks cannot be used\); are photographs and masks swapped\?$"):
        pairs.check(pairs.find(masks, images), labels)


def test_a_mask_of_another_size_is_named_with_both_sizes(folders):
    images, masks = folders
    Image.new("L", (20, 13)).save(masks / "2.png")
    with pytest.raises(InputError, match=r"2\.png: the mask is 20x13, its photograph 20x12"):
        pairs.check(pairs.find(images, masks))


def test_a_mask_with_colours_is_refused_and_one_with_three_equal_channels_is_not(folders):
    images, masks = folders
    Image.open(masks / "0.png").convert("RGB").save(masks / "0.png")
    pairs.check(pairs.find(images, masks))
    Image.new("RGB", (20, 12), (255, 0, 0)).save(masks / "0.png")
    with pytest.raises(InputError, match=r"0\.png: the mask is not grey \(mode RGB\)"):
        pairs.check(pairs.find(images, masks))


def test_a_file_where_a_folder_is_asked_for_is_called_one(folders):
    with pytest.raises(InputError, match=r"0\.png: is a file; name the folder of pictures"):
        pairs.find(folders[0] / "0.png", folders[1])


def test_two_photographs_of_one_name_and_an_empty_folder_are_refused(folders, tmp_path):
    images, masks = folders
    Image.open(images / "0.png").save(images / "0.jpg")
    with pytest.raises(InputError, match="share a name"):
        pairs.find(images, masks)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no pictures in it"):
        pairs.find(tmp_path / "none", masks)


def test_a_mask_is_divided_by_its_maximum_as_the_authors_loader_does(folders):
    images, masks = folders
    Image.fromarray(np.eye(12, 20, dtype=np.uint8)).save(masks / "0.png")  # zeros and ones
    _, mask = pairs.read(pairs.find(images, masks)[0])
    assert np.array_equal(mask, np.eye(12, 20, dtype=np.float32))


def test_evaluation_input_is_the_papers_profile(found):
    pair = found[0]
    image, mask = pairs.read(pair)
    ours, _ = Augment(Recipe(), training=False)(image, mask, 0, 0)
    assert np.array_equal(ours, get_profile("paper").tensor(Image.open(pair.image), (320, 320))[0])


def test_the_authors_crop_is_a_window_of_the_resized_picture_and_its_mask_alike(found):
    image, mask = pairs.read(found[0])
    recipe = Recipe(flip="vertical")
    _, whole_mask = Augment(Recipe(size=320), training=False)(image, mask, 0, 0)
    offsets = set()
    for epoch in range(8):
        _, cut = Augment(recipe)(image, mask, epoch, 0)
        assert cut.shape == (1, 288, 288)
        places = [
            (top, left, turned)
            for turned, plane in ((False, whole_mask[0]), (True, whole_mask[0][::-1]))
            for top in range(33)
            for left in range(33)
            if np.array_equal(plane[top : top + 288, left : left + 288], cut[0])
        ]
        assert places
        offsets.add(places[0])
    assert len(offsets) > 3
    assert {turned for _, _, turned in offsets} == {False, True}


@pytest.mark.parametrize("augment", ["authors", "strong"])
def test_a_picture_follows_from_seed_epoch_and_pair_alone(augment, found):
    samples = [Samples(found[:3], Augment(Recipe(augment=augment, crop=64, size=80))) for _ in range(2)]
    samples[0][0, 0]  # another draw before it changes nothing
    first, second = samples[0][1, 2], samples[1][1, 2]
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.mask, second.mask)
    assert first.image.dtype == np.float32
    assert set(np.unique(first.mask)) - {0, 1} or first.mask.max() <= 1
    assert not np.array_equal(first.image, samples[0][2, 2].image)


def test_strong_augmentation_moves_photograph_and_mask_together(folders):
    ramp = np.tile(np.linspace(0, 255, 120, dtype=np.uint8), (90, 1))
    image = np.stack([ramp] * 3, axis=-1)
    augment = Augment(Recipe(augment="strong", crop=64))
    for epoch in range(6):
        drawn, mask = augment(image, (ramp > 127).astype(np.float32), epoch, 0)
        grey = drawn.mean(0)
        if 0 < mask.mean() < 1:
            assert grey[mask[0] > 0.5].mean() > grey[mask[0] < 0.5].mean() + 0.3


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_processes_together_hold_the_whole_batch(world):
    whole = list(Order(pairs=20, batch=6, seed=3, epoch=1))
    parts = [list(Order(20, 6, 3, 1, 0, rank, world)) for rank in range(world)]
    for step, keys in enumerate(whole):
        together = [key for rank in range(world) for key in parts[rank][step]]
        assert len({len(parts[rank][step]) for rank in range(world)}) == 1
        assert set(keys) <= set(together)
    assert sorted(index for keys in whole for _, index in keys) == list(range(20))


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    def order(seed: int, epoch: int) -> tuple[int, ...]:
        return tuple(index for keys in Order(20, 6, seed, epoch) for _, index in keys)

    assert len({order(seed, epoch) for seed in (3, 4) for epoch in range(4)}) == 8


def test_an_epoch_that_is_entered_late_goes_on_with_the_same_batches():
    assert list(Order(20, 6, 3, 1, first=2)) == list(Order(20, 6, 3, 1))[2:]
    assert len(Order(20, 6, 3, 1, first=2)) == 2


def test_a_corrupt_photograph_is_named_and_the_next_one_takes_its_place(folders):
    images, masks = folders
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:60])
    found = pairs.find(images, masks)
    pairs.check(found)
    sample = Samples(found, Augment(Recipe(size=64, crop=64)))[0, 1]
    assert [name for name, _ in sample.skipped] == [str(images / "1.png")]
    assert sample.image.shape == (3, 64, 64)


def test_nothing_readable_at_all_is_an_error(folders):
    images, masks = folders
    for photograph in images.iterdir():
        photograph.write_bytes(b"not a picture")
    with pytest.raises(InputError, match="none of the 3 photographs can be read"):
        Samples(pairs.find(images, masks), Augment(Recipe()))[0, 0]


def test_validation_is_kept_aside_once_and_for_all():
    found = [pairs.Pair(Path(f"{i}.jpg"), Path(f"{i}.png")) for i in range(18)]
    learn, aside = pairs.split(found, 0.25, seed=5)
    assert (len(learn), len(aside)) == (14, 4)
    assert not {pair.image for pair in learn} & {pair.image for pair in aside}
    assert pairs.split(found, 0.25, seed=5) == (learn, aside)
    assert pairs.split(found, 0.25, seed=6) != (learn, aside)
    assert pairs.split(found, 0, seed=5) == (found, [])


def test_the_cosine_begins_at_the_rate_after_its_warmup_and_ends_at_a_hundredth():
    recipe = Recipe(rate=1e-3, schedule="cosine", warmup=10)
    rates = [rate_at(recipe, step, 100) for step in range(101)]
    assert rates[0] < rates[5] < rates[10]
    assert max(rates) == pytest.approx(1e-3, rel=0.03)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(1e-5)
    assert {rate_at(Recipe(), step, 100) for step in range(100)} == {1e-3}


def test_the_default_recipe_is_the_authors():
    recipe = Recipe()
    assert (recipe.batch, recipe.rate, recipe.size, recipe.crop) == (12, 1e-3, 320, 288)
    assert (recipe.schedule, recipe.ema, recipe.clip, recipe.precision) == ("constant", 0.0, 0.0, "32-true")
    assert total_steps(recipe, 25) == 300  # 100 epochs of three batches


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(OptionError, match="batch 0; allowed: 1 to"):
        Recipe(batch=0)
    with pytest.raises(OptionError, match="crop 400 is larger than size 320"):
        Recipe(crop=400)
    with pytest.raises(UnknownNameError, match="did you mean 'cosine'"):
        Recipe(schedule="cosin")
