"""Functions with the derivative 0 at 0: their values, their gradients, and who stands on them."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import flows, safe
from gen_jax.classical import mixture
from gen_jax.gan_nets.lipschitz import orthonormalised

X = jnp.array([0.0, 1e-30, 0.3, 2.0, jnp.inf])


def test_values_and_derivatives_are_numpys_but_for_the_derivative_at_0():
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(safe.log(X), np.log(X), rtol=1e-6)
    np.testing.assert_allclose(safe.sqrt(X), np.sqrt(X), rtol=1e-6)
    slope = lambda f: jax.vmap(jax.grad(f))(X[:-1])
    np.testing.assert_allclose(slope(safe.log), [0, *(1 / X[1:-1])], rtol=1e-6)
    np.testing.assert_allclose(slope(safe.sqrt), [0, *(0.5 / np.sqrt(X[1:-1]))], rtol=1e-6)
    assert np.isnan([f(jnp.array([-1.0, jnp.nan])) for f in (safe.log, safe.sqrt)]).all()
    np.testing.assert_array_equal(jax.grad(safe.length)(jnp.zeros(3)), 0)
    np.testing.assert_allclose(safe.length(jnp.array([[3.0, 4.0]]), keepdims=True), [[5.0]])


def test_gradients_behind_zeros_are_finite():
    """A component of weight 0, a point on a radial layer's centre, a network without weights."""
    law = mixture.Mixture(jnp.array([1.0, 0.0]), jnp.zeros((2, 2)), jnp.ones((2, 2)))
    slopes = jax.grad(lambda law: mixture.log_prob(law, jnp.ones((3, 2))).sum())(law)
    assert all(np.isfinite(slope).all() for slope in slopes)
    layer = flows.radial()
    params = layer.init(jax.random.key(0), 2)
    for way in layer.bijector(params):
        slope = jax.grad(lambda x, way=way: way(x)[1].sum())
        assert np.isfinite(slope(params["centre"][None])).all()
    assert np.isfinite(jax.grad(lambda w: orthonormalised(w).sum())(jnp.zeros((3, 2)))).all()
