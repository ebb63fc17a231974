"""Log-probabilities of binary and of whole values at all logits, with their slopes."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from gen_jax.likelihoods import bernoulli_log_prob, categorical_log_prob, component_centres

LOGITS = np.array([-np.inf, -80.0, -20.0, -1.5, 0.0, 0.3, 20.0, 80.0, np.inf])


def test_binary_values_at_the_ends():
    """The old form x a - softplus(a) agrees to rounding in the middle; far out it is 0 or NaN."""
    a, x = (v.astype(np.float32) for v in np.meshgrid(LOGITS, [0, 1]))
    both = jax.jit(jax.vmap(jax.value_and_grad(bernoulli_log_prob)))
    value, slope = (np.asarray(v).reshape(a.shape) for v in both(a.ravel(), x.ravel()))
    sign = np.where(x > 0, 1.0, -1.0)
    np.testing.assert_allclose(value, special.log_expit(sign * a.astype(float)), rtol=1e-6)
    np.testing.assert_allclose(slope, sign * special.expit(-sign * a.astype(float)), rtol=1e-6)
    old, near = lambda a, x: x * a - np.logaddexp(a, np.float32(0)), np.abs(a) < 10
    np.testing.assert_allclose(value[near], old(a[near], x[near]), rtol=1e-6)
    far = (x == 1) & (a == 20)
    assert (old(a[far], x[far]), value[far] < 0) == (0, True)


def test_whole_values_and_what_has_no_probability():
    logits = np.random.default_rng(0).normal(size=(3, 1, 5)).astype(np.float32)
    logits[0, 0, 2] = -np.inf
    x = np.array([[0, 1, 4, -1, 5]])
    value = np.asarray(categorical_log_prob(jnp.asarray(logits), x))
    expected = special.log_softmax(logits.astype(float), -1)
    np.testing.assert_allclose(value[:, :3], expected[:, 0][:, [0, 1, 4]], rtol=1e-6)
    assert np.isnan(value[:, 3:]).all()
    slope = jax.grad(lambda logits: categorical_log_prob(logits, x[:, :3]).sum())
    chosen = np.bincount(x[0, :3], minlength=5)
    expected = chosen - 3 * special.softmax(logits.astype(float), -1)
    np.testing.assert_allclose(slope(jnp.asarray(logits)), expected, atol=1e-6)


def test_components_start_in_the_middles_of_equal_parts():
    np.testing.assert_allclose(component_centres(4), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_array_equal(component_centres(1), [0])
