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
from gen_jax.registries import described

STEPPERS: dict[str, Callable[[], Stepper]] = {
    "ddim": ddim,
    "ddpm": described(
        "DDPM's ancestral sampling with the posterior's variance (ho2020).",
        lambda: ancestral("posterior"),
    ),
    "ddpm_upper": described(
        "DDPM's ancestral sampling with the upper of its two variances (ho2020).",
        lambda: ancestral("upper"),
    ),
    "backward_euler_maruyama": described(
        "Backward sampler with Euler-Maruyama's variance.", lambda: ancestral("euler_maruyama")
    ),
    "backward_posterior": described(
        "Backward sampler with the posterior's variance: ddpm's other name.",
        lambda: ancestral("posterior"),
    ),
    "euler": euler,
    "heun": heun,
    "midpoint": described(
        "The midpoint method on dx / dt; two calls per step.", lambda: runge_kutta("midpoint")
    ),
    "rk4": described(
        "The classical Runge-Kutta method on dx / dt; four calls per step.",
        lambda: runge_kutta("rk4"),
    ),
    "edm_heun": edm_heun,
    "edm": described(
        "edm_heun with churn 40 (karras2022, algorithm 2): noise added before each step.",
        lambda: edm(churn=40.0, s_min=0.05, s_max=50.0, s_noise=1.003),
    ),
    "dpm_solver_pp": dpm_solver_pp,
    "dpm_solver_pp_3": described(
        "Multistep DPM-Solver++ of order 3 (lu2023).", lambda: dpm_solver_pp(order=3)
    ),
    "dpm_solver_pp_sde": described(
        "DPM-Solver++ with fresh noise in each step (eta = 1).", lambda: dpm_solver_pp(eta=1.0)
    ),
    "unipc": unipc,
    "unipc_3": described("UniPC with a predictor of order 3 (zhao2023).", lambda: unipc(order=3)),
    "adams": adams,
    "euler_maruyama": euler_maruyama,
    "predictor_corrector": predictor_corrector,
    "annealed_langevin": annealed_langevin,
    "adaptive": adaptive,
}
"""Constructors of every stepper by name."""

OWN_STEPPERS = ("jump", "learned_ancestral")
"""Steppers that are made of a model's own network, and that other models do not have."""
