"""What the experiments on inverse problems share: operators with their options, and numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.shared.option_types import (
    MAX_COUNT,
    Count,
    Positive,
    SavedStep,
    Seed,
    Share,
    within,
)
from experiments.shared.pictures import image_rows
from experiments.shared.provenance import compare
from experiments.shared.registry import Saved
from experiments.shared.runner import rebuild
from gen_jax import diffusion, inverse, metrics, plotting, training
from gen_jax.errors import ConfigError, check_choice
from gen_jax.inverse import LinearOperator, Operator
from gen_jax.types import Array, Float, Key


@dataclass(frozen=True, kw_only=True)
class OperatorOptions:
    """What is measured of images in [-1, 1]."""

    operator: str = "inpainting"
    """inpainting, uncropping, colourisation, super_resolution, blur or jpeg"""
    noise_std: Annotated[float, *within(0, 10)] = 0.1
    """Standard deviation of the measurement's noise, in units of [-1, 1]."""
    hidden: Share = 0.5
    """Share of the rows, from below, that inpainting hides."""
    border: Annotated[int, *within(0, MAX_COUNT)] = 2
    """Pixels of each side that uncropping hides."""
    factor: Count = 2
    """Of super-resolution."""
    blur_std: Positive = 1.0
    """In pixels."""
    quality: Annotated[int, *within(1, 100)] = 10
    """Of JPEG, 1 to 100."""


@dataclass(frozen=True, kw_only=True)
class RestoreOptions(OperatorOptions):
    """Which run restores how many images."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of the run."""
    num: Annotated[int, *within(2, MAX_COUNT)] = 50
    """Test images."""
    draws: Count = 8
    """Posterior samples of each."""
    seed: Seed = 0
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""


OPERATORS: dict[str, Callable[..., LinearOperator | Operator]] = {
    "inpainting": lambda o, shape: inverse.inpainting(seen(o, shape)),
    "uncropping": lambda o, shape: inverse.uncropping(shape, o.border),
    "colourisation": lambda o, shape: inverse.colourisation(shape),
    "super_resolution": lambda o, shape: inverse.super_resolution(shape, o.factor),
    "blur": lambda o, shape: inverse.blur(shape, inverse.gaussian_kernel(5, o.blur_std)),
    "jpeg": lambda o, shape: inverse.jpeg(shape, o.quality),
}
"""Operators with the options of the command line: `(options, shape) -> operator`."""


def seen(options: OperatorOptions, shape: tuple[int, ...]) -> np.ndarray:
    """The upper rows of every channel. Raises ConfigError where none is left."""
    rows = np.arange(shape[0]) < round(shape[0] * (1 - options.hidden))
    if not rows.any():
        raise ConfigError(f"hidden={options.hidden} hides all {shape[0]} rows (must leave one)")
    return np.broadcast_to(rows[:, None, None], shape)


def make_operator(options: OperatorOptions, shape: tuple[int, ...]) -> LinearOperator | Operator:
    """The operator on images of this shape; raises ConfigError where it cannot be."""
    check_choice("operator", options.operator, OPERATORS)
    return OPERATORS[options.operator](options, tuple(shape))


def symmetric(x: np.ndarray | Array) -> Float[Array, "N H W C"]:
    """Grey levels 0 .. 255 to [-1, 1]."""
    return jnp.asarray(x, jnp.float32) / 127.5 - 1


def levels(u: Any) -> Float[np.ndarray, "N H W C"]:
    """[-1, 1] to grey levels 0 .. 255, not rounded; what lies beyond is cut."""
    return np.clip((np.asarray(u, np.float64) + 1) * 127.5, 0, 255)


def measured(
    key: Key[Array, ""], operator: LinearOperator | Operator, x: Any, noise_std: float
) -> Float[Array, "N ..."]:
    """y = A u + noise_std z of images in grey levels."""
    clean = operator.apply(symmetric(x))
    return clean + noise_std * jax.random.normal(key, clean.shape)


def psnr(guess: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each image, grey levels 0 .. 255."""
    square = ((guess.astype(np.float64) - x) ** 2).reshape(len(x), -1).mean(1)
    return 10 * np.log10(255**2 / np.maximum(square, 1e-10))


def label_accuracy(saved: Saved, images: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Share of images that the metrics' classifier gives the right label, where there is one."""
    try:
        extractor = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        return {}
    right = (extractor.predict(images) == np.asarray(y)).astype(float)
    return {"label_accuracy": metrics.mean_and_error(right)}


def agreement(
    operator: LinearOperator | Operator, drawn: np.ndarray, y: Array, noise_std: float
) -> dict[str, Any]:
    """|y - A u| / (noise_std sqrt(M)) of draws [N, S, ...] in grey levels; 1 where they are exact.

    Without noise there is none.
    """
    if noise_std == 0:
        return {}
    n, draws = drawn.shape[:2]
    gap = operator.apply(symmetric(drawn)) - y[:, None]
    sizes = np.linalg.norm(np.asarray(gap).reshape(n, draws, -1), axis=2)
    sizes = sizes / (noise_std * np.sqrt(y[0].size))
    return {"agreement": metrics.mean_and_error(sizes.mean(1))}


def in_pixels(rows: list[np.ndarray]) -> list[np.ndarray]:
    """Rows of a picture, in whole grey levels."""
    return [np.clip(np.round(row), 0, 255).astype(np.uint8) for row in rows]


def restored_picture(path: Path, rows: list[np.ndarray]) -> Path:
    """The first images of the rows that `restored` returns, with their names."""
    grid = image_rows(rows, 12)
    draws = ["sample"] * (len(rows) - 4)
    named = plotting.label_rows(grid, ["image", "A^+ y", *draws, "mean", "2 std"])
    return plotting.save_image(path, named)


def restored(
    saved: Saved,
    operator: LinearOperator | Operator,
    noise_std: float,
    x: np.ndarray,
    y: Array,
    drawn: np.ndarray,
    labels: np.ndarray | None = None,
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What every experiment reports of draws [N, S, H, W, C] for test images x [N, H, W, C].

    Returns numbers, and rows of a picture: images, A^+ y, up to three draws, mean, two deviations.
    """
    mean, std = drawn.astype(np.float64).mean(1), drawn.astype(np.float64).std(1)
    back = levels(operator.pseudo_inverse(y))
    report: dict[str, Any] = {
        "psnr_mean": metrics.mean_and_error(psnr(mean, x)),
        "psnr_sample": metrics.mean_and_error(psnr(drawn[:, 0], x)),
        "psnr_pseudo_inverse": metrics.mean_and_error(psnr(back, x)),
        "std_over_draws_grey_levels": metrics.mean_and_error(std.reshape(len(x), -1).mean(1)),
        **agreement(operator, drawn, y, noise_std),
    }
    first = in_pixels([drawn[:, 0]])[0]
    if labels is not None:
        report |= label_accuracy(saved, first, labels)
    shown = [drawn[:, i] for i in range(min(3, drawn.shape[1]))]
    return report, in_pixels([x, back, *shown, mean, 2 * std])


def load_prior(directory: str, dataset: str) -> Saved:
    """The run of a diffusion model on the same data. Raises ConfigError, DataError."""
    saved = rebuild(directory)
    if saved.spec.name != dataset or not isinstance(saved.model.parts, diffusion.Parts):
        raise ConfigError(f"prior={directory!r} is no diffusion run on {dataset!r}")
    compare(saved)
    return saved


def by_ddrm(saved: Saved, operator: Any, y: Array, noise_std: float) -> dict[str, np.ndarray]:
    """DDRM with a diffusion model: the mean of eight draws, and one of them."""
    draws = 8
    stepper = inverse.ddrm(operator, jnp.repeat(y, draws, 0), noise_std)
    draw = lambda key, state: saved.model.sample(key, state, draws * len(y), stepper=stepper)
    drawn = np.asarray(jax.jit(draw)(jax.random.key(0), saved.state))
    each = drawn.reshape(len(y), draws, *drawn.shape[1:])
    return {"ddrm_mean": each.astype(np.float64).mean(1), "ddrm_sample": each[:, 0]}


def fit_report(
    x: np.ndarray, y: Any, guesses: dict[str, np.ndarray], found: inverse.Fitted
) -> dict[str, Any]:
    """PSNR of every guess in dB, and the steps of stop and best.

    Guesses are cut to the grey levels, which removes noise by itself; the mean square errors, in
    units of [-1, 1], are those before cutting.
    """
    errors, stop = np.asarray(found.errors), np.asarray(found.stop)
    gaps = np.asarray(y - symmetric(x)).reshape(len(x), -1)
    squares = {
        "noisy": (gaps**2).mean(1),
        "stop": np.take_along_axis(errors, stop[:, None], 1)[:, 0],
        "end": errors[:, -1],
        "best": errors.min(1),
    }
    report = {f"psnr_{n}": metrics.mean_and_error(psnr(g, x)) for n, g in guesses.items()}
    report |= {f"mse_{name}": metrics.mean_and_error(e) for name, e in squares.items()}
    return report | {"stop": stop.tolist(), "best": errors.argmin(1).tolist()}


def write_restored(
    saved: Saved, path: Path, report: dict[str, Any], rows: list[np.ndarray], picture: str
) -> None:
    """Print the numbers and write them; write `samples/PICTURE.png` in the run's directory."""
    width = max(map(len, report))
    for name, value in report.items():
        print(f"{name:{width}s}  {value}")
    drawn = restored_picture(saved.directory / "samples" / f"{picture}.png", rows)
    training.write_json(path, report)
    print(f"picture: {drawn}\nwritten: {path}")
