"""The gated affine map: what it promises of stacks of couplings."""

import jax.numpy as jnp
import numpy as np

from gen_jax import flows


def test_no_parameters_let_a_coordinate_grow_on_the_way_to_the_base():
    raw = jnp.stack([jnp.zeros(401), jnp.linspace(-80.0, 80.0, 401)], -1)
    y = jnp.ones(401)
    x, log_slope = flows.gated().inverse(y, raw)
    most = 1 + np.exp(-2.0)  # 1 / sigmoid(2)
    assert jnp.all(jnp.isfinite(x))
    assert jnp.all(jnp.isfinite(log_slope))
    assert float(x.max()) <= most * (1 + 1e-6)
    np.testing.assert_allclose(x[-1], most, rtol=1e-6)
    grown, _ = flows.affine().inverse(y, raw)  # whose bound is e^3 for each coupling
    assert float(grown.max()) > 20
