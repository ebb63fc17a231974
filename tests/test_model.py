"""The contract's helpers: one key per sample, and samples in batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.model import (
    GenerativeModel,
    fold_in,
    normal,
    sample_in_batches,
    sample_keys,
    takes,
)


def data(keys):
    return np.asarray(jax.random.key_data(keys))


def test_sample_keys_are_distinct_and_do_not_depend_on_their_number(key):
    keys = sample_keys(key, 100)
    assert len(np.unique(data(keys), axis=0)) == 100
    np.testing.assert_array_equal(data(sample_keys(key, 7)), data(keys)[:7])
    np.testing.assert_array_equal(data(sample_keys(keys, 100)), data(keys))


def test_fold_in_gives_each_use_its_own_keys(key):
    keys = sample_keys(key, 3)
    uses = np.concatenate([data(fold_in(keys, i)) for i in range(4)] + [data(keys)])
    assert len(np.unique(uses, axis=0)) == 15
    alone = fold_in(keys[1:2], jnp.int32(2))
    np.testing.assert_array_equal(data(alone)[0], data(fold_in(keys, 2))[1])


def test_normal_draws_each_sample_from_its_key(key):
    keys = sample_keys(key, 4)
    z = normal(keys, (2, 3))
    assert (z.shape, z.dtype) == ((4, 2, 3), jnp.float32)
    np.testing.assert_array_equal(normal(keys[2:3], (2, 3))[0], z[2])
    assert normal(keys, (), jnp.bfloat16).dtype == jnp.bfloat16


def test_conditions_that_a_model_takes():
    labelled = GenerativeModel(None, None, lambda key, state, n, *, label=None: None)
    assert (takes(labelled, "label"), takes(labelled, "steps")) == (True, False)
    passing = GenerativeModel(None, None, lambda key, state, n, **condition: None)
    assert takes(passing, "steps")
    assert not takes(GenerativeModel(None, None, lambda key, state, n: None), "label")


def toy(count=None):
    """A model whose sample shows its key, its label and the scale it was given."""

    def sample(key, state, n, *, label=None, scale=1.0, name="none"):
        if count is not None:
            count.append(n)
        z = scale * state * normal(sample_keys(key, n), (2,))
        z = z if label is None else z + 10 * jnp.broadcast_to(label, (n,))[:, None]
        return z if name == "none" else -z

    return GenerativeModel(lambda key, batch: jnp.ones(()), None, sample)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 64])
def test_batches_give_the_same_samples_as_one_call(key, batch_size):
    model, state = toy(), jnp.float32(2.0)
    conditions = {"label": jnp.arange(10), "scale": 0.5, "name": "other"}
    whole = model.sample(key, state, 10, **conditions)
    parts = sample_in_batches(model, key, state, 10, batch_size, **conditions)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    one_label = sample_in_batches(model, key, state, 10, batch_size, label=3)
    np.testing.assert_allclose(one_label, model.sample(key, state, 10, label=3), rtol=1e-6)


def test_batches_compile_once(key):
    count = []
    sample_in_batches(toy(count), key, jnp.ones(()), 10, 4, label=jnp.arange(10))
    assert count == [4]


def test_a_reused_key_would_be_seen(key):
    """Planted: the same key for every batch gives the first batch again."""
    model, state = toy(), jnp.ones(())
    right = sample_in_batches(model, key, state, 8, 4)
    wrong = jnp.concatenate([model.sample(key, state, 4)] * 2)
    assert np.abs(right - wrong).max() > 0.1


def test_an_implicit_model_says_so():
    model = toy()
    assert model.log_prob is None
    assert model.log_prob_kind == "none"
