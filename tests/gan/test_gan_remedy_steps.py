"""Remedies in whole steps: finite, with their weight, and as they are defined."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from small_gans import Point, Quadratic, Slope, bits, make, normal_data

from gen_jax import gan
from gen_jax.gan_nets import CriticOutput, LipschitzCritic, MLPCritic, StyleCritic, StyleGenerator

REMEDIES = {
    "accumulate": {"accumulate": 2},
    "lazy": {"penalty": "r1", "lazy_interval": 2},
    "clip": {"loss": "wgan", "clip": 0.01, "n_critic": 3},
    "consensus": {"consensus": 0.1},
    "unroll": {"unroll": 2},
    "feature_matching": {"feature_matching": 1.0, "adversarial": 0.0},
    "orthogonal": {"orthogonal": 1e-3},
    "noise": {"instance_noise": 0.1, "instance_noise_steps": 10},
    "minibatch": {"critic": MLPCritic((8,), minibatch="discrimination")},
    "lipschitz": {"critic": LipschitzCritic((8,)), "loss": "wgan"},
}


@pytest.mark.parametrize("name", REMEDIES)
def test_every_remedy_makes_finite_steps(key, name):
    """The form of the state is kept; a clipped critic stays in its box."""
    model = make(**REMEDIES[name])
    batch = {"x": jnp.asarray(normal_data()["x"][:24])}
    state = jax.jit(model.init)(key, batch)
    after, metrics = jax.jit(model.step)(key, state, batch)
    form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert form(after) == form(state)
    assert all(jnp.isfinite(value) for value in metrics.values())
    assert bits(after.generator) != bits(state.generator)
    if name == "clip":
        assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(after.critic)) <= 0.01
    if name == "lazy":
        step = jax.jit(model.step)
        _, later = step(key, after, batch)
        assert later["penalty"] == 0
        always = make(**REMEDIES[name] | {"lazy_interval": 1})
        _, plain = jax.jit(always.step)(key, state, batch)
        np.testing.assert_allclose(metrics["penalty"], 2 * plain["penalty"], rtol=1e-5)
        assert metrics["penalty"] > 0


def dirac(critic=None, rates=None, **options):
    """One step of the Dirac-GAN with data at 3; (state, metrics) after it."""
    rates = rates or (optax.sgd(0.1), optax.set_to_zero())
    model = make(Point(), critic or Slope(), rates, shape=(1,), latent=1, **options)
    batch = {"x": jnp.full((4, 1), 3.0)}
    state = model.init(jax.random.key(0), batch)
    return jax.jit(model.step)(jax.random.key(1), state, batch)


@pytest.mark.parametrize(
    ("more", "slope", "moved"),
    [({}, 2.0, 2), ({"clip": 0.1}, 0.1, 0), ({"freeze_above": 0.5}, 2.0, 0)],
    ids=["free", "clipped", "frozen"],
)
def test_the_unrolled_critic_takes_the_steps_that_the_critic_takes(more, slope, moved):
    """WGAN, data at 3, point at x = 1, both at rate 1: each step adds 3 - x to the slope w.

    Two steps ahead the generator's loss is -(w + 2 (3 - x)) x. A clipped slope stays at its bound;
    a critic that ranks every pair right, as after its first step, stays as it is.
    """
    rates = optax.sgd(1.0), optax.sgd(1.0)
    _, metrics = dirac(rates=rates, loss=gan.GAN_LOSSES["wgan"], unroll=2, **more)
    loss = lambda x: -(slope + moved * (3 - x)) * x
    np.testing.assert_allclose(metrics["generator_loss"], loss(1.0), rtol=1e-6)
    found = metrics["generator_gradient"]
    np.testing.assert_allclose(found, abs(jax.grad(loss)(1.0)), rtol=1e-6)


def test_feature_matching_has_its_weight():
    """The feature of the slope is x: (3 - x)^2 at x = 1, a rate of 0.1, a weight of 0.25."""
    after, metrics = dirac(feature_matching=0.25, adversarial=0.0)
    np.testing.assert_allclose(metrics["feature_matching"], 4.0, rtol=1e-6)
    np.testing.assert_allclose(after.generator["x"], 1 + 0.1 * 0.25 * 4, rtol=1e-6)


class Matrix(nn.Module):
    """x = z W, W with the columns (1, 0) and (1, 1) at the start."""

    @nn.compact
    def __call__(self, z, condition=None, *, train=False):
        return z @ self.param("w", lambda key: jnp.array([[1.0, 1.0], [0.0, 1.0]]))


def test_orthogonality_has_its_weight():
    """The overlap of both columns is 1; against a critic of zeros nothing else moves them."""
    rates = optax.sgd(0.1), optax.set_to_zero()
    model = make(Matrix(), Quadratic(), rates, shape=(2,), latent=2, orthogonal=0.3)
    batch = {"x": jnp.ones((4, 2))}
    state = model.init(jax.random.key(0), batch)
    after, _ = jax.jit(model.step)(jax.random.key(1), state, batch)
    gradient = 2 * np.array([[1.0, 1.0], [1.0, 0.0]])  # of (w_1 . w_2)^2: 2 (w_2, w_1)
    expected = state.generator["w"] - 0.1 * 0.3 * gradient
    np.testing.assert_allclose(after.generator["w"], expected, rtol=1e-6)


def test_an_accumulated_step_sees_parts_and_keeps_whole_numbers():
    """The same step of the Dirac-GAN, though never the whole batch is judged; a state with a count,
    as StyleGAN has of its mean styles, keeps its form."""
    sizes = set()

    class Counted(Slope):
        @nn.compact
        def __call__(self, x, condition=None, *, train=False):
            sizes.add(len(x)) if train else None
            return CriticOutput(x[:, 0] * self.param("w", nn.initializers.zeros, (1,)), x)

    rates = optax.sgd(0.1), optax.sgd(0.1)
    whole, _ = dirac(rates=rates)
    parts, _ = dirac(Counted(), rates=rates, accumulate=2)
    assert sizes == {2}
    for name in ("generator", "critic"):
        a, b = (jax.tree.leaves(getattr(state, name))[0] for state in (whole, parts))
        np.testing.assert_allclose(a, b, rtol=1e-6)

    shape = (2, 2, 1)
    networks = StyleGenerator(shape, (2,), style=2, depth=1), StyleCritic((2,), features=2)
    model = make(*networks, shape=shape, accumulate=2)
    batch = {"x": jnp.zeros((4, *shape))}
    state = jax.eval_shape(model.init, jax.random.key(0), batch)
    after, _ = jax.eval_shape(model.step, jax.random.key(1), state, batch)
    form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    assert form(after) == form(state)
