"""Replacement, RePaint, DDRM and the twisted sampler against exact posteriors of mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import inverse
from gen_jax.calls import counted, network_call
from gen_jax.diffusion import (
    STEPPERS,
    dpm_solver_pp,
    mixture_denoiser,
    prior,
    sample,
    sample_with_info,
)
from gen_jax.errors import ConfigError, DataError
from gen_jax.paths import linear, vp

COVARIANCE = jnp.array([[1.0, 0.9], [0.9, 1.0]])
GAUSSIAN = (jnp.ones(1), jnp.zeros((1, 2)), COVARIANCE[None])
FIRST = np.array([True, False])
N = 4000


def draws(stepper, key, path, mixture=GAUSSIAN, steps=50, n=N):
    denoise = mixture_denoiser(*mixture, path)
    times = jnp.linspace(1, 0, steps + 1)
    run = jax.jit(lambda key, x: sample_with_info(key, denoise, path, x, times, stepper))
    return run(key, prior(key, path, (n, 2)))


def test_known_values_are_exact_and_repaint_lessens_the_bias(key, optimized):
    """x_2 given x_1 = 1.5 has mean 1.35 and variance 0.19; the mean of replacement is too small."""
    y = jnp.array([1.5, jnp.nan])
    ancestral = STEPPERS["ddpm"]()
    once, calls = draws(inverse.replacement(ancestral, FIRST, y), key, vp())
    again, more = draws(inverse.repaint(ancestral, FIRST, y, 8), key, vp())
    for x in (once, again):
        np.testing.assert_array_equal(x[:, 0], 1.5)
        assert bool(jnp.all(jnp.isfinite(x)))
    bias = lambda x: 1.35 - float(x[:, 1].mean())
    # The standard error of a mean is 0.007.
    assert bias(once) > 0.1
    assert abs(bias(again)) < bias(once) / 3
    assert int(calls.calls) == 50
    assert int(more.calls) == 49 * 8 + 1


def test_repaint_of_one_is_replacement(key):
    y = jnp.array([0.3, 0.0])
    for stepper in (STEPPERS["ddim"](), dpm_solver_pp()):
        single = draws(inverse.repaint(stepper, FIRST, y, 1), key, linear(), steps=4, n=8)[0]
        plain = draws(inverse.replacement(stepper, FIRST, y), key, linear(), steps=4, n=8)[0]
        np.testing.assert_array_equal(single[:, 0], plain[:, 0])
        assert single.shape == plain.shape


def test_repaint_noise_keeps_the_law(key, optimized):
    """Standard normal data, for which the "upper" variance is exact: x_2 keeps its own law."""
    independent = (jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    stepper = inverse.repaint(STEPPERS["ddpm_upper"](), FIRST, jnp.array([0.5, 0.0]), 4)
    x, _ = draws(stepper, key, vp(), independent, steps=20)
    # The last step returns the denoised point: the variance lacks that of x0 given x_t.
    t = 1 / 20
    exact_std = float(vp().alpha(jnp.array(t)))
    assert abs(float(x[:, 1].mean())) < 5 / np.sqrt(N)
    assert abs(float(x[:, 1].std()) / exact_std - 1) < 5 / np.sqrt(2 * N)


@pytest.mark.parametrize("noise_std", [0.0, 0.5])
def test_ddrm_on_independent_values(noise_std, key, optimized):
    """Independent unit values, one of them measured twice as large: exact without noise.

    The unmeasured value keeps its law. With noise DDRM's posterior is an approximation.
    """
    unit = (jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None])
    operator = inverse.dense(np.array([[2.0, 0.0]]))
    stepper = inverse.ddrm(operator, np.array([1.6]), noise_std, eta=0.0)
    x, info = draws(stepper, key, vp(), unit, steps=100)
    assert int(info.calls) == 100
    assert abs(float(x[:, 1].mean())) < 5 / np.sqrt(N)
    assert abs(float(x[:, 1].std()) - 1) < 5 / np.sqrt(2 * N) + 0.03
    if noise_std == 0:
        np.testing.assert_allclose(x[:, 0], 0.8, atol=1e-5)
    else:
        # The posterior's mean is 0.753.
        assert abs(float(x[:, 0].mean()) - 0.753) < 0.05


def test_ddrm_takes_images_and_complex_coordinates(key):
    operator = inverse.blur((5, 4, 1), np.ones((2, 2)) / 4)
    truth = jax.random.normal(key, (2, 5, 4, 1))
    y = operator.apply(truth)
    denoise = lambda x, t: 0.3 * x
    start = jax.random.normal(key, truth.shape)
    stepper = inverse.ddrm(operator, y, 0.0)
    x = sample(key, denoise, linear(), start, jnp.array([1.0, 0.5, 0.0]), stepper)
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(operator.apply(x), y, atol=1e-4)


MIXTURE = (
    jnp.array([0.6, 0.3, 0.1]),
    jnp.array([[1.0, 0.5], [-1.2, 0.8], [0.1, -1.5]]),
    jnp.array([0.3, 0.25, 0.3])[:, None, None] ** 2 * jnp.eye(2),
)
MATRIX, Y, NOISE = jnp.array([[0.3, 1.0]]), jnp.array([0.4]), 0.4


def log_likelihood(x0):
    residual = (Y - x0 @ MATRIX.T)[:, 0]
    return jax.scipy.stats.norm.logpdf(residual, scale=NOISE)


def test_a_twist_with_a_covariance_finds_the_evidence_of_a_precise_measurement(key, optimized):
    """Each of four runs within 0.1 nats; the likelihood of the denoised point misses by 0.3."""
    path, y, noise = linear(), jnp.array([0.6]), 0.3
    denoise = mixture_denoiser(*MIXTURE, path)
    of_denoised = lambda x: jax.scipy.stats.norm.logpdf((y - x @ MATRIX.T)[:, 0], scale=noise)
    operator = inverse.dense(np.asarray(MATRIX))
    twist = inverse.gaussian_twist(denoise, path, operator, y, noise)

    def one(key):
        key_start, key_run = jax.random.split(key)
        given = (denoise, path, of_denoised, prior(key_start, path, (2000, 2)))
        times = jnp.linspace(1, 0, 101)
        return inverse.twisted_smc(key_run, *given, times, log_twist=twist).log_evidence

    found = jax.jit(jax.vmap(one))(jax.random.split(key, 4))
    exact = inverse.mixture_posterior(*MIXTURE, MATRIX, y, noise).log_evidence
    np.testing.assert_allclose(found, exact, atol=0.1)
    assert abs(float(jnp.mean(found)) - exact) < 0.05


@pytest.mark.parametrize("twist", ["denoised", "constant"])
def test_twisted_smc_finds_weights_and_evidence(twist, key, optimized):
    """Eight runs of 2,000 particles: within five standard errors of the exact posterior."""
    path = vp()
    denoise = mixture_denoiser(*MIXTURE, path)
    times = jnp.linspace(1, 0, 101)
    log_twist = None if twist == "denoised" else lambda x, t: jnp.zeros(x.shape[0])

    def one(key):
        key_start, key_run = jax.random.split(key)
        x = prior(key_start, path, (2000, 2))
        found = inverse.twisted_smc(
            key_run, denoise, path, log_likelihood, x, times, log_twist=log_twist
        )
        component = jnp.argmin(((found.x[:, None] - MIXTURE[1]) ** 2).sum(-1), axis=1)
        share = jnp.exp(found.log_weights) @ jax.nn.one_hot(component, 3)
        return share, found.log_evidence, found.ess

    shares, evidence, ess = jax.jit(jax.vmap(one))(jax.random.split(key, 8))
    posterior = inverse.mixture_posterior(*MIXTURE, MATRIX, Y, NOISE)
    # 0.01: DDPM's chain of 100 steps is not quite the mixture, and components overlap a little.
    error = shares.std(0, ddof=1) / np.sqrt(8)
    assert np.all(np.abs(shares.mean(0) - posterior.weights) < 5 * error + 0.01)
    assert abs(float(evidence.mean() - posterior.log_evidence)) < 0.05
    assert np.all(np.asarray(ess) >= 1 - 1e-3)
    assert np.all(np.asarray(ess) <= 2000 * (1 + 1e-4))


def test_twisted_smc_calls_the_network_twice_for_each_transition(key):
    """Once for D, once for the twist at the arrival and its gradient; the first twist before."""
    denoise, times = network_call(lambda x, t: 0.5 * x), jnp.linspace(1, 0, 6)
    operator = inverse.dense(np.asarray(MATRIX))
    twist = inverse.gaussian_twist(denoise, linear(), operator, Y, NOISE)
    run = lambda x: inverse.twisted_smc(
        key, denoise, linear(), log_likelihood, x, times, log_twist=twist
    )
    assert int(jax.jit(counted(run))(jnp.ones((4, 2)))[1]) == 2 * 5


def test_systematic_resampling_draws_in_proportion(key):
    from gen_jax.inverse.twisted_smc import systematic_resampling

    weights = jnp.array([0.0, 0.5, 0.25, 0.125, 0.125])
    draw = jax.vmap(lambda key: systematic_resampling(key, jnp.log(weights) + 3.0))
    index = np.asarray(draw(jax.random.split(key, 1000)))
    counts = (index[:, :, None] == np.arange(5)).sum(1)
    assert np.all(np.abs(counts - 5 * weights) < 1)
    np.testing.assert_allclose(counts.mean(0), 5 * weights, atol=0.08)


def test_refusals():
    stepper = STEPPERS["ddim"]()
    with pytest.raises(ConfigError, match="boolean"):
        inverse.replacement(stepper, np.ones(2), jnp.zeros(2))
    with pytest.raises(ConfigError, match="measures nothing"):
        inverse.replacement(stepper, np.zeros(2, bool), jnp.zeros(2))
    with pytest.raises(ConfigError, match="y must be"):
        inverse.repaint(stepper, FIRST, jnp.zeros(3))
    with pytest.raises(ConfigError, match="resamples=0"):
        inverse.repaint(stepper, FIRST, jnp.zeros(2), 0)
    with pytest.raises(ConfigError, match="linear"):
        inverse.ddrm(inverse.jpeg((8, 8, 1), 50), jnp.zeros((8, 8, 1)), 0.1)
    wrong = inverse.ddrm(inverse.dense(np.array([[1.0, 0.0]])), np.zeros(3), 0.1)
    with pytest.raises(ConfigError, match="y must have the shape"):
        sample(jax.random.key(0), lambda x, t: x, linear(), jnp.zeros((2, 2)),
               jnp.array([1.0, 0.0]), wrong)  # fmt: skip
    with pytest.raises(ConfigError, match="eta=2"):
        inverse.ddrm(inverse.dense(np.array([[1.0, 0.0]])), np.zeros(1), 0.1, eta=2)
    with pytest.raises(ConfigError, match="threshold=2"):
        inverse.twisted_smc(
            jax.random.key(0), lambda x, t: x, linear(), log_likelihood,
            jnp.zeros((2, 2)), jnp.array([1.0, 0.0]), threshold=2,
        )  # fmt: skip


def test_what_the_particles_are_given_is_checked(key):
    """An output [P, 1] or [] would weigh each particle by all others; times stop at the data."""
    path, x, times = linear(), jax.random.normal(key, (8, 2)), jnp.linspace(1, 0, 4)
    denoise, log_p = (lambda x, t: 0.5 * x), (lambda x: -jnp.sum(x**2, 1))
    smc = lambda *a, **k: inverse.twisted_smc(key, *a, **k)
    for wrong in (lambda x: log_p(x)[:, None], lambda x: log_p(x).sum()):
        with pytest.raises(ConfigError, match="log_likelihood returned shape"):
            smc(denoise, path, wrong, x, times)
        with pytest.raises(ConfigError, match="log_likelihood returned shape"):
            smc(denoise, path, wrong, x, times, log_twist=lambda x, t: log_p(x))
        with pytest.raises(ConfigError, match="log_twist returned shape"):
            smc(denoise, path, log_p, x, times, log_twist=lambda x, t, wrong=wrong: wrong(x))
    with pytest.raises(ConfigError, match="denoise returned shape"):
        smc(lambda x, t: x[:, :1], path, log_p, x, times)
    with pytest.raises(ConfigError, match="times must end at 0"):
        smc(denoise, path, log_p, x, times + 0.1 * (times < 1))
    with pytest.raises(ConfigError, match="times must fall"):
        smc(denoise, path, log_p, x, times[::-1])


def test_narrow_particles_are_moved_in_float32(key):
    """Times next to each other in bfloat16 would be one; the answer is that of float32."""
    path, times = linear(), jnp.linspace(1, 0, 33)
    log_p = lambda x: -0.5 * jnp.sum((x - 0.3) ** 2, 1)
    denoise = lambda x, t: ((1 - t) / ((1 - t) ** 2 + t**2))[:, None].astype(x.dtype) * x

    def evidence(dtype):
        x = jax.random.normal(key, (400, 1)).astype(dtype)
        found = inverse.twisted_smc(key, denoise, path, log_p, x, times)
        assert found.x.dtype == dtype
        return float(found.log_evidence)

    wide, narrow = evidence(jnp.float32), evidence(jnp.bfloat16)
    # N(0.3; 0, 1 + 1) without the normalisation of the likelihood.
    exact = -0.5 * 0.3**2 / 2 + 0.5 * np.log(1 / 2)
    assert abs(wide - exact) < 0.1
    assert abs(narrow - exact) < 0.1


def test_twisted_smc_is_compiled_once(key, compilations):
    """For equal calls: functions that are made anew are traced, their program is held."""

    def call():
        given = (lambda x, t: 0.5 * x), linear(), (lambda x: -jnp.sum(x**2, 1))
        return inverse.twisted_smc(key, *given, jnp.ones((4, 1)), jnp.linspace(1, 0, 4)).x

    first = call()
    compilations.clear()
    for _ in range(2):
        np.testing.assert_array_equal(call(), first)
    assert [name for name in compilations if "backend_compile" in name] == []


@pytest.mark.parametrize("wrap", [inverse.replacement, inverse.repaint])
def test_a_mask_is_of_one_example(wrap):
    """A grey mask and image were repeated over the colours, one value over all of them."""
    times, x = jnp.array([1.0, 0.5, 0.0]), jnp.zeros((2, 4, 4, 3))
    run = lambda mask, y: sample(
        jax.random.key(0), lambda x, t: x, linear(), x, times, wrap(STEPPERS["ddim"](), mask, y)
    )
    for shape in ((4, 4, 1), (3,), (1,), ()):
        with pytest.raises(ConfigError, match="mask .* must have the shape of one example"):
            run(np.ones(shape, bool), np.zeros(shape))
    with pytest.raises(ConfigError, match=r"y \[3, 4, 4, 3\]"):
        run(np.ones((4, 4, 3), bool), np.zeros((3, 4, 4, 3)))
    assert run(np.ones((4, 4, 3), bool), np.ones((1, 4, 4, 3), int)).min() == 1
    half = np.arange(3) < np.ones((4, 4, 1))
    assert bool(jnp.isfinite(run(half, np.where(half, 1.0, np.nan))).all())
    with pytest.raises(DataError, match="y holds values that are not finite"):
        run(half, np.where(half, np.nan, 1.0))
    with pytest.raises(DataError, match="y is"):
        run(half, None)
    with pytest.raises(ConfigError, match="stepper='ddim' must be a Stepper"):
        wrap("ddim", half, np.zeros((4, 4, 3)))


def test_particles_that_the_likelihood_excludes_have_no_weight(key):
    """A half-line of N(0, 1): log p(y) is log 1/2, by a twist that is finite."""
    denoise = lambda x, t: ((1 - t) / ((1 - t) ** 2 + t**2))[:, None] * x
    inside = lambda x: jnp.where(x[:, 0] > 0, 0.0, -jnp.inf)
    start, times = jax.random.normal(key, (2000, 1)), jnp.linspace(1, 0, 9)
    constant = lambda x, t: jnp.zeros(len(x))
    found = inverse.twisted_smc(key, denoise, linear(), inside, start, times, log_twist=constant)
    assert abs(float(found.log_evidence) - np.log(0.5)) < 0.1
    assert float(jnp.exp(found.log_weights) @ (found.x[:, 0] > 0)) == pytest.approx(1, abs=1e-4)
