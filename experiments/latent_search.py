"""Restore degraded test images by the latents of a trained GAN or VAE: the nearest image it makes.

    python -m experiments.vae
    python -m experiments.latent_search runs/vae-digits
    python -m experiments.gan
    python -m experiments.latent_search runs/gan-digits --operator super_resolution
    python -m experiments.latent_search runs/vae-digits --langevin 300

Adam from several starts finds the z with the smallest |y - A G(z)|^2 + weight |z|^2. `--langevin`
goes on from there with draws of z given y, by Metropolis-adjusted Langevin steps. Labels of a
conditional model are tried in turn. Writes `latent_search.json` and a picture in the run directory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.option_types import Count, Duration, Positive, Weight, within
from experiments.shared.provenance import compare, in_report
from experiments.shared.registry import Saved
from experiments.shared.restoration import (
    RestoreOptions,
    levels,
    make_operator,
    measured,
    restored,
    write_restored,
)
from experiments.shared.runner import rebuild
from gen_jax import data, gan, inverse, mcmc, training, vae
from gen_jax.errors import ConfigError, NumericalError
from gen_jax.ranges import check_ranges
from gen_jax.types import Array


@dataclass(frozen=True)
class Config(RestoreOptions):
    """Which run, what is measured, and how long z is searched."""

    restarts: Count = 8
    """Starts for each image."""
    steps: Count = 300
    learning_rate: Positive = 0.1
    weight: Annotated[float | None, *within(0)] = None
    """Of |z|^2; noise_std^2, that of the most probable z, if not given."""
    langevin: Duration = 0
    """Steps of the chains in z, one for each draw, that start at the z found; 0 for none."""
    step_size: Positive = 0.005
    """Of the chains, a variance in units of z."""
    decoder_std: Weight = 0.0
    """Deviation of images from G(z) that the chains count with; operators must be linear."""


def generator_of(saved: Saved, label: Array) -> tuple[Callable[[Array], Array], int]:
    """`z -> images in [-1, 1]` of a label for each row, and the size of z."""
    given = {"label": label} if saved.model.parts.options.condition is not None else {}
    if isinstance(saved.model.parts, gan.Parts):
        size = gan.latents(jax.random.key(0), saved.model, saved.state, 1).shape[1]
        return gan.generator(saved.model, saved.state, data_units=False, **given), size
    functions = vae.functions(saved.model, saved.state, **given)
    like = functions.likelihood
    smooth = lambda z: like.network_input(like.mean(functions.decode(z)))
    return smooth, saved.model.parts.options.latent


def search(config: Config, saved: Saved, test: dict[str, np.ndarray]) -> tuple[dict, list]:
    """Numbers, and the rows of the picture."""
    operator, x = make_operator(config, saved.spec.shape), test["x"]
    key_noise, key_start, key_chain = jax.random.split(jax.random.key(config.seed), 3)
    y = measured(key_noise, operator, x, config.noise_std)
    turn = jnp.arange(config.restarts) % max(saved.spec.num_classes, 1)
    generate, latent = generator_of(saved, jnp.tile(turn, len(x)))
    weight = config.noise_std**2 if config.weight is None else config.weight
    find = lambda y: inverse.latent_search(
        key_start, generate, operator, y, latent, weight=weight, restarts=config.restarts,
        steps=config.steps, learning_rate=config.learning_rate,
    )  # fmt: skip
    found = jax.jit(find)(y)
    if not np.isfinite(np.asarray(found.objective).min(1)).all():
        raise NumericalError(
            f"all {config.restarts} starts of an image diverged: learning_rate="
            f"{config.learning_rate:g} is too large"
        )
    drawn, report = found.x[:, None], {"objective_of_starts": float(found.objective.mean())}
    report["objective"] = float(found.objective.min(1).mean())
    if config.langevin:
        best = jnp.repeat(turn[jnp.argmin(found.objective, 1)], config.draws)
        generate, _ = generator_of(saved, best)
        many = jnp.repeat(y, config.draws, 0)
        density = inverse.latent_log_density(
            generate, operator, many, config.noise_std, config.decoder_std
        )
        kernel = mcmc.mala(density, config.step_size)
        start = jnp.repeat(found.z, config.draws, 0)
        chain = lambda z: mcmc.advance(key_chain, kernel, kernel.init(z), config.langevin)
        state, info = jax.jit(chain)(start)
        report["acceptance"] = float(info.acceptance.mean() / config.langevin)
        drawn = generate(state.x).reshape(len(x), config.draws, *x.shape[1:])
    labels = test.get("y")
    numbers, rows = restored(saved, operator, config.noise_std, x, y, levels(drawn), labels)
    return report | numbers, rows


def main() -> None:
    config = read_options(Config, __doc__)
    check_ranges(config)
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint)
    if saved.spec.kind != "images" or not isinstance(saved.model.parts, gan.Parts | vae.Parts):
        raise ConfigError(f"run {config.run!r} is no GAN or VAE of images with a latent z")
    path = training.check_writable("latent_search", saved.directory / "latent_search.json")
    changed = compare(saved, config.allow_changed_data)
    numbers, rows = search(config, saved, data.examples(saved.spec.name, "test", config.num))
    head = {"operator": config.operator, "noise_std": config.noise_std}
    report = head | in_report(changed) | numbers
    write_restored(saved, path, report, rows, "latent_search")


if __name__ == "__main__":
    training.run_main(main)
