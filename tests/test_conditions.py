"""Conditions: found in batches, checked at the door, hidden, and one rule for what is not given."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, diffusion, discrete_diffusion, flow_matching
from gen_jax.errors import ConfigError, DataError
from gen_jax.model import sample_in_batches

KEY, SGD = jax.random.key(0), optax.sgd(0.1)
X = jnp.zeros((4, 2))
TOKENS = np.array([[1, 2, 0], [3, 0, 0], [1, 1, 1], [0, 0, 0]])
JOINT = conditions.joint(label=conditions.labels(3), hint=conditions.image((2, 1), key="z"))
CASES = {
    "labels": (conditions.labels(3), {"y": np.array([0, 1, 2, 0])}, {"label": [0, 1, 2, 0]}),
    "captions": (conditions.captions(4, 3), {"caption": TOKENS}, {"caption": TOKENS}),
    "image": (
        conditions.image((2, 1)),
        {"image": np.ones((4, 2, 1))},
        {"image": np.ones((4, 2, 1))},
    ),
    "joint": (
        JOINT,
        {"y": np.array([0, 1, 2, 0]), "z": np.ones((4, 2, 1))},
        {"label": [0, 1, 2, 0], "hint": np.ones((4, 2, 1))},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_batch_and_the_arguments_give_the_same_value(name):
    condition, batch, given = CASES[name]
    value = condition.of_batch({"x": X, **batch})
    checks = condition.checks
    assert checks.keys() == given.keys()
    again = condition.gather({word: checks[word](given[word], 4) for word in given})
    jax.tree.map(np.testing.assert_array_equal, value, again)
    assert condition.gather({word: check(None, 4) for word, check in checks.items()}) is None
    hidden = condition.hide(value, jnp.array([True, False, True, False]))
    rows = lambda tree, i: [np.asarray(leaf)[i] for leaf in jax.tree.leaves(tree)]
    for i in range(4):
        wanted = condition.null(4) if i % 2 == 0 else value
        jax.tree.map(np.testing.assert_array_equal, rows(hidden, i), rows(wanted, i))
    assert hash(condition) == hash(condition)


def test_a_part_of_a_joint_condition_that_is_missing_is_null_or_drawn():
    value = JOINT.gather({"label": JOINT.checks["label"](2, 3), "hint": None})
    assert JOINT.missing(value) == ["hint"]
    filled = JOINT.or_null(value, 3)
    np.testing.assert_array_equal(filled["label"], [2, 2, 2])
    np.testing.assert_array_equal(filled["hint"], np.zeros((3, 2, 1)))
    two = conditions.joint(label=conditions.labels(3), colour=conditions.labels(5, key="c"))
    drawn = two.or_drawn({"label": np.full(64, 2), "colour": None}, jax.random.split(KEY, 64))
    assert (set(drawn["label"].tolist()), set(drawn["colour"].tolist())) == ({2}, {*range(5)})
    with pytest.raises(ConfigError, match="hint is needed"):
        JOINT.or_drawn(value, jax.random.split(KEY, 3))


BAD = {
    "label 3": (lambda: conditions.labels(3).of_batch({"x": X, "y": np.full(4, 3)}), DataError),
    "labels [2]": (lambda: conditions.labels(3).of_batch({"x": X, "y": np.zeros(2)}), DataError),
    "no labels": (lambda: conditions.labels(3).of_batch({"x": X}), ConfigError),
    "token 4": (lambda: conditions.captions(4, 3).checked([4, 0, 0], 2), ConfigError),
    "long caption": (lambda: conditions.captions(4, 3).checked([1] * 4, 2), ConfigError),
    "another image": (lambda: conditions.image((2, 1)).checked(np.ones((3, 1)), 2), ConfigError),
    "zero classes": (lambda: conditions.labels(0), ConfigError),
    "no parts": (lambda: conditions.joint(), ConfigError),
    "a number": (lambda: conditions.checked_condition(3), ConfigError),
    "no caption to draw": (
        lambda: conditions.captions(4, 3).draw(jax.random.split(KEY, 2)),
        ConfigError,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name):
    make, error = BAD[name]
    with pytest.raises(error):
        make()


class Adds(nn.Module):
    """Returns the sum of its condition for every coordinate: which row reached which sample."""

    @nn.compact
    def __call__(self, x, noise, condition=None):
        self.param("unused", nn.initializers.zeros, ())
        total = sum(leaf.reshape(len(x), -1).sum(1) for leaf in jax.tree.leaves(condition))
        return jnp.zeros_like(x) + total[:, None]


@pytest.mark.parametrize("name", CASES)
def test_every_condition_reaches_the_network_row_by_row(name):
    """With D = the condition's sum, one DDIM step to the data returns it."""
    condition, batch, given = CASES[name]
    model = diffusion.diffusion(
        Adds(), "linear", optax.sgd(0.1), shape=(2,), condition=condition, prediction="x0"
    )
    state = model.init(KEY, {"x": X, **batch})
    state, _ = jax.jit(model.step)(KEY, state, {"x": X, **batch})
    options = {"stepper": "ddim", "num_steps": 1}
    wanted = sum(np.asarray(v, float).reshape(4, -1).sum(1) for v in given.values())
    found = model.sample(KEY, state, 4, **given, **options)
    np.testing.assert_allclose(found[:, 0], wanted, atol=1e-5)
    parts = sample_in_batches(model, KEY, state, 4, 3, **given, **options)
    np.testing.assert_allclose(parts, found, atol=1e-5)
    assert all(model.conditions[word] == "per sample" for word in given)
    null = model.sample(KEY, state, 4, **options)
    total = sum(
        np.asarray(leaf).reshape(4, -1).sum(1) for leaf in jax.tree.leaves(condition.null(4))
    )
    np.testing.assert_allclose(null[:, 0], total, atol=1e-5)


POINTS = {"shape": (2,), "condition": JOINT}
JOINT_MODELS = {
    "diffusion": lambda **o: diffusion.diffusion(Adds(), "linear", SGD, **POINTS, **o),
    "variational_diffusion": lambda **o: diffusion.variational_diffusion(
        Adds(), SGD, **POINTS, **o
    ),
    "flow_matching": lambda **o: flow_matching.flow_matching(Adds(), SGD, **POINTS, **o),
    "flow_map_model": lambda **o: flow_matching.flow_map_model(
        Adds(), "linear", SGD, **POINTS, **o
    ),
    "discrete_diffusion": lambda **o: discrete_diffusion.discrete_diffusion(
        OneHot(), SGD, size=3, **POINTS, **o
    ),
}


@pytest.mark.parametrize("name", JOINT_MODELS)
def test_a_missing_part_is_refused_where_training_hid_none(name):
    """Its null value was never trained; where training hid some, it stands for the part."""
    batch = {"x": X.astype(int) if name == "discrete_diffusion" else X, **CASES["joint"][1]}
    never, some = (JOINT_MODELS[name](condition_dropout=share) for share in (0.0, 0.1))
    state = never.init(KEY, batch)
    for calls in (never.sample, *([never.log_prob] if never.log_prob else [])):
        data = 4 if calls is never.sample else batch["x"]
        with pytest.raises(ConfigError, match="hint is needed"):
            calls(KEY, state, data, label=1)
    drawn = jax.eval_shape(lambda state: some.sample(KEY, state, 4, label=1), state)
    assert drawn.shape == (4, 2)


class OneHot(nn.Module):
    """Logits of three tokens and the mask that depend on nothing."""

    @nn.compact
    def __call__(self, x, noise, condition=None):
        return jnp.zeros((*x.shape, 4)) + self.param("logits", nn.initializers.zeros, (4,))


def test_a_guide_takes_a_condition_of_its_own_per_sample():
    network = diffusion.diffusion(Zero(), "linear", optax.sgd(0.1), shape=(2,), prediction="x0")
    state = network.init(KEY, {"x": X})
    towards = lambda denoise, y: lambda x, t: denoise(x, t) + y
    y = np.arange(10.0).reshape(5, 2).astype(np.float32)
    options = {"guide": towards, "given": y, "stepper": "ddim", "num_steps": 1}
    np.testing.assert_allclose(network.sample(KEY, state, 5, **options), y, atol=1e-6)
    np.testing.assert_allclose(
        sample_in_batches(network, KEY, state, 5, 2, **options), y, atol=1e-6
    )
    with pytest.raises(ConfigError, match="given needs guide"):
        network.sample(KEY, state, 5, given=y)


class Zero(nn.Module):
    """Predicts 0."""

    @nn.compact
    def __call__(self, x, noise, condition=None):
        return x * self.param("scale", nn.initializers.zeros, ())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32"])
def test_traced_numbers_out_of_range_are_in_no_table(dtype):
    """Also the one that stands for "no label", and those that int32 would wrap."""
    given = np.array([0, 3, 2, -1 % 2**8 if dtype == "uint8" else -1 % 2**32])
    given = given.astype(np.uint32).astype(dtype)
    labels, words = conditions.labels(3), conditions.captions(3, 2)
    none = np.iinfo(np.int32).max
    found = jax.jit(lambda y: labels.checked(y, 4))(given)
    np.testing.assert_array_equal(found, [0, none, 2, none])
    np.testing.assert_array_equal(jax.vmap(lambda y: labels.checked(y, 1))(given)[:, 0], found)
    both = conditions.joint(a=labels, b=words)
    of = jax.jit(lambda y, w: both.checked({"a": y, "b": w}, 4))(
        given, given.reshape(4, 1)[:, [0, 0]]
    )
    np.testing.assert_array_equal(of["a"], found)
    np.testing.assert_array_equal(of["b"], np.stack([found, found], 1))
