"""Sets and densities in the plane, side by side; densities on the line."""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.plotting.style import (
    DATA,
    DENSITY,
    SAMPLES,
    as_plane,
    bare,
    panels,
    styled,
    window_around,
)
from gen_jax.types import Array, Num

Window = tuple[float, float, float, float]
"""left, right, bottom, top, in data units."""


def _scatter(axes, points, window, colour, smallest):
    # Fewer points get larger, denser dots.
    area = float(np.clip(6000 / len(points), 1.0, 14.0))
    alpha = float(np.clip(2500 / len(points), 0.2, 0.8))
    axes.scatter(
        points[:, 0], points[:, 1], s=area, c=colour, alpha=alpha, linewidths=0, rasterized=True
    )
    bare(axes, window)


def _histogram(axes, points, window, colour, smallest):
    # One size of bins for all panels, coarse enough for the smallest set.
    bins = int(np.clip(np.sqrt(smallest) / 1.2, 24, 160))
    edges = [np.array(window[:2]), np.array(window[2:])]
    counts, *_ = np.histogram2d(points[:, 0], points[:, 1], bins=bins, range=edges)
    axes.imshow(counts.T, origin="lower", extent=window, cmap=DENSITY, interpolation="nearest")
    bare(axes, window)


KINDS = {"scatter": _scatter, "histogram": _histogram}


@styled
def point_panels(
    sets: Mapping[str, Num[Array | np.ndarray, "..."]],
    kind: str = "scatter",
    window: Window | None = None,
) -> Figure:
    """One panel per set of points [N, 2], titled by its name, all in one window.

    Args:
      sets: name -> points; the first is drawn as data, the others as samples.
      kind: "scatter" or "histogram".
      window: (left, right, bottom, top); by default around the first set, so that it does not
        follow stray samples.
    """
    check_choice("kind", kind, KINDS)
    if not sets:
        raise ConfigError("sets is empty; give at least one set of points")
    points = {name: as_plane(name, x) for name, x in sets.items()}
    window = window or window_around(next(iter(points.values())))
    smallest = min(len(x) for x in points.values())
    figure, axes = panels(len(points))
    for index, (axis, (name, x)) in enumerate(zip(axes, points.items())):
        KINDS[kind](axis, x, window, SAMPLES if index else DATA, smallest)
        axis.set_title(name)
    return figure


def evaluate_on_grid(
    log_density: Callable[[Array], Array], window: Window, resolution: int
) -> np.ndarray:
    """log_density [resolution, resolution] at the centres of the window's cells, row 0 lowest."""
    left, right, bottom, top = window
    centres = (np.arange(resolution) + 0.5) / resolution
    x, y = np.meshgrid(left + centres * (right - left), bottom + centres * (top - bottom))
    values = log_density(jnp.asarray(np.stack([x.ravel(), y.ravel()], 1), jnp.float32))
    return np.asarray(values).reshape(resolution, resolution)


@styled
def density_map(
    log_density: Callable[[Array], Array],
    window: Window,
    samples: Num[Array | np.ndarray, "..."] | None = None,
    resolution: int = 200,
    title: str = "",
) -> Figure:
    """exp(log_density) over a window, with samples [N, 2] on top if given.

    Args:
      log_density: x [B, 2] -> [B], normalised or not; called once with resolution^2 points.
      window: (left, right, bottom, top).
    """
    check_range("resolution", resolution, 2, integer=True)
    values = evaluate_on_grid(log_density, window, int(resolution))
    figure, (axes,) = panels(1, size=3.4)
    density = np.exp(values - np.nanmax(values))
    axes.imshow(density, origin="lower", extent=window, cmap=DENSITY, interpolation="bilinear")
    if samples is not None:
        points = as_plane("samples", samples)
        axes.scatter(points[:, 0], points[:, 1], s=3, c="white", alpha=0.5, linewidths=0)
    bare(axes, window)
    axes.set_title(title)
    return figure


@styled
def density_curve(
    log_density: Callable[[Array], Array],
    window: tuple[float, float],
    samples: Num[Array | np.ndarray, "N"] | Num[Array | np.ndarray, "N 1"] | None = None,
    resolution: int = 400,
    title: str = "",
) -> Figure:
    """exp(log_density) over an interval, with the histogram of samples under it if given.

    Both have integral 1 over the window.

    Args:
      log_density: x [B, 1] -> [B], normalised or not; called once with `resolution` points.
      window: (left, right); samples [N] or [N, 1] beyond it are not drawn.
    Raises ConfigError when there is nothing in the window.
    """
    check_range("resolution", resolution, 2, integer=True)
    x = np.linspace(*window, int(resolution))
    values = np.asarray(log_density(jnp.asarray(x[:, None], jnp.float32)), np.float64)
    density = np.exp(values - np.nanmax(values))
    figure, (axes,) = panels(1, size=3.4)
    if samples is not None:
        points = np.asarray(samples, np.float64).ravel()
        points = points[(points >= window[0]) & (points <= window[1])]
        if len(points) == 0:
            raise ConfigError(f"no samples in window={window}")
        bins = int(np.clip(np.sqrt(len(points)) / 1.2, 12, 120))
        axes.hist(points, bins, density=True, color=SAMPLES, alpha=0.35, range=window, linewidth=0)
    axes.plot(x, density / np.trapezoid(density, x), color=DATA)
    axes.set(xlim=window, ylim=(0, None), ylabel="density", title=title)
    return figure
