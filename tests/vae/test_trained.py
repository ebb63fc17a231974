"""What trained VAEs give, networks that are no Linen modules, and any model as a prior."""

import jax
import jax.numpy as jnp
import linear_gaussian as exact_model
import numpy as np
import optax
import pytest
from flax import nnx
from linear_gaussian import BIAS, SCALE, W, X, copies
from scipy import stats

from gen_jax import conditions, data, frozen, nets, vae
from gen_jax.classical import Mixture, gaussian_mixture
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel

CENTRE, SPREAD = np.array([0.8, -0.5]), np.array([[1.2, 0.5], [0.5, 0.7]])
"""Moments of a Gaussian of latents."""


def gaussian_of_latents(shift=0.0, scale=(1.0, 1.0)):
    """A model of (z - shift) / scale and its state, for z of these moments; no training."""
    model = gaussian_mixture(1, shape=(2,))
    law = Mixture(
        jnp.ones(1),
        jnp.asarray((CENTRE - shift) / scale, jnp.float32)[None],
        jnp.asarray(SPREAD / np.outer(scale, scale), jnp.float32)[None],
    )
    fresh = model.init(jax.random.key(0), {"x": jax.random.normal(jax.random.key(0), (8, 2))})
    return model, fresh._replace(mixture=law)


def linear_vae(prior):
    """x = W z + b + noise as a model, its encoder exact under `prior` up to a diagonal."""
    likelihood = exact_model.LIKELIHOOD
    return vae.vae(
        *[vae.linear()] * 2, optax.sgd(0.1), shape=(4,), latent=2, likelihood=likelihood,
        prior=prior, evaluation_samples=2000,
    )  # fmt: skip


def planted(model, key):
    """A state with the decoder W z + b, and q(z | x) with the posterior's mean, wider than it."""
    state = model.init(key, {"x": copies(4)})
    precision = np.linalg.inv(SPREAD) + W.T @ W / SCALE**2
    slope = np.linalg.solve(precision, W.T / SCALE**2)
    start = np.linalg.solve(precision, np.linalg.solve(SPREAD, CENTRE)) - slope @ BIAS
    std = 1.2 * np.sqrt(np.diag(np.linalg.inv(precision)))
    encoder = {
        "kernel": np.concatenate([slope.T, np.zeros((4, 2))], 1),
        "bias": np.concatenate([start, np.log(std)]),
    }
    networks = {"encoder": encoder, "decoder": {"kernel": W.T, "bias": BIAS}}
    floats = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), networks)
    params = {**state.params, **{name: {"params": part} for name, part in floats.items()}}
    return state._replace(params=params)


def test_with_a_models_density_as_prior_the_bound_is_exact(key):
    """z ~ N(m, C), x = W z + b + s eps: log p(x) = log N(x; W m + b, W C W^T + s^2 I)."""
    shift, scale = np.array([0.3, -1.0]), np.array([2.0, 0.5])
    prior_model, prior_state = gaussian_of_latents(shift, scale)
    make = lambda state: linear_vae(vae.model_prior(prior_model, state, shift, scale))
    model = frozen.given(prior_state, make)  # the prior's arrays travel in the state
    state = frozen.Given(prior_state, planted(make(prior_state), key))
    x = jnp.stack([jnp.asarray(X, jnp.float32), jnp.zeros(4)])
    truth = stats.multivariate_normal.logpdf(
        x, W @ CENTRE + BIAS, W @ SPREAD @ W.T + SCALE**2 * np.eye(4)
    )
    found = np.asarray(model.log_prob(key, state, x))
    np.testing.assert_allclose(found, truth, atol=0.05)
    # Planted: the change of units forgotten, log 2 + log 0.5 = 0 for the density but not the mean.
    wrong = linear_vae(vae.model_prior(prior_model, prior_state))
    assert np.abs(np.asarray(wrong.log_prob(key, state.own, x)) - truth).max() > 0.3
    drawn = np.asarray(model.sample(key, state, 20_000))
    np.testing.assert_allclose(drawn.mean(0), W @ CENTRE + BIAS, atol=0.06)
    np.testing.assert_allclose(np.cov(drawn.T), W @ SPREAD @ W.T + SCALE**2 * np.eye(4), atol=0.15)


def test_the_units_of_a_models_prior(key):
    """The density of z = m + s v has the factor 1 / s of each dimension; draws are moved."""
    shift, scale = 0.5, np.array([3.0, 0.4])
    prior = vae.model_prior(*gaussian_of_latents(shift, scale), shift, scale)
    z = np.array([[0.0, 0.0], [1.0, -2.0]], np.float32)
    truth = stats.multivariate_normal.logpdf(z, CENTRE, SPREAD)
    np.testing.assert_allclose(prior.log_prob(jnp.asarray(z)), truth, rtol=1e-4)
    drawn = np.asarray(prior.sample(jax.random.split(key, 20_000)))
    np.testing.assert_allclose(drawn.mean(0), CENTRE, atol=5 * np.sqrt(1.2 / 20_000))
    implicit = GenerativeModel(lambda key, batch: (), lambda key, state, batch: (state, {}))
    with pytest.raises(ConfigError, match="both log_prob and sample"):
        vae.model_prior(implicit, ())
    with pytest.raises(ConfigError, match="std=0"):
        vae.model_prior(*gaussian_of_latents(), std=np.array([1.0, 0.0]))


def of_functions(size):
    """A layer in plain jax.numpy."""
    init = lambda key, x: jax.random.normal(key, (x.shape[1], size)) / np.sqrt(x.shape[1])
    return nets.from_functions(init, lambda weight, x: jnp.tanh(x) @ weight)


def of_nnx(size):
    """A layer of Flax NNX: of two inputs, which data and latents both are."""
    return nets.from_nnx(lambda rngs: nnx.Linear(2, size, rngs=rngs))


@pytest.mark.parametrize("network", [of_functions, of_nnx])
def test_networks_that_are_no_linen_modules(key, network):
    model = vae.vae(network, network, optax.adam(0.05), shape=(2,), latent=2, likelihood="gaussian")
    x = 2 * jax.random.normal(key, (64, 2))
    state, step = model.init(key, {"x": x}), jax.jit(model.step)
    losses = []
    for i in range(40):
        state, metrics = step(jax.random.fold_in(key, i), state, {"x": x})
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert vae.decode(model, state, vae.encode(model, state, x).moments[0]).shape == (64, 2)


def test_encoder_and_decoder_are_those_of_the_model(key):
    """Means and draws at z of the prior are the model's samples; label by label, or one for all."""
    model = vae.vae(
        *[vae.mlp((8,))] * 2, optax.sgd(0.1), shape=(4, 4, 1), latent=2,
        likelihood="discretized_logistic", transform=data.identity(),
        condition=conditions.labels(3),
    )  # fmt: skip
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    y = np.arange(6) % 3
    state = model.init(key, {"x": x, "y": y})
    bent = jax.tree.map(
        lambda p: p + 0.1 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), state.params
    )
    state = state._replace(params=bent)
    functions = vae.functions(model, state, label=y)
    posterior = vae.encode(model, state, x, label=y)
    mean, log_std = posterior.moments
    assert mean.shape == log_std.shape == (6, 2)
    decoded = vae.decode(model, state, mean, label=y)
    assert (decoded.shape, decoded.dtype) == ((6, 4, 4, 1), jnp.uint8)
    means = functions.likelihood.mean(functions.decode(mean))
    np.testing.assert_array_equal(decoded, np.round(means))
    one = vae.encode(model, state, x, label=1).moments[0]
    np.testing.assert_allclose(one[1::3], mean[1::3], rtol=1e-5)
    assert np.abs(one[0::3] - mean[0::3]).max() > 1e-3
    for wrong, message in (({}, "label is needed"), ({"label": 3}, r"integers in \[0, 2\]")):
        with pytest.raises(ConfigError, match=message):
            vae.encode(model, state, x, **wrong)
    with pytest.raises(ConfigError, match="condition='digit'"):
        vae.encode(model, state, x, digit=1)
    with pytest.raises(ConfigError, match="label has 6 rows"):
        vae.decode(model, state, mean[:4], label=y)
    with pytest.raises(ConfigError, match="only semi_supervised"):
        vae.label_logits(model, state, x)
