"""Restore degraded test images by a trained diffusion or flow-matching run: posterior samples.

    python -m experiments.diffusion
    python -m experiments.restore runs/diffusion-digits
    python -m experiments.restore runs/diffusion-digits --operator super_resolution --solver dps

Images are in [-1, 1] for the operator, and so is `--noise-std`. Writes `restore.json` and a picture
in the run directory: images, measurements (as A^+ y), samples, their mean and standard deviation.

Guides that differentiate the network fail from the path's own end, where its gradient does not
vanish: they start at --sigma-max.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.option_types import Count, Positive
from experiments.shared.provenance import compare, in_report
from experiments.shared.registry import Saved
from experiments.shared.restoration import (
    OPERATORS,
    RestoreOptions,
    make_operator,
    measured,
    restored,
    write_restored,
)
from experiments.shared.runner import rebuild
from experiments.shared.solvers import PARTICLES, STEPPERS, by_particles, solver_options
from gen_jax import data, diffusion, training
from gen_jax.errors import ConfigError, check_choice
from gen_jax.frozen import parts_of
from gen_jax.inverse import GUIDES
from gen_jax.ranges import check_ranges


@dataclass(frozen=True)
class Config(RestoreOptions):
    """Which run, what is measured of the images, and how they are restored."""

    solver: str = "pseudo_inverse_guidance"
    """dps, pseudo_inverse_guidance, moment_matching, proximal, null_space, ddrm, replacement,
    repaint or twisted_smc"""
    stepper: str = "ddim"
    """Sampler of the solvers that are guides."""
    num_steps: Count = 50
    sigma_max: Positive = 5.0
    """Noise level sigma / alpha that the guides start from: above it the gradient of a trained
    network is magnified."""
    resamples: Count = 5
    """Of repaint."""
    particles: Count = 64
    """Of twisted_smc, for each image."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is read."""
        check_choice("operator", self.operator, OPERATORS)
        check_choice("solver", self.solver, (*GUIDES, *STEPPERS, PARTICLES))
        check_choice("stepper", self.stepper, diffusion.STEPPERS)
        check_ranges(self)
        if self.solver in ("replacement", "repaint") and self.operator != "inpainting":
            raise ConfigError(f"solver={self.solver!r} is for operator='inpainting' alone")


def restore(
    config: Config, saved: Saved, test: dict[str, np.ndarray]
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Numbers, and the rows of the picture, for test images."""
    parts, _ = parts_of(saved.model, saved.state, diffusion.Parts)
    operator, x = make_operator(config, saved.spec.shape), test["x"]
    key_noise, key_draw = jax.random.split(jax.random.key(config.seed))
    y = measured(key_noise, operator, x, config.noise_std)
    if config.solver == PARTICLES:
        how = {n: getattr(config, n) for n in ("draws", "particles", "num_steps", "sigma_max")}
        drawn = by_particles(key_draw, saved, operator, y, config.noise_std, **how)
    else:
        many = jnp.repeat(y, config.draws, 0)
        options = solver_options(config, parts, operator, many)
        options["num_steps"] = config.num_steps
        draw = lambda key, state: saved.model.sample(key, state, len(many), **options)
        drawn = jax.jit(draw)(key_draw, saved.state)
    each = np.asarray(drawn).reshape(len(x), config.draws, *x.shape[1:])
    return restored(saved, operator, config.noise_std, x, y, each, test.get("y"))


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint)
    if saved.spec.kind != "images" or not isinstance(saved.model.parts, diffusion.Parts):
        raise ConfigError(f"run {config.run!r} is no diffusion or flow-matching run on images")
    path = training.check_writable("restore", saved.directory / "restore.json")
    changed = compare(saved, config.allow_changed_data)
    test = data.examples(saved.spec.name, "test", config.num)
    numbers, rows = restore(config, saved, test)
    report: dict[str, Any] = {
        "operator": config.operator,
        "solver": config.solver,
        "noise_std": config.noise_std,
        "num_steps": config.num_steps,
        **in_report(changed),
        **numbers,
    }
    write_restored(saved, path, report, rows, "restored")


if __name__ == "__main__":
    training.run_main(main)
