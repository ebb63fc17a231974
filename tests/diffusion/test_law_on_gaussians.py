"""The exact law that each sampler gives Gaussian data: no sampling, float64.

With the denoiser of isotropic Gaussian data a step is x -> a x + b + c z in every coordinate. So
let coordinate k carry the coefficient of the k-th noise: the draws are replaced by unit vectors,
and the sum of squares at the end is the variance of what the sampler returns.
"""

import importlib

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate
from usual import MEASURED, PATHS, USUAL, any_path, usual_times

from gen_jax import diffusion, paths
from gen_jax.diffusion.adams import adams_weights
from gen_jax.diffusion.sampler import Stepper, transitions

MEAN, DRAWS = 0.7, 8  # draws of one step: fewer than this
STATED = {
    "ddim": 1,
    "euler": 1,
    "heun": 2,
    "midpoint": 2,
    "rk4": 4,
    "edm_heun": 2,
    "dpm_solver_pp": 2,
    "unipc": 3,
}
STATED_OF_VARIANCE = {
    "ddpm": 1,
    "ddpm_upper": 1,
    "backward_euler_maruyama": 1,
    "backward_posterior": 1,
    "dpm_solver_pp_sde": 2,
    "euler_maruyama": 1,
}
OTHERS = {"edm", "predictor_corrector", "annealed_langevin", "adaptive"}  # each has its own test


@pytest.fixture(autouse=True)
def unit_vectors_for_noise(x64, monkeypatch):
    """Keys become numbers, and the normal draw of key k the k-th unit vector."""
    for name in ("ddim", "dpm_solver", "edm", "stochastic"):
        module = importlib.import_module(f"gen_jax.diffusion.{name}")
        unit = lambda keys, shape, dtype: jax.nn.one_hot(keys, shape[0], dtype=dtype)
        monkeypatch.setattr(module, "normal", unit)
        if hasattr(module, "fold_in"):
            monkeypatch.setattr(module, "fold_in", lambda keys, i: DRAWS * keys + 1 + i)


def law(stepper, path, times, std, start=None):
    """(mean, variance) of x at times[-1] from x at times[0] of the path (or of N(*start))."""
    size = DRAWS * (times.shape[0] + 1) if stepper.stochastic else 2
    before = (path.alpha(times[0]) * std) ** 2 + path.sigma(times[0]) ** 2
    mean, variance = (path.alpha(times[0]) * MEAN, before) if start is None else start

    def carry(x, data_mean):
        denoise = exact.gaussian_denoiser(data_mean, std, path)

        def body(state, transition):
            keys = transition.index[None] + 1
            x, inner = stepper.step(keys, denoise, path, *state, transition)
            return (x, inner), None

        (x, _), _ = jax.lax.scan(body, (x, stepper.init(x)), transitions(path, times))
        return x

    noise = carry(jnp.sqrt(variance) * jax.nn.one_hot(jnp.zeros(1, int), size), 0.0)
    # The last coordinate has no noise: it carries the mean.
    return carry(jnp.full((1, size), mean), MEAN)[0, -1], jnp.sum(noise**2)


def true_law(path, t, std):
    return path.alpha(t) * MEAN, (path.alpha(t) * std) ** 2 + path.sigma(t) ** 2


LOWER_ORDER_START = {"dpm_solver_pp_3", "unipc_3", "adams"}  # their first steps limit the order

TABLES = {*STATED, *LOWER_ORDER_START, *STATED_OF_VARIANCE, *OTHERS}
NEW = {name: 1 for name in diffusion.STEPPERS if name not in TABLES}
"""Steppers in no table must have at least the order 1; a row above states another."""

DETERMINISTIC = STATED | {n: k for n, k in NEW.items() if not diffusion.STEPPERS[n]().stochastic}
VARIANCE_ORDER = STATED_OF_VARIANCE | {n: k for n, k in NEW.items() if n not in DETERMINISTIC}


def inner_times(stepper, path, n):
    """n steps between two levels in the middle of the path, uniform as the stepper likes it."""
    levels = jnp.array([3.0, 0.5])
    ends = paths.time_of_log_snr(path, -2 * jnp.log(levels))
    if stepper.grid in ("uniform", "flow"):
        return jnp.linspace(ends[0], ends[1], n + 1)
    levels = jnp.exp(jnp.linspace(*jnp.log(levels), n + 1))
    return paths.time_of_log_snr(path, -2 * jnp.log(levels))


def relative_errors(stepper, index, std, ns):
    """Relative error of the variance at each number of steps [len(ns)], and of the mean."""

    def one(index, n):
        path = any_path(index)
        times = inner_times(stepper, path, n)
        mean, variance = law(stepper, path, times, std)
        true_mean, true_variance = true_law(path, times[-1], std)
        return variance / true_variance - 1, mean / true_mean - 1

    run = jax.jit(one, static_argnums=1)
    return np.array([run(index, n) for n in ns]).T


def check_order(name, slope, stated, path):
    assert slope > stated - 0.1, (path, slope)
    assert name in NEW or slope < stated + 0.1, (path, slope)


def test_every_row_is_of_a_stepper():
    assert {*MEASURED, *TABLES} <= set(diffusion.STEPPERS)


@pytest.mark.parametrize("name", VARIANCE_ORDER)
def test_the_error_of_the_variance_falls_at_the_stated_order(name):
    for index in range(len(PATHS)):
        variance, mean = relative_errors(diffusion.STEPPERS[name](), index, 0.6, (128, 256))
        slope = np.log2(abs(variance[0] / variance[1]))
        check_order(name, slope, VARIANCE_ORDER[name], PATHS[index])
        assert abs(mean[1]) < 0.01


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_order_of_convergence_on_a_mixture(name):
    """The flow on the line keeps quantiles, which is a truth for any data: within 0.1.

    A stepper in no table may have a higher order than 1.
    """
    mixture, x = exact.mixture_1d(), jnp.array([[-1.5], [-0.2], [0.4], [1.3]])
    stepper = diffusion.STEPPERS[name]()

    def error(index, n):
        path = any_path(index)
        times = inner_times(stepper, path, n)
        start = path.alpha(times[0]) * x * 2
        denoise = diffusion.mixture_denoiser(*mixture, path)
        end = diffusion.sample(jax.random.key(0), denoise, path, start, times, stepper)
        before = exact.mixture_cdf_1d(mixture, path.alpha(times[0]), path.sigma(times[0]), start)
        after = exact.mixture_cdf_1d(mixture, path.alpha(times[-1]), path.sigma(times[-1]), end)
        return jnp.max(jnp.abs(after - before))

    ns = np.array((48, 96) if DETERMINISTIC[name] == 4 else (192, 384))
    run = jax.jit(error, static_argnums=1)
    for index in range(len(PATHS)):
        first, second = run(index, ns[0]), run(index, ns[1])
        slope = float(jnp.log2(first / second))
        check_order(name, slope, DETERMINISTIC[name], PATHS[index])


ORDER_TO_THE_DATA = {"ddim": 1, "euler": 1, "rk4": 4}


@pytest.mark.parametrize("name", [*DETERMINISTIC, *sorted(LOWER_ORDER_START)])
def test_order_of_convergence_where_the_grid_ends_at_the_data(name):
    """At least the stated order, 2 for most, on a grid whose last interval is coarse.

    Those that return D at the end have order 2 at most: D is flat in sigma^2 there.
    """
    stepper, order = diffusion.STEPPERS[name](), ORDER_TO_THE_DATA.get(name, 2)
    exponent = 1.0 if stepper.grid == "flow" else 2.0

    def error(index, n):
        path, zero = any_path(index), jnp.zeros(())
        start = paths.time_of_log_snr(path, -2 * jnp.log(3.0))
        times = start * jnp.linspace(1, 0, n + 1) ** exponent
        x, denoise = jnp.array([[-3.0], [0.9], [6.0]]), exact.gaussian_denoiser(MEAN, 0.6, path)
        end = diffusion.sample(jax.random.key(0), denoise, path, x, times, stepper)
        truth = exact.gaussian_flow(MEAN, 0.6, path, x, start, zero)
        # What noise a path has left at t = 0 is removed by its denoiser.
        truth = jnp.where(path.sigma(zero) > 0, denoise(truth, zero), truth)
        return jnp.max(jnp.abs(end - truth))

    run = jax.jit(error, static_argnums=1)
    for index in range(len(PATHS)):
        first, second = run(index, 32), run(index, 64)
        assert jnp.log2(first / second) > order - 0.2 or second < 5e-4, PATHS[index]
        assert second < {1: 0.3, 2: 5e-3, 4: 1e-5}[order], PATHS[index]


@pytest.mark.parametrize(("name", "order"), [("dpm_solver_pp_3", 3), ("adams", 4)])
def test_a_step_after_exact_ones_has_the_methods_local_order(name, order):
    """From exact states one step is off by O(h^(order + 1))."""
    path, stepper = paths.cosine(), diffusion.STEPPERS[name]()
    denoise, x = exact.gaussian_denoiser(MEAN, 0.6, path), jnp.array([[-3.0], [0.9], [6.0]])

    def error(h):
        times = 0.6 - h * jnp.arange(2 * order + 1)  # with fewer the order of adams is lower
        state = lambda t: exact.gaussian_flow(MEAN, 0.6, path, x, 0.6, t)
        carry, rows = stepper.init(x), transitions(path, times)
        for i in range(order):
            row = jax.tree.map(lambda leaf, i=i: leaf[i], rows)
            end, carry = stepper.step(None, denoise, path, state(row.t), carry, row)
        return jnp.abs(end - state(times[order])).max()

    assert abs(np.log2(error(0.005) / error(0.0025)) - order - 1) < 0.3


@pytest.mark.parametrize("stretch", [1.0, 1.4, 2.0])
@pytest.mark.parametrize("end", [0.1, 0.0])
def test_adams_weights_integrate_a_cubic_over_the_angle(x64, stretch, end):
    nodes = jnp.array([0.3, 0.45, 0.5, 0.8])
    weights = adams_weights(nodes, nodes[0], jnp.array(end), stretch)
    cubic = np.polynomial.Polynomial([0.3, -1.0, 2.0, 0.7])
    # Over phi itself: w of an angle has a closed form.
    place = lambda phi: 1 / (1 + np.tan(phi) ** (-1 / stretch)) if phi > 0 else 0.0
    ends = [np.arctan((w / (1 - w)) ** stretch) for w in (0.3, end)]
    integral = integrate.quad(lambda phi: cubic(place(phi)), *ends, epsabs=1e-12)[0]
    np.testing.assert_allclose(weights @ cubic(np.asarray(nodes)), integral, rtol=1e-6)


@pytest.mark.parametrize(("end", "allowed"), [("data", 5e-5), ("noise", 1e-3)])
def test_adams_follows_a_flow_that_is_smooth_in_log_snr_alone(x64, end, allowed):
    """As a network's that sees log(sigma / alpha): F = log sin(phi) or log cos(phi), above -10.

    In the angle itself the method stalls: errors of 1.3e-3 and 4e-2 at 80 calls.
    """
    path, stepper = paths.linear(), diffusion.adams()

    def denoise(x, t):
        alpha, sigma = path.alpha(t)[:, None], path.sigma(t)[:, None]
        norm = jnp.hypot(alpha, sigma)
        f = jnp.maximum(jnp.log((sigma if end == "data" else alpha) / norm), -10.0)
        return (alpha * x + sigma * norm * f) / norm**2

    times = diffusion.GRIDS[stepper.grid](path, 80, data_std=1.0)
    x = diffusion.sample(jax.random.key(0), denoise, path, jnp.zeros((1, 1)), times, stepper)
    truth = -np.pi / 2 * np.log(2) + np.exp(-10)  # the clip adds the angle at which it begins
    assert abs(float(x[0, 0]) - truth) < allowed


def test_adams_follows_a_gaussian_of_the_stated_size_exactly(x64):
    """F = 0 for centred data of standard deviation data_std: two steps are enough on any path."""
    x, times = jnp.array([[-1.0], [2.5]]), jnp.array([0.9, 0.4, 0.0])
    for name in ("linear", "vp"):
        path = paths.PATHS[name]()
        denoise = exact.gaussian_denoiser(0.0, 3.0, path)
        options = {"stepper": diffusion.adams(), "data_std": 3.0}
        end = diffusion.sample(jax.random.key(0), denoise, path, x, times, **options)
        np.testing.assert_allclose(end, exact.gaussian_flow(0.0, 3.0, path, x, 0.9, 0.0))


def test_the_last_step_of_adams_does_not_magnify_a_networks_roughness():
    """On edm it is nine times as long as the one before, from sigma = 0.002 to the data.

    At order 4 a polynomial through rough slopes ends 0.0051 off, and more with more steps.
    """
    path, stepper = paths.edm(), diffusion.adams()

    def denoise(x, t):
        alpha, sigma = path.alpha(t)[:, None], path.sigma(t)[:, None]
        rough = 0.05 * jnp.sin(16 * jnp.log(sigma / alpha))
        return (alpha * x / jnp.hypot(alpha, sigma) + rough * sigma) / jnp.hypot(alpha, sigma)

    z = jax.random.normal(jax.random.key(0), (64, 2))
    times = diffusion.GRIDS[stepper.grid](path, 160, data_std=1.0)
    start = z * jnp.hypot(path.sigma(times[0]), path.alpha(times[0]))
    end = diffusion.sample(jax.random.key(1), denoise, path, start, times, stepper)
    assert jnp.sqrt(jnp.mean((end - z) ** 2)) < 1e-3


@pytest.mark.parametrize("name", sorted(set(USUAL) - {"adaptive", "backward_posterior"}))
def test_the_usual_number_of_steps_has_the_stated_error(name):
    stepper = diffusion.STEPPERS[name]()

    def one(index, std):
        path = any_path(index)
        mean, variance = law(stepper, path, usual_times(name, path), std)
        return (mean - MEAN) / std, variance / std**2 - 1

    run = jax.jit(one)
    found = np.array([[run(i, std) for i in range(len(PATHS))] for std in (0.15, 0.6)])
    assert np.abs(found[..., 0]).max() < 0.01
    worst = np.abs(found[..., 1]).max()
    assert worst < USUAL[name].gaussian
    if name in MEASURED:  # the table states an error, not a loose bound
        assert worst > 0.5 * USUAL[name].gaussian


def test_adaptive_follows_its_tolerance():
    x, path = jnp.array([[-1.0], [0.3], [2.0]]), paths.vp()
    stepper = diffusion.adaptive(rtol=1e-7, atol=1e-7)
    ends = inner_times(stepper, path, 1)
    denoise = exact.gaussian_denoiser(MEAN, 0.6, path)
    end = diffusion.sample(jax.random.key(0), denoise, path, x, ends, stepper)
    assert np.abs(end - exact.gaussian_flow(MEAN, 0.6, path, x, *ends)).max() < 1e-6


def test_churn_without_extra_noise_converges():
    for index in (0, 2):
        stepper = diffusion.edm(churn=10.0)
        variance, _ = relative_errors(stepper, index, 0.6, (100, 400))
        assert abs(variance[1]) < 2e-3
        assert abs(np.log2(variance[0] / variance[1]) / 2 - 2) < 0.1  # churn / n: second order


def test_langevin_steps_settle_where_the_unadjusted_algorithm_does():
    """N steps of size d on N(m, V) settle at variance V / (1 - d / (2 V)), for any start."""
    path, std = paths.ve(), 0.6
    t, s = jnp.array(0.7), jnp.array(0.45)
    mean, v = true_law(path, s, std)
    step = 0.2 * path.sigma(s) ** 2
    times, start = jnp.stack([t, s]), (3.0, 9.0)
    stepper = diffusion.annealed_langevin(num_inner=5, step_size=0.2)
    found = np.array(start)
    contraction = 1 - step / v
    truth = (
        mean + contraction**5 * (start[0] - mean),
        contraction**10 * start[1] + 2 * step * sum(contraction ** (2 * i) for i in range(5)),
    )
    found = law(stepper, path, times, std, start)
    np.testing.assert_allclose(found, truth, rtol=1e-10)
    limit = 2 * step / (1 - contraction**2)
    np.testing.assert_allclose(limit, v / (1 - step / (2 * v)), rtol=1e-10)


RATES = {
    "bounded": (diffusion.bounded_rate, PATHS),
    "score_sde": (diffusion.score_sde_rate, ("vp", "ve", "edm")),
    "constant": (lambda c: jnp.full_like(c.alpha, 0.5), ("linear", "cosine", "vp")),
    "zero": (lambda c: jnp.zeros_like(c.alpha), PATHS),
}


@pytest.mark.parametrize("rate", RATES)
def test_any_diffusion_rate_keeps_the_marginals(rate):
    function, names = RATES[rate]
    for name in names:
        stepper = diffusion.euler_maruyama(function)
        variance, mean = relative_errors(stepper, PATHS.index(name), 0.6, (256, 512))
        # First order: extrapolated to infinitely many steps nothing of the error is left.
        assert abs(2 * variance[1] - variance[0]) < 2e-3, name
        assert abs(2 * mean[1] - mean[0]) < 1e-4, name
        assert abs(variance[1]) < 0.05


def mutant(score=0.5, noise=1.0):
    """Euler-Maruyama at the bounded rate with the two constants of its step changed."""

    def step(keys, denoise, path, x, carry, transition):
        u = paths.velocity(denoise, path)(x, transition.t)
        c = transition.now
        w, dt = diffusion.bounded_rate(c), transition.s - transition.t
        s = paths.convert(u, x, c, "velocity", "score")
        z = jax.nn.one_hot(keys, x.shape[1], dtype=x.dtype)
        return x + (u - score * w * s) * dt + jnp.sqrt(-noise * w * dt) * z, carry

    return Stepper(step, stochastic=True)


def test_planted_bugs_change_the_law():
    bugs = {
        "none": {},
        "score without its half": {"score": 1.0},
        "sign": {"score": -0.5},
        "variance 5 % off": {"noise": 1.05},
    }
    for bug, constants in bugs.items():
        variance, _ = relative_errors(mutant(**constants), 2, 0.6, (256, 512))
        kept = abs(2 * variance[1] - variance[0]) < 2e-3
        assert kept == (bug == "none"), bug
