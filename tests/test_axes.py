"""Axes that broadcast."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.axes import entry_of, expand, rows_of


def test_expand_appends_axes():
    x = jnp.zeros((4, 3, 2))
    assert expand(jnp.ones(4), x).shape == (4, 1, 1)
    assert expand(jnp.ones(()), x).shape == (1, 1, 1)


def test_an_index_out_of_range_is_nan_of_value_and_of_slope():
    table, index = jnp.arange(12.0).reshape(4, 3), jnp.array([2, -1, 3, 0])
    outside = np.array([False, True, True, False])
    found, slope = entry_of(table, index), jax.grad(lambda t: entry_of(t, index).sum())(table)
    np.testing.assert_array_equal(found, [2, np.nan, np.nan, 9])
    np.testing.assert_array_equal(np.isnan(slope).any(1), outside)
    np.testing.assert_array_equal(slope[0], [0, 0, 1])
    rows = rows_of(table[:3], index)
    np.testing.assert_array_equal(np.isnan(rows).all(1), outside)
    np.testing.assert_array_equal(rows[0], table[2])
    np.testing.assert_array_equal(rows_of(table[:3, 0], index), [6, np.nan, np.nan, 0])
