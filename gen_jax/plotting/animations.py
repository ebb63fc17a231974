"""Animated GIFs of a sampling path."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gen_jax.errors import ConfigError, check_range
from gen_jax.plotting.densities import Window
from gen_jax.plotting.grids import as_images, image_grid
from gen_jax.plotting.style import SAMPLES, as_plane, bare, panels, styled, window_around
from gen_jax.types import Array, Num
from gen_jax.writing import replacing

MAX_FRAMES = 48
DURATION, HOLD = 70, 1500
"""Milliseconds of a frame, and of the last one."""


def _chosen(num_times: int, max_frames: int) -> np.ndarray:
    """At most `max_frames` evenly spaced times, the first and the last among them."""
    check_range("max_frames", max_frames, 2, integer=True)
    return np.unique(
        np.linspace(0, num_times - 1, min(num_times, int(max_frames))).round().astype(int)
    )


def _few_colours(frames: Sequence[np.ndarray], colours: int) -> list[Image.Image]:
    """Frames in one palette: even grey levels, or the colours that best cover eight of them."""
    if frames[0].shape[-1] == 1:
        step = 255 / (colours - 1)
        return [
            Image.fromarray((np.round(f[..., 0] / step) * step).astype(np.uint8)) for f in frames
        ]
    typical = [frames[i] for i in _chosen(len(frames), 8)]
    # Maximum coverage keeps rare colours, such as the text, and white exactly white.
    mosaic = Image.fromarray(np.concatenate(typical))
    palette = mosaic.quantize(colours, Image.Quantize.MAXCOVERAGE)
    none = Image.Dither.NONE
    return [Image.fromarray(f).quantize(palette=palette, dither=none) for f in frames]


def write_gif(path: str | os.PathLike, frames: Sequence[np.ndarray], colours: int) -> Path:
    """Frames uint8 [H, W, 1 or 3] as an endless GIF of few colours, one palette for all frames."""
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ConfigError(f"path={str(path)!r} must end in .gif")
    pictures = _few_colours(frames, colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [DURATION] * (len(pictures) - 1) + [HOLD]
    rest: dict[str, Any] = {"save_all": True, "append_images": pictures[1:], "optimize": True}
    with replacing(path) as file:
        pictures[0].save(file, duration=durations, loop=0, **rest)
    return path


def image_animation(
    path: str | os.PathLike,
    images: Array | np.ndarray,
    columns: int | None = None,
    scale: int | None = None,
    max_frames: int = MAX_FRAMES,
) -> Path:
    """GIF of a grid of N images over T times, images uint8 [T, N, H, W, C]; returns the path."""
    images = as_images("images", images, "[T, N, H, W, C]")
    times = _chosen(len(images), max_frames)
    frames = [image_grid(images[t], columns, scale) for t in times]
    return write_gif(path, frames, colours=64 if images.shape[-1] == 1 else 256)


@styled
def point_animation(
    path: str | os.PathLike,
    points: Num[Array | np.ndarray, "..."],
    window: Window | None = None,
    times: Sequence[float] | Num[Array | np.ndarray, "T"] | None = None,
    max_frames: int = MAX_FRAMES,
) -> Path:
    """GIF of N particles over T times, points [T, N, 2]; returns the path.

    Args:
      window: (left, right, bottom, top), by default around all points of the path.
      times: the time of each frame [T], printed above it.
    """
    points = as_plane("points", points, "[T, N, 2]")
    if times is not None and len(times) != len(points):
        raise ConfigError(f"times has {len(times)} entries; points have {len(points)}")
    figure, (axes,) = panels(1, size=3.2)
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    area = float(np.clip(6000 / points.shape[1], 1.5, 14.0))
    dots = axes.scatter(
        points[0, :, 0], points[0, :, 1], s=area, c=SAMPLES, alpha=0.6, linewidths=0
    )
    bare(axes, window or window_around(points))
    frames = []
    for index in _chosen(len(points), max_frames):
        dots.set_offsets(points[index])
        axes.set_title("" if times is None else f"t = {float(times[index]):.2f}")
        canvas.draw()
        frames.append(np.array(canvas.buffer_rgba())[..., :3])
    return write_gif(path, frames, colours=16)
