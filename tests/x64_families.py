"""Tokens, few-step maps and inverse problems for `test_x64`: `{name: thunk}` of what is traced."""

from functools import partial

import exact
import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import diffusion, discrete_diffusion, inverse, paths
from gen_jax.flow_matching import FEW_STEP_LOSSES

N, SHAPE = 4, (8, 8, 3)


def numbers(dtype, *shape):
    """Numbers in (-1, 1)."""
    return jnp.sin(jnp.arange(np.prod(shape), dtype=dtype)).reshape(shape)


def token_steppers(dtype):
    """Tokens of both widths keep theirs."""

    def make(name, stepper, whole):
        path = discrete_diffusion.absorbing(3)
        table = jax.nn.softmax(numbers(dtype, 9)).reshape(3, 3)
        denoise = discrete_diffusion.table_denoiser(table, path)
        times, start = jnp.linspace(1, 0, 4, dtype=dtype), jnp.full((N, 2), 3, whole)

        def run(x):
            drawn = discrete_diffusion.sample(jax.random.key(0), denoise, path, x, times, stepper())
            assert drawn.dtype == whole
            clean = jnp.minimum(drawn, 2)
            return discrete_diffusion.bound(jax.random.key(1), denoise, path, clean, times)

        return run, start

    return {
        f"{name} {whole}": partial(make, name, stepper, jnp.dtype(whole))
        for name, stepper in discrete_diffusion.TOKEN_STEPPERS.items()
        for whole in ("int32", "int64")
    }


def few_steps(dtype):
    """Losses of few-step models."""
    average = lambda x, t, s: jnp.tanh(x) * (1 + t - s)[:, None]
    x, t = numbers(dtype, N, 2), jnp.full(N, 0.7, dtype)
    make = lambda loss: (partial(loss, average, paths.linear()), x, x + 1, t, t / 2)
    return {name: partial(make, loss) for name, loss in FEW_STEP_LOSSES.items()}


def _operator(name):
    mask = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 2 == 0
    options = {"uncropping": (1,), "super_resolution": (2,), "jpeg": (50,)}
    if name == "blur":
        return inverse.blur(SHAPE, inverse.gaussian_kernel(3, 1.0))
    if name == "dense":
        return inverse.dense(np.eye(3, 5))
    arguments = (mask,) if name == "inpainting" else (SHAPE, *options.get(name, ()))
    return inverse.OPERATORS[name](*arguments)


def operators(dtype):
    """What is measured, and back."""

    def make(name):
        operator = _operator(name)
        both = lambda x: (operator.apply(x), operator.pseudo_inverse(operator.apply(x)))
        return both, numbers(dtype, N, *operator.shape)

    return {name: partial(make, name) for name in inverse.OPERATORS}


def _mixture(dtype):
    path = paths.linear()
    law = (jnp.asarray(part, dtype) for part in exact.mixture_2d())
    return path, diffusion.mixture_denoiser(*law, path), inverse.dense(np.array([[1.0, 0.5]]))


def inverse_problems(dtype):
    """Guides, steppers, particles and searches."""
    path, denoise, operator = _mixture(dtype)
    y, key, x = jnp.array([0.3], dtype), jax.random.key(0), numbers(dtype, N, 2)
    times = jnp.linspace(1, 0, 4, dtype=dtype)
    log_p = lambda x: -0.5 * jnp.sum((operator.apply(x) - y) ** 2, 1)
    mask, stepper = np.array([True, False]), diffusion.STEPPERS["ddim"]()
    run = lambda denoise, stepper: lambda x: diffusion.sample(key, denoise, path, x, times, stepper)
    made = {
        name: (run(guide(denoise, path, operator, y, 0.1, 1.0), stepper), x)
        for name, guide in inverse.GUIDES.items()
    }
    steppers = {
        "ddrm": inverse.ddrm(operator, y, 0.1),
        "replacement": inverse.replacement(stepper, mask, x[0]),
        "repaint": inverse.repaint(stepper, mask, x[0], 2),
    }
    made |= {name: (run(denoise, stepper), x) for name, stepper in steppers.items()}
    twist = inverse.gaussian_twist(denoise, path, operator, y, 0.3)
    smc = partial(inverse.twisted_smc, key, denoise, path, log_p, times=times)
    made["twisted_smc"] = (lambda x: smc(x=x), x)
    made["gaussian_twist"] = (lambda x: smc(x=x, log_twist=twist), x)
    generate = lambda z: jnp.tanh(z)
    search = partial(inverse.latent_search, key, generate, operator, latent=2, weight=0.1, steps=2)
    made["latent_search"] = (search, jnp.broadcast_to(y, (N, 1)))
    return {name: partial(lambda pair: pair, pair) for name, pair in made.items()}


FAMILIES = [token_steppers, few_steps, operators, inverse_problems]
