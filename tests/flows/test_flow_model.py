"""Flows as models: log p in data units against closed forms, dequantisation, conditions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from filled import filled
from jax.scipy.special import ndtri
from jax.scipy.stats import norm

from gen_jax import conditions, data, flows
from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import bits_per_dim
from gen_jax.randomness import sample_keys

KEY = jax.random.key(0)
IMAGES = jax.random.randint(KEY, (4, 2, 2, 1), 0, 256).astype(jnp.uint8)
PROBIT = data.Transform(lambda key, x: ndtri(x), norm.cdf, lambda u: -norm.logpdf(u).sum((1, 2, 3)))
"""[0, 1] -> R that makes a standard normal base uniform."""


def test_a_flow_of_linear_maps_learns_the_gaussian(key):
    """The maximum of the likelihood is the sample's mean and covariance, in data units."""
    mean, spread = np.array([3.0, -1.0]), np.array([[2.0, 0.0], [1.0, 0.5]])
    x = mean + np.asarray(jax.random.normal(key, (2000, 2))) @ spread.T
    layer = flows.chain(flows.invertible_linear(), flows.actnorm())
    units, rate = data.standardize([1.0, 2.0], [3.0, 0.5]), optax.cosine_decay_schedule(0.03, 300)
    model = flows.flow(layer, optax.adam(rate), shape=(2,), transform=units, ema_decay=0.9)
    batch = {"x": jnp.asarray(x, jnp.float32)}
    run = lambda state, key: model.step(key, state, batch)
    state, metrics = jax.jit(lambda s: jax.lax.scan(run, s, jax.random.split(key, 300)))(
        model.init(key, batch)
    )
    cov = np.cov(x.T, bias=True)
    entropy = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * cov)[1]
    assert metrics["loss"][-1] == pytest.approx(entropy, abs=2e-3)
    away = x[:50] - x.mean(0)
    exact = -0.5 * np.einsum("bi,ij,bj->b", away, np.linalg.inv(cov), away)
    exact -= 0.5 * np.linalg.slogdet(2 * math.pi * cov)[1]
    np.testing.assert_allclose(model.log_prob(key, state, batch["x"][:50]), exact, atol=0.05)
    sample = jax.jit(lambda temperature: model.sample(key, state, 20_000, temperature=temperature))
    drawn = np.asarray(sample(1.0))
    np.testing.assert_allclose(drawn.mean(0), x.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), cov, rtol=0.1)
    cold = np.asarray(sample(0.5))
    np.testing.assert_allclose(np.cov(cold.T), cov / 4, rtol=0.1)
    assert model.log_prob_kind == "exact"


def test_actnorms_begin_from_the_first_batch_in_the_flows_units():
    units = data.standardize([1.0, 2.0], [3.0, 0.5])
    model = flows.flow(flows.actnorm(), optax.sgd(0.1), shape=(2,), transform=units)
    x = 5 + 2 * jax.random.normal(KEY, (100, 2))
    params = model.init(KEY, {"x": x}).params["flow"]
    np.testing.assert_allclose(
        params["shift"],
        ((x - units.decode(jnp.zeros(2))) / jnp.array([3.0, 0.5])).mean(0),
        rtol=1e-5,
    )


def test_a_uniform_flow_has_eight_bits_per_dimension():
    """With uniform noise, and with learnt noise of uniform law: the same constant."""
    identity = flows.image_coupling(flows.affine(), "even_pixels", 4, 0)
    plain = flows.flow(
        identity, optax.sgd(0.1), shape=(2, 2, 1), transform=data.chain(data.dequantize(), PROBIT)
    )
    assert plain.log_prob_kind == "lower bound"
    state = jax.jit(plain.init)(KEY, {"x": IMAGES})
    bits = bits_per_dim(jax.jit(plain.log_prob)(KEY, state, IMAGES), 4)
    np.testing.assert_allclose(bits, 8, atol=1e-4)
    noise = flows.noise_flow(1, 4)
    learnt = flows.flow(
        identity, optax.sgd(0.1), shape=(2, 2, 1), transform=PROBIT, dequantizer=noise
    )
    state = jax.jit(learnt.init)(KEY, {"x": IMAGES})
    assert learnt.log_prob_kind == "lower bound"
    # Noise that is not quite uniform costs its KL; many draws get P(x) = 256^-D.
    score = jax.jit(learnt.log_prob, static_argnames="draws")
    once = np.asarray(bits_per_dim(score(KEY, state, jnp.repeat(IMAGES, 100, 0)), 4))
    many = bits_per_dim(score(KEY, state, IMAGES, draws=1000), 4)
    assert once.mean() - 3 * once.std() / 20 > 8
    assert once.mean() < 8.2
    np.testing.assert_allclose(many, 8, atol=2e-2)
    drawn = jax.jit(learnt.sample, static_argnums=2)(KEY, state, 8)
    assert drawn.dtype == jnp.uint8
    assert drawn.shape == (8, 2, 2, 1)


@pytest.fixture(scope="module")
def narrow():
    """Models of independent pixels probit ~ N(0.5, 0.02^2), not flat in a bin; exact log P(x)."""
    mean, std = 0.5, 0.02
    layer = flows.actnorm()
    params = {"shift": jnp.full(1, mean), "log_scale": jnp.full(1, math.log(std))}

    def with_flow(model, batch):
        state = model.init(KEY, batch)
        return state._replace(ema={**state.ema, "flow": params})

    x = jnp.full((1, 2, 2, 1), int(256 * norm.cdf(mean)), jnp.uint8)
    edges = ndtri(jnp.array([x[0, 0, 0, 0] / 256, (x[0, 0, 0, 0] + 1) / 256]))
    low, high = norm.cdf((edges - mean) / std)
    return layer, with_flow, x, 4 * float(jnp.log(high - low))


def wide(noise):
    """Parameters of a noise with longer tails, which keep the weights p / q small at the edges."""
    last = {**noise[-1], "log_scale": noise[-1]["log_scale"] + math.log(1.25)}
    return (*noise[:-1], last)


@pytest.mark.parametrize("learnt", [False, True])
def test_noise_makes_a_bound_that_many_draws_close(narrow, learnt):
    """log P(x) = sum log(F(edge) - F(edge)) exactly; the bound's mean lies below, by the KL.

    100,000 draws at 5 standard errors: a false alarm in 2 million runs; the twin is 14 away.
    """
    layer, with_flow, x, exact = narrow
    model = flows.flow(
        layer,
        optax.sgd(0.1),
        shape=(2, 2, 1),
        transform=PROBIT if learnt else data.chain(data.dequantize(), PROBIT),
        dequantizer=flows.noise_flow(2, 4) if learnt else None,
    )
    assert model.log_prob_kind == "lower bound"
    state = with_flow(model, {"x": x})
    if learnt:
        state = state._replace(ema={**state.ema, "noise": wide(state.ema["noise"])})
    n = 100_000
    many = jnp.broadcast_to(x, (n, *x.shape[1:]))
    values = np.asarray(jax.jit(model.log_prob)(KEY, state, many), np.float64)
    assert values.mean() < exact - 5 * values.std() / n**0.5
    weights = np.exp(values - exact)
    error = weights.std() / n**0.5
    assert abs(weights.mean() - 1) < 5 * error
    # A twin with the wrong constant, one level more, is caught.
    assert abs(weights.mean() * (255 / 256) ** 4 - 1) > 5 * error


def test_noise_stays_in_its_level_and_wants_images():
    noise = flows.noise_flow(2, 4)
    params = filled(noise_with(noise), (2, 2, 1), size=2.0)
    u, log_q = flows.dequantization.dequantize_with(noise, params, sample_keys(KEY, 4), IMAGES)
    np.testing.assert_array_equal(jnp.floor(u * 256), IMAGES)
    assert log_q.shape == (4,)
    with pytest.raises(DataError, match="float32"):
        flows.dequantization.dequantize_with(noise, params, sample_keys(KEY, 4), IMAGES / 256)


def noise_with(layer):
    """The layer with conditions of one channel."""
    return layer._replace(init=lambda key, shape: layer.init(key, shape, 1))


def test_labels_condition_and_are_hidden_at_random():
    layer = flows.chain(flows.coupling(flows.affine(), hidden=(8,)), flows.actnorm())
    model = flows.flow(
        layer, optax.adam(0.01), shape=(2,), condition=conditions.labels(3), condition_dropout=0.5
    )
    x = jax.random.normal(KEY, (6, 2))
    batch = {"x": x, "y": jnp.array([0, 1, 2, 0, 1, 2])}
    state = model.init(KEY, batch)
    for i in range(3):
        state, _ = jax.jit(model.step)(jax.random.fold_in(KEY, i), state, batch)
    score = lambda label: np.asarray(model.log_prob(KEY, state, x, label=label))
    assert np.abs(score(0) - score(1)).max() > 1e-5
    assert np.abs(score(None) - score(1)).max() > 1e-5
    labels = jnp.array([0, 1, 2, 0, 1, 2])
    whole = model.sample(KEY, state, 6, label=labels)
    keys = sample_keys(KEY, 6)
    np.testing.assert_allclose(
        model.sample(keys[2:3], state, 1, label=labels[2:3])[0], whole[2], rtol=1e-5
    )
    with pytest.raises(ConfigError, match="no labels"):
        model.init(KEY, {"x": x})
    with pytest.raises(ConfigError, match="label must be one integer"):
        model.sample(KEY, state, 2, label=jnp.zeros(3, jnp.int32))
    for label in (3, -1, jnp.array([0, 3])):
        with pytest.raises(ConfigError, match=r"integers in \[0, 2\]"):
            model.sample(KEY, state, 2, label=label)
    plain = flows.flow(layer, optax.adam(0.01), shape=(2,))
    assert "label" not in plain.conditions
    with pytest.raises(ConfigError, match="option='label'"):
        plain.log_prob(KEY, plain.init(KEY, {"x": x}), x, label=1)
    with pytest.raises(ConfigError, match="does not fit"):
        plain.init(KEY, {"x": jnp.zeros((4, 3))})


def test_the_bijector_of_a_trained_flow(key):
    """Its log-determinant by autodiff; a label that is not given is hidden, or drawn and averaged
    over where training hid none."""
    layer = flows.chain(flows.coupling(flows.affine(), hidden=(4,)), flows.actnorm())
    make = lambda dropout: flows.flow(
        layer,
        optax.sgd(0.1),
        shape=(2,),
        transform=data.standardize([1.0, 2.0], [3.0, 0.5]),
        condition=conditions.labels(3),
        condition_dropout=dropout,
    )
    model, x = make(0.1), jax.random.normal(key, (6, 2))
    state = model.init(key, {"x": x, "y": jnp.arange(6) % 3})
    state = state._replace(ema=filled_like(key, state.ema))
    z = jax.random.normal(key, (5, 2))
    of_label = flows.bijector(model, state, label=1)
    u, log_det = of_label.forward(z)
    jacobian = jax.vmap(jax.jacfwd(lambda z: of_label.forward(z[None])[0][0]))(z)
    np.testing.assert_allclose(log_det, jnp.linalg.slogdet(jacobian)[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_label.inverse(u)[0], z, atol=1e-5)
    rows = jnp.arange(5) % 3
    each = flows.bijector(model, state, label=rows).forward(z)[0]
    np.testing.assert_allclose(each[rows == 1], u[rows == 1], rtol=1e-5)
    hidden = flows.bijector(model, state).forward(z)[0]
    assert np.abs(hidden - u).max() > 1e-3
    never = make(0.0)
    labelled = jnp.stack([model.log_prob(key, state, x, label=k) for k in range(3)])
    np.testing.assert_allclose(
        never.log_prob(key, state, x), np.log(np.exp(labelled).mean(0)), rtol=1e-5
    )
    with pytest.raises(ConfigError, match="label is needed"):
        flows.bijector(never, state).forward(z)
    drawn = np.asarray(never.sample(key, state, 4000))
    parts = np.concatenate([model.sample(key, state, 2000, label=k) for k in range(3)])
    np.testing.assert_allclose(drawn.mean(0), parts.mean(0), atol=5 * drawn.std() / 4000**0.5)
    with pytest.raises(ConfigError, match="must be a model of gen_jax.flows"):
        flows.surface(model, state)


def filled_like(key, params):
    """Random parameters of this form."""
    leaves, tree = jax.tree.flatten(params)
    draw = lambda k, p: 0.5 * jax.random.normal(k, p.shape)
    return tree.unflatten(map(draw, jax.random.split(key, len(leaves)), leaves))
