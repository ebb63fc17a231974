"""Kernels of Markov chains from the options of an experiment."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from experiments.shared.option_types import Count, within
from gen_jax import mcmc


@dataclass(frozen=True)
class KernelOptions:
    """What kernels take besides a step size."""

    leapfrog_steps: Count = 10
    temperatures: Annotated[int, *within(2, 1000)] = 5
    coldest: Annotated[float, *within(0, 0.999, open_low=True)] = 0.1
    """Smallest inverse temperature; the others are geometric between it and 1."""
    inner: str = "mala"
    """The kernel at each temperature."""


def kernel_of(
    options: Any, name: str, log_density: Any, step_size: Any, scale: Any = None
) -> mcmc.Kernel:
    """The kernel of a name, with options such as KernelOptions."""
    if name == "parallel_tempering":
        levels = np.geomspace(1, options.coldest, options.temperatures)
        inner = lambda f: kernel_of(options, options.inner, f, step_size, scale)
        return mcmc.parallel_tempering(log_density, levels, inner)
    own = {"num_steps": options.leapfrog_steps} if name == "hmc" else {}
    return mcmc.KERNELS[name](log_density, step_size, scale=scale, **own)
