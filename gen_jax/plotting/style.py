"""One look for every picture: colour-blind safe colours, thin axes, text legible at README size.

Figures are plain `matplotlib.figure.Figure` objects: no pyplot state, no display needed. In a
notebook, `%matplotlib inline` shows a figure that ends a cell.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError
from gen_jax.types import Array, Float, Num
from gen_jax.writing import replacing

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, distinct to nearly everybody; beyond seven, vary the marker."""

MARKERS = "osD^vPX"
DATA, SAMPLES = "#4D4D4D", COLOURS[0]
DENSITY = "magma"
DPI = 144

STYLE = {
    "axes.edgecolor": "#4D4D4D",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "image.cmap": DENSITY,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "xtick.color": "#4D4D4D",
    "xtick.labelsize": 9,
    "ytick.color": "#4D4D4D",
    "ytick.labelsize": 9,
}


def styled(function: Callable) -> Callable:
    """Run a drawing function under `STYLE`, leaving matplotlib's own settings alone."""

    @functools.wraps(function)
    def drawing(*args, **kwargs):
        with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
            return function(*args, **kwargs)

    return drawing


def panels(count: int, columns: int | None = None, size: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A figure of `count` square panels of `size` inches, row by row; unused places stay empty."""
    columns = min(count, columns or 5)
    rows = -(-count // columns)
    figure = Figure((columns * size, rows * size + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[count:]:
        unused.remove()
    return figure, list(axes[:count])


def bare(axes: Axes, window: tuple[float, float, float, float]) -> None:
    """A picture of the plane: equal scales, a thin frame, no ticks or grid."""
    axes.set(xlim=window[:2], ylim=window[2:], aspect="equal", xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set(visible=True, linewidth=0.6, color="#9A9A9A")


def save(figure: Figure, path: str | os.PathLike, dpi: int = DPI) -> Path:
    """Write a figure as png, svg or pdf by the ending, making its folder; returns the path."""
    path = Path(path)
    if path.suffix[1:].lower() not in figure.canvas.get_supported_filetypes():
        raise ConfigError(f"path={str(path)!r} must end in .png, .svg or .pdf")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        figure.savefig(file, dpi=dpi)
    return path


def as_plane(
    name: str, points: Num[Array | np.ndarray, "..."], axes: str = "[N, 2]"
) -> Float[np.ndarray, "..."]:
    """Points of the plane as float64; raises ConfigError unless their shape is as `axes` says."""
    points = np.asarray(points, np.float64)
    if points.ndim != axes.count(",") + 1 or points.shape[-1] != 2 or points.size == 0:
        raise ConfigError(f"{name} has shape {points.shape}; it must be {axes}")
    return points


def window_around(*sets: Num[np.ndarray, "..."]) -> tuple[float, float, float, float]:
    """A square (left, right, bottom, top) around 99.8 % of all points, with a margin of 12 %."""
    points = np.concatenate([s.reshape(-1, 2) for s in sets])
    points = points[np.isfinite(points).all(1)]
    if len(points) == 0:
        raise ConfigError("no finite points to draw")
    low, high = np.quantile(points, [0.001, 0.999], axis=0)
    centre = (low + high) / 2
    half = max(float((high - low).max()) / 2 * 1.12, 1e-6)
    return (centre[0] - half, centre[0] + half, centre[1] - half, centre[1] + half)
