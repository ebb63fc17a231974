"""What the experiments on a Gaussian path share: options, units, options of the likelihood."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.shared.config import RunConfig
from experiments.shared.networks import NetworkConfig
from experiments.shared.option_types import Count, Positive, Share
from gen_jax import data
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import GRIDS, NOISE_INPUTS, STEPPERS, TIME_DENSITIES, variational_bound
from gen_jax.errors import check_choice
from gen_jax.paths import PATHS, GaussianPath
from gen_jax.solvers.divergence import MOST_EXACT
from gen_jax.types import Array, Denoiser, Float, Key


@dataclass(frozen=True)
class PathConfig(RunConfig):
    """Options of every model on a Gaussian path."""

    path: str = "cosine"
    """linear, cosine, vp, sub_vp, ve, edm, ddpm or ddpm_cosine"""
    time_density: str = "low_discrepancy"
    """uniform, low_discrepancy, logit_normal or log_normal"""
    noise_input: str = "log_snr"
    """What the network sees of the time: log_snr or angle."""
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    label_dropout: Share = 0.1
    """Share of the labels or captions that training hides; captions are then empty."""
    stepper: str = "adams"
    """Default sampler; adams suits 5 to 80 network calls (`python -m experiments.list` shows
    all). ddpm and dpm_solver_pp_sde add fresh noise in each step; edm_heun
    and edm need 20 calls and more; of dx/dt are euler, midpoint, heun and rk4."""
    sampling_steps: Count = 32
    network: NetworkConfig = field(default_factory=NetworkConfig)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("path", self.path, PATHS)
        check_choice("time_density", self.time_density, TIME_DENSITIES)
        check_choice("noise_input", self.noise_input, NOISE_INPUTS)
        check_choice("stepper", self.stepper, (*STEPPERS, "learned_ancestral"))
        self.network.check()


def model_options(config: PathConfig, spec: DatasetSpec) -> dict[str, Any]:
    """The options of `diffusion.Options` that all these models share."""
    transform, data_std = transform_of(spec)
    return {
        "shape": spec.shape,
        "time_density": config.time_density,
        "noise_input": config.noise_input,
        "data_std": data_std,
        "condition": spec.sentences.condition if spec.sentences else spec.condition,
        "condition_dropout": config.label_dropout,
        "ema_decay": config.ema_decay,
        "transform": transform,
        "stepper": config.stepper,
        "num_steps": config.sampling_steps,
        "likelihood": likelihood_of(spec),
    }


def transform_of(spec: DatasetSpec) -> tuple[data.Transform, float]:
    """Data units to the path's, and the standard deviation there."""
    if spec.kind == "points":
        return data.standardize(spec.mean, spec.std), 1.0
    return data.symmetric_images(), float(np.hypot(spec.std, spec.mean))


def bound_in_steps(
    key: Key[Array, "*batch"],
    denoise: Denoiser,
    path: GaussianPath,
    x0: Float[Array, "B ..."],
    **options: Any,
) -> Float[Array, "B"]:
    """The variational bound on log p(x0) in nats: 1000 steps, 100 of them evaluated.

    Steps are uniform in log-SNR: on a uniform grid the first step alone would loosen the bound.
    The options are those of `variational_bound`.
    """
    times = GRIDS["log_snr"](path, 1000)[-2::-1]
    terms = variational_bound(
        key, denoise, path, x0, **{"times": times, "num_samples": 100, **options}
    )
    return -(terms["prior"] + terms["diffusion"] + terms["reconstruction"])


def likelihood_of(spec: DatasetSpec) -> dict[str, Any]:
    """Options of the ODE likelihood: the exact divergence costs one derivative per dimension."""
    few = math.prod(spec.shape) <= MOST_EXACT
    return {"divergence": "exact" if few else "hutchinson", "num_steps": 32}
