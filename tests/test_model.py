"""The contract's functions: keys of samples, conditions, what stands at the door."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_model import toy

from gen_jax.errors import ConfigError, DataError
from gen_jax.model import GenerativeModel, compiled
from gen_jax.randomness import fold_in, normal, sample_keys


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


def test_a_model_declares_its_conditions():
    kinds = {"label": "per sample", "prompt": "per sample", "table": "shared"}
    assert toy().conditions == {"scale": "static", "name": "static", **kinds}
    assert toy().sample.__name__ == "sample"
    assert toy().sample.__doc__.startswith("Toy samples.\n\nOptions of this model: label (per")
    assert list(inspect.signature(toy().sample).parameters)[:4] == ["key", "state", "n", "label"]
    by_hand = GenerativeModel(None, None, lambda key, state, n, a=0: a, conditions={"a": "shared"})
    assert compiled(by_hand).conditions == {"a": "shared"}
    assert compiled(toy()).sample is not toy().sample
    model = toy()
    assert compiled(model) == model


def test_values_are_checked_before_a_program_is_traced(key):
    count = []
    model, state = toy(count), jnp.ones(())
    wrong = {
        "label=10": {"label": 10},
        r"label=\[-1": {"label": jnp.full(4, -1)},
        r"shape \[4\]": {"label": jnp.arange(3)},
        "prompt of shape": {"prompt": jnp.ones(2)},
        "option='labels' is unknown; did you mean 'label'": {"labels": 3},
    }
    for words, option in wrong.items():
        with pytest.raises(ConfigError, match=words):
            model.sample(key, state, 4, **option)
    with pytest.raises(ConfigError, match="option='scale' is unknown"):
        model.log_prob(key, state, jnp.ones((4, 2)), scale=2.0)
    with pytest.raises(DataError, match="allowed: 5"):
        model.log_prob(key, state, 6 * jnp.ones((4, 2)))
    for n in (0, -1, 2.5, "3", None, True, jnp.int32(3)):
        with pytest.raises(ConfigError, match="n="):
            model.sample(key, state, n)
    assert count == []


def test_a_model_that_draws_nothing_takes_no_key():
    draw, score = lambda key, state, n: jnp.zeros(n), lambda key, state, x: x.sum(1)
    model = compiled(GenerativeModel(None, None, draw, score))
    np.testing.assert_array_equal(model.log_prob(None, (), jnp.ones((2, 3))), [3, 3])


def test_a_model_is_a_static_argument(key):
    run = jax.jit(lambda model, key: model.sample(key, (), 2), static_argnums=0)
    draw = lambda key, state, n, *, label=None: jnp.zeros(n)
    model = compiled(GenerativeModel(None, None, draw), per_sample={"label": lambda v, n: v})
    assert run(model, key).shape == (2,)
    assert hash(model) == hash(model._replace())
    assert hash(model._replace(parts={"no": "hash"})) == hash(model)


def test_an_implicit_model_says_so():
    model = compiled(GenerativeModel(None, None, lambda key, state, n: jnp.zeros(n)))
    assert model.log_prob is None
    assert model.log_prob_kind == "none"


def _needs_its_state():
    """A model whose functions read a field of the state, compiled and not."""
    mean = lambda state: state["mean"]
    model = GenerativeModel(
        lambda key, batch: {"mean": batch["x"].mean(0)},
        lambda key, state, batch: (state, {"loss": (mean(state) * batch["x"]).sum()}),
        lambda key, state, n: jnp.zeros((n, 2)) + mean(state),
        lambda key, state, x: (x - mean(state)).sum(-1),
    )
    return [model, compiled(model)]


@pytest.mark.parametrize("model", _needs_its_state(), ids=["plain", "compiled"])
def test_doors_name_what_is_empty_or_none(model):
    key, x = jax.random.key(0), jnp.ones((3, 2))
    state = model.init(key, {"x": x})
    wrong = [("n=", lambda: model.sample(key, state, 10**12))]
    for empty in ({"x": x[:0]}, {"z": x}, {"x": x, "y": jnp.zeros(0)}):
        wrong.append(("batch", lambda empty=empty: model.init(key, empty)))
        wrong.append(("batch", lambda empty=empty: model.step(key, state, empty)))
    wrong.append(("x has shape", lambda: model.log_prob(key, state, x[:0])))
    for none in (None, 3, {}):
        wrong.append(("state=", lambda none=none: model.step(key, none, {"x": x})))
        wrong.append(("state=", lambda none=none: model.sample(key, none, 2)))
        wrong.append(("state=", lambda none=none: model.log_prob(key, none, x)))
    for words, call in wrong:
        with pytest.raises((ConfigError, DataError)) as caught:
            call()
        assert str(caught.value).startswith(words)
        assert "\n" not in str(caught.value)
    assert model.log_prob(key, state, x[:1]).shape == (1,)
