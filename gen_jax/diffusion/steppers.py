"""Every sampler by name, at its usual settings."""

from collections.abc import Callable

from gen_jax.diffusion.adams import adams
from gen_jax.diffusion.ddim import ancestral, ddim
from gen_jax.diffusion.dpm_solver import dpm_solver_pp
from gen_jax.diffusion.edm import edm, edm_heun
from gen_jax.diffusion.flow_ode import adaptive, euler, heun, runge_kutta
from gen_jax.diffusion.sampler import Stepper
from gen_jax.diffusion.stochastic import annealed_langevin, euler_maruyama, predictor_corrector
from gen_jax.diffusion.unipc import unipc

STEPPERS: dict[str, Callable[[], Stepper]] = {
    "ddim": ddim,
    "ddpm": lambda: ancestral("posterior"),
    "ddpm_upper": lambda: ancestral("upper"),
    "backward_euler_maruyama": lambda: ancestral("euler_maruyama"),
    "backward_posterior": lambda: ancestral("posterior"),
    "euler": euler,
    "heun": heun,
    "midpoint": lambda: runge_kutta("midpoint"),
    "rk4": lambda: runge_kutta("rk4"),
    "edm_heun": edm_heun,
    "edm": lambda: edm(churn=40.0, s_min=0.05, s_max=50.0, s_noise=1.003),
    "dpm_solver_pp": dpm_solver_pp,
    "dpm_solver_pp_3": lambda: dpm_solver_pp(order=3),
    "dpm_solver_pp_sde": lambda: dpm_solver_pp(eta=1.0),
    "unipc": unipc,
    "unipc_3": lambda: unipc(order=3),
    "adams": adams,
    "euler_maruyama": euler_maruyama,
    "predictor_corrector": predictor_corrector,
    "annealed_langevin": annealed_langevin,
    "adaptive": adaptive,
}
"""Constructors of every stepper by name."""
