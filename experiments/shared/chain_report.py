"""What chains have done: numbers of their mixing beside those of exact samples, and pictures."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.known_densities import target_of
from gen_jax import mcmc, plotting, training
from gen_jax.data import DatasetSpec
from gen_jax.metrics import compare_with_exact
from gen_jax.model import GenerativeModel
from gen_jax.sampling import Target
from gen_jax.types import Array, Float, Key, State

POOLED = 20
"""Recorded steps of all chains that are compared with exact samples."""


def pool(samples: Float[Array, "T B D"]) -> Float[np.ndarray, "N D"]:
    """About 20 evenly spaced steps of every chain."""
    stride = max(len(samples) // POOLED, 1)
    return np.asarray(samples[stride - 1 :: stride]).reshape(-1, samples.shape[2])


def chain_numbers(
    key: Key[Array, ""],
    target: Target,
    kernel: mcmc.Kernel,
    samples: Float[Array, "T B D"],
    info: mcmc.RunInfo,
) -> dict[str, Any]:
    """Largest R-hat, smallest effective sample size, acceptance, stuck chains, modes, distances."""
    smallest = float(jnp.min(mcmc.effective_sample_size(samples)))
    numbers = {
        "r_hat": float(jnp.max(mcmc.split_r_hat(samples))),
        "effective_sample_size": smallest,
        "effective_per_evaluation": smallest / (samples[..., 0].size * kernel.evaluations),
        "acceptance": float(jnp.mean(info.acceptance)),
        "invalid": int(jnp.sum(info.invalid)),
    }
    if info.swap_acceptance is not None:
        numbers["swap_acceptance"] = (
            np.asarray(info.swap_acceptance, np.float64).mean(0).round(4).tolist()
        )
    if target.modes is not None:
        occupancy = mcmc.mode_occupancy(samples, target.modes)
        numbers["chains_in_one_mode"] = float(jnp.mean(jnp.max(occupancy, 1) == 1))
    return numbers | compare_with_exact(key, target, pool(samples))


def write_report(
    directory: Path, target: Target, samples: Float[Array, "T B D"], numbers: dict[str, Any]
) -> Path:
    """Print the numbers, write them to `diagnostics.json`, the pictures to samples/ of a run."""
    for name, value in numbers.items():
        print(f"{name:32s} {value:.4g}" if isinstance(value, float) else f"{name:32s} {value}")
    training.write_json(directory / "diagnostics.json", numbers)
    folder = directory / "samples"
    path = plotting.save(plotting.trace_plot(samples), folder / "traces.png")
    if target.dim == 2:
        points = pool(samples)
        window = plotting.window_around(points)
        figure = plotting.density_map(target.log_density, window, points[:2000])
        path = plotting.save(figure, folder / "density.png")
    return path


def diagnose(
    config: Any, directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Record the chains from where they are, with numbers and pictures."""
    target, chains = target_of(config.dataset), mcmc.chains(model, state)
    key = jax.random.key(config.seed + 1)
    samples, info = mcmc.collect(key, chains.kernel, chains.state, config.recorded)
    numbers: dict[str, Any] = {"step_size": float(chains.step_size)}
    if config.learn_scale:
        numbers["scale"] = np.asarray(chains.scale, np.float64).tolist()
    numbers |= chain_numbers(key, target, chains.kernel, samples, info)
    return write_report(directory, target, samples, numbers)
