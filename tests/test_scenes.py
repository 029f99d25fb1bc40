import numpy as np
import pytest
import torch
from torch import nn

import seqebm
from seqebm import scenes, video
from seqebm.cells import make_cell

SHAPE = (10, 12)
VISIBLE = SHAPE[0] * SHAPE[1]
MARGIN, CAPTION, OUTLINE = 10, 20, 1
HEIGHT, WIDTH = 180, 216  # of a picture whose pixels are squares of 18


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def frames(n=1, time=8, seed=2):
    """Videos of noise, [n, time, visible]."""
    return torch.rand(n, time, VISIBLE, generator=generator(seed))


def filled(model):
    """The model with parameters so large that everything given to it matters."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator())
    return model


@pytest.fixture
def model():
    model = filled(seqebm.RTRBM(VISIBLE, 5))
    nn.init.normal_(model.hidden_to_hidden, std=10.0, generator=generator())
    return model


def panel(pictures, number):
    """The inside of one of several panels of equal size that stand beside each other."""
    top = 2 * MARGIN + CAPTION + OUTLINE
    left = MARGIN + number * (WIDTH + 2 * OUTLINE + MARGIN) + OUTLINE
    return pictures[:, top : top + HEIGHT, left : left + WIDTH]


def assert_panels(pictures, expected):
    """Panels under captions and nothing else; grey pictures are shown with three equal colours."""
    count = len(expected)
    time = len(expected[0])
    height = CAPTION + HEIGHT + 2 * OUTLINE + 3 * MARGIN
    width = count * (WIDTH + 2 * OUTLINE) + (count + 1) * MARGIN
    assert pictures.dtype == np.uint8
    assert pictures.shape == (time, height, width, 3)
    for number, shown in enumerate(expected):
        rgb = shown if shown.ndim == 4 else np.stack([shown] * 3, axis=-1)
        assert np.array_equal(panel(pictures, number), rgb)
        left = MARGIN + number * (WIDTH + 2 * OUTLINE + MARGIN)
        caption = pictures[:, MARGIN : MARGIN + CAPTION, left : left + WIDTH + 2 * OUTLINE]
        assert caption.max() > 150  # bright letters
        assert (caption == caption[:1]).all()


# --- many ------------------------------------------------------------------------------------


def test_one_video_is_shown_alone_and_large():
    shown = scenes.many(frames(1), SHAPE)
    assert np.array_equal(shown, video.pictures(frames(1)[0], SHAPE))
    assert shown.shape == (8, HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("n", "rows", "columns"), [(2, 1, 2), (3, 2, 2), (4, 2, 2), (5, 2, 3), (9, 3, 3), (10, 3, 4)]
)
def test_many_videos_are_in_a_grid_as_square_as_can_be(n, rows, columns):
    videos = frames(n)
    shown = scenes.many(videos, SHAPE)
    height, width = 120 + 2, 144 + 2  # a pixel becomes a square of 12, and a line around all
    assert shown.shape == (8, rows * height, columns * width, 3)
    for i in range(n):
        top, left = i // columns * height + 1, i % columns * width + 1
        for t in (0, 7):
            for y, x in ((0, 0), (3, 7), (9, 11)):
                level = round(float(videos[i, t, y * 12 + x]) * 255)
                square = shown[t, top + 12 * y : top + 12 * y + 12, left + 12 * x :][:, :12]
                assert (square == level).all()


def test_large_frames_keep_their_size_in_a_grid():
    assert scenes.many(torch.rand(2, 1, 130 * 140), (130, 140)).shape == (1, 132, 2 * 142, 3)


def test_wide_frames_stay_within_the_screen_in_a_grid():
    """As alone, where the longer side is at most 720."""
    assert max(scenes.many(torch.rand(1, 2, 200), (1, 200)).shape) <= 720
    assert max(scenes.many(torch.rand(2, 2, 200), (1, 200)).shape) <= 2 * (720 + 2)


def test_videos_need_the_shape_of_their_frames():
    for n in (1, 2):
        with pytest.raises(ValueError, match="shape"):
            scenes.many(frames(n), (10, 10))


# --- models and videos -----------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [1, 3, 7])
def test_a_continuation_begins_with_the_prompt(prompt, model):
    (truth,) = frames()
    shown = scenes.continuation(model, truth, prompt, SHAPE, generator())
    drawn = model.sample_means(8 - prompt, prefix=truth[None, :prompt], generator=generator())[0]
    assert not torch.equal(drawn, model.sample_means(8 - prompt, generator=generator())[0])
    continued = torch.cat([truth[:prompt], drawn])
    assert_panels(shown, [video.pictures(v, SHAPE) for v in (truth, continued)])
    left, right = panel(shown, 0), panel(shown, 1)
    assert np.array_equal(left[:prompt], right[:prompt])
    assert all((left[t] != right[t]).any() for t in range(prompt, 8))


def test_a_continuation_depends_on_the_generator_only(model):
    (truth,) = frames()
    state = torch.get_rng_state()
    first, second, other = (
        scenes.continuation(model, truth, 4, SHAPE, generator(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("prompt", [8, 9, 100])
def test_something_must_be_left_to_continue(prompt, model):
    with pytest.raises(ValueError, match="length"):
        scenes.continuation(model, frames()[0], prompt, SHAPE)


def test_a_prediction_with_its_error(model):
    (truth,) = frames()
    predicted = model.predict(truth[None])[0]
    assert_panels(
        scenes.prediction(model, truth, SHAPE),
        [
            video.pictures(truth, SHAPE),
            video.pictures(predicted, SHAPE),
            video.error_pictures(predicted - truth, SHAPE),
        ],
    )


def test_an_error_is_red_where_the_prediction_is_too_bright(model):
    dark = torch.zeros(3, VISIBLE)
    error = panel(scenes.prediction(model, dark, SHAPE), 2).astype(int)
    assert (error[..., 0] >= error[..., 2]).all()
    assert (error[..., 0] > error[..., 2]).any()


@pytest.mark.parametrize("with_clean", [False, True])
def test_denoising(with_clean, model):
    noisy, clean = frames()[0], frames(seed=3)[0]
    expected = [noisy, model.denoise(noisy[None])[0]] + [clean] * with_clean
    shown = scenes.denoising(model, noisy, SHAPE, clean if with_clean else None)
    assert_panels(shown, [video.pictures(v, SHAPE) for v in expected])


@pytest.mark.parametrize("with_clean", [False, True])
def test_a_comparison_can_be_made_piece_by_piece(with_clean, model):
    noisy, denoised, clean = frames(3)
    clean = clean if with_clean else None
    whole = scenes.comparison(noisy, denoised, SHAPE, clean)
    parts = [noisy, denoised, *([clean] if with_clean else [])]
    assert_panels(whole, [video.pictures(part, SHAPE) for part in parts])
    for t in range(8):
        piece = [None if part is None else part[t : t + 1] for part in (noisy, denoised, clean)]
        assert np.array_equal(scenes.comparison(*piece[:2], SHAPE, piece[2]), whole[t : t + 1])


@pytest.mark.parametrize(
    "build",
    [
        lambda: seqebm.RBM(VISIBLE, 4),
        lambda: seqebm.TRBM(VISIBLE, 4, order=2),
        lambda: seqebm.RTRBM(VISIBLE, 4, visible="gaussian"),
        lambda: seqebm.RNN(make_cell("gru", VISIBLE, 4)),
    ],
)
def test_every_model_can_be_shown(build):
    model, (truth,) = filled(build()), frames()
    panels = {
        2: [
            scenes.continuation(model, truth, 3, SHAPE, generator()),
            scenes.denoising(model, truth, SHAPE),
        ],
        3: [scenes.prediction(model, truth, SHAPE)],
    }
    for count, shown in panels.items():
        for pictures in shown:
            assert pictures.shape == (8, 232, count * (WIDTH + 12) + 10, 3)


def test_videos_and_shapes_must_fit_the_model(model):
    with pytest.raises(ValueError, match="shape"):
        scenes.prediction(model, frames()[0], (10, 10))
    with pytest.raises(ValueError, match="frames: expected"):
        scenes.prediction(model, torch.rand(8, 100), (10, 10))


# --- weights ---------------------------------------------------------------------------------


def inside(pictures, shown):
    """Whether a picture is somewhere in another one, line by line."""
    rgb = shown if shown.ndim == 4 else np.stack([shown] * 3, axis=-1)
    height, width = rgb.shape[1:3]
    tops, lefts = (
        range(a - b + 1) for a, b in zip(pictures.shape[1:3], (height, width), strict=True)
    )
    corner = (pictures[0] == rgb[0, 0, 0]).all(-1)
    return any(
        np.array_equal(pictures[:, y : y + height, x : x + width], rgb)
        for y in tops
        for x in lefts
        if corner[y, x]
    )


@pytest.mark.parametrize(
    ("build", "recurrent"),
    [
        (lambda: seqebm.RTRBM(VISIBLE, 7), lambda model: model.hidden_to_hidden),
        (lambda: seqebm.TRBM(VISIBLE, 7, order=2), lambda model: model.hidden_to_hidden[0]),
        (lambda: seqebm.TRBM(VISIBLE, 7, connections=("vv",)), None),
        (lambda: seqebm.RBM(VISIBLE, 7), None),
    ],
)
def test_weights_and_what_drives_them(build, recurrent):
    model = filled(build())
    shown = scenes.weights(model, SHAPE)
    assert len(shown) == 1
    fields = video.receptive_fields(model.weight, SHAPE)
    assert inside(shown, fields)
    if recurrent is None:
        assert shown.shape[2] == fields.shape[2] + 2 * OUTLINE + 2 * MARGIN
    else:
        assert inside(shown, video.weight_matrix(recurrent(model)))
        assert shown.shape[2] > fields.shape[2] + 70 + 3 * MARGIN


def test_a_stack_shows_the_weights_of_its_bottom_layer():
    layer = filled(seqebm.TRBM(VISIBLE, 5))
    shown = scenes.weights(seqebm.Stack([layer, seqebm.RBM(5, 3)]), SHAPE)
    assert np.array_equal(shown, scenes.weights(layer, SHAPE))


def test_only_the_first_units_are_shown():
    model = filled(seqebm.RTRBM(VISIBLE, 50))
    shown, fewer = scenes.weights(model, SHAPE), scenes.weights(model, SHAPE, count=5)
    assert inside(shown, video.weight_matrix(model.hidden_to_hidden[:36, :36]))
    assert inside(shown, video.receptive_fields(model.weight[:36], SHAPE))
    assert inside(fewer, video.weight_matrix(model.hidden_to_hidden[:5, :5]))
    assert inside(fewer, video.receptive_fields(model.weight[:5], SHAPE))


def test_a_network_has_no_weights_to_show():
    with pytest.raises(ValueError, match=r"^model: expected one with RBM weights, got RNN$"):
        scenes.weights(seqebm.RNN(make_cell("lstm", VISIBLE, 4)), SHAPE)


# --- the gallery -----------------------------------------------------------------------------


@pytest.fixture
def gallery(model, tmp_path, monkeypatch):
    """The pictures of a gallery of videos of 12 frames by file name, and what it says of them."""
    saved = {}
    monkeypatch.setattr(video, "save", lambda path, shown: saved.update({path: shown}))
    texts = scenes.save_gallery(model, frames(2, time=12), SHAPE, tmp_path)
    assert [path.parent for path in saved] == [tmp_path] * len(saved)
    return {path.name: shown for path, shown in saved.items()}, texts


def test_a_gallery_has_one_file_of_each_kind(gallery):
    saved, texts = gallery
    names = ["continuation.mp4", "denoising.mp4", "prediction.mp4", "samples.mp4", "weights.png"]
    assert sorted(saved) == sorted(texts) == names
    assert all(texts.values())


def test_a_gallery_shows_the_given_videos(gallery, model):
    first, second = frames(2, time=12)
    saved, _ = gallery
    shown = saved["continuation.mp4"]
    assert np.array_equal(panel(shown, 0), panel(saved["denoising.mp4"], 2))
    assert np.array_equal(panel(shown, 0)[:, :, :, 0], video.pictures(first, SHAPE))
    assert np.array_equal(panel(shown, 1)[:10], panel(shown, 0)[:10])
    assert (panel(shown, 1)[10:] != panel(shown, 0)[10:]).any()
    assert np.array_equal(saved["prediction.mp4"], scenes.prediction(model, second, SHAPE))
    assert np.array_equal(saved["weights.png"], scenes.weights(model, SHAPE))
    assert saved["samples.mp4"].shape == (100, 3 * 122, 3 * 146, 3)


def test_a_gallery_destroys_some_pixels_of_a_video(gallery):
    shown = gallery[0]["denoising.mp4"]
    noisy, clean = (panel(shown, number)[:, ::18, ::18, 0] for number in (0, 2))
    changed = noisy != clean
    assert np.isin(noisy[changed], (0, 255)).all()
    share, n = 0.1, changed.size
    assert abs(changed.sum() - share * n) < 5 * (share * (1 - share) * n) ** 0.5


def test_a_gallery_is_the_same_each_time(gallery, model, tmp_path):
    saved, texts = gallery
    again = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "save", lambda path, shown: again.update({path.name: shown}))
        assert scenes.save_gallery(model, frames(2, time=12), SHAPE, tmp_path) == texts
    assert all(np.array_equal(again[name], saved[name]) for name in saved)
