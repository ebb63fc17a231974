"""Losses and the tempering curve against quadrature on the line."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

from gen_jax.errors import ConfigError
from gen_jax.flows import Bijector
from gen_jax.sampling.importance import log_normalizer
from gen_jax.transport import (
    Curve,
    bounded_step,
    forward_kl_loss,
    l2_objective,
    log_l2_distance,
    log_squared_difference,
    log_step,
    one_cycle,
    reverse_kl_loss,
    tempering_curve,
)

LINE = np.linspace(-9, 9, 4001)
H = LINE[1] - LINE[0]


def log_p(x):
    """An unnormalised mixture on the line: 3 (0.6 N(-1.5, 0.5^2) + 0.4 N(1.5, 0.7^2))."""
    parts = [jnp.log(0.6) + norm.logpdf(x, -1.5, 0.5), jnp.log(0.4) + norm.logpdf(x, 1.5, 0.7)]
    return jnp.log(3.0) + logsumexp(jnp.stack(parts), axis=0)


def stretched(shift, scale):
    """x = shift + scale z, as a bijector of [B, 1]."""
    row = lambda x, value: jnp.full(x.shape[:1], value, x.dtype)
    return Bijector(
        lambda z: (shift + scale * z, row(z, jnp.log(scale))),
        lambda x: ((x - shift) / scale, row(x, -jnp.log(scale))),
    )


def kl_to_target(beta):
    """KL(p_b || p_1) by the trapezoid rule."""
    log_b = beta * log_p(LINE)
    log_b = log_b - jnp.log(jnp.sum(jnp.exp(log_b)) * H)
    return jnp.sum(jnp.exp(log_b) * (log_b - log_p(LINE) + jnp.log(3.0))) * H


@pytest.mark.parametrize("beta", [0.1, 0.4, 0.9])
def test_curve_is_that_of_quadrature(x64, beta):
    """With evenly spaced points as "samples" of a uniform r the weighted sums are quadrature."""
    log_r = jnp.full(LINE.shape, -np.log(18 + H))
    curve = tempering_curve(-log_p(LINE), log_r, beta)
    assert curve.kl == pytest.approx(float(kl_to_target(beta)), rel=1e-6)
    assert curve.slope == pytest.approx(float(jax.grad(kl_to_target)(beta)), rel=1e-6)
    log_z = np.log(np.sum(np.exp(beta * log_p(LINE))) * H)
    assert curve.log_z == pytest.approx(log_z, rel=1e-6)
    # A point of infinite energy has weight 0.
    energy = jnp.append(-log_p(LINE), jnp.inf)
    assert np.isfinite(tempering_curve(energy, jnp.append(log_r, 0.0), beta).slope)


def test_curve_from_samples_of_another_density(x64, key):
    x = 2.5 * jax.random.normal(key, (200_000,))
    curve = tempering_curve(-log_p(x), norm.logpdf(x, 0, 2.5), 0.4)
    # The standard error of KL is about 0.003.
    assert curve.kl == pytest.approx(float(kl_to_target(0.4)), abs=0.015)
    tempered = np.exp(0.4 * np.asarray(log_p(LINE)))
    second = float(np.sum(tempered**2 / np.asarray(norm.pdf(LINE, 0, 2.5))) * H)
    assert curve.ess == pytest.approx((np.sum(tempered) * H) ** 2 / second, rel=0.02)


def test_the_step_multiplies_kl_by_its_factor_where_kl_is_linear():
    """KL = -3 log b has dKL/db = -3 / b: the step to half of it solves exactly."""
    beta = jnp.float32(0.2)
    curve = Curve(-3 * jnp.log(beta), -3 / beta, jnp.float32(0), jnp.float32(1))
    after = jnp.log(beta) + log_step(curve, beta, 0.5)
    assert -3 * after == pytest.approx(-1.5 * float(jnp.log(beta)), rel=1e-5)


def test_steps_stay_within_their_bounds():
    number = jnp.float32
    step, average = bounded_step(number(5), number(0), jnp.bool_(True))
    assert (step, average) == (1, 1)
    step, average = bounded_step(number(0.1), number(0.4), jnp.bool_(False))
    assert step == pytest.approx(0.2)
    assert average == pytest.approx(0.38)
    assert bounded_step(number(9), number(0.4), jnp.bool_(False))[0] == pytest.approx(0.8)
    assert bounded_step(number(np.nan), number(0.4), jnp.bool_(False))[0] == pytest.approx(0.2)


def test_l2_distance_is_that_of_quadrature(x64, key):
    """Grid points of a uniform r give the integral; draws of another r estimate it."""
    first, second = norm.logpdf(LINE, -1, 0.6), norm.logpdf(LINE, 0.5, 1.1)
    integral = np.sum((np.exp(first) - np.exp(second)) ** 2) * H
    log_r = jnp.full(LINE.shape, -np.log(18 + H))
    # FLOOR changes the terms by at most 2e-6 of the larger density.
    assert log_l2_distance(first, second, log_r) == pytest.approx(np.log(integral), abs=1e-4)
    x = 1.5 * jax.random.normal(key, (100_000,))
    drawn = log_l2_distance(
        norm.logpdf(x, -1, 0.6), norm.logpdf(x, 0.5, 1.1), norm.logpdf(x, 0, 1.5)
    )
    assert drawn == pytest.approx(np.log(integral), abs=0.03)


def test_difference_is_exact_symmetric_and_finite_where_equal(x64):
    a, b = jnp.array([0.3, -40.0, 500.0, -2.0]), jnp.array([-1.2, -41.0, 480.0, -2.1])
    expected = 2 * (b + np.log(np.abs(np.expm1(a - b))))
    np.testing.assert_allclose(log_squared_difference(a, b), expected, rtol=1e-4)
    np.testing.assert_allclose(log_squared_difference(b, a), log_squared_difference(a, b))
    for value in (-3.0, 0.0, -1e5):
        gradients = jax.grad(log_squared_difference, (0, 1))(jnp.float32(value), jnp.float32(-3.0))
        assert np.isfinite(gradients).all()
    assert np.isfinite(log_squared_difference(jnp.float32(0.1), jnp.float32(0.1)))


def test_objective_of_the_l2_sampler_is_the_distance_without_its_constant(x64):
    """E_q[q - 2 p] = |q - p|^2 - |p|^2, by quadrature over z."""
    z = jnp.asarray(LINE[:, None])
    log_target = lambda x: norm.logpdf(x[:, 0], 0.5, 1.1)
    values = l2_objective(log_target, stretched(-1.0, 0.6), z)
    mean = float(np.sum(values * norm.pdf(LINE)) * H)
    first, second = norm.pdf(LINE, -1, 0.6), norm.pdf(LINE, 0.5, 1.1)
    expected = float(np.sum((first - second) ** 2 - second**2) * H)
    assert mean == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_reverse_kl_is_that_of_quadrature(x64, beta):
    loss, _ = reverse_kl_loss(
        lambda x: log_p(x[:, 0]), stretched(0.4, 1.3), jnp.asarray(LINE[:, None]), beta
    )
    log_q = norm.logpdf(LINE, 0.4, 1.3)
    expected = np.sum(np.exp(log_q) * (log_q - beta * log_p(LINE))) * H
    assert np.sum(loss * norm.pdf(LINE)) * H == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("loss", [reverse_kl_loss, l2_objective])
@pytest.mark.parametrize("wrong", [lambda x: x, jnp.sum])
def test_densities_of_the_wrong_shape_are_refused(loss, wrong):
    with pytest.raises(ConfigError, match=r"one number per point, \(3,\)"):
        loss(wrong, stretched(0.4, 1.3), jnp.ones((3, 1)))


def test_forward_kl_is_the_cross_entropy_of_quadrature(x64):
    """Grid points of a uniform r; p is 3 times a density, which changes nothing."""
    log_q, log_r = norm.logpdf(LINE, 0.4, 1.3), jnp.full(LINE.shape, -np.log(18 + H))
    loss, aux = forward_kl_loss(log_q, log_p(LINE), log_r)
    p = np.exp(np.asarray(log_p(LINE))) / 3.0
    assert loss.mean() == pytest.approx(-float(np.sum(p * log_q) * H), rel=1e-6)
    assert aux["weights"].mean() == pytest.approx(1)
    # Points are r's, whatever p: no gradient through the weights.
    slope = jax.grad(lambda a: forward_kl_loss(log_q, a * log_p(LINE), log_r)[0].mean())(1.0)
    assert slope == 0


def test_log_normalizer_and_its_error(key):
    """log 3 with scores that are standard normal; an error 20 % too small must be caught."""
    x = 2.5 * jax.random.normal(key, (4000, 1000))
    one = jax.vmap(lambda x: log_normalizer(log_p(x) - norm.logpdf(x, 0, 2.5)))
    got = one(x)
    scores = (np.asarray(got.value) - np.log(3.0)) / np.asarray(got.error)
    # Bias of a logarithm: minus half of the relative variance, 0.02 of a score here.
    assert abs(scores.mean() + 0.5 * np.mean(got.error)) < 5 / np.sqrt(4000)
    assert abs(scores.std() - 1) < 5 / np.sqrt(8000)
    assert abs(1.2 * scores.std() - 1) > 5 / np.sqrt(8000)


def test_one_cycle_is_optax(x64):
    schedule = optax.cosine_onecycle_schedule(1000, 0.7, 0.3, 25.0, 1e4)
    counts = np.array([0, 10, 150, 299, 300, 301, 650, 999])
    rates = [one_cycle(jnp.int32(c), jnp.int32(1000), jnp.float64(0.7)) for c in counts]
    np.testing.assert_allclose(rates, [schedule(c) for c in counts], rtol=1e-4, atol=1e-8)
