"""Each stepper at its usual number of steps, with its discretisation error there as measured.

The errors are the largest on any of PATHS. Euler steps in the time of the variance-exploding paths,
and grids uniform in t that jump to the data from a level as large as a narrow mode, are the worst:
the table says what each sampler can be trusted with.
"""

from typing import NamedTuple

import jax

from gen_jax import diffusion, paths

PATHS = ("linear", "cosine", "vp", "ve", "edm")


class Row(NamedTuple):
    """Steps; stated errors: relative, of a variance, and of means in standard deviations.

    Fields:
      gaussian: of the variance, for Gaussian data of standard deviation 0.15 to 0.6 (exact).
      weight, mean, variance: of the modes of `exact.mixture_separated`.
    """

    steps: int
    gaussian: float
    weight: float = 0.005
    mean: float = 0.02
    variance: float = 0.02


MEASURED = {
    "ddim": Row(100, 0.18, mean=0.1, variance=0.14),
    "ddpm": Row(500, 0.09, variance=0.1),
    "ddpm_upper": Row(500, 0.03, variance=0.03),
    "backward_euler_maruyama": Row(500, 0.03, variance=0.03),
    "backward_posterior": Row(500, 0.09, variance=0.1),
    "euler": Row(200, 0.25, weight=0.02, mean=0.16, variance=0.15),
    "heun": Row(64, 0.04, mean=0.03, variance=0.04),
    "midpoint": Row(64, 0.042, mean=0.03, variance=0.042),
    "rk4": Row(64, 0.005),
    "edm_heun": Row(32, 0.06, mean=0.05, variance=0.05),
    "edm": Row(128, 0.031, variance=0.06),
    "dpm_solver_pp": Row(32, 0.016, mean=0.03, variance=0.07),
    "dpm_solver_pp_sde": Row(100, 0.005),
    "dpm_solver_pp_3": Row(32, 0.004, mean=0.03, variance=0.07),
    "unipc_3": Row(32, 0.005, mean=0.03, variance=0.07),
    "adams": Row(32, 0.0036),
    "unipc": Row(32, 0.008, mean=0.03, variance=0.07),
    "euler_maruyama": Row(500, 0.006),
    "predictor_corrector": Row(250, 0.14, variance=0.14),
    "annealed_langevin": Row(200, 0.07, weight=0.01, variance=0.08),
    "adaptive": Row(2, 0.005),
}
"""Steppers whose errors are stated as measured."""

ANY = Row(500, 0.2, weight=0.02, mean=0.16, variance=0.16)
"""What any other stepper must reach."""

USUAL = {name: MEASURED.get(name, ANY) for name in diffusion.STEPPERS}


def any_path(index):
    """The path PATHS[index] for a traced index: one compiled function serves all paths."""
    rows = [paths.PATHS[name]() for name in PATHS]
    pick = lambda functions: lambda t: jax.lax.switch(index, functions, t)
    return paths.GaussianPath(pick([p.alpha for p in rows]), pick([p.sigma for p in rows]))


def usual_times(name, path, steps=None):
    """The grid that a stepper is meant for, at its usual number of steps, as models ask for it."""
    stepper = diffusion.STEPPERS[name]()
    return diffusion.GRIDS[stepper.grid](path, steps or USUAL[name].steps, data_std=1.0)
