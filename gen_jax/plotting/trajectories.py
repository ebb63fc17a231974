"""Paths of particles in the plane, and the fields that move them."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError, check_choice
from gen_jax.plotting.densities import Window
from gen_jax.plotting.style import (
    COLOURS,
    DATA,
    as_plane,
    bare,
    panels,
    styled,
    window_around,
)
from gen_jax.types import Array, Float, Num

MAX_PATHS = 250


@styled
def trajectory_plot(
    points: Num[Array | np.ndarray, "..."], window: Window | None = None, title: str = ""
) -> Figure:
    """Paths of N particles over T times, points [T, N, 2]: from open dots to filled ones.

    At most 250 evenly chosen paths are drawn as lines; the ends of all are shown.
    """
    points = as_plane("points", points, "[T, N, 2]")
    figure, (axes,) = panels(1, size=3.8)
    chosen = points[:, :: -(-points.shape[1] // MAX_PATHS)]
    paths = LineCollection(list(chosen.swapaxes(0, 1)), colors=DATA, linewidths=0.5, alpha=0.35)
    axes.add_collection(paths)
    dot = float(np.clip(3000 / points.shape[1], 3, 14))
    axes.scatter(
        points[0, :, 0],
        points[0, :, 1],
        s=dot,
        facecolors="white",
        edgecolors=COLOURS[1],
        linewidths=0.7,
        label="start",
    )
    axes.scatter(
        points[-1, :, 0], points[-1, :, 1], s=dot, c=COLOURS[0], linewidths=0, label="end", zorder=3
    )
    bare(axes, window or window_around(points))
    figure.legend(loc="outside lower center", ncols=2, markerscale=1.5, handletextpad=0.1)
    axes.set_title(title)
    return figure


@styled
def field_panels(
    velocity: Callable[[Array, Array], Array],
    times: Sequence[float] | Float[Array | np.ndarray, "n"],
    window: Window,
    kind: str = "quiver",
    points: Num[Array | np.ndarray, "..."] | None = None,
    resolution: int = 17,
) -> Figure:
    """One panel per time of a velocity field over a window.

    Args:
      velocity: `(x [B, 2], t [B]) -> [B, 2]`.
      times: the t of each panel.
      window: (left, right, bottom, top).
      kind: "quiver" (arrows, one scale per panel) or "stream" (field lines).
      points: particles at these times [len(times), N, 2], drawn beneath.
      resolution: arrows along each axis.
    """
    check_choice("kind", kind, ("quiver", "stream"))
    if len(times) == 0:
        raise ConfigError("times is empty; give at least one")
    if points is not None:
        points = as_plane("points", points, "[len(times), N, 2]")
        if len(points) != len(times):
            raise ConfigError(f"points are given at {len(points)} times; need {len(times)}")
    figure, axes = panels(len(times))
    x, y = np.meshgrid(
        np.linspace(*window[:2], resolution + 2)[1:-1],
        np.linspace(*window[2:], resolution + 2)[1:-1],
    )
    grid = jnp.asarray(np.stack([x.ravel(), y.ravel()], 1), jnp.float32)
    for index, (axis, t) in enumerate(zip(axes, times)):
        if points is not None:
            axis.scatter(
                points[index, :, 0], points[index, :, 1], s=3, c=COLOURS[5], alpha=0.5, linewidths=0
            )
        field = np.asarray(velocity(grid, jnp.full(len(grid), t, jnp.float32)))
        u, v = field.T.reshape(2, *x.shape)
        if kind == "quiver":
            axis.quiver(x, y, u, v, angles="xy", color=DATA, width=0.005, pivot="mid")
        else:
            axis.streamplot(x, y, u, v, color=DATA, linewidth=0.7, arrowsize=0.7, density=0.9)
        bare(axis, window)
        axis.set_title(f"t = {float(t):.2g}")
    return figure
