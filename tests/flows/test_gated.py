"""The gated affine map: what it promises of stacks of couplings."""

import jax.numpy as jnp
import numpy as np

from gen_jax import flows


def test_no_parameters_let_a_coordinate_grow_without_bound():
    raw = jnp.stack([jnp.zeros(401), jnp.linspace(-80.0, 80.0, 401)], -1)
    ones, gated = jnp.ones(401), flows.gated()
    at_zero = 1e-3 + 0.999 / (1 + np.exp(-2.0))
    to_base, log_slope = gated.inverse(ones, raw)
    assert jnp.all(jnp.isfinite(log_slope))
    assert float(to_base.max()) <= 1.136
    np.testing.assert_allclose(to_base[-1], 1 / at_zero, rtol=1e-6)
    np.testing.assert_allclose(gated.forward(ones, raw)[0].max(), at_zero / 1e-3, rtol=1e-5)
    grown, _ = flows.affine().inverse(ones, raw)  # whose bound is e^3 both ways
    assert float(grown.max()) > 20
