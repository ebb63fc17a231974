"""A function over batches is the function over all rows, with one shape for the compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.batching import batch_rows, in_batches


@pytest.mark.parametrize(("n", "size"), [(7, 3), (6, 3), (2, 5), (1, 1)])
def test_every_row_is_counted_once(n, size):
    x, shapes = np.arange(2.0 * n).reshape(n, 2), []

    def function(batch):
        shapes.append(batch.shape)
        return {"sum": jnp.sum(batch, 1), "same": jax.device_put(batch)}

    found = in_batches(function, size, x)
    np.testing.assert_array_equal(found["same"], x)
    np.testing.assert_array_equal(found["sum"], x.sum(1))
    assert set(shapes) == {(size, 2)}
    assert set(batch_rows(n, size).ravel()) == set(range(n))
