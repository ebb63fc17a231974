"""Rectangular flows: the Gram determinant of known surfaces, a density that integrates to one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from filled import filled

from gen_jax import flows
from gen_jax.errors import ConfigError
from gen_jax.flows import log_gram, make_surface, manifold_flow

KEY = jax.random.key(0)
INNER = flows.free(flows.rational_quadratic(6))
OUTER = flows.chain(flows.coupling(flows.affine(), "even", (8,)), flows.invertible_linear())


def test_gram_determinant_of_the_sphere(x64):
    """Angles to the unit sphere: the area element is sin(theta)."""

    def embed(v):
        theta, phi = v[:, 0], v[:, 1]
        across = jnp.sin(theta)
        return jnp.stack([across * jnp.cos(phi), across * jnp.sin(phi), jnp.cos(theta)], -1)

    v = jnp.array([[0.3, 1.0], [1.2, -2.0], [2.9, 0.1]])
    np.testing.assert_allclose(log_gram(embed, v), jnp.log(jnp.sin(v[:, 0])), rtol=1e-10)


def test_density_integrates_to_one_along_the_curve(x64):
    """A curve in space: the sum of p times the length of its pieces, by finite differences."""
    params = {
        "inner": filled(INNER, 1, size=0.5, dtype=jnp.float64),
        "outer": filled(OUTER, 3, size=0.5, dtype=jnp.float64),
    }
    here = make_surface(INNER, OUTER, params, 3, 1)
    z = jnp.linspace(-8, 8, 20_001)[:, None]
    x = jax.jit(here.decode)(z)
    np.testing.assert_allclose(here.encode(x[::500]), z[::500], atol=1e-8)
    lengths = np.linalg.norm(np.diff(x, axis=0), axis=1)
    density = np.exp(np.asarray(jax.jit(here.log_prob)(x)))
    total = np.sum((density[1:] + density[:-1]) / 2 * lengths)
    assert total == pytest.approx(1, abs=1e-3)


def test_training_finds_a_line(key):
    """Points of a line in the plane: samples come to lie on it, with the right spread."""
    along = jax.random.normal(key, (512, 1))
    x = along * jnp.array([2.0, 1.0]) + jnp.array([0.5, 0.0])
    outer = flows.chain(flows.invertible_linear(), flows.actnorm())
    model = manifold_flow(flows.free(flows.affine()), outer, optax.adam(0.02), shape=(2,), latent=1)
    state = model.init(key, {"x": x})
    run = lambda state, key: model.step(key, state, {"x": x})
    train = jax.jit(lambda s: jax.lax.scan(run, s, jax.random.split(key, 400))[0])
    state = train(state)
    drawn = np.asarray(model.sample(key, state, 2000))
    here, points = flows.surface(model, state), jnp.asarray(drawn)
    np.testing.assert_allclose(here.decode(here.encode(points)), points, atol=1e-4)
    off = (drawn - np.array([0.5, 0.0])) @ np.array([-1.0, 2.0]) / 5**0.5
    assert np.abs(off).mean() < 0.1
    assert drawn.std(0)[0] == pytest.approx(float(x.std(0)[0]), rel=0.15)
    assert model.log_prob is None


def test_bad_dimensions():
    with pytest.raises(ConfigError, match="latent=3"):
        manifold_flow(INNER, OUTER, optax.sgd(0.1), shape=(3,), latent=3)
    model = manifold_flow(INNER, OUTER, optax.sgd(0.1), shape=(3,), latent=1)
    with pytest.raises(ConfigError, match="does not fit"):
        model.init(KEY, {"x": jnp.zeros((4, 2))})
