import json
import stat
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from softsde.plotting import (
    distances_figure,
    image_grid,
    plot_curves,
    plot_distances,
    plot_levels,
    plot_metrics,
    plot_neighbours,
    save_grid,
    save_png,
    trajectory_strip,
)


def read(path):
    with Image.open(path) as image:
        return np.array(image), dict(image.info)


def test_grid_places_every_pixel():
    images = np.array([[[0, 51]], [[102, 153]], [[204, 255]]], np.uint8)[..., None]
    grid = image_grid(images, columns=2, pad=1)[..., 0]
    w = 255
    np.testing.assert_array_equal(
        grid,
        [
            [w, w, w, w, w, w, w],
            [w, 0, 51, w, 102, 153, w],
            [w, w, w, w, w, w, w],
            [w, 204, 255, w, w, w, w],
            [w, w, w, w, w, w, w],
        ],
    )
    # Floats in [0, 1] give the same bytes.
    np.testing.assert_array_equal(
        image_grid(jnp.asarray(images / np.float32(255)), columns=2)[..., 0], grid
    )


def test_grid_scale_is_nearest_and_leaves_the_padding():
    images = np.array([[[[0], [100]]]], np.uint8)
    grid = image_grid(images, scale=2, pad=3)[..., 0]
    assert grid.shape == (2 + 6, 4 + 6)
    np.testing.assert_array_equal(grid[3:5, 3:7], [[0, 0, 100, 100]] * 2)
    assert (grid[:3] == 255).all() and (grid[:, 7:] == 255).all()


def test_grid_clips_rounds_and_shows_what_is_not_finite():
    image = np.array([[-0.5, 0.0, 0.5, 1.0, 7.0, 0.998]], np.float32)[None, ..., None]
    grid = image_grid(image, pad=0)
    np.testing.assert_array_equal(grid[0, :, 0], [0, 0, 128, 255, 255, 254])
    image[0, 0, 2] = np.nan
    image[0, 0, 4] = -np.inf
    grid = image_grid(image, pad=0)
    magenta, black, white = [255, 0, 255], [0, 0, 0], [255] * 3
    np.testing.assert_array_equal(
        grid[0], [black, black, magenta, white, magenta, [254] * 3]
    )


def test_grid_keeps_colours():
    rgb = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3)).astype(np.uint8)
    grid = image_grid(rgb, columns=3, pad=0)
    np.testing.assert_array_equal(grid[2:4, 3:6], rgb[4])
    np.testing.assert_array_equal(grid[0:2, 6:9], rgb[2])
    assert (grid[2:4, 6:9] == 255).all()


def test_labels_are_under_their_images():
    images = np.zeros((3, 4, 40, 1), np.uint8)
    plain = image_grid(images, columns=3, pad=0)
    labelled = image_grid(images, columns=3, pad=0, labels=["", "M", "MMMMMMMMMMMM"])
    np.testing.assert_array_equal(labelled[:4], plain)
    ink = (255 - labelled[4:, :, 0].astype(int)).reshape(-1, 3, 40).sum(axis=(0, 2))
    # A text too long is cut, and does not run into the neighbour.
    assert ink[0] == 0 and 0 < 2 * ink[1] < ink[2]


def test_trajectory_strip_shows_first_and_last():
    # Level 10 i + t at time t of sample i.
    levels = (10 * np.arange(3)[:, None] + np.arange(9)).astype(np.uint8)
    trajectory = np.tile(levels[..., None, None, None], (1, 1, 2, 2, 1))
    strip = trajectory_strip(trajectory, frames=3, pad=0)
    np.testing.assert_array_equal(
        strip[::2, ::2, 0], [[0, 4, 8], [10, 14, 18], [20, 24, 28]]
    )
    one = trajectory_strip(trajectory[1], frames=100, pad=0)
    np.testing.assert_array_equal(one[0, ::2, 0], 10 + np.arange(9))


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_png_round_trip(tmp_path, channels):
    shape = (7, 5) if channels is None else (7, 5, channels)
    array = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    path = save_png(tmp_path / "new" / "a.png", array)
    pixels, _ = read(path)
    np.testing.assert_array_equal(pixels, array[..., 0] if channels == 1 else array)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


def test_grid_file_has_the_title_above_the_grid(tmp_path):
    images = np.random.default_rng(2).random((4, 8, 8, 3)).astype(np.float32)
    title = "64 samples, uncurated — Momentum, 100 steps"
    path = save_grid(str(tmp_path / "g.png"), images, columns=2, scale=3, title=title)
    pixels, info = read(path)
    grid = image_grid(images, columns=2, scale=3)
    height, width = grid.shape[:2]
    np.testing.assert_array_equal(pixels[-height:, :width], grid)
    assert (pixels[:-height] < 128).any()
    assert info["Title"] == title


def test_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_png(path, np.zeros((4, 4), np.uint8))
    before = path.read_bytes()

    def fail_halfway(self, file, **kwargs):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail_halfway)
    with pytest.raises(OSError, match="disk full"):
        save_png(path, np.ones((4, 4), np.uint8))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_as_readable_as_any_other(tmp_path):
    other = tmp_path / "other"
    other.touch()
    path = save_png(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


def test_neighbours_are_in_the_row_of_their_sample(tmp_path):
    samples = np.arange(2, dtype=np.uint8)[:, None, None, None] * np.uint8(10)
    samples = np.tile(samples, (1, 40, 40, 1))
    neighbours = np.stack([samples + np.uint8(1), samples + np.uint8(2)], axis=1)
    path = plot_neighbours(
        samples, neighbours, tmp_path / "n.png", scale=1, title="n",
        distances=np.array([[0.5, 1.0], [0.25, 2.0]]),
    )  # fmt: skip
    pixels, info = read(path)
    assert info["Title"] == "n"
    top = pixels.shape[0] - 2 * (40 + 16 + 2)
    middles = pixels[[top + 20, top + 20 + 58]][:, [22, 64, 106]]
    np.testing.assert_array_equal(middles, [[0, 1, 2], [10, 11, 12]])
    # One neighbour each may do without its axis, and the title says the space.
    path = plot_neighbours(samples, neighbours[:, 0], path, space="classifier features")
    assert "classifier features" in read(path)[1]["Title"]


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def drawn(monkeypatch):
    """Collects the figures that `plot_metrics` makes."""
    from matplotlib.figure import Figure

    figures = []
    init = Figure.__init__

    def remember(self, *args, **kwargs):
        figures.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "__init__", remember)
    return figures


def test_metrics_are_drawn_as_written(tmp_path, drawn):
    run = tmp_path / "my_run"
    run.mkdir()
    source = run / "metrics.jsonl"
    write_lines(
        source,
        [
            {"step": 1, "loss": 4.0, "note": "text", "ok": True},
            {"step": 2, "loss": 2.0, "accuracy": 0.5},
            {"step": 3, "loss": 9.0},
            # Resumed from step 2: step 3 is written again.
            {"step": 3, "loss": float("nan"), "accuracy": 0.75},
            {"event": "saved"},
        ],
    )
    with source.open("a") as file:
        file.write('{"step": 4, "lo')
    path = plot_metrics(source, tmp_path / "curves.png")
    assert read(path)[0].std() > 0
    (figure,) = drawn
    assert "my_run" in figure.get_suptitle()
    lines = {axes.get_title(): axes.lines[0].get_xydata() for axes in figure.axes}
    assert set(lines) == {"loss", "accuracy"}
    np.testing.assert_array_equal(lines["loss"], [[1, 4], [2, 2], [3, np.nan]])
    np.testing.assert_array_equal(lines["accuracy"], [[2, 0.5], [3, 0.75]])


def test_long_curves_have_their_running_median(tmp_path, drawn):
    source = tmp_path / "metrics.jsonl"
    # A parabola, and an outlier that a median passes over.
    records = [{"step": i, "loss": i * i / 100 + 1000 * (i == 70)} for i in range(200)]
    write_lines(source, records)
    plot_metrics(source, tmp_path / "curves.png", title="A title")
    (figure,) = drawn
    assert figure.get_suptitle() == "A title"
    raw, smooth = figure.axes[0].lines
    assert raw.get_ydata()[70] > 1000
    steps = np.arange(200)
    np.testing.assert_allclose(smooth.get_ydata(), steps**2 / 100, atol=8)


def test_metrics_refusals(tmp_path):
    source = tmp_path / "metrics.jsonl"
    write_lines(source, [{"step": 1, "loss": 1.0}])
    with pytest.raises(ValueError, match=r"metrics \['loss'\] .* not \['los'\]"):
        plot_metrics(source, tmp_path / "a.png", keys=["los"])
    source.write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        plot_metrics(source, tmp_path / "a.png")
    source.write_text("")
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_metrics(source, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_refusals(tmp_path):
    images = np.zeros((2, 4, 5, 1))
    with pytest.raises(ValueError, match=r"\(2, 4, 5\).*pass `images\[..., None\]`"):
        image_grid(images[..., 0])
    with pytest.raises(ValueError, match=r"\(4, 5, 1\).*pass `image\[None\]`"):
        image_grid(images[0])
    with pytest.raises(ValueError, match=r"\(0, 4, 5, 1\)"):
        image_grid(images[:0])
    with pytest.raises(TypeError, match="int64; expected floats"):
        image_grid(images.astype(np.int64))
    with pytest.raises(ValueError, match="`columns` is 0"):
        image_grid(images, columns=0)
    with pytest.raises(ValueError, match="`labels` has 1 entries for 2 images"):
        image_grid(images, labels=["a"])
    with pytest.raises(ValueError, match=r"`trajectory` has shape \(2, 4, 5\)"):
        trajectory_strip(images[..., 0])
    with pytest.raises(ValueError, match="use `save_grid`"):
        save_png(tmp_path / "a.png", np.zeros((2, 4, 5, 2), np.uint8))
    with pytest.raises(ValueError, match=r"pass `data\[indices\]`"):
        plot_neighbours(images, np.zeros((3, 1, 4, 5, 1)), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"`distances` has shape \(2, 2\)"):
        plot_neighbours(images, images, tmp_path / "a.png", distances=np.zeros((2, 2)))


def test_curves_are_drawn_as_given(as_a_user, tmp_path, drawn):
    x, values = np.array([0.0, 0.5, 1.0]), np.array([1.0, 10.0, 0.1])
    path = plot_curves(
        x, {"noise": values, "blur": 2 * values}, tmp_path / "c.png", logarithmic=True
    )
    assert read(path)[0].std() > 0
    (figure,) = drawn
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["noise"], np.stack([x, values], axis=1))
    np.testing.assert_array_equal(lines["blur"], np.stack([x, 2 * values], axis=1))
    assert axes.get_yscale() == "log"
    with pytest.raises(ValueError, match="no curves"):
        plot_curves(x, {}, tmp_path / "d.png")
    with pytest.raises(ValueError, match=r"'short' of shape \(2,\)"):
        plot_curves(x, {"short": values[:2]}, tmp_path / "d.png")


def test_distances_are_drawn_with_the_path_on_them(as_a_user, tmp_path, drawn):
    levels = np.array([0.0, 1.0, 3.0, 6.0])
    distances = np.abs(levels[:, None] - levels[None])
    path = plot_distances(distances, levels, (0, 2, 3), tmp_path / "d.png", title="D")
    assert read(path)[0].std() > 0
    (figure,) = drawn
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), distances)
    stair, corners = (line.get_xydata() for line in axes.lines)
    # Columns are where a step leads, rows where it comes from.
    np.testing.assert_array_equal(stair, [[0, 0], [2, 0], [2, 2], [3, 2], [3, 3]])
    np.testing.assert_array_equal(corners, [[2, 0], [3, 2]])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1", "3", "6"]
    with pytest.raises(ValueError, match=r"shape \(3, 3\) for 4 levels"):
        plot_distances(distances[:3, :3], levels, (0, 3), path)
    for wrong in ((0,), (0, 4), (2, 1), (-1, 2)):
        with pytest.raises(ValueError, match="two increasing indices below 4"):
            plot_distances(distances, levels, wrong, path)


def test_distances_with_times_have_a_panel_for_the_level():
    levels = np.array([0.0, 1.0, 3.0, 6.0])
    distances = np.abs(levels[:, None] - levels[None])
    figure = distances_figure(
        distances, levels, (0, 2, 3), times=np.array([0.2, 0.6, 1.0])
    )
    # At least 900 pixels for a panel.
    assert figure.get_size_inches()[0] * figure.dpi >= 1800
    right = figure.axes[1]
    line, dots = (line.get_xydata() for line in right.lines)
    np.testing.assert_array_equal(line, [[0, 0], [0.2, 0], [0.6, 3], [1, 6]])
    np.testing.assert_array_equal(dots, line[1:])
    assert (right.get_xlabel(), right.get_ylabel()) == ("time", "level")
    with pytest.raises(ValueError, match=r"times of shape \(2,\) for a path of 3"):
        distances_figure(distances, levels, (0, 2, 3), times=np.array([0.0, 1.0]))


def test_levels_are_in_columns_over_their_names(tmp_path):
    shades = np.arange(6, dtype=np.uint8).reshape(2, 3) * 20
    images = np.tile(shades[:, :, None, None, None], (1, 1, 40, 40, 1))
    path = plot_levels(images, np.array([0.5, 1, 2]), tmp_path / "l.png", scale=1)
    pixels, _ = read(path)
    middles = pixels[[1 + 20, 1 + 20 + 57]][:, [21, 62, 103]]
    np.testing.assert_array_equal(middles, shades)
    # Words under the last row, and none under the first.
    under = [pixels[1 + 40 : 1 + 56], pixels[1 + 57 + 40 : 1 + 57 + 56]]
    assert under[0].min() == 255 and under[1].min() < 100
    small = plot_levels(images[:, :, :8, :8], np.array([0.5, 1, 2]), path)
    assert read(small)[0].shape[1] == 3 * 41 + 1
    with pytest.raises(ValueError, match=r"expected `\(num, 2, height"):
        plot_levels(images, np.array([0.5, 1]), path)


def test_missing_extras_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"pillow: pip install 'softsde\[exper"):
        save_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    source = tmp_path / "metrics.jsonl"
    write_lines(source, [{"step": 1, "loss": 1.0}])
    with pytest.raises(ImportError, match="matplotlib: pip install 'softsde"):
        plot_metrics(source, tmp_path / "a.png")
