"""Rejection by density ratio, optimal critics, paths of latents, signs of overfitting, patience."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exact import standard_normal_p_value

from gen_jax.errors import ConfigError
from gen_jax.gan import GAN_LOSSES, discriminator_rejection, gan_loss, optimal_critic
from gen_jax.gan.diagnostics import analogy, overfitting, spherical
from gen_jax.gan.optimal import OPTIMAL_CRITICS
from gen_jax.gan.patience import verdict
from gen_jax.gan.rejection import log_acceptance, percentile_shift


def log_ratio(x):
    """log of N(0, 0.36) over N(0, 1), at most log(1 / 0.6)."""
    return jnp.log(1 / 0.6) - 0.5 * x[:, 0] ** 2 * (1 / 0.36 - 1)


def propose(key, n):
    return jax.random.normal(key, (n, 1))


@pytest.mark.parametrize("biased", [False, True])
def test_thinned_samples_follow_the_data(key, biased):
    """30,000 draws as Gaussian scores, false alarms 5e-7; a critic that is off is caught."""
    logit = (lambda x: 0.9 * log_ratio(x)) if biased else log_ratio
    bound = float(logit(jnp.zeros((1, 1)))[0])
    draw = lambda key: discriminator_rejection(
        key, propose, logit, bound, 30_000, batch_size=30_000
    )
    found = jax.jit(draw)(key)
    assert bool(found.filled.all())
    p_value = standard_normal_p_value(found.x / 0.6)
    assert p_value < 5e-7 if biased else p_value > 5e-7
    if not biased:  # one in M = 1 / 0.6 is accepted, +- 5 standard errors
        n = int(found.num_proposals)
        assert abs(float(found.acceptance_rate) - 0.6) < 5 * np.sqrt(0.24 / n)


def test_shifts_make_it_stricter():
    logits = jnp.linspace(-4.0, 1.0, 50)
    plain = log_acceptance(logits, 1.0)
    np.testing.assert_allclose(plain, logits - 1, atol=2e-4)  # exact for shift 0
    assert (log_acceptance(logits, 1.0, 2.0) < plain).all()
    assert (log_acceptance(logits, 1.0, -2.0) > plain)[:-1].all()
    assert log_acceptance(jnp.array([9.0]), 1.0)[0] == pytest.approx(0, abs=1e-6)
    shift = percentile_shift(logits, 1.0, 80.0)
    half = float(jnp.percentile(logits, 80.0))
    assert jnp.exp(log_acceptance(jnp.array([half]), 1.0, shift))[0] == pytest.approx(0.5, abs=0.02)


STATED = {*OPTIMAL_CRITICS, *(f"{name}_non_saturating" for name in OPTIMAL_CRITICS)}


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_the_optimal_critic_is_where_the_loss_has_no_slope(x64, name):
    """p(x) dL/d real + q(x) dL/d fake = 0 at every ratio; pairs need the law of both."""
    if name in ("wgan", "f_total_variation", "f_total_variation_non_saturating"):
        with pytest.raises(ConfigError, match="function of the density ratio"):
            optimal_critic(name, jnp.zeros(1))
        return
    if name in ("relativistic", "hinge") or name not in STATED:
        return  # tests of the losses have their closed forms; a new loss need not have one
    log_u = jnp.linspace(-2.0, 2.0, 9)
    score, u = optimal_critic(name, log_u), jnp.exp(log_u)
    loss = gan_loss(name).critic
    by_real = jax.vmap(jax.grad(lambda s: loss(s, jnp.zeros(()))))(score)
    by_fake = jax.vmap(jax.grad(lambda s: loss(jnp.zeros(()), s)))(score)
    np.testing.assert_allclose(u * by_real + by_fake, 0, atol=1e-10)
    shifted = jax.vmap(jax.grad(lambda s: loss(s, jnp.zeros(()))))(score + 0.1)
    by_fake = jax.vmap(jax.grad(lambda s: loss(jnp.zeros(()), s)))(score + 0.1)
    assert np.abs(u * shifted + by_fake).min() > 1e-4


def test_arcs_keep_the_length(key):
    first, last = jax.random.normal(key, (2, 5, 40))
    path = spherical(first, 2 * last, jnp.linspace(0, 1, 5))
    np.testing.assert_allclose(path[0], first, atol=1e-5)
    np.testing.assert_allclose(path[-1], 2 * last, atol=1e-5)
    unit = lambda z: z / jnp.linalg.norm(z, axis=-1, keepdims=True)
    arc = spherical(unit(first), unit(last), jnp.linspace(0, 1, 7))
    np.testing.assert_allclose(jnp.linalg.norm(arc, axis=-1), 1, atol=1e-5)
    steps = jnp.linalg.norm(jnp.diff(arc, axis=0), axis=-1)
    np.testing.assert_allclose(steps / steps[0], 1, atol=1e-4)  # even
    np.testing.assert_allclose(spherical(first, first, jnp.array([0.3]))[0], first, atol=1e-5)


def test_sums_of_latents(key):
    a, b, c = jax.random.normal(key, (3, 6, 10))
    z = analogy(a, b, c)
    plain = np.asarray(a.mean(0) - b.mean(0) + c.mean(0))
    np.testing.assert_allclose(
        np.dot(z, plain), np.linalg.norm(z) * np.linalg.norm(plain), rtol=1e-5
    )
    np.testing.assert_allclose(
        np.linalg.norm(z), np.sqrt((np.asarray(c) ** 2).sum(1).mean()), rtol=1e-5
    )


def test_signs_of_overfitting():
    train, fake = jnp.array([2.0, 1.0, -1.0]), jnp.array([-1.0, -1.0])
    assert overfitting(train, train, fake).ratio == 0
    assert overfitting(train, fake, fake).ratio == 1
    np.testing.assert_allclose(overfitting(train, fake, fake).sure, 1 / 3, rtol=1e-6)
    assert overfitting(fake, fake, fake).ratio == 0


def test_patience():
    falling = [(100, 9.0), (200, 5.0), (300, 6.0), (400, float("nan"))]
    found = verdict(falling, 2)
    assert (found.best_step, found.best, found.stop) == (200, 5.0, True)
    assert not verdict(falling, 3).stop
    assert not verdict(falling, 0).stop
    assert not verdict(falling[:2], 1).stop
    with pytest.raises(ConfigError, match="patience"):
        verdict(falling, -1)
