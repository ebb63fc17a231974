"""Flows from degraded data: the joint Gaussian law gives mean and covariance of every posterior."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, data, diffusion, inverse, nets
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import coupled, flow_matching

KEY, TAU, NOISE = jax.random.key(0), 0.6, 0.3
COV = jnp.array([[0.9, 0.5], [0.5, 0.6]])
ROOT = jnp.linalg.cholesky(COV)
A = np.array([[1.0, 0.4]])
SEEN = inverse.dense(A)
GAIN = COV @ A.T / (A @ COV @ A.T + NOISE**2)
POSTERIOR = COV - GAIN @ A @ COV


def posterior_mean(guess):
    """E[x0 | y] from A^+ y [..., 2]."""
    return (guess @ A.T) @ GAIN.T


def degrade(key, x0):
    y = SEEN.apply(x0)
    return SEEN.pseudo_inverse(y + NOISE * jax.random.normal(key, y.shape))


class Exact(nn.Module):
    """E[x0 | x_t, y] of the Gaussian law, from what a network sees; `tau` is the model's."""

    tau: float
    condition: object = None

    @nn.compact
    def __call__(self, x, noise, condition=None):
        shift = self.param("shift", nn.initializers.zeros, (2,))
        ratio = jnp.tan(0.5 * jnp.pi * noise)[:, None]
        t = ratio / (1 + ratio)
        x = x * jnp.sqrt((1 - t) ** 2 + t**2)  # data_std is 1
        mean = posterior_mean(condition)

        def one(x, t, mean, guess):
            law = (1 - t) ** 2 * POSTERIOR + (t * self.tau) ** 2 * jnp.eye(2)
            rest = x - (1 - t) * mean - t * guess
            return mean + (1 - t) * POSTERIOR @ jnp.linalg.solve(law, rest)

        return jax.vmap(one)(x, t[:, 0], mean, condition) + shift


def model_of(tau, **options):
    return coupled(
        Exact(tau), optax.sgd(1e-3), degrade, shape=(2,), tau=tau, prediction="x0",
        noise_input="angle", stepper="rk4", num_steps=24, **options,
    )  # fmt: skip


X = jax.random.normal(KEY, (4096, 2)) @ ROOT.T


def test_samples_of_one_guess_have_the_posterior_covariance():
    model = model_of(TAU)
    state = model.init(KEY, {"x": X[:8]})
    guess = SEEN.pseudo_inverse(jnp.array([0.8]))
    drawn = model.sample(KEY, state, 8000, image=guess)
    np.testing.assert_allclose(drawn.mean(0), posterior_mean(guess), atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), POSTERIOR, atol=0.03)
    assert np.linalg.eigvalsh(POSTERIOR).min() > 0.05  # so that a mean image would be seen
    few = model.sample(KEY, state, 400)  # guesses of the first batch
    assert few.shape == (400, 2)
    assert float(jnp.std(few @ A.T)) > 0.3


def test_without_noise_a_guess_has_one_sample():
    model = model_of(1e-3)
    state = model.init(KEY, {"x": X[:8]})
    guess = SEEN.pseudo_inverse(jnp.array([0.8]))
    start = lambda tau: model_of(tau).parts.make(None).parts.options.start(KEY, guess)
    np.testing.assert_array_equal(start(0.0), guess)
    assert np.isfinite(model.sample(KEY, state, 3, image=guess)).all()


def test_the_loss_is_the_posterior_variance_at_each_time():
    """So training pairs each x0 with the start of its own measurement."""
    t = 0.5
    model = model_of(TAU, time_density=lambda key, path, n: jnp.full(n, t))
    _, metrics = jax.jit(model.step)(KEY, model.init(KEY, {"x": X}), {"x": X})
    law = (1 - t) ** 2 * POSTERIOR + (t * TAU) ** 2 * np.eye(2)
    rest = POSTERIOR - (1 - t) ** 2 * POSTERIOR @ np.linalg.solve(law, POSTERIOR)
    assert float(metrics["error"]) == pytest.approx(np.trace(rest) / 2, rel=0.06)


def test_pairs_go_from_left_to_right():
    x = jnp.asarray(np.random.default_rng(0).integers(0, 256, (6, 2, 4, 1)), jnp.uint8)
    options = {"transform": data.symmetric_images(), "num_steps": 2}
    model = coupled(nets.MLP((8,)), optax.adam(1e-2), None, shape=(2, 2, 1), **options)
    state = model.init(KEY, {"x": x})
    state, metrics = model.step(KEY, state, {"x": x})
    assert np.isfinite(metrics["loss"])
    drawn = model.sample(KEY, state, 5)
    assert drawn.shape == (5, 2, 4, 1)
    lefts = {np.asarray(row[:, :2]).tobytes() for row in x}
    assert all(np.asarray(row[:, :2]).tobytes() in lefts for row in drawn)
    denoise = diffusion.denoiser(model, state, image=jnp.zeros((2, 2, 1)))
    assert denoise(jnp.zeros((3, 2, 2, 1)), jnp.full(3, 0.5)).shape == (3, 2, 2, 1)
    with pytest.raises(ConfigError, match="2 W"):
        model.init(KEY, {"x": x[:, :, :3]})


def test_refusals():
    make = lambda **options: coupled(nets.MLP((8,)), optax.sgd(0.1), degrade, shape=(2,), **options)
    with pytest.raises(ConfigError, match="tau=-1"):
        make(tau=-1.0)
    with pytest.raises(ConfigError, match="coupling"):
        make(coupling="sinkhorn")
    for wrong in ("blur", lambda key: key):
        with pytest.raises(ConfigError, match="degrade.* must be a function"):
            coupled(nets.MLP((8,)), optax.sgd(0.1), wrong, shape=(2,))
    with pytest.raises(ConfigError, match="condition_dropout: a coupled flow has its own"):
        make(condition_dropout=0.5)
    model = make()
    state = model.init(KEY, {"x": X[:4]})
    with pytest.raises(ConfigError, match="needs the score"):
        model.sample(KEY, state, 2, stepper="ddpm")
    inner, own = model.parts.make(None), state.own
    with pytest.raises(ConfigError, match="samples start from it"):
        inner.sample(KEY, own, 2)
    begin = lambda key, value: value
    plain = lambda **options: flow_matching(
        nets.MLP((8,)), optax.sgd(0.1), shape=(2,), start=begin, **options
    )
    with pytest.raises(ConfigError, match="start needs a condition"):
        plain()
    with pytest.raises(ConfigError, match="not beside a source"):
        plain(condition=conditions.image((2,)), source=lambda key: jnp.zeros(2))
