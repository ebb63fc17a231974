"""What the experiments with energies share: options, networks, the constant and exact numbers."""

from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.config import RunConfig
from experiments.shared.known_densities import MIXTURES, target_of
from experiments.shared.option_types import (
    MAX_COUNT,
    Count,
    MaybeWidths,
    Positive,
    Share,
    Steps,
    Weight,
    Widths,
    of,
    within,
)
from experiments.shared.registry import Saved
from gen_jax import data, energy
from gen_jax.data import DatasetSpec
from gen_jax.metrics import mean_and_error
from gen_jax.nets import EnergyNet
from gen_jax.types import Estimate


@dataclass(frozen=True)
class EnergyConfig(RunConfig):
    """Options of everything that trains an energy; None is a default for points or for images."""

    dataset: str = "8gaussians"
    steps: Steps = 5000
    batch_size: Count = 256
    learning_rate: Positive = 2e-3
    """Of Adam, falling to 0."""
    gradient_clip: Positive = 1.0
    """Largest norm of the parameters' gradient."""
    ema_decay: Share = 0.99
    features: Widths = (128, 128, 128)
    """Widths of the network's layers."""
    channels: MaybeWidths = ()
    """Of strided convolutions before them, for images."""
    spectral: Weight = 0.0
    """Largest spectral norm of each layer; 0 is any."""
    data_noise: Annotated[float | None, *within(0)] = None
    """Standard deviation of noise on the training data, of unit size: 0, or 0.1 for images."""
    levels: Count = 1000
    """Temperatures of annealing, for log Z."""
    leapfrog_step: Positive = 0.1
    """Step of Hamiltonian Monte Carlo in annealing, for data of unit size."""
    annealed_chains: Annotated[int, *within(2, MAX_COUNT)] = 256


@dataclass(frozen=True)
class ChainConfig(EnergyConfig):
    """Options of contrastive training."""

    chain_steps: Count = 40
    step_size: Annotated[float, *of(energy.ChainOptions, "step_size")] = 1e-3
    """Of Langevin, a variance, for data of unit size."""
    temperature: Annotated[float, *of(energy.ChainOptions, "temperature")] = 1.0
    clip: Annotated[float | None, *of(energy.ChainOptions, "clip")] = None
    """Largest norm of the energy's gradient in chains."""
    buffer_size: Annotated[int, *of(energy.ChainOptions, "buffer_size", MAX_COUNT)] = 10_000
    """Chains kept between steps; 0 starts all of them afresh."""
    reinit: Annotated[float, *of(energy.ChainOptions, "reinit")] = 0.05
    """Probability that a chain of the buffer starts afresh."""
    sample_steps: Annotated[int, *of(energy.ChainOptions, "sample_steps", MAX_COUNT)] = 100
    """With which samples leave the buffer."""
    regulariser: Weight = 0.0
    """Weight of the squared energies."""


def model_options(config: EnergyConfig, spec: DatasetSpec) -> dict[str, Any]:
    """What all energy models take."""
    image = spec.kind == "images"
    transform = data.symmetric_images() if image else data.standardize(spec.mean, spec.std)
    noise = 0.1 if image else 0.0
    return {
        "shape": spec.shape,
        "transform": transform,
        "base_std": 1.0 if image else 1.5,
        "data_noise": noise if config.data_noise is None else config.data_noise,
        "ema_decay": config.ema_decay,
        "annealing": energy.Annealing(
            config.levels, config.leapfrog_step, chains=config.annealed_chains
        ),
    }


def network_of(config: EnergyConfig, outputs: int = 0) -> EnergyNet:
    """The network of a configuration: an energy, or `outputs` logits."""
    return EnergyNet(config.features, config.channels, outputs, config.spectral)


def optimizer_of(config: EnergyConfig) -> optax.GradientTransformation:
    """Adam with clipped gradients; the rate falls to 0."""
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    return optax.chain(optax.clip_by_global_norm(config.gradient_clip), optax.adam(schedule))


def chains_of(config: ChainConfig) -> energy.ChainOptions:
    """The chains of a configuration."""
    return energy.ChainOptions(
        config.chain_steps,
        config.step_size,
        config.temperature,
        config.clip,
        config.buffer_size,
        config.reinit,
        config.sample_steps,
    )


def log_normalizer(saved: Saved) -> dict[str, Any]:
    """log Z of a run by chains other than those of `log_prob`, with its standard error, the tail of
    its weights and the effective number of chains.

    With a `pareto_k` above 0.7, or an effective number near 1, neither the error nor log p is to be
    trusted, and `--levels` should be raised.
    """
    run = jax.jit(lambda key, state: energy.annealed(key, saved.model, state)[2:])
    found, size, invalid, tail = run(jax.random.key(1), saved.state)
    return {
        "log_normalizer": Estimate(float(found.value), float(found.error)),
        "pareto_k": float(tail),
        "effective_chains": float(size),
        "chains_dropped": float(invalid),
    }


def exact_numbers(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Mean log-density of the first `num` test points under their own law, where it is known.

    Of fewer than two there is no mean with an error.
    """
    if saved.spec.name not in MIXTURES or num < 2:
        return {}
    exact = target_of(saved.spec.name).log_density(jnp.asarray(test["x"][:num]))
    return {"exact_log_prob_nats": mean_and_error(exact)}
