"""Samples in batches are the samples of one call."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damaged import CALLABLES
from rows import check_rows
from toy_model import toy

from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel, compiled, sample_in_batches
from gen_jax.randomness import normal, sample_keys


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 64])
def test_batches_give_the_same_samples_as_one_call(key, batch_size):
    model, state = toy(), jnp.float32(2.0)
    conditions = {"label": jnp.arange(10), "scale": 0.5, "name": "other", "prompt": [1, 2, 3]}
    whole = model.sample(key, state, 10, **conditions)
    parts = sample_in_batches(model, key, state, 10, batch_size, **conditions)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    one_label = sample_in_batches(model, key, state, 10, batch_size, label=3)
    np.testing.assert_allclose(one_label, model.sample(key, state, 10, label=3), rtol=1e-6)


def test_batches_compile_once_and_are_held_by_the_model(key, compilations):
    count = []
    model = toy(count)
    draw = lambda seed: sample_in_batches(
        model, jax.random.key(seed), jnp.ones(()), 10, 4, label=jnp.arange(10)
    )
    draw(1)
    compilations.clear()
    draw(2)
    assert (count, compilations) == ([4], [])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_what_has_as_many_rows_as_samples_is_cut_only_if_it_belongs_to_them(key, batch_size):
    model, state = toy(), jnp.ones(())
    options = {"prompt": jnp.array([7, 8, 9]), "table": jnp.arange(3.0)}
    whole = model.sample(key, state, 3, **options)
    parts = sample_in_batches(model, key, state, 3, batch_size, **options)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)
    each = jnp.arange(9).reshape(3, 3)
    parts = sample_in_batches(model, key, state, 3, batch_size, prompt=each)
    np.testing.assert_allclose(parts, model.sample(key, state, 3, prompt=each), rtol=1e-6)
    with pytest.raises(ConfigError, match=r"scale has 3 rows.*'per sample' or 'shared'"):
        sample_in_batches(model, key, state, 3, batch_size, scale=jnp.ones((3, 1)))


def test_models_that_are_not_compiled_are_drawn_in_batches_too(key):
    sample = lambda key, state, n, *, label=None: normal(sample_keys(key, n), ()) + label
    bare = GenerativeModel(None, None, sample)
    with pytest.raises(ConfigError, match="label has 4 rows"):
        sample_in_batches(bare, key, (), 4, 2, label=jnp.arange(4))
    declared = bare._replace(conditions={"label": "per sample"})
    parts = sample_in_batches(declared, key, (), 4, 2, label=jnp.arange(4))
    np.testing.assert_allclose(parts, sample(key, (), 4, label=jnp.arange(4)), rtol=1e-6)


def test_a_model_that_is_not_compiled_holds_its_batches(key, compilations):
    bare = GenerativeModel(None, None, lambda key, state, n: normal(sample_keys(key, n), ()))
    other = jax.random.fold_in(key, 1)
    sample_in_batches(bare, key, (), 5, 2)
    compilations.clear()
    sample_in_batches(bare, other, (), 5, 2)
    assert compilations == []


def test_batches_refuse_what_they_cannot_join(key):
    both = lambda key, state, n, info=False: (jnp.zeros(n), 3) if info else jnp.zeros(n)
    model = compiled(GenerativeModel(None, None, both))
    with pytest.raises(ConfigError, match="more than samples.*info"):
        sample_in_batches(model, key, (), 4, 2, info=True)
    with pytest.raises(ConfigError, match="model=.* must be a GenerativeModel"):
        sample_in_batches(key, model, (), 4, 2)
    for size in (0, -1):
        with pytest.raises(ConfigError, match="batch_size="):
            sample_in_batches(model, key, (), 4, size)
    far = jnp.arange(4.0)
    guided = lambda key, state, n, guide=None: guide(normal(sample_keys(key, n), ()))
    model = compiled(GenerativeModel(None, None, guided))
    with pytest.raises(ConfigError, match="guide.*batch of 3 of the 4 samples"):
        sample_in_batches(model, key, (), 4, 3, guide=lambda x: x + far)
    stepped = lambda key, state, n, stepper=None: stepper[0](normal(sample_keys(key, n), ()))
    by_pair = compiled(GenerativeModel(None, None, stepped))
    with pytest.raises(ConfigError, match="stepper.*batch of 3 of the 4 samples"):
        sample_in_batches(by_pair, key, (), 4, 3, stepper=(lambda x: x + far, 1.0))
    whole = sample_in_batches(model, key, (), 4, 4, guide=lambda x: x + far)
    np.testing.assert_allclose(whole, model.sample(key, (), 4, guide=lambda x: x + far))


def test_a_reused_key_would_be_seen(key):
    """Planted: the same key for every batch gives the first batch again."""
    model, state = toy(), jnp.ones(())
    right = sample_in_batches(model, key, state, 8, 4)
    wrong = jnp.concatenate([model.sample(key, state, 4)] * 2)
    assert np.abs(right - wrong).max() > 0.1


FAMILIES = {name.partition("/")[0]: row for name, row in CALLABLES.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_options_go_with_their_samples(key, family):
    """In every family; tests/experiments has the same of what the command line builds."""
    make, _, arrays = FAMILIES[family]
    check_rows(key, make(lambda out: out), arrays)
