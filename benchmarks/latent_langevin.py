"""Langevin in the latents of probabilistic PCA, beside the posterior that is known there.

    python -m benchmarks.latent_langevin
    python -m benchmarks.latent_langevin --status "One seed."     # the record of the site too

Probabilistic PCA of 8x8 digits in [-1, 1]; of test images the upper half is measured with noise.
Chains of Metropolis-adjusted Langevin steps start at z = 0 (`inverse.latent_log_density`, with the
model's own noise as `decoder_std`). By the number of steps: the root mean square of (mean of the
chains - exact mean) / exact deviation and the mean of variances of the chains / exact variances,
over images and latents, both beside independent exact draws of the same number. Writes
`benchmarks/results/latent_langevin_DEVICE.json`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measuring import machine, write, write_record
from gen_jax import data, inverse, mcmc, training
from gen_jax.classical import probabilistic_pca as pca
from gen_jax.types import Array

SHAPE = (8, 8, 1)


@dataclass(frozen=True)
class Config:
    """The model, the measurements and the chains."""

    rank: int = 16
    images: int = 50
    noise_std: float = 0.1
    step_size: float = 0.02
    """A variance in units of z."""
    chains: int = 64
    """Of each image."""
    steps: tuple[int, ...] = (10, 30, 100, 300, 1000)
    seed: int = 0
    status: str = ""
    """What the record of the site says of its origin; it is written where this is given."""


def exact_posterior(config: Config, law: pca.PrincipalGaussian, mask: np.ndarray, y: np.ndarray):
    """Means [N, R] and covariance [R, R] of p(z | y): z ~ N(0, I), y = A (W z + m) + noise."""
    loadings = np.asarray(pca.loadings(law), np.float64)[mask]
    variance = float(law.noise) + config.noise_std**2
    covariance = np.linalg.inv(np.eye(config.rank) + loadings.T @ loadings / variance)
    center = np.asarray(law.mean, np.float64)[mask]
    return (y - center) @ loadings @ covariance / variance, covariance


def compared(z: np.ndarray, means: np.ndarray, covariance: np.ndarray) -> dict[str, float]:
    """Of draws z [N, C, R]."""
    deviation = np.sqrt(np.diagonal(covariance))
    off = (z.mean(1) - means) / deviation
    return {
        "mean_error": float(np.sqrt((off**2).mean())),
        "variance_ratio": float((z.var(1, ddof=1) / deviation**2).mean()),
    }


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    training.configure_backend(1)
    facts = machine()
    flat = lambda split: data.examples("digits", split)["x"].reshape(-1, 64) / 127.5 - 1
    law = pca.fit(jnp.asarray(flat("train"), jnp.float32), config.rank)
    mask = np.arange(64) < 32
    operator = inverse.inpainting(mask.reshape(SHAPE))
    key_noise, key_chain, key_exact = jax.random.split(jax.random.key(config.seed), 3)
    clean = flat("test")[: config.images, mask]
    y = clean + config.noise_std * np.asarray(jax.random.normal(key_noise, clean.shape))
    means, covariance = exact_posterior(config, law, mask, y)

    many = jnp.repeat(jnp.asarray(y, jnp.float32).reshape(-1, *operator.measured), config.chains, 0)
    generate = lambda z: pca.decode(law, z).reshape(-1, *SHAPE)
    density = inverse.latent_log_density(
        generate, operator, many, config.noise_std, float(np.sqrt(law.noise))
    )
    kernel = mcmc.mala(density, config.step_size)
    shape = (config.images, config.chains, config.rank)

    def chain(key: Array, steps: int) -> dict[str, float]:
        start = kernel.init(jnp.zeros((len(many), config.rank)))
        state, info = jax.jit(lambda: mcmc.advance(key, kernel, start, steps))()
        found = compared(np.asarray(state.x, np.float64).reshape(shape), means, covariance)
        return found | {"acceptance": float(info.acceptance.mean() / steps)}

    noise = np.asarray(jax.random.normal(key_exact, shape), np.float64)
    exact = means[:, None] + noise @ np.linalg.cholesky(covariance).T
    rows = {str(steps): chain(key_chain, steps) for steps in config.steps}
    rows["exact draws"] = compared(exact, means, covariance)
    for name, row in rows.items():
        print(name, row)
    write("latent_langevin", facts, {"rank": config.rank, "by_steps": rows})
    if config.status:
        columns = ["steps", "mean_error", "variance_ratio", "acceptance"]
        body = [[name, *(f"{row[c]:.2f}" if c in row else "" for c in columns[1:])]
                for name, row in rows.items()]  # fmt: skip
        shown = ["steps of each chain", "error of the mean, in exact deviations",
                 "variance over the exact one", "acceptance"]  # fmt: skip
        record = {"name": "latent-langevin", "status": config.status}
        write_record({**record, "columns": shown, "rows": body})


if __name__ == "__main__":
    training.run_main(main)
