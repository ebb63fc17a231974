"""Which losses need which cure? Every loss with every penalty, many seeds of each under one vmap.

    python -m benchmarks.stability_map                                 # eight Gaussians
    python -m benchmarks.stability_map --dataset 25grid --latent 2 --learning-rate 8e-3 \\
        --steps 5000 --weight 0.5 --fourier 32                         # 74 minutes of a core
    python -m benchmarks.stability_map --dataset 25grid --name wide --losses relativistic \\
        --cures r1_r2 --weight 0.2 --fourier 64 --widths 128 128 --batch-size 512 \\
        --steps 20000                                                  # for a GPU

A whole run is one compiled scan, and the seeds of a cell run side by side. Per cell: modes covered
(mean and fewest), seeds that cover all, share of good samples, total variation of the weights of
the modes (largest), seeds that collapsed (less than half of the modes) or diverged (not finite).
Writes `benchmarks/results/stability_DATASET_NAME.json` after every cell, which a second start
continues, and the heat map `.png`; prints a Markdown table.
"""

import json
import platform
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import linen as nn

from benchmarks.cells import begun
from benchmarks.measuring import RESULTS, train_seeds
from gen_jax import data, gan, metrics, plotting, training
from gen_jax.data import toy
from gen_jax.errors import check_choice, check_range
from gen_jax.gan_nets import MLPCritic, MLPGenerator
from gen_jax.model import GenerativeModel

MIXTURES = {"8gaussians": toy.eight_gaussians_mixture, "25grid": toy.grid_mixture}
CURES: dict[str, dict[str, Any]] = {
    "none": {},
    "clip": {"clip": 0.1},
    "wgan_gp": {"penalty": "wgan_gp", "penalty_weight": 0.1},
    "dragan": {"penalty": "dragan", "penalty_weight": 0.1},
    "r1": {"penalty": "r1", "penalty_weight": 0.1},
    "r1_r2": {"penalty": "r1_r2", "penalty_weight": 0.05},
    "spectral": {},
    "consensus": {"consensus": 0.1},
    "unrolled": {"unroll": 5},
}
"""Penalties and remedies by name, with weights for data of unit variance in the plane."""


@dataclass(frozen=True)
class Config:
    """The cells and how each is trained."""

    dataset: str = "8gaussians"
    losses: tuple[str, ...] = (
        "minimax",
        "non_saturating",
        "lsgan",
        "wgan",
        "hinge",
        "relativistic",
        "f_kl",
        "f_reverse_kl_non_saturating",
        "f_squared_hellinger",
    )
    cures: tuple[str, ...] = ("none", "clip", "wgan_gp", "dragan", "r1", "r1_r2", "spectral")
    seeds: int = 16
    steps: int = 2000
    batch_size: int = 128
    widths: tuple[int, ...] = (64, 64)
    latent: int = 4
    learning_rate: float = 2e-3
    """Of both networks, falling to 0 on a cosine."""
    weight: float = 1.0
    """Multiplies every penalty's weight."""
    fourier: int = 0
    """Random Fourier features of x that the critic also sees, standard deviation 1 (tancik2020)."""
    samples: int = 4000
    name: str = ""
    """Of the results, after that of the dataset, for a map with other options beside the first."""
    limit: int | None = None
    """Cells to train now, at most; 0 only draws what is there."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work."""
        check_choice("dataset", self.dataset, MIXTURES)
        for name in self.losses:
            check_choice("losses", name, gan.GAN_LOSSES)
        for name in self.cures:
            check_choice("cures", name, CURES)
        for name in ("seeds", "steps", "batch_size", "samples", "latent"):
            check_range(name, getattr(self, name), 1, integer=True)


class FourierCritic(nn.Module):
    """A critic that also sees sines and cosines of fixed random frequencies."""

    critic: nn.Module
    count: int

    @nn.compact
    def __call__(self, x, condition=None, *, train=False):
        """What the critic says of x and its waves."""
        waves = 2 * jnp.pi * x @ jax.random.normal(jax.random.key(7), (x.shape[-1], self.count))
        seen = jnp.concatenate([x, jnp.sin(waves), jnp.cos(waves)], 1)
        return self.critic(seen, condition, train=train)


def model_of(config: Config, loss: str, cure: str) -> GenerativeModel:
    """The GAN of one cell."""
    critic: nn.Module = MLPCritic(config.widths, spectral=cure == "spectral")
    if config.fourier:
        critic = FourierCritic(critic, config.fourier)
    adam = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps), 0.5, 0.99)
    options = dict(CURES[cure])
    if "penalty_weight" in options:
        options["penalty_weight"] *= config.weight
    std = float(jnp.sqrt(jnp.mean(jnp.square(MIXTURES[config.dataset]().means))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an unbounded critic is a cell of the map
        return gan.gan(
            MLPGenerator((2,), config.widths),
            critic,
            adam,
            adam,
            shape=(2,),
            latent=config.latent,
            loss=loss,
            transform=data.standardize(0.0, std),
            **options,
        )


def drawn(config: Config, model: GenerativeModel) -> np.ndarray:
    """Samples [seeds, samples, 2] of all seeds."""
    draw = lambda key, state: model.sample(key, state, config.samples)
    return train_seeds(model, config.dataset, config.seeds, config.steps, config.batch_size, draw)


def summary(config: Config, samples: np.ndarray) -> dict[str, Any]:
    """The numbers of one cell; a diverged seed covers nothing."""
    weights, means, covariances = (np.asarray(a) for a in MIXTURES[config.dataset]())
    std = float(np.sqrt(covariances[0, 0, 0]))
    finite = [x for x in samples if np.isfinite(x).all()]
    reports = [metrics.mode_report(x, means, std, weights) for x in finite]
    covered = [r.covered for r in reports] + [0] * (len(samples) - len(finite))
    worst = max((r.total_variation for r in reports), default=1.0)
    lost = np.mean([c < len(means) / 2 for c in covered])
    return {
        "covered_mean": float(np.mean(covered)),
        "covered_fewest": int(min(covered)),
        "all_covered": float(np.mean([c == len(means) for c in covered])),
        "high_quality": float(np.mean([r.high_quality for r in reports] or [0.0])),
        "total_variation_mean": float(np.mean([r.total_variation for r in reports] or [1.0])),
        "total_variation_largest": worst if len(finite) == len(samples) else 1.0,
        "collapsed_or_diverged": float(lost),
        "diverged": 1 - len(finite) / len(samples),
    }


def table(cells: dict[str, dict[str, Any]], config: Config) -> str:
    """Modes covered, mean and fewest; largest total variation; shares of good samples and of seeds
    that collapsed or diverged; in Markdown."""
    lines = [
        "| loss | " + " | ".join(config.cures) + " |",
        "| --- " * (1 + len(config.cures)) + "|",
    ]
    for loss in config.losses:
        row = [cells.get(f"{loss} {cure}") for cure in config.cures]
        text = [
            f"{c['covered_mean']:.1f} ({c['covered_fewest']}), {c['total_variation_largest']:.2f}, "
            f"{c['high_quality']:.2f}, {c['collapsed_or_diverged']:.2f}"
            if c
            else ""
            for c in row
        ]
        lines.append(f"| {loss} | " + " | ".join(text) + " |")
    return "\n".join(lines)


def draw_map(cells: dict[str, dict[str, Any]], config: Config, path: Path) -> None:
    """Share of seeds that cover every mode, as colour; the modes covered as text."""
    nan = {"all_covered": np.nan, "covered_mean": np.nan}
    rows = [[cells.get(f"{loss} {cure}", nan) for cure in config.cures] for loss in config.losses]
    values = np.array([[cell["all_covered"] for cell in row] for row in rows])
    text = [[f"{cell['covered_mean']:.1f}" for cell in row] for row in rows]
    title = f"share of {config.seeds} seeds that cover all modes"
    figure = plotting.heat_map(
        values, config.losses, config.cures, title, text=text, limits=(0.0, 1.0)
    )
    plotting.save(figure, path)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    config.check()
    training.configure_backend(1)
    path = RESULTS / ("_".join(filter(None, ("stability", config.dataset, config.name))) + ".json")
    how, cells = begun(path, config, ("losses", "cures", "limit", "name"))
    todo = [(loss, cure) for cure in config.cures for loss in config.losses]
    todo = [pair for pair in todo if " ".join(pair) not in cells]
    for loss, cure in todo[: config.limit]:
        started = time.perf_counter()
        found = summary(config, drawn(config, model_of(config, loss, cure)))
        found["seconds"] = round(time.perf_counter() - started, 1)
        cells[f"{loss} {cure}"] = found
        print(loss, cure, found, flush=True)
        machine = f"{platform.machine()}, {jax.devices()[0].device_kind}"
        result = {"how": how, "machine": machine, "jax": jax.__version__, "cells": cells}
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n")
    if len(cells) > 1:
        draw_map(cells, config, path.with_suffix(".png"))
    print(table(cells, config))


if __name__ == "__main__":
    training.run_main(main)
