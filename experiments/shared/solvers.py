"""Solvers of inverse problems by a trained prior, by name."""

from typing import Any

from experiments.shared.restoration import seen
from gen_jax import diffusion, inverse
from gen_jax.inverse import GUIDES

STEPPERS = ("ddrm", "replacement", "repaint")
"""Solvers that are samplers of their own."""


def solver_options(config: Any, parts: diffusion.Parts, operator: Any, y: Any) -> dict[str, Any]:
    """The options of `model.sample` that solve for measurements y [n, *measured]."""
    std, shape = parts.options.data_std, parts.options.shape
    if config.solver == "ddrm":
        return {"stepper": inverse.ddrm(operator, y, config.noise_std)}
    if config.solver in STEPPERS:
        mask, plain = seen(config, shape), diffusion.STEPPERS[config.stepper]()
        known = operator.pseudo_inverse(y)
        if config.solver == "replacement":
            return {"stepper": inverse.replacement(plain, mask, known)}
        return {"stepper": inverse.repaint(plain, mask, known, config.resamples)}
    guide = GUIDES[config.solver]
    solve = lambda denoise, y: guide(denoise, parts.path, operator, y, config.noise_std, std)
    return {
        "guide": solve,
        "given": y,
        "stepper": config.stepper,
        "sigma_max": config.sigma_max,
    }
