"""Markov chain Monte Carlo: kernels of one face, one loop, step sizes, log Z, diagnostics."""

from collections.abc import Callable

from gen_jax.mcmc.adaptation import TARGET_ACCEPTANCE, Adapted, adapt_step_size
from gen_jax.mcmc.annealed_importance import Annealed, annealed_importance
from gen_jax.mcmc.diagnostics import (
    effective_sample_size,
    integrated_autocorrelation_time,
    mode_occupancy,
    split_r_hat,
)
from gen_jax.mcmc.hmc import hmc
from gen_jax.mcmc.kernel import ChainState, Info, Kernel, metropolis
from gen_jax.mcmc.langevin import langevin
from gen_jax.mcmc.mala import mala
from gen_jax.mcmc.model import Chains, ChainsState, chains, markov_chains
from gen_jax.mcmc.parallel_tempering import parallel_tempering
from gen_jax.mcmc.random_walk import random_walk
from gen_jax.mcmc.run import RunInfo, advance, collect, run

KERNELS: dict[str, Callable[..., Kernel]] = {
    "langevin": langevin,
    "mala": mala,
    "random_walk": random_walk,
    "hmc": hmc,
    "parallel_tempering": parallel_tempering,
}
"""Constructors of every kernel by name; all take the log-density first."""

__all__ = [
    "KERNELS",
    "TARGET_ACCEPTANCE",
    "Adapted",
    "Annealed",
    "ChainState",
    "Chains",
    "ChainsState",
    "Info",
    "Kernel",
    "RunInfo",
    "adapt_step_size",
    "advance",
    "annealed_importance",
    "chains",
    "collect",
    "effective_sample_size",
    "hmc",
    "integrated_autocorrelation_time",
    "langevin",
    "mala",
    "markov_chains",
    "metropolis",
    "mode_occupancy",
    "parallel_tempering",
    "random_walk",
    "run",
    "split_r_hat",
]
