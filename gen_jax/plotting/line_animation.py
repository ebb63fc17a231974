"""Animated GIF of curves on a line: densities that change, and the maps that make them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gen_jax.errors import ConfigError
from gen_jax.plotting.animations import MAX_FRAMES, _chosen, write_gif
from gen_jax.plotting.style import COLOURS, DATA, styled
from gen_jax.types import Array, Float


def _as_frames(panels: Mapping[str, Mapping]) -> dict[str, dict[str, np.ndarray]]:
    """Every curve as [T, N], or [1, N] where it stands still; raises ConfigError for others."""
    frames = {
        title: {name: np.atleast_2d(np.asarray(y, np.float64)) for name, y in curves.items()}
        for title, curves in panels.items()
    }
    lengths = {len(y) for curves in frames.values() for y in curves.values()} - {1}
    if len(lengths) != 1:
        raise ConfigError(f"curves have {sorted(lengths)} frames; they must agree, two at least")
    return frames


@styled
def line_animation(
    path: str | os.PathLike,
    x: Mapping[str, Float[Array | np.ndarray, "N"]],
    panels: Mapping[str, Mapping[str, Float[Array | np.ndarray, "..."]]],
    captions: Sequence[str] = (),
    max_frames: int = MAX_FRAMES,
) -> Path:
    """GIF of curves over T times, one panel per title; returns the path.

    Args:
      x: title of a panel -> its abscissae [N].
      panels: title -> name -> ordinates [T, N], or [N] for a curve that stands still.
      captions: [T], printed above each frame.
    """
    frames = _as_frames(panels)
    num_times = max(len(y) for curves in frames.values() for y in curves.values())
    if captions and len(captions) != num_times:
        raise ConfigError(f"captions has {len(captions)} entries; the curves have {num_times}")
    figure = Figure((3.6 * len(frames), 3.0), layout="constrained")
    figure.set_dpi(100)
    canvas, moving = FigureCanvasAgg(figure), []
    for axes, (title, curves) in zip(
        figure.subplots(1, len(frames), squeeze=False)[0], frames.items()
    ):
        colours = iter(COLOURS)
        for name, y in curves.items():
            still = len(y) == 1
            style = {"color": DATA, "linestyle": ":"} if still else {"color": next(colours)}
            (line,) = axes.plot(x[title], y[0], label=name, **style)
            moving += [] if still else [(line, y)]
        low, high = (f([f(y) for y in curves.values()]) for f in (np.min, np.max))
        axes.set(ylim=(low - 0.05 * (high - low), high + 0.1 * (high - low)), title=title)
        axes.legend(loc="upper left")
    pictures = []
    for index in _chosen(num_times, max_frames):
        for line, y in moving:
            line.set_ydata(y[index])
        figure.suptitle(captions[index] if captions else "")
        canvas.draw()
        pictures.append(np.array(canvas.buffer_rgba())[..., :3])
    return write_gif(path, pictures, colours=16)
