"""Planar and radial layers: their constraint, their inverse, its derivative, their densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.flows import density, planar, planar_bijector, radial_bijector
from gen_jax.flows.planar import allowed_direction, root


def test_constraint_holds_and_leaves_the_bend_across_w_alone(x64, key):
    w, u = jax.random.normal(key, (2, 50, 3), jnp.float64)
    u = 20 * u
    moved = jax.vmap(allowed_direction)(w, u)
    dot = lambda a, b: jnp.sum(a * b, -1)
    assert np.all(dot(w, moved) > -1)
    assert dot(w, u).min() < -1
    # A softplus stays where it is large; across w nothing moves.
    large = dot(w, u) > 20
    np.testing.assert_allclose(moved[large], u[large], atol=1.0)
    unit = w / jnp.linalg.norm(w, axis=1, keepdims=True)
    across = lambda u: u - dot(u, unit)[:, None] * unit
    np.testing.assert_allclose(across(moved), across(u), atol=1e-9)
    np.testing.assert_allclose(allowed_direction(w[0], jnp.zeros(3)), 0, atol=1e-15)


def test_root_and_its_derivatives_at_the_edge_of_what_is_allowed(x64):
    slope, b = jnp.array(-0.999), jnp.array(0.3)
    a = jnp.linspace(-4, 4, 81)
    value = a + slope * jnp.tanh(a + b)
    np.testing.assert_allclose(root(value, slope, b), a, atol=1e-7)
    far = jnp.abs(a + b) > 0.5
    got = jax.vmap(jax.grad(root), (0, None, None))(value, slope, b)
    wanted = 1 / (1 + slope * (1 - jnp.tanh(a + b) ** 2))
    np.testing.assert_allclose(got[far], wanted[far], rtol=1e-6)
    h = 1e-6
    by_slope = (root(value, slope + h, b) - root(value, slope - h, b)) / (2 * h)
    got = jax.vmap(jax.grad(root, 1), (0, None, None))(value, slope, b)
    np.testing.assert_allclose(got[far], by_slope[far], rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: planar_bijector(jnp.ones(2), -jnp.ones(2), jnp.zeros(())), "w.u=-2 .* above -1"),
        (lambda: radial_bijector(jnp.zeros(2), jnp.ones(()), -jnp.ones(())), "beta=-1"),
        (lambda: radial_bijector(jnp.zeros(2), -jnp.ones(()), 2 * jnp.ones(())), "alpha=-1"),
    ],
)
def test_maps_without_an_inverse_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_gradients_at_the_centre_and_at_the_constraint_are_finite():
    bijector = radial_bijector(jnp.zeros(2), jnp.ones(()), -0.5 * jnp.ones(()))
    total = lambda x: sum(part.sum() for part in bijector.inverse(x) + bijector.forward(x))
    assert np.isfinite(jax.grad(total)(jnp.zeros((1, 2)))).all()
    layer = planar()
    params = {"w": jnp.zeros(2), "u": -1e3 * jnp.ones(2), "b": jnp.zeros(())}
    loss = lambda params: density.log_density(layer.bijector(params), jnp.ones((1, 2))).sum()
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.grad(loss)(params)))
