"""A controlled transformer is its base at first, trains its side copy alone, and then differs."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, diffusion, frozen, nets, paths
from gen_jax.errors import ConfigError

FIELDS = {"patch": 4, "width": 8, "depth": 2, "heads": 2}
CONDITION = conditions.joint(label=conditions.labels(3), control=conditions.image((8, 6, 1)))
NETWORK = nets.ControlledDiT(**FIELDS, condition=CONDITION)
BASE = nets.DiT(**FIELDS, num_classes=3)
X = jax.random.normal(jax.random.key(0), (2, 8, 6, 1))
CONTROL = jax.random.normal(jax.random.key(1), X.shape)
NOISE, LABEL = jnp.array([0.3, -1.0]), jnp.array([0, 2])
VALUE = {"label": LABEL, "control": CONTROL}


@pytest.fixture(scope="module")
def base():
    """Parameters as if they were trained: none is zero."""
    params = jax.jit(BASE.init)(jax.random.key(2), X, NOISE, LABEL)["params"]
    wave = lambda leaf: np.float32(leaf + 0.2 * np.cos(np.arange(leaf.size)).reshape(leaf.shape))
    return jax.tree.map(lambda leaf: jnp.asarray(wave(leaf)), jax.device_get(params))


@pytest.fixture(scope="module")
def variables(base):
    fresh = jax.jit(NETWORK.init)(jax.random.key(3), X, NOISE, VALUE)
    return nets.control_params(fresh, base)


def test_is_the_base_bit_for_bit_at_first(base, variables):
    found = NETWORK.apply(variables, X, NOISE, VALUE)
    np.testing.assert_array_equal(found, BASE.apply({"params": base}, X, NOISE, LABEL))
    copied = variables["params"]["side"]
    assert set(copied) - set(base) == {"control", "zero_0", "zero_1"}
    chex.assert_trees_all_equal(copied["Block_1"], base["Block_1"])
    by_keyword = nets.ControlledDiT(**FIELDS, num_classes=3)
    again = by_keyword.apply(variables, X, NOISE, LABEL, control=CONTROL)
    np.testing.assert_array_equal(found, again)


def test_the_copy_has_the_attention_of_its_base(base, variables):
    rotary = {**FIELDS, "attend": nets.blocks.rotary}
    found = nets.ControlledDiT(**rotary, condition=CONDITION).apply(variables, X, NOISE, VALUE)
    wanted = nets.DiT(**rotary, num_classes=3).apply({"params": base}, X, NOISE, LABEL)
    np.testing.assert_array_equal(found, wanted)
    assert np.abs(found - NETWORK.apply(variables, X, NOISE, VALUE)).max() > 1e-3


def test_gradient_reaches_the_zero_layers_first_and_the_copy_later(variables):
    def loss(side):
        whole = {"params": {"base": variables["params"]["base"], "side": side}}
        return jnp.mean(jnp.square(NETWORK.apply(whole, X, NOISE, VALUE) - 1))

    side = variables["params"]["side"]
    gradient = jax.jit(jax.grad(loss))
    slope = gradient(side)
    moves = {
        name: bool(sum(jnp.abs(x).sum() for x in jax.tree.leaves(part)))
        for name, part in slope.items()
    }
    assert {name for name, moved in moves.items() if moved} == {"zero_0", "zero_1"}
    later = gradient(jax.tree.map(lambda x, dx: x - 0.1 * dx, side, slope))
    assert jnp.abs(later["control"]["kernel"]).sum() > 0
    assert jnp.abs(later["Block_0"]["modulation"]["kernel"]).sum() > 0


def test_trains_beside_a_base_that_stays(base):
    def make(base):
        return diffusion.diffusion(
            nets.beside(NETWORK, base),
            paths.linear(),
            optax.adamw(0.05, weight_decay=0.1),
            shape=(8, 6, 1),
            condition=CONDITION,
            condition_dropout=0.1,
            num_steps=2,
        )

    model = frozen.given(base, make)
    batch = {"x": X, "y": LABEL, "image": CONTROL}
    state = model.init(jax.random.key(0), batch)
    step = jax.jit(model.step)
    for number in range(3):
        state, metrics = step(jax.random.key(number), state, batch)
    assert np.isfinite(metrics["loss"])
    chex.assert_trees_all_equal(state.frozen, base)
    assert jnp.abs(state.own.params["params"]["zero_1"]["kernel"]).sum() > 0
    draw = lambda control: model.sample(jax.random.key(0), state, 2, label=1, control=control)
    assert not np.allclose(draw(CONTROL), draw(-CONTROL))


def test_bad_bases_and_controls_are_refused(variables):
    narrow = nets.DiT(patch=4, width=16, depth=2).init(jax.random.key(0), X, NOISE)["params"]
    with pytest.raises(ConfigError, match=r"base\["):
        nets.control_params(variables, narrow)
    with pytest.raises(ConfigError, match="control has shape"):
        NETWORK.apply(variables, X, NOISE, {**VALUE, "control": CONTROL[:, :4]})
    plain = nets.ControlledDiT(**FIELDS, num_classes=3)
    with pytest.raises(ConfigError, match="control has shape None"):
        plain.apply(variables, X, NOISE, LABEL)
