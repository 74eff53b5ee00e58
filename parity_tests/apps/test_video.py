"""`u2zoo video`: times, sound, alpha and colours of real encoded videos."""
# ruff: noqa: F401, F811 - fixtures are imported, and found by their names

import itertools

import numpy as np
import pytest
from PIL import Image
from support.videos import (
    UNEVEN,
    av,
    film,
    frames,
    levels,
    one_thread,
    pictures,
    psnr,
    samples_of,
    session,
    sound_of,
    source,
    times,
    view,
)

from u2net_zoo.apps import cutout, replace
from u2net_zoo.apps.video import Smoother, VideoJob
from u2net_zoo.apps.video.reading import Frame, VideoReader
from u2net_zoo.apps.video.smoothing import CutDetector

FEW = (0, 40, 80, 120)


@pytest.fixture(scope="module")
def cut(source, session) -> list[Image.Image]:
    """The cut-out of every frame as PNG files hold it: exact pixels, the mask as alpha."""
    VideoJob(source, source.parent / "png").run(session)
    return [Image.open(file) for file in sorted((source.parent / "png").glob("*.png"))]


def first(path) -> Image.Image:
    """The first frame as the network and the applications get it: upright, RGB."""
    with VideoReader(path) as reader:
        return next(item.image for item in reader if isinstance(item, Frame))


# Frames, times and sound


@pytest.mark.parametrize(("name", "show"), [("o.mp4", "mask"), ("o.mov", "cutout"), ("o.webm", "cutout")])
def test_every_frame_keeps_its_time_at_a_variable_rate(name, show, source, session, tmp_path):
    summary = VideoJob(source, tmp_path / name, show=show).run(session)
    assert times(tmp_path / name) == times(source)  # fractions: exact
    assert [float(t) for t in times(source)] == [t / 1000 for t in UNEVEN]
    last = frames(tmp_path / name)[-1]
    assert float((last.pts + last.duration) * last.time_base) == pytest.approx(0.6, abs=1e-9) == summary.seconds
    assert (summary.frames, summary.fps, summary.size) == (12, 20.0, (160, 120))


def test_a_folder_has_the_times_beside_the_frames(cut, source):
    lines = (source.parent / "png" / "timestamps.txt").read_text().splitlines()
    assert lines == ["# timestamp format v2", *map(str, UNEVEN)]
    assert len(cut) == 12


@pytest.mark.parametrize("name", ["o.mp4", "o.mov", "folder"])
def test_sound_is_copied_byte_for_byte(name, source, session, tmp_path):
    summary = VideoJob(source, tmp_path / name, show="mask").run(session)
    written = tmp_path / name / "audio.mka" if name == "folder" else tmp_path / name
    assert sound_of(written) == sound_of(source)
    assert summary.audio == [{"codec": "aac", "how": "copied"}]


def test_sound_that_webm_does_not_take_is_encoded_at_full_length(source, session, tmp_path):
    summary = VideoJob(source, tmp_path / "o.webm", show="mask").run(session)
    assert summary.audio == [{"codec": "opus", "how": "encoded"}]
    assert samples_of(tmp_path / "o.webm") == samples_of(source)


def test_pcm_from_avi_is_encoded_for_mp4(session, tmp_path):
    """AVI names no channel layout, which encoders refuse; FFmpeg's MP4 list names PCM, and then refuses to write it."""
    film(tmp_path / "in.avi", FEW, codec="mjpeg", pixels="yuvj420p", sound="pcm_s16le", colour=(6, 2))
    summary = VideoJob(tmp_path / "in.avi", tmp_path / "o.mp4", show="mask").run(session)
    assert summary.audio == [{"codec": "aac", "how": "encoded"}]
    assert 0 <= samples_of(tmp_path / "o.mp4") - samples_of(tmp_path / "in.avi") < 2 * 1024  # AAC's frames are whole


def test_no_audio_leaves_the_sound_out(source, session, tmp_path):
    assert VideoJob(source, tmp_path / "o.mp4", show="mask", audio=False).run(session).audio == []
    with av.open(str(tmp_path / "o.mp4")) as video:
        assert not video.streams.audio


# Pictures


def test_a_folder_holds_each_frames_own_mask_as_alpha(cut, session, source):
    for picture, frame in zip(cut, pictures(source), strict=True):
        assert np.array_equal(picture, cutout(frame, session.mask(frame)))


@pytest.mark.parametrize(
    ("name", "decoder", "mean", "worst"),
    [
        ("o.mov", None, 0.6, 1),  # measured 0.47 and 1: 8 bits through ProRes' 10
        ("o.webm", "libvpx-vp9", 2.0, 20),  # measured 1.20 and 11 of 255
    ],
)
def test_alpha_reads_back_from_the_file(name, decoder, mean, worst, cut, source, session, tmp_path):
    VideoJob(source, tmp_path / name).run(session)
    read = [np.asarray(f.reformat(format="rgba").to_ndarray()[..., 3], int) for f in frames(tmp_path / name, decoder)]
    errors = [np.abs(a - np.asarray(picture, int)[..., 3]) for a, picture in zip(read, cut, strict=True)]
    assert np.mean(errors) < mean
    assert np.max(errors) <= worst


@pytest.mark.parametrize(("name", "mean"), [("o.mp4", 2.0), ("o.mov", 0.6)])
def test_masks_are_grey_levels(name, mean, cut, source, session, tmp_path):
    VideoJob(source, tmp_path / name, show="mask").run(session)
    errors = [np.abs(a - np.asarray(p)[..., 3]) for a, p in zip(levels(tmp_path / name), cut, strict=True)]
    assert np.mean(errors) < mean


def test_masks_in_a_folder_are_what_the_command_for_photographs_writes(cut, source, session, tmp_path):
    VideoJob(source, tmp_path / "png", show="mask").run(session)
    for file, picture in zip(sorted((tmp_path / "png").glob("*.png")), cut, strict=True):
        mask = Image.open(file)
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), np.asarray(picture)[..., 3])


@pytest.mark.parametrize(("name", "least"), [("o.mp4", 30), ("o.mov", 38), ("o.webm", 32)])
def test_a_coloured_background_stands_behind_the_object(name, least, cut, source, session, tmp_path):
    VideoJob(source, tmp_path / name, show="replace", background="#00b140").run(session)
    for frame, picture, read in zip(pictures(source), cut, pictures(tmp_path / name), strict=True):
        assert psnr(replace(frame, picture.getchannel("A"), "#00b140"), read) > least


@pytest.mark.parametrize("background", ["blur:5", "back.png"])
def test_backgrounds_are_those_of_photographs(background, cut, source, session, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (30, 400), "navy").save("back.png")
    VideoJob(source, tmp_path / "png", show="replace", background=background).run(session)
    wanted = replace(pictures(source)[3], cut[3].getchannel("A"), background)
    assert np.array_equal(Image.open("png/000004.png"), wanted)


@pytest.mark.parametrize(("degrees", "mirrored"), [(90, False), (-90, False), (180, False), (0, True), (90, True)])
def test_a_phones_video_comes_out_upright(degrees, mirrored, session, tmp_path):
    film(tmp_path / "in.mp4", (0,), rotation=(degrees, mirrored), sound=None)
    VideoJob(tmp_path / "in.mp4", tmp_path / "o.mov", show="replace", background="black").run(session)
    turned = np.rot90(view(0), degrees // 90)  # counter-clockwise, and mirrored after it: PyAV's convention
    upright = turned[:, ::-1] if mirrored else turned
    assert psnr(first(tmp_path / "in.mp4"), upright) > 35  # H.264 itself
    (frame,) = frames(tmp_path / "o.mov")
    assert (frame.width, frame.height, frame.rotation) == (upright.shape[1], upright.shape[0], 0)


@pytest.mark.parametrize("colour", [(1, 1), (6, 1), (9, 1), (1, 2)], ids=["709", "601", "2020", "709 full range"])
def test_matrix_and_range_are_read_and_kept(colour, session, tmp_path):
    solid = np.full((120, 160, 3), (200, 30, 60), np.uint8)
    film(tmp_path / "in.mp4", (0, 40), views=[solid, solid], colour=colour, sound=None)
    VideoJob(tmp_path / "in.mp4", tmp_path / "o.mp4", show="replace", background="#c81e3c").run(session)
    assert np.abs(np.asarray(first(tmp_path / "in.mp4"), int) - solid).max() <= 3
    frame = frames(tmp_path / "o.mp4")[0]
    assert (frame.colorspace, frame.color_range) == colour
    assert np.abs(np.asarray(pictures(tmp_path / "o.mp4")[0], int) - solid).max() <= 4


def test_ten_bits_are_read(tmp_path):
    film(tmp_path / "in.mp4", FEW, codec="libx265", pixels="yuv420p10le", sound=None)
    assert psnr(first(tmp_path / "in.mp4"), view(0)) > 28  # x265 at its default


def test_odd_sides_are_padded_for_h264_only_and_said(session, tmp_path):
    film(tmp_path / "in.webm", (0, 40), codec="libvpx-vp9", size=(161, 121), sound=None)
    padded = VideoJob(tmp_path / "in.webm", tmp_path / "o.mp4", show="mask").run(session)
    kept = VideoJob(tmp_path / "in.webm", tmp_path / "o.mov").run(session)
    assert (padded.size, padded.padded, kept.size, kept.padded) == ((162, 122), True, (161, 121), False)


# Smoothing


def still(level: int) -> Image.Image:
    return Image.new("L", (4, 4), level)


def test_smoothing_is_an_exponential_moving_average():
    smoother, photograph = Smoother(0.75), Image.fromarray(view(0))
    steps = [smoother(photograph, still(level)).getpixel((0, 0)) for level in (0, 200, 200, 40)]
    assert steps == [0, 50, 88, 76]  # 0; 0.75·0 + 50; 0.75·50 + 50 = 87.5; 0.75·87.5 + 10 = 75.6


def test_smoothing_starts_anew_at_a_cut_and_not_under_a_moving_camera():
    from skimage.data import chelsea

    smoother = Smoother(0.5)
    for i in range(4):
        smoother(Image.fromarray(view(i)), still(200))  # differences of 13 levels; the cut: 60
    assert smoother.cuts == 0
    other = Image.fromarray(255 - chelsea()[:240:2, :320:2])
    assert smoother(other, still(0)).getpixel((0, 0)) == 0
    assert smoother.cuts == 1


def test_motion_that_is_fast_but_steady_is_no_row_of_cuts():
    """Stripes that move by their own width with each frame: every frame is 100 levels from the one before."""
    stripes = np.tile(np.repeat(np.uint8([50, 150]), 32), (36, 1))
    frames = [Image.fromarray(np.roll(stripes, 32 * i, axis=1)) for i in range(5)]
    is_cut = CutDetector()
    assert [is_cut(frame) for frame in frames] == [False, True, False, False, False]  # it begins with a jump


def test_smoothing_calms_flicker_in_a_video(session, tmp_path):
    still_views = [view(0)] * 4
    noise = np.random.default_rng(0).integers(-40, 41, (4, *view(0).shape))
    noisy = [np.clip(v + n, 0, 255).astype(np.uint8) for v, n in zip(still_views, noise, strict=True)]
    film(tmp_path / "in.mp4", FEW, views=noisy, sound=None)
    flicker = {}
    for smooth in (0.0, 0.8):
        VideoJob(tmp_path / "in.mp4", tmp_path / f"png{smooth:.0f}", show="mask", smooth=smooth).run(session)
        masks = [
            np.asarray(Image.open(f).convert("L"), float) for f in sorted((tmp_path / f"png{smooth:.0f}").glob("*.png"))
        ]
        flicker[smooth] = np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(masks)])
    assert flicker[0.8] < 0.35 * flicker[0.0]
