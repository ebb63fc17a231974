"""Figures show what they were given, at the expected size, and leave matplotlib's state alone."""

import json

import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from gen_jax import plotting
from gen_jax.errors import ConfigError, DataError
from gen_jax.plotting import (
    density_curve,
    density_map,
    field_panels,
    heat_map,
    point_panels,
    quality_versus_calls,
    read_metrics,
    save,
    training_curves,
    trajectory_plot,
    window_around,
)
from gen_jax.plotting.curves import moving_average

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(200, 2))
WINDOW = (-2.0, 2.0, -1.0, 3.0)
RECORDS = [{"step": 10 * i, "loss": 1 / (i + 1), "name": "x"} for i in range(40)]
RECORDS[5]["accuracy"] = 0.5
RESULTS = {
    "ddim": [(50, 1.0, 0.1), (10, 2.0, 0.2)],
    "heun": [(10, 1.5), (100, 0.5)],
}
FIGURES = {
    "scatter": lambda: point_panels({"data": POINTS, "samples": POINTS}),
    "histogram": lambda: point_panels({"data": POINTS}, kind="histogram"),
    "density": lambda: density_map(lambda x: -jnp.sum(x**2, 1), WINDOW, samples=POINTS),
    "curve": lambda: density_curve(lambda x: -(x[:, 0] ** 2), WINDOW[:2], POINTS[:, :1]),
    "trajectories": lambda: trajectory_plot(np.cumsum(RNG.normal(size=(9, 300, 2)), 0)),
    "quiver": lambda: field_panels(lambda x, t: -x * t[:, None], [1.0, 0.5], WINDOW),
    "stream": lambda: field_panels(
        lambda x, t: x[:, ::-1], [0.1], WINDOW, kind="stream", points=POINTS[None]
    ),
    "training": lambda: training_curves(RECORDS),
    "heat map": lambda: heat_map(np.array([[0.1, 1.0], [np.nan, 5.0]]), "ab", "cd", "distance"),
    "quality": lambda: quality_versus_calls(RESULTS, "Frechet distance", floor=0.4),
}


@pytest.mark.parametrize("name", FIGURES)
def test_writes_a_picture_of_its_size(name, tmp_path):
    before = dict(matplotlib.rcParams)
    figure = FIGURES[name]()
    path = save(figure, tmp_path / "new" / "figure.png", dpi=60)
    assert dict(matplotlib.rcParams) == before
    with Image.open(path) as picture:
        expected = figure.get_size_inches() * 60
        np.testing.assert_allclose(picture.size, expected, atol=1)
        assert len(picture.convert("L").getcolors()) > 10


def test_points_are_drawn_where_they_are():
    axes = point_panels({"data": POINTS, "samples": POINTS + 1}).axes
    np.testing.assert_array_equal(axes[1].collections[0].get_offsets(), POINTS + 1)
    assert [axis.get_title() for axis in axes] == ["data", "samples"]
    assert axes[0].get_xlim() == axes[1].get_xlim()


def test_density_is_laid_out_with_the_vertical_axis_upwards():
    """A density that rises with y and not with x is larger in the upper rows of the picture."""
    figure = density_map(lambda x: x[:, 1], WINDOW, resolution=8)
    image = figure.axes[0].images[0]
    assert image.origin == "lower"
    assert tuple(image.get_extent()) == WINDOW
    values = np.asarray(image.get_array())
    np.testing.assert_allclose(np.diff(np.log(values), axis=0), 4 / 8, rtol=1e-4)
    np.testing.assert_allclose(np.diff(values, axis=1), 0, atol=1e-6)


def test_density_curve_and_histogram_have_integral_one_over_the_window():
    """Of an unnormalised normal density, and of samples of which some lie outside."""
    samples = np.array([0.1, 0.1, 0.2, 0.9, 5.0])
    figure = density_curve(lambda x: 7 - x[:, 0] ** 2 / 2, (0.0, 1.0), samples)
    x, y = figure.axes[0].lines[0].get_xydata().T
    inside = norm.cdf(1) - norm.cdf(0)
    np.testing.assert_allclose(y, norm.pdf(x) / inside, rtol=1e-4)
    bars = figure.axes[0].patches
    heights = np.array([bar.get_height() for bar in bars])
    assert sum(heights) * bars[0].get_width() == pytest.approx(1)
    np.testing.assert_allclose(heights[heights > 0] / heights.max(), [1, 0.5, 0.5])


def test_field_has_the_directions_of_the_velocity():
    figure = field_panels(lambda x, t: x + t[:, None], [0.25], WINDOW, resolution=3)
    quiver = figure.axes[0].collections[0]
    np.testing.assert_allclose(quiver.U.ravel(), np.tile([-1, 0, 1], 3) + 0.25)
    np.testing.assert_allclose(quiver.V.ravel(), np.repeat([0, 1, 2], 3) + 0.25)


def test_window_is_square_and_ignores_strays():
    points = np.concatenate([RNG.uniform(-1, 1, size=(5000, 2)), [[1e6, 0], [0, np.inf]]])
    left, right, bottom, top = window_around(points)
    np.testing.assert_allclose(right - left, top - bottom)
    np.testing.assert_allclose([left, right], [-1.12, 1.12], atol=0.05)


def test_moving_average_of_a_line_is_the_line():
    line = np.arange(30.0)
    np.testing.assert_allclose(moving_average(line, 5)[2:-2], line[2:-2])
    np.testing.assert_allclose(moving_average(line, 5)[0], 1)


def test_training_curves_draw_the_numbers_there_are():
    figure = training_curves(RECORDS)
    assert [axis.get_title() for axis in figure.axes] == ["loss", "accuracy"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_xydata(), [[50, 0.5]])
    with pytest.raises(ConfigError, match="los"):
        training_curves(RECORDS, keys=["los"])
    with pytest.raises(ConfigError, match="no numbers"):
        training_curves([])


def test_quality_curves_are_ordered_by_calls_on_a_logarithmic_axis():
    axes = quality_versus_calls(RESULTS, "distance").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[10, 2.0], [50, 1.0]])
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert quality_versus_calls({"a": [(5, -1.0)]}, "d").axes[0].get_yscale() == "linear"


def test_heat_map_writes_every_finite_cell():
    figure = heat_map(np.array([[1.0, 2.0], [np.nan, 30.0]]), "ab", "cd", "distance")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "30"]
    shown = np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)
    np.testing.assert_array_equal(shown, [[1, 2], [np.nan, 30]])


def test_metrics_file_with_a_torn_last_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(json.dumps(r) for r in RECORDS[:3]) + '\n{"step": 30, "lo')
    assert read_metrics(path) == RECORDS[:3]
    path.write_text('{"step": 1\n{"step": 2}\n')
    with pytest.raises(DataError, match="line 1"):
        read_metrics(path)
    with pytest.raises(DataError, match="nowhere"):
        read_metrics(tmp_path / "nowhere.jsonl")


BAD = {
    "three dimensions": lambda: point_panels({"data": np.zeros((4, 3))}),
    "no set": lambda: point_panels({}),
    "unknown kind": lambda: point_panels({"data": POINTS}, kind="pie"),
    "path without time": lambda: trajectory_plot(POINTS),
    "only infinities": lambda: point_panels({"data": np.full((3, 2), np.inf)}),
    "no times": lambda: field_panels(lambda x, t: x, [], WINDOW),
    "points at other times": lambda: field_panels(
        lambda x, t: x, [0.5], WINDOW, points=np.zeros((2, 5, 2))
    ),
    "four numbers": lambda: quality_versus_calls({"a": [(1, 2, 3, 4)]}, "d"),
    "cells without a row": lambda: heat_map(np.ones((2, 2)), "a", "bc", "distance"),
    "logarithm of zero": lambda: heat_map(np.eye(2), "ab", "cd", "distance", log_scale=True),
    "no cell": lambda: heat_map(np.full((1, 2), np.nan), "a", "bc", "distance"),
    "no samples in the window": lambda: density_curve(
        lambda x: -(x[:, 0] ** 2), (5.0, 6.0), POINTS[:, 0]
    ),
    "format": lambda: save(point_panels({"data": POINTS}), "figure.exe"),
}


@pytest.mark.parametrize("name", BAD)
def test_mistakes_are_named(name):
    with pytest.raises(ConfigError):
        BAD[name]()


def test_every_public_name_resolves():
    assert all(hasattr(plotting, name) for name in plotting.__all__)


def test_traces_have_a_row_for_each_coordinate():
    samples = np.arange(60.0).reshape(10, 3, 2)
    figure = plotting.trace_plot(samples, chains=2)
    assert len(figure.axes) == 2
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), samples[:, 0, 1])
    with pytest.raises(ConfigError, match="must be"):
        plotting.trace_plot(samples[0])


def test_precision_and_recall_are_drawn_on_the_unit_square():
    ends = np.array([0.0, 0.5, 1.0])
    figure = plotting.precision_recall_curves({"a": (ends, 1 - ends), "b": (ends, 1 - ends**2)})
    (axes,) = figure.axes
    lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
    np.testing.assert_array_equal(lines["b"], np.stack([ends, 1 - ends**2], 1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("recall", "precision")
    with pytest.raises(ConfigError, match="curves"):
        plotting.precision_recall_curves({})
