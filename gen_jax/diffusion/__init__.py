"""Diffusion on any Gaussian path: losses, samplers, guidance, likelihoods, exact denoisers.

Everything takes a denoiser `denoise(x [B, ...], t [B]) -> E[x0 | x_t = x]`; `diffusion` assembles a
`GenerativeModel` from a network.
"""

from gen_jax.diffusion import exact
from gen_jax.diffusion.adams import adams
from gen_jax.diffusion.ddim import ancestral, ddim
from gen_jax.diffusion.ddpm import ddpm_loss, variational_bound
from gen_jax.diffusion.dpm_solver import dpm_solver_pp
from gen_jax.diffusion.edm import edm, edm_heun
from gen_jax.diffusion.exact import empirical_denoiser, mixture_denoiser
from gen_jax.diffusion.flow_ode import adaptive, euler, heun, runge_kutta
from gen_jax.diffusion.generate import (
    Trajectory,
    denoiser,
    denoiser_and_fraction,
    log_prob_with_error,
    trajectory,
)
from gen_jax.diffusion.grids import GRIDS
from gen_jax.diffusion.guidance import autoguidance, classifier, classifier_free, extrapolate
from gen_jax.diffusion.guided_models import autoguided, classifier_guided
from gen_jax.diffusion.learned_variance import (
    hybrid_loss,
    hybrid_steps_loss,
    learned_ancestral,
    reverse_log_variance,
    variance_term,
)
from gen_jax.diffusion.likelihood import (
    DIVERGENCES,
    LikelihoodInfo,
    ode_log_prob,
    ode_log_prob_with_error,
)
from gen_jax.diffusion.loss_names import LOSSES
from gen_jax.diffusion.losses import WEIGHTINGS, denoising_loss
from gen_jax.diffusion.model import diffusion, model_from_parts
from gen_jax.diffusion.network import (
    NOISE_INPUTS,
    Preconditioned,
    network_denoiser,
    noise_angle,
    noise_input,
    predict,
    predict_both,
)
from gen_jax.diffusion.noisy_classifier import label_log_prob, noisy_classifier
from gen_jax.diffusion.options import Options, Parts, make_parts
from gen_jax.diffusion.prior_preservation import with_prior_preservation
from gen_jax.diffusion.sampler import (
    SampleInfo,
    Stepper,
    Transition,
    prior,
    sample,
    sample_with_info,
)
from gen_jax.diffusion.steppers import OWN_STEPPERS, STEPPERS
from gen_jax.diffusion.stochastic import (
    annealed_langevin,
    bounded_rate,
    euler_maruyama,
    predictor_corrector,
    score_sde_rate,
)
from gen_jax.diffusion.time_sampling import TIME_DENSITIES
from gen_jax.diffusion.unipc import unipc
from gen_jax.diffusion.variational_diffusion import (
    continuous_bound,
    continuous_term,
    trained_path,
    variational_diffusion,
)

__all__ = [
    "DIVERGENCES",
    "GRIDS",
    "LOSSES",
    "NOISE_INPUTS",
    "OWN_STEPPERS",
    "STEPPERS",
    "TIME_DENSITIES",
    "WEIGHTINGS",
    "LikelihoodInfo",
    "Options",
    "Parts",
    "Preconditioned",
    "SampleInfo",
    "Stepper",
    "Trajectory",
    "Transition",
    "adams",
    "adaptive",
    "ancestral",
    "annealed_langevin",
    "autoguidance",
    "autoguided",
    "bounded_rate",
    "classifier",
    "classifier_free",
    "classifier_guided",
    "continuous_bound",
    "continuous_term",
    "ddim",
    "ddpm_loss",
    "denoiser",
    "denoiser_and_fraction",
    "denoising_loss",
    "diffusion",
    "dpm_solver_pp",
    "edm",
    "edm_heun",
    "empirical_denoiser",
    "euler",
    "euler_maruyama",
    "exact",
    "extrapolate",
    "heun",
    "hybrid_loss",
    "hybrid_steps_loss",
    "label_log_prob",
    "learned_ancestral",
    "log_prob_with_error",
    "make_parts",
    "mixture_denoiser",
    "model_from_parts",
    "network_denoiser",
    "noise_angle",
    "noise_input",
    "noisy_classifier",
    "ode_log_prob",
    "ode_log_prob_with_error",
    "predict",
    "predict_both",
    "predictor_corrector",
    "prior",
    "reverse_log_variance",
    "runge_kutta",
    "sample",
    "sample_with_info",
    "score_sde_rate",
    "trained_path",
    "trajectory",
    "unipc",
    "variance_term",
    "variational_bound",
    "variational_diffusion",
    "with_prior_preservation",
]
