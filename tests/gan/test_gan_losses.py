"""Each loss against its closed forms: optimal critic, the divergence it bounds, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import rel_entr
from scipy.stats import norm

from gen_jax.errors import ConfigError
from gen_jax.gan import GAN_LOSSES, gan_loss
from gen_jax.gan.began import began, convergence, next_balance
from gen_jax.gan.losses import ranking_accuracy

GRID = np.linspace(-2.0, 2.0, 81)


def law(mean, std):
    weights = norm.pdf(GRID, mean, std)
    return weights / weights.sum()


P, Q = law(0.4, 1.0), law(-0.4, 1.0)
U = P / Q
JS = 0.5 * rel_entr(P, (P + Q) / 2).sum() + 0.5 * rel_entr(Q, (P + Q) / 2).sum()
TV = 0.5 * np.abs(P - Q).sum()
PAIRS, SWAPPED = np.outer(P, Q), np.outer(Q, P)
MIDDLE = (PAIRS + SWAPPED) / 2
PAIR_JS = 0.5 * rel_entr(PAIRS, MIDDLE).sum() + 0.5 * rel_entr(SWAPPED, MIDDLE).sum()
LOG_4 = np.log(4)

OPTIMA = {
    "minimax": (np.log(U), LOG_4 - 2 * JS),
    "non_saturating": (np.log(U), LOG_4 - 2 * JS),
    "lsgan": (P / (P + Q), 0.5 * (P * Q / (P + Q)).sum()),
    "lsgan_pearson": ((P - Q) / (P + Q), 2 * (P * Q / (P + Q)).sum()),
    "hinge": (np.sign(P - Q), 2 - 2 * TV),
    "relativistic": (np.log(U) - np.log(U).mean(), np.log(2) - PAIR_JS),
    "f_kl": (1 + np.log(U), -rel_entr(P, Q).sum()),
    "f_reverse_kl": (np.log(U), -rel_entr(Q, P).sum()),
    "f_jensen_shannon": (np.log(U), -JS),
    "f_total_variation": (None, -TV),
    "f_squared_hellinger": (np.log(U) / 2, np.sqrt(P * Q).sum() - 1),
    "f_chi_square": (2 * (U - 1), -((P - Q) ** 2 / Q).sum()),
    "f_neyman_chi_square": (2 * np.log(U), -((P - Q) ** 2 / P).sum()),
}
"""The optimal scores on the grid and the critic's loss there, by sums."""


def expected_loss(name, scores):
    each = gan_loss(name).critic(scores[:, None], scores[None, :])
    return jnp.sum(jnp.asarray(PAIRS) * each)


def train_table(loss, steps=1500, rate=0.1):
    """A critic with a free number at every point of the grid, by Adam."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    params = jnp.zeros(GRID.shape)

    def step(carry, _):
        params, moments = carry
        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    run = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), None, steps)[0][0])
    return run(params)


def test_every_closed_form_is_of_a_loss():
    """A loss without one is held to the laws below that are over the registry."""
    assert set(OPTIMA) <= set(GAN_LOSSES)


@pytest.mark.parametrize("name", OPTIMA)
def test_a_trained_critic_is_the_optimal_one_and_its_loss_the_divergence(x64, optimized, name):
    optimum, value = OPTIMA[name]
    scores = train_table(lambda scores: expected_loss(name, scores))
    if name == "relativistic":
        scores = scores - scores.mean()
    # Total variation is only approached: its optimal scores are infinite, as are sure logits'.
    np.testing.assert_allclose(expected_loss(name, scores), value, atol=2e-3)
    if optimum is not None:
        sure = np.abs(GRID) > (0.1 if name == "hinge" else -1)  # at p = q any hinge score will do
        np.testing.assert_allclose(scores[sure], optimum[sure], atol=0.05)
        np.testing.assert_allclose(expected_loss(name, jnp.asarray(optimum)), value, atol=1e-9)
        off = jnp.asarray(optimum) + 0.3 * jnp.sin(3 * GRID)
        assert expected_loss(name, off) > value + 1e-4


def test_a_trained_lipschitz_table_is_the_kantorovich_potential(x64, optimized):
    """Two Gaussians of different width: the potential turns; W_1 is the area between the CDFs."""
    p, q, h = law(0.0, 1.0), law(0.4, 0.5), GRID[1] - GRID[0]
    potential = lambda slopes: jnp.cumsum(h * jnp.tanh(slopes))
    critic = gan_loss("wgan").critic

    def loss(slopes):
        scores = potential(slopes)
        return jnp.sum(np.outer(p, q) * critic(scores[:, None], scores[None, :]))

    slopes = train_table(loss)
    # A step of the potential into point i counts for the mass at i and beyond.
    beyond = (p - q)[::-1].cumsum()[::-1]
    exact = h * np.abs(beyond[1:]).sum()
    np.testing.assert_allclose(-loss(slopes), exact, rtol=1e-3)
    clear = np.abs(beyond) > 1e-3
    np.testing.assert_allclose(
        jnp.tanh(slopes)[1:][clear[1:]], np.sign(beyond)[1:][clear[1:]], atol=0.02
    )


def test_least_squares_with_pearsons_values_measure_pearsons_divergence():
    """mao2017 eq. 9: 2 C(G) = chi^2(p + q || 2 q), at the optimal critic, c = 0."""
    scores = OPTIMA["lsgan_pearson"][0]
    cost = (P * scores**2).sum() + (Q * scores**2).sum()
    np.testing.assert_allclose(cost, ((P - Q) ** 2 / (P + Q)).sum(), rtol=1e-12)
    generator = gan_loss("lsgan_pearson").generator(jnp.asarray(scores), jnp.asarray(scores))
    np.testing.assert_allclose(2 * (Q * generator).sum(), (Q * scores**2).sum(), rtol=1e-5)


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_values_and_gradients_are_finite_at_sure_logits(name):
    far = jnp.array([-80.0, 80.0, -80.0, 80.0, 0.0])
    near = jnp.array([-80.0, 80.0, 80.0, -80.0, 0.0])
    for loss in gan_loss(name):
        assert jnp.isfinite(loss(far, near)).all()
        total = lambda real, fake, loss=loss: jnp.sum(loss(real, fake))
        for gradient in jax.grad(total, (0, 1))(far, near):
            assert jnp.isfinite(gradient).all()


def slope_of(name, fake):
    generator = gan_loss(name).generator
    return jax.vmap(jax.grad(lambda f: generator(jnp.zeros(()), f)))(fake)


def test_saturating_and_non_saturating_gradients_have_the_known_ratio(x64):
    fake = jnp.array([-6.0, -1.0, 0.0, 2.0, 5.0])
    d = 1 / (1 + np.exp(-np.asarray(fake)))
    np.testing.assert_allclose(slope_of("minimax", fake), -d, rtol=1e-12)
    np.testing.assert_allclose(slope_of("non_saturating", fake), -(1 - d), rtol=1e-12)
    ratio = slope_of("non_saturating", fake) / slope_of("minimax", fake)
    np.testing.assert_allclose(ratio, (1 - d) / d, rtol=1e-10)
    assert abs(slope_of("minimax", jnp.array([-80.0]))[0]) < 1e-30  # it does saturate


@pytest.mark.parametrize("name", GAN_LOSSES)
def test_the_generator_wants_higher_scores_and_the_critic_tells_apart(name):
    score = jnp.array([-1.5, -0.8, -0.3])
    assert (slope_of(name, score) < 0).all()
    loss = gan_loss(name).critic
    apart = lambda real, fake: jnp.mean(loss(jnp.full(2, real), jnp.full(2, fake)))
    assert apart(0.5, -0.5) < apart(0.0, 0.0) < apart(-0.5, 0.5)


def test_losses_are_per_example():
    real, fake = jnp.arange(3.0), jnp.array([1.0, -1.0, 2.0])
    for loss in GAN_LOSSES.values():
        for part in loss:
            np.testing.assert_allclose(part(real, fake)[1:2], part(real[1:2], fake[1:2]), rtol=1e-6)


def test_began_holds_its_balance():
    """k is clipped to [0, 1], follows its rule, and is a constant of both losses."""
    real, fake = jnp.array([0.4, 0.8]), jnp.array([0.1, 0.3])
    k = jnp.array(0.3)
    np.testing.assert_allclose(began(k).critic(real, fake), real - 0.3 * fake, rtol=1e-6)
    np.testing.assert_allclose(began(k).generator(real, fake), fake)
    np.testing.assert_allclose(
        next_balance(k, real, fake, 0.5, 0.2), 0.3 + 0.2 * (0.3 - 0.2), rtol=1e-6
    )
    assert next_balance(k, real, fake, 0.5, 100.0) == 1
    assert next_balance(k, fake, real, 0.5, 100.0) == 0
    np.testing.assert_allclose(convergence(real, fake, 0.5), 0.6 + 0.1, rtol=1e-6)
    by_k = jax.grad(lambda k: jnp.sum(began(k).critic(real, fake)) + next_balance(k, real, fake))
    assert by_k(k) == 0
    moved = jax.grad(lambda r: next_balance(k, r, fake))(real)
    np.testing.assert_array_equal(moved, 0)


def test_ranking_accuracy_is_the_area_under_the_curve():
    real, fake = jnp.array([1.0, 2.0, 0.0]), jnp.array([0.0, 1.5])
    pairs = [(r > f) + 0.5 * (r == f) for r in real for f in fake]
    np.testing.assert_allclose(ranking_accuracy(real, fake), np.mean(pairs))


def test_an_unknown_loss_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'wgan'"):
        gan_loss("wgann")
