"""What diffusion and flow matching share: checks of options, units, options of the likelihood."""

import math
from typing import Any

import numpy as np

from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import NOISE_INPUTS, STEPPERS, TIME_DENSITIES
from gen_jax.errors import check_choice
from gen_jax.paths import PATHS


def check_shared(config: Any) -> None:
    """Raise ConfigError for options of diffusion and flow matching that cannot work."""
    check_choice("path", config.path, PATHS)
    check_choice("time_density", config.time_density, TIME_DENSITIES)
    check_choice("noise_input", config.noise_input, NOISE_INPUTS)
    check_choice("stepper", config.stepper, STEPPERS)
    config.network.check()


def transform_of(spec: DatasetSpec) -> tuple[data.Transform, float]:
    """Data units to the path's, and the standard deviation there."""
    if spec.kind == "points":
        return data.standardize(spec.mean, spec.std), 1.0
    return data.symmetric_images(), float(np.hypot(spec.std, spec.mean))


def likelihood_of(spec: DatasetSpec) -> dict[str, Any]:
    """Options of the ODE likelihood: the exact divergence costs one derivative per dimension."""
    if math.prod(spec.shape) <= 128:
        return {"divergence": "exact", "num_steps": 32}
    return {"divergence": "hutchinson", "num_steps": 32}
