"""Photographs as they come, and results as files."""

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image, ImageCms
from skimage.transform import resize
from support.applications import Photograph
from support.photographs import photograph

from u2net_zoo import Session
from u2net_zoo.apps import APPLICATIONS
from u2net_zoo.apps.batch.jobs import Job, jobs_of
from u2net_zoo.apps.batch.work import run_one
from u2net_zoo.apps.mask import Mask
from u2net_zoo.apps.saving import KINDS as KINDS_OF_RESULTS
from u2net_zoo.apps.saving import save
from u2net_zoo.cli.applications import COMMON, command_of
from u2net_zoo.errors import ImageError, InputError, OutputError
from u2net_zoo.photographs import read_image, to_rgb
from u2net_zoo.resizing import linear, skimage_linear

ORIENTATION, MAKER, THUMBNAIL = 0x0112, 0x010F, 0x0201


def woman(size: tuple[int, int] = (160, 107)) -> Image.Image:
    return photograph("astronaut.png").resize(size)


@pytest.fixture(scope="module")
def session(small_file):
    return Session(small_file)


@pytest.mark.parametrize("size", [(320, 320), (53, 97), (700, 41)])
@pytest.mark.parametrize("seen", [(160, 107), (1, 1), (900, 30), (333, 320)])
def test_bilinear_sampling_is_scikit_images_to_the_bit(seen, size):
    for pixels in (np.asarray(woman(seen)), np.asarray(woman(seen)) // 2 + 100):
        theirs = resize(pixels, size, order=1, mode="constant", anti_aliasing=False)
        np.testing.assert_array_equal(skimage_linear(pixels, size), theirs)
        theirs = resize(pixels / 1.0, size, order=1, mode="edge", anti_aliasing=False, preserve_range=True)
        np.testing.assert_array_equal(linear(pixels, size), theirs)


KINDS = {
    "jpg": {"quality": 95},
    "png": {},
    "webp": {"quality": 95},
    "tiff": {},
    "heic": {"quality": 95},
    "avif": {"quality": 95},
    "jp2": {},
    "bmp": {},
}


@pytest.mark.parametrize("suffix", KINDS)
def test_every_kind_of_file_is_read_upright(suffix, tmp_path):
    """A quarter turn that the file says is undone; lossy kinds stray by 2.1 to 2.8 of 255 (2026-11-26)."""
    if suffix == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turns = suffix not in ("bmp", "jp2")  # these hold no EXIF
    stored = woman().transpose(Image.Transpose.ROTATE_90) if turns else woman()
    stored.save(tmp_path / f"a.{suffix}", **KINDS[suffix], **({"exif": exif.tobytes()} if turns else {}))
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.size == woman().size
    assert np.abs(np.asarray(to_rgb(image), int) - np.asarray(woman(), int)).mean() < 3.5
    assert image.getexif().get(ORIENTATION, 1) == 1


def test_heic_is_found_without_being_asked_for(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(woman()).save(tmp_path / "a.heic")
    code = f"from u2net_zoo.photographs import read_image; print(read_image({str(tmp_path / 'a.heic')!r}).size)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "(160, 107)\n"


def test_sixteen_bits_and_floats_become_eight_in_bands_as_at_once():
    wide = np.asarray(woman((40, 600)).convert("L"), np.uint16) * 257
    np.testing.assert_array_equal(np.asarray(to_rgb(Image.fromarray(wide)))[..., 0], wide // 257)
    floats = Image.fromarray((wide / 65535).astype(np.float32))
    np.testing.assert_array_equal(np.asarray(to_rgb(floats))[..., 1], (wide / 65535 * 255).round())


def test_damaged_metadata_does_not_spoil_a_photograph(tmp_path):
    woman().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12nonsense")
    assert read_image(tmp_path / "a.jpg").size == (160, 107)


def test_profile_and_metadata_stay_with_pictures_but_not_with_masks(session, tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKER] = 6, "a maker"
    woman().save(tmp_path / "a.jpg", icc_profile=srgb, exif=exif.tobytes())
    outcome = run_one(session, Photograph(), Job(str(tmp_path / "a.jpg"), str(tmp_path / "b.png"), "a.jpg", named=True))
    assert outcome.files == {"": str(tmp_path / "b.png"), "_mask": str(tmp_path / "b_mask.png")}
    with Image.open(tmp_path / "b.png") as picture, Image.open(tmp_path / "b_mask.png") as mask:
        assert picture.size == mask.size == (107, 160)
        assert picture.info["icc_profile"] == srgb
        assert dict(picture.getexif()) == {MAKER: "a maker"}
        assert not {"icc_profile", "exif"} & set(mask.info)


def test_a_profile_for_ink_is_not_given_to_light(tmp_path):
    ink = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    ink[16:20] = b"CMYK"
    save(woman(), tmp_path / "a.png", ".png", {"icc_profile": bytes(ink)})
    assert "icc_profile" not in Image.open(tmp_path / "a.png").info


def test_a_tiff_files_own_storage_is_not_taken_for_metadata(session, tmp_path):
    exif = Image.Exif()
    exif[MAKER] = "a maker"
    woman().save(tmp_path / "a.tiff", exif=exif, compression="tiff_lzw")
    run_one(session, Photograph(), Job(str(tmp_path / "a.tiff"), str(tmp_path / "b.png"), "a.tiff", named=True))
    assert dict(Image.open(tmp_path / "b.png").getexif()) == {MAKER: "a maker"}


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_transparency_comes_back_as_it_was(suffix, tmp_path):
    picture = woman()
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    save(picture, tmp_path / f"a{suffix}", suffix)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"a{suffix}")), np.asarray(picture))


def test_transparency_is_not_lost_silently(session, tmp_path):
    woman().save(tmp_path / "a.png")
    job = Job(str(tmp_path / "a.png"), str(tmp_path / "b.jpg"), "a.png", named=True)
    with pytest.raises(OutputError, match=r"hold no transparency; name a .png, .webp or .tiff"):
        run_one(session, Photograph(clear=True), job)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_through_a_pipe_it_is_the_same_mask(session, small_file, tmp_path):
    woman().save(tmp_path / "a.png")
    run_one(session, Mask(), Job(str(tmp_path / "a.png"), str(tmp_path / "m.png"), "a.png", named=True))
    command = [sys.executable, "-m", "u2net_zoo", "mask", "-", "-o", "-", "--model", str(small_file)]
    piped = subprocess.run(command, input=(tmp_path / "a.png").read_bytes(), capture_output=True)
    assert (piped.returncode, piped.stderr) == (0, b"")
    assert piped.stdout == (tmp_path / "m.png").read_bytes()


def empty_png(width: int, height: int) -> bytes:
    """A PNG of that size by its header, with nothing in it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded():
    for size in ((20000, 8001), (60000, 60000)):
        with pytest.raises(ImageError, match="too many pixels"):
            read_image(io.BytesIO(empty_png(*size)))


@pytest.mark.parametrize(
    ("side", "most"),
    [(4000, 530), pytest.param(10000, 1600, marks=pytest.mark.full)],
    ids=["16 megapixels", "100 megapixels"],
)
def test_a_large_photograph_fits_into_memory(side, most, small_file, tmp_path):
    """Measured on 2026-11-26: 401 and 1203 MB, of which Torch is 250; a float64 copy alone would be 384 and 2400."""
    woman((side, side)).save(tmp_path / "a.jpg", quality=60)
    code = (
        "import resource, subprocess, sys;"
        "done = subprocess.run([sys.executable, '-m', 'u2net_zoo', *sys.argv[1:]]);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024); sys.exit(done.returncode)"
    )
    command = ["mask", tmp_path / "a.jpg", "-o", tmp_path / "m.png", "--model", small_file]
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < most


@pytest.fixture
def tree(tmp_path):
    for name in ("a.png", "a.jpg", "sub/b.png", "sub/deep/c.png", "notes.txt", ".hidden/d.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


def targets(jobs: list[Job], out) -> list[str]:
    return [job.target.removeprefix(f"{out}/") for job in jobs]


def test_folders_keep_their_shape_and_photographs_of_one_stem_their_suffix(tree, tmp_path):
    assert targets(jobs_of([str(tree)], "out", Mask()), "out") == ["a.jpg.png", "a.png.png"]
    deep = jobs_of([str(tree)], "out", Mask(), recursive=True)
    assert targets(deep, "out") == ["a.jpg.png", "a.png.png", "sub/b.png", "sub/deep/c.png"]
    inside = jobs_of([str(tree)], str(tree / "sub"), Mask(), recursive=True)
    assert len(inside) == 2  # results of an earlier run are no photographs


def test_globs_files_and_folders_go_together(tree):
    jobs = jobs_of([str(tree / "*.png"), str(tree / "a.jpg"), str(tree / "sub"), str(tree / "a.jpg")], "out", Mask())
    assert targets(jobs, "out") == ["a.png.png", "a.jpg.png", "b.png"]
    with pytest.raises(InputError, match="no such file or folder"):
        jobs_of([str(tree / "*.webp")], "out", Mask())


def test_two_results_of_one_name_are_refused(tree):
    (tree / "other").mkdir()
    (tree / "other" / "b.png").touch()
    with pytest.raises(OutputError, match="the result of both"):
        jobs_of(
            [str(tree / "sub" / "b.png"), str(tree / "other" / "b.png"), str(tree / "other" / "b.png")], "out", Mask()
        )


def test_a_file_cannot_take_several_results(tree):
    for out in ("m.png", "-"):
        with pytest.raises(OutputError, match="go into a folder"):
            jobs_of([str(tree)], out, Mask())


def test_an_applications_fields_are_options_of_its_command():
    alone = typer.Typer(add_completion=False)
    alone.command()(command_of(Photograph))
    options = {option.name: option for option in typer.main.get_command(alone).params}
    assert options["clear"].opts == ["--clear"]
    assert options["clear"].default is False
    assert options["model"].default == Path(Photograph.model)


def test_no_application_takes_a_name_that_all_commands_have():
    for kind in APPLICATIONS.values():
        assert not {field.name for field in fields(kind)} & set(COMMON), kind.name
        assert set(kind.suffixes) <= set(KINDS_OF_RESULTS)
