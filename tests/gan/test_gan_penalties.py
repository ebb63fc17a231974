"""Penalties on critics whose slopes are known, and those on parameters and on the game."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.gan import PENALTIES
from gen_jax.gan.consensus import consensus, consensus_gradients, field
from gen_jax.gan.orthogonal import orthogonal_penalty, overlap
from gen_jax.gan.penalties import between, find_penalty
from gen_jax.gan_nets import BigGANGenerator

W = np.array([[1.5, -2.0], [0.5, 0.25]], np.float32)
A = np.array([[2.0, 0.5], [0.5, -1.0]], np.float32)
REAL = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)), jnp.float32)
FAKE = REAL[::-1] + 3


def linear(x):
    """Slope w everywhere; any axes of an example."""
    return x.reshape(len(x), -1) @ W.ravel()[: x[0].size]


def quadratic(x):
    """x' A x / 2, with slope A x."""
    return 0.5 * jnp.einsum("bi,ij,bj->b", x, A, x)


NORM = np.linalg.norm(W)
LINEAR = {
    "wgan_gp": (NORM - 1) ** 2,
    "wgan_lp": (NORM - 1) ** 2,
    "dragan": (NORM - 1) ** 2,
    "r1": NORM**2 / 2,
    "r2": NORM**2 / 2,
    "r1_r2": NORM**2,
}


def test_every_closed_form_is_of_a_penalty():
    """A penalty without one is held to the laws below that are over the registry."""
    assert set(LINEAR) <= set(PENALTIES)


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_critics_penalty_is_exact_and_over_all_axes(key, name):
    real = jax.random.normal(key, (5, 2, 2))
    found = PENALTIES[name](key, linear, real, 2 - real)
    np.testing.assert_allclose(found, np.full(5, LINEAR[name]), rtol=1e-5)


def test_a_quadratic_critics_penalties_are_exact(key):
    slopes = lambda x: np.linalg.norm(np.asarray(x) @ A, axis=1)
    penalty = lambda name: PENALTIES[name](key, quadratic, REAL, FAKE)
    np.testing.assert_allclose(penalty("r1"), slopes(REAL) ** 2 / 2, rtol=1e-5)
    np.testing.assert_allclose(penalty("r2"), slopes(FAKE) ** 2 / 2, rtol=1e-5)
    x = between(key, REAL, FAKE)
    np.testing.assert_allclose(penalty("wgan_gp"), (slopes(x) - 1) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        penalty("wgan_lp"), np.maximum(slopes(x) - 1, 0) ** 2, rtol=1e-4, atol=1e-6
    )


def test_points_between_have_a_share_of_their_own(key):
    x = np.asarray(between(key, REAL, FAKE))
    share = (x - FAKE) / (REAL - FAKE)
    np.testing.assert_allclose(share[:, 0], share[:, 1], rtol=1e-3)  # on the line
    assert np.unique(share[:, 0].round(4)).size == len(x)
    assert ((share >= 0) & (share <= 1)).all()


def test_dragans_noise_goes_both_ways(key):
    """Its mean is 0 within 5 standard errors; half the deviation, uniform."""
    real = jax.random.normal(key, (4000, 1))
    found = PENALTIES["dragan"](key, lambda x: 0.5 * jnp.sum(x**2, 1), real, real)
    size = np.sqrt(np.asarray(found)) + 1  # |x + noise| where it is above 1
    far = np.abs(np.asarray(real)[:, 0]) > 2
    shift = (size - np.abs(np.asarray(real)[:, 0]))[far]
    limit = 0.5 * float(np.std(np.asarray(real)))
    assert np.abs(shift).max() <= limit + 1e-3
    assert abs(shift.mean()) < 5 * limit / np.sqrt(3 * far.sum())


@pytest.mark.parametrize("name", PENALTIES)
def test_no_example_knows_another_and_a_flat_critic_gives_no_nan(key, name):
    penalty = PENALTIES[name]
    args = REAL, FAKE
    if name != "dragan":  # whose noise is as wide as the batch
        whole, part = (penalty(key, quadratic, *(a[:n] for a in args)) for n in (6, 2))
        np.testing.assert_allclose(whole[:2], part, rtol=1e-5)
    by_weight = jax.grad(lambda w: jnp.sum(penalty(key, lambda x: x @ w, *args)))
    assert jnp.isfinite(by_weight(jnp.zeros(2))).all()
    half = [a.astype(jnp.float16) for a in args]
    by_weight = jax.grad(lambda w: jnp.sum(penalty(key, lambda x: x @ w, *half)))
    assert jnp.isfinite(by_weight(jnp.zeros(2, jnp.float16))).all()


def test_the_penaltys_gradient_by_the_critic_is_exact(key):
    by_weight = jax.grad(lambda w: jnp.mean(PENALTIES["r1"](key, lambda x: x @ w, REAL, FAKE)))
    np.testing.assert_allclose(by_weight(jnp.array([0.3, -2.0])), [0.3, -2.0], rtol=1e-5)


def test_orthogonal_regularisation_leaves_out_the_diagonal():
    kernel = np.random.default_rng(1).normal(size=(3, 2, 4, 5)).astype(np.float32)
    gram = np.einsum("abci,abcj->ij", kernel, kernel)
    expected = (gram[~np.eye(5, dtype=bool)] ** 2).sum()
    np.testing.assert_allclose(overlap(jnp.asarray(kernel)), expected, rtol=1e-4)
    stretched = jnp.diag(jnp.array([2.0, 5.0, 0.1]))  # orthogonal columns of any length
    params = {"kernel": stretched, "bias": jnp.arange(3.0)}
    assert orthogonal_penalty(params) == 0
    both = {"a": jnp.asarray(kernel), "b": stretched}
    np.testing.assert_allclose(orthogonal_penalty(both), expected / 2, rtol=1e-4)


def test_orthogonal_regularisation_leaves_out_the_shared_class_embedding():
    """As the authors' code does: of BigGAN's generator every other kernel moves."""
    network = BigGANGenerator((4, 4, 1), (4,), num_classes=3, embedding=5, attention=0)
    label = jnp.arange(2)
    params = network.init(jax.random.key(0), jnp.ones((2, 6)), label)["params"]
    slopes = jax.grad(orthogonal_penalty)(params)
    assert params["shared"]["kernel"].shape == (3, 5)
    np.testing.assert_array_equal(slopes["shared"]["kernel"], 0)
    moved = [jnp.abs(leaf).max() for leaf in jax.tree.leaves(slopes) if leaf.shape[-1:] > (1,)]
    assert sum(move > 0 for move in moved) >= 5


def test_consensus_is_half_the_squared_field():
    """The bilinear game: critic c minimises c g, generator g minimises -c g; v = (g, -c)."""
    critic, generator = (lambda c, g: c * g), (lambda c, g: -c * g)
    c, g = jnp.array(2.0), jnp.array(-3.0)
    assert field(critic, generator, c, g) == (-3.0, -2.0)
    assert consensus(critic, generator, c, g) == 0.5 * (9 + 4)
    np.testing.assert_allclose(consensus_gradients(critic, generator, c, g), (2.0, -3.0))


def test_a_penalty_may_be_a_function_but_not_an_unknown_name():
    assert find_penalty(PENALTIES["r1"]) is PENALTIES["r1"]
    with pytest.raises(ConfigError, match="did you mean 'dragan'"):
        find_penalty("dragen")
