"""Solvers of inverse problems by a trained prior, by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.registry import Saved
from experiments.shared.restoration import levels, seen
from gen_jax import diffusion, inverse
from gen_jax.errors import check_range
from gen_jax.frozen import parts_of
from gen_jax.inverse import GUIDES, LinearOperator, Operator
from gen_jax.inverse.measurements import checked_linear
from gen_jax.sampling import importance
from gen_jax.types import Array, Key

STEPPERS = ("ddrm", "replacement", "repaint")
"""Solvers that are samplers of their own."""
PARTICLES = "twisted_smc"


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


def by_particles(
    key: Key[Array, ""],
    saved: Saved,
    operator: LinearOperator | Operator,
    y: Array,
    noise_std: float,
    *,
    draws: int,
    particles: int,
    num_steps: int,
    sigma_max: float,
) -> np.ndarray:
    """Twisted sequential Monte Carlo with a diffusion run: draws [N S, H, W, C] in grey levels.

    Each measurement has its own particles, of which `draws` are picked at the end. Raises
    ConfigError where there is no noise, and for an operator that is not linear: its likelihood
    says nothing of the variance of x0 given x_t, and leaves one particle.
    """
    operator = checked_linear(f"solver={PARTICLES!r}", operator)
    parts, _ = parts_of(saved.model, saved.state, diffusion.Parts)
    path, std = parts.path, parts.options.data_std
    check_range("noise_std", noise_std, 0, open_low=True)
    times = diffusion.GRIDS["uniform"](path, num_steps, data_std=std, sigma_max=sigma_max)

    @jax.jit
    def draw(state: Any, keys: Array, y: Array) -> Array:
        denoise = diffusion.denoiser(saved.model, state)

        def one(inputs: tuple[Array, Array]) -> Array:
            key_start, key_run, key_pick = jax.random.split(inputs[0], 3)
            y, shape = inputs[1], (particles, *operator.shape)
            x = diffusion.prior(key_start, path, shape, t=times[0], data_std=std)
            residual = lambda x: (operator.apply(x) - y).reshape(particles, -1) / noise_std
            likelihood = lambda x: -0.5 * jnp.sum(residual(x) ** 2, axis=1)
            twist = inverse.gaussian_twist(denoise, path, operator, y, noise_std, std)
            found = inverse.twisted_smc(
                key_run, denoise, path, likelihood, x, times, log_twist=twist
            )
            u = jax.random.uniform(key_pick)
            return found.x[importance.resample(u, found.log_weights, draws)]

        return jax.lax.map(one, (keys, y))

    found = draw(saved.state, jax.random.split(key, len(y)), y)
    return levels(found).reshape(-1, *operator.shape)
