"""What `benchmarks.inverse_problems` measures: mixtures, operators, solvers, and their cost."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import data, diffusion, inverse
from gen_jax.classical import mixture
from gen_jax.paths import linear
from gen_jax.sampling import importance
from gen_jax.types import Array, Float, Key

NOISE_STD = 0.2
SHAPES = {2: (2, 1, 1), 8: (2, 4, 1), 64: (8, 8, 1)}
PROBLEMS = {2: 64, 8: 32, 64: 12}
DRAWS = {2: 128, 8: 128, 64: 64}
COMPONENTS = {2: 3, 8: 6, 64: 8}


class Measurement(NamedTuple):
    """A as [D, D] with rows of zeros below, its left singular vectors [D, D] and values [D].

    One size for all operators, so that a solver is compiled once for all of them.
    """

    matrix: Float[Array, "*n D D"]
    left: Float[Array, "*n D D"]
    values: Float[Array, "*n D"]

    def operator(self) -> inverse.LinearOperator:
        """The operator on points [D]."""
        product = lambda m, v: jnp.matmul(m, v, precision="highest")
        return inverse.linear_operator(
            self.matrix.shape[-1:],
            lambda x: product(self.matrix, x),
            self.values,
            lambda y: product(self.left.T, y),
            lambda c: product(self.left, c),
        )


class Problems(NamedTuple):
    """Measurements of several operators [O, P, D], their truths, posteriors and exact draws."""

    measurement: Measurement
    truth: Float[Array, "O P D"]
    y: Float[Array, "O P D"]
    posterior: inverse.Posterior
    exact: Float[Array, "O P S D"]
    again: Float[Array, "O P S D"]


def prior_of(dim: int) -> mixture.Mixture:
    """The prior: components at random in 2 and 8 dimensions, of digits in [-1, 1] in 64."""
    k = COMPONENTS[dim]
    key_means, key_axes, key_fit = jax.random.split(jax.random.key(dim), 3)
    if dim == 64:
        x = data.load("digits", "train")["x"].reshape(-1, 64) / 127.5 - 1
        return mixture.fit_em(key_fit, np.float32(x), k, epsilon=0.01).mixture
    axes = 0.35 * jax.random.normal(key_axes, (k, dim, dim)) / np.sqrt(dim)
    covariances = axes @ axes.swapaxes(1, 2) + 0.1**2 * jnp.eye(dim)
    weights = jnp.arange(k, 0.0, -1.0)
    return mixture.Mixture(
        weights / weights.sum(), jax.random.normal(key_means, (k, dim)), covariances
    )


def operators_of(dim: int) -> dict[str, inverse.LinearOperator]:
    """Five operators on images of `dim` pixels; the first hides half of them."""
    height, width, _ = shape = SHAPES[dim]
    hidden = np.arange(dim).reshape(shape) >= dim // 2
    kernel = np.array([[0.6], [0.4]]) if dim == 2 else inverse.gaussian_kernel(3, 0.7)[:height]
    rows = np.random.default_rng(dim).normal(size=(dim // 2, dim)) / np.sqrt(dim)
    pooled = inverse.super_resolution(shape, 2) if width > 1 else inverse.dense([[0.5, 0.5]])
    return {
        "inpainting": inverse.inpainting(~hidden),
        "super_resolution": pooled,
        "blur": inverse.blur(shape, kernel),
        "dense": inverse.dense(rows),
        "denoising": inverse.uncropping(shape, 0),
    }


def measurement_of(operator: inverse.LinearOperator, dim: int) -> Measurement:
    """The operator as a square matrix."""
    rows = operator.apply(jnp.eye(dim).reshape(dim, *operator.shape)).reshape(dim, -1).T
    matrix = np.zeros((dim, dim))
    matrix[: len(rows)] = rows
    left, values, _ = np.linalg.svd(matrix)
    values = np.where(values < 1e-3 * values[0], 0, values)
    return Measurement(*(jnp.asarray(a, jnp.float32) for a in (matrix, left, values)))


def problems_of(prior: mixture.Mixture, operators: list[inverse.LinearOperator]) -> Problems:
    """True points, what is measured of them, and what is known exactly of them then."""
    dim = prior.means.shape[1]
    every = [measurement_of(operator, dim) for operator in operators]
    measurement = jax.tree.map(lambda *a: jnp.stack(a), *every)
    count, draws = PROBLEMS[dim], DRAWS[dim]

    def one(key: Key[Array, ""], m: Measurement):
        key_truth, key_noise, key_exact, key_again = jax.random.split(key, 4)
        truth = mixture.sample(key_truth, prior, 1)[0]
        noise = jnp.any(m.matrix != 0, axis=1) * jax.random.normal(key_noise, (dim,))
        y = m.matrix @ truth + NOISE_STD * noise
        found = inverse.mixture_posterior(*prior, m.matrix, y, NOISE_STD)
        exact = (
            mixture.sample(k, mixture.Mixture(*found[:3]), draws) for k in (key_exact, key_again)
        )
        return truth, y, found, *exact

    keys = jax.random.split(jax.random.key(1), (len(operators), count))
    many = jax.jit(jax.vmap(jax.vmap(one, (0, None))))
    return Problems(measurement, *many(keys, measurement))


class Case(NamedTuple):
    """One operator's share of the problems: what a solver is given. y is [P, D]."""

    denoise: Callable
    operator: inverse.LinearOperator
    y: Float[Array, "P D"]
    posterior: inverse.Posterior
    data_std: float
    draws: int


PATH = linear()
Solve = Callable[[Key[Array, ""], Case, int], Float[Array, "P S D"]]


def run_stepper(key, case: Case, denoise: Callable, stepper: diffusion.Stepper, steps: int):
    """Draws of all problems in one batch [P S, D]."""
    key_start, key_run = jax.random.split(key)
    count, dim = case.y.shape
    x = diffusion.prior(key_start, PATH, (count * case.draws, dim), data_std=case.data_std)
    times = diffusion.GRIDS[stepper.grid](PATH, steps)
    x = diffusion.sample(key_run, denoise, PATH, x, times, stepper)
    return x.reshape(count, case.draws, dim)


def by_guide(guide: Callable) -> Solve:
    """ddim with a guide `(denoise, path, operator, y, noise_std, data_std) -> denoise`."""

    def solve(key, case, steps):
        y = jnp.repeat(case.y, case.draws, axis=0)
        guided = guide(case.denoise, PATH, case.operator, y, NOISE_STD, case.data_std)
        return run_stepper(key, case, guided, diffusion.ddim(), steps)

    return solve


def by_stepper(make: Callable[[Case, Array], diffusion.Stepper]) -> Solve:
    """A stepper of the case and its measurements [P S, D]."""

    def solve(key, case, steps):
        y = jnp.repeat(case.y, case.draws, axis=0)
        return run_stepper(key, case, case.denoise, make(case, y), steps)

    return solve


def by_inpainting(wrap: Callable) -> Solve:
    """`wrap(stepper, mask, y)`; the first half of the values is known, in order."""

    def make(case, y):
        mask = np.arange(y.shape[1]) < y.shape[1] // 2
        return wrap(diffusion.STEPPERS["ddpm"](), mask, y)

    return by_stepper(make)


def twisted(key, case: Case, steps: int):
    """As many particles as draws for each posterior, resampled once at the end."""
    dim = case.y.shape[1]
    times = diffusion.GRIDS["uniform"](PATH, steps)

    def one(key, y):
        key_start, key_run, key_pick = jax.random.split(key, 3)
        x = diffusion.prior(key_start, PATH, (case.draws, dim), data_std=case.data_std)
        density = lambda x0: jnp.sum(
            jax.scipy.stats.norm.logpdf(case.operator.apply(x0), y, NOISE_STD), axis=1
        )
        given = (case.denoise, PATH, case.operator, y, NOISE_STD, case.data_std)
        twist = inverse.gaussian_twist(*given)
        found = inverse.twisted_smc(key_run, case.denoise, PATH, density, x, times, log_twist=twist)
        u = jax.random.uniform(key_pick)
        return found.x[importance.resample(u, found.log_weights, case.draws)]

    return jax.vmap(one)(jax.random.split(key, len(case.y)), case.y)


def exact_guidance(key, case: Case, steps: int):
    """ddim with the denoiser of each posterior."""

    def one(key, posterior):
        denoise = diffusion.mixture_denoiser(*posterior[:3], PATH)
        alone = case._replace(y=case.y[:1])
        return run_stepper(key, alone, denoise, diffusion.ddim(), steps)[0]

    return jax.vmap(one)(jax.random.split(key, len(case.y)), case.posterior)


EXACT = "exact guidance"
SOLVERS: dict[str, Solve] = {
    **{name: by_guide(guide) for name, guide in inverse.GUIDES.items()},
    "dps, residual_norm": by_guide(
        lambda d, path, op, y, noise, std: inverse.dps(d, path, op, y, noise, scale="residual_norm")
    ),
    "ddrm": by_stepper(lambda case, y: inverse.ddrm(case.operator, y, NOISE_STD)),
    "replacement": by_inpainting(inverse.replacement),
    "repaint": by_inpainting(functools.partial(inverse.repaint, resamples=5)),
    "twisted_smc": twisted,
    EXACT: exact_guidance,
}
INPAINT = ("replacement", "repaint")


def cost(solver: str, steps: int) -> tuple[int, int]:
    """(network calls, calls of its derivative) for one batch, counted as Python runs them."""
    counts = {"calls": 0, "derivatives": 0}

    @jax.custom_vjp
    def network(x, t):
        counts["calls"] += 1
        return 0.5 * x

    def forward(x, t):
        return network(x, t), None

    def backward(_, cotangent):
        counts["derivatives"] += 1
        return 0.5 * cotangent, jnp.zeros(cotangent.shape[0])

    network.defvjp(forward, backward)
    found = inverse.mixture_posterior(
        jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None], jnp.eye(2), jnp.zeros(2), NOISE_STD
    )
    found = jax.tree.map(lambda a: a[None], found)
    case = Case(network, inverse.dense(np.eye(2)), jnp.zeros((1, 2)), found, 1.0, 2)
    with jax.disable_jit():
        SOLVERS[solver](jax.random.key(0), case, steps)
    return (steps, 0) if solver == EXACT else (counts["calls"], counts["derivatives"])


@functools.cache
def costs(solver: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """(calls, derivatives) of each step but the last, and of three steps."""
    three, four = cost(solver, 3), cost(solver, 4)
    return (four[0] - three[0], four[1] - three[1]), three


def steps_within(solver: str, budget: int) -> tuple[int, int, int]:
    """(steps, calls, derivatives): the most steps with at most `budget` calls."""
    each, three = costs(solver)
    more = (budget - three[0]) // each[0]
    return 3 + more, three[0] + more * each[0], three[1] + more * each[1]
