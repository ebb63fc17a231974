"""Restore degraded test images by a trained diffusion or flow-matching run: posterior samples.

    python -m experiments.diffusion
    python -m experiments.restore runs/diffusion-digits
    python -m experiments.restore runs/diffusion-digits --operator super_resolution --solver dps

Images are in [-1, 1] for the operator, and so is `--noise-std`. Writes `restore.json` and a picture
in the run directory: images, measurements (as A^+ y), samples, their mean and standard deviation.

Measured with the first two commands (50 digits, 8 draws, 50 steps of ddim; PSNR of the mean in dB,
and |y - A x| over its expectation): pseudo_inverse_guidance 15.7, 1.37; proximal 14.9, 0.95; dps
14.9, 0.66; moment_matching 14.6, 1.97; ddrm 15.9, 0.81; replacement 15.1, 0.53. From the path's own
end instead of --sigma-max 5: 11.6, 15.1, 7.3 and 10.2 dB for the first four.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
from experiments.shared.provenance import compare, in_report
from experiments.shared.registry import Saved
from experiments.shared.runner import rebuild
from gen_jax import data, diffusion, inverse, metrics, plotting, training
from gen_jax.errors import ConfigError, check_choice
from gen_jax.frozen import parts_of
from gen_jax.inverse import GUIDES, LinearOperator, Operator
from gen_jax.ranges import check_ranges

OPERATORS: dict[str, Callable[..., LinearOperator | Operator]] = {
    "inpainting": lambda c, shape: inverse.inpainting(seen(c, shape)),
    "uncropping": lambda c, shape: inverse.uncropping(shape, c.border),
    "colourisation": lambda c, shape: inverse.colourisation(shape),
    "super_resolution": lambda c, shape: inverse.super_resolution(shape, c.factor),
    "blur": lambda c, shape: inverse.blur(shape, inverse.gaussian_kernel(5, c.blur_std)),
    "jpeg": lambda c, shape: inverse.jpeg(shape, c.quality),
}
"""Operators with the options of the command line: `(config, shape) -> operator`."""

STEPPERS = ("ddrm", "replacement", "repaint")
"""Solvers that are samplers of their own."""

SHOWN, DRAWS_SHOWN = 12, 3


@dataclass(frozen=True)
class Config:
    """Which run, what is measured of the images, and how they are restored."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a run of diffusion or flow matching on images."""
    operator: str = "inpainting"
    """inpainting, uncropping, colourisation, super_resolution, blur or jpeg"""
    solver: str = "pseudo_inverse_guidance"
    """dps, pseudo_inverse_guidance, moment_matching, proximal, null_space, ddrm, replacement or
    repaint"""
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
    num: Annotated[int, *within(2, MAX_COUNT)] = 50
    """Test images."""
    draws: Count = 8
    """Posterior samples of each."""
    stepper: str = "ddim"
    """Sampler of the solvers that are guides."""
    num_steps: Count = 50
    sigma_max: Positive = 5.0
    """Noise level sigma / alpha that the guides start from: above it the gradient of a trained
    network is magnified."""
    resamples: Count = 5
    """Of repaint."""
    seed: Seed = 0
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is read."""
        check_choice("operator", self.operator, OPERATORS)
        check_choice("solver", self.solver, (*GUIDES, *STEPPERS))
        check_choice("stepper", self.stepper, diffusion.STEPPERS)
        check_ranges(self)
        if self.solver in ("replacement", "repaint") and self.operator != "inpainting":
            raise ConfigError(f"solver={self.solver!r} is for operator='inpainting' alone")


def seen(config: Config, shape: tuple[int, ...]) -> np.ndarray:
    """The upper rows of every channel."""
    rows = np.arange(shape[0]) < round(shape[0] * (1 - config.hidden))
    return np.broadcast_to(rows[:, None, None], shape)


def solver_options(config: Config, parts: diffusion.Parts, operator: Any, y: Any) -> dict[str, Any]:
    """The options of `model.sample` that solve for measurements y [n, *measured]."""
    std, shape = parts.options.data_std, parts.options.shape
    if config.solver == "ddrm":
        return {"stepper": inverse.ddrm(operator, y, config.noise_std)}
    if config.solver in STEPPERS:
        mask, plain = seen(config, shape), diffusion.STEPPERS[config.stepper]()
        known = operator.pseudo_inverse(y)
        if config.solver == "replacement":
            return {"stepper": inverse.replacement(plain, mask, known)}
        return {"stepper": inverse.repaint(plain, mask, known, config.resamples)}
    guide = GUIDES[config.solver]
    solve = lambda denoise, y: guide(denoise, parts.path, operator, y, config.noise_std, std)
    return {
        "guide": solve,
        "given": y,
        "stepper": config.stepper,
        "sigma_max": config.sigma_max,
    }


def psnr(guess: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each image, grey levels 0 .. 255."""
    square = ((guess.astype(np.float64) - x) ** 2).reshape(len(x), -1).mean(1)
    return 10 * np.log10(255**2 / np.maximum(square, 1e-10))


def restore(config: Config, saved: Saved, x: np.ndarray) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Numbers, and the rows of the picture, for test images x [N, H, W, C]."""
    parts, _ = parts_of(saved.model, saved.state, diffusion.Parts)
    operator = OPERATORS[config.operator](config, tuple(saved.spec.shape))
    key_noise, key_draw = jax.random.split(jax.random.key(config.seed))
    u = jnp.asarray(x, jnp.float32) / 127.5 - 1
    clean = operator.apply(u)
    y = clean + config.noise_std * jax.random.normal(key_noise, clean.shape)
    many = jnp.repeat(y, config.draws, 0)
    options = solver_options(config, parts, operator, many)
    drawn = np.asarray(
        jax.jit(
            lambda key, state: saved.model.sample(
                key, state, len(many), num_steps=config.num_steps, **options
            )
        )(key_draw, saved.state)
    )
    each = drawn.reshape(len(x), config.draws, *x.shape[1:])
    mean, std = each.astype(np.float64).mean(1), each.astype(np.float64).std(1)
    back = np.clip(np.asarray(operator.pseudo_inverse(y) + 1) * 127.5, 0, 255)
    gap = operator.apply(jnp.asarray(drawn, jnp.float32) / 127.5 - 1) - many
    scale = config.noise_std * np.sqrt(gap[0].size)
    report: dict[str, Any] = {
        "psnr_mean": metrics.mean_and_error(psnr(mean, x)),
        "psnr_sample": metrics.mean_and_error(psnr(each[:, 0], x)),
        "psnr_pseudo_inverse": metrics.mean_and_error(psnr(back, x)),
        "std_over_draws": metrics.mean_and_error(std.reshape(len(x), -1).mean(1)),
    }
    if scale > 0:
        sizes = np.linalg.norm(np.asarray(gap).reshape(len(many), -1), axis=1) / scale
        report["agreement"] = metrics.mean_and_error(sizes.reshape(len(x), -1).mean(1))
    rows = [x, back, *(each[:, i] for i in range(min(DRAWS_SHOWN, config.draws))), mean, 2 * std]
    return report, [np.clip(np.round(row), 0, 255).astype(np.uint8) for row in rows]


def label_accuracy(saved: Saved, images: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Share of images that the metrics' classifier gives the right label, where there is one."""
    try:
        extractor = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        return {}
    right = (extractor.predict(images) == np.asarray(y)).astype(float)
    return {"label_accuracy": metrics.mean_and_error(right)}


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint)
    if saved.spec.kind != "images" or not isinstance(saved.model.parts, diffusion.Parts):
        raise ConfigError(f"run {config.run!r} is no diffusion or flow-matching run on images")
    path = training.check_writable("restore", saved.directory / "restore.json")
    changed = compare(saved, config.allow_changed_data)
    test = data.examples(saved.spec.name, "test", config.num)
    numbers, rows = restore(config, saved, test["x"])
    report: dict[str, Any] = {
        "operator": config.operator,
        "solver": config.solver,
        "noise_std": config.noise_std,
        "num_steps": config.num_steps,
        **in_report(changed),
        **numbers,
    }
    if "y" in test:
        report |= label_accuracy(saved, rows[2], test["y"])
    for name, value in report.items():
        print(f"{name:20s}  {value}")
    grid = plotting.image_grid(np.concatenate([row[:SHOWN] for row in rows]), columns=SHOWN)
    draws = ["sample"] * (len(rows) - 4)
    named = plotting.label_rows(grid, ["image", "A^+ y", *draws, "mean", "2 std"])
    picture = plotting.save_image(saved.directory / "samples" / "restored.png", named)
    training.write_json(path, report)
    print(f"picture: {picture}\nwritten: {path}")


if __name__ == "__main__":
    training.run_main(main)
