"""One class more in a trained network: a copy at first, everything else bit for bit as it was."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets
from gen_jax.errors import ConfigError

FIELDS = {"patch": 2, "width": 8, "depth": 1, "heads": 2}
OLD, NEW = nets.DiT(**FIELDS, num_classes=3), nets.DiT(**FIELDS, num_classes=4)
X, NOISE = jax.random.normal(jax.random.key(0), (4, 4, 4, 1)), jnp.linspace(-1, 1, 4)


@pytest.fixture(scope="module")
def base():
    """Parameters as if they were trained: none is zero."""
    params = jax.jit(OLD.init)(jax.random.key(2), X, NOISE, jnp.zeros(4, jnp.int32))["params"]
    wave = lambda leaf: jnp.asarray(
        np.float32(leaf + 0.2 * np.cos(np.arange(leaf.size)).reshape(leaf.shape))
    )
    return jax.tree.map(wave, jax.device_get(params))


@pytest.mark.parametrize("rank", [0, 2])
def test_new_class_is_a_copy_and_the_old_ones_stay(base, rank):
    network = nets.personal(NEW, base, 1, rank)
    variables = network.init(jax.random.key(0), X, NOISE, None)
    before = OLD.apply({"params": base}, X, NOISE, jnp.array([0, 1, 2, 3]))
    after = network.apply(variables, X, NOISE, jnp.array([0, 1, 2, 4]))  # the last is "no label"
    np.testing.assert_array_equal(after, before)
    same = network.apply(variables, X, NOISE, jnp.full(4, 3))
    copied = OLD.apply({"params": base}, X, NOISE, jnp.ones(4, jnp.int32))
    np.testing.assert_array_equal(same, copied)


def test_low_rank_parameters_are_few_and_move_the_instance_apart(base):
    network = nets.personal(NEW, base, 1, 2)
    variables = network.init(jax.random.key(0), X, NOISE, None)
    own = variables["params"]
    assert own["label"].shape == (8,)
    kernels = nets.lora.wide_kernels(base, 2)
    assert own["adapters"].keys() == kernels
    narrow = kernels - nets.lora.wide_kernels(base, 5)
    assert narrow == {"Dense_0/kernel", "out/kernel"}  # from and to patches of four numbers

    def loss(own, label):
        out = network.apply({"params": own}, X, NOISE, jnp.full(4, label))
        return jnp.mean(jnp.square(out - 1))

    slope = jax.jit(jax.grad(loss))
    assert jnp.abs(slope(own, 3)["label"]).sum() > 0
    np.testing.assert_array_equal(slope(own, 1)["label"], 0)
    moved = own | {"label": own["label"] + 1}
    apart = [network.apply({"params": moved}, X, NOISE, jnp.full(4, k)) for k in (1, 3)]
    assert jnp.abs(apart[0] - apart[1]).max() > 1e-3


def test_base_is_not_among_what_is_trained(base):
    whole = nets.personal(NEW, base, 0, 0).init(jax.random.key(0), X, NOISE, None)["params"]
    found = nets.with_class(base, 0)
    chex.assert_trees_all_equal(whole, found)
    table = next(leaf for path, leaf in jax.tree_util.tree_leaves_with_path(found)
                 if "label" in jax.tree_util.keystr(path))  # fmt: skip
    assert table.shape == (5, 8)
    np.testing.assert_array_equal(table[3], table[0])


def test_what_does_not_fit_is_refused(base):
    with pytest.raises(ConfigError, match="row=3"):
        nets.with_class(base, 3)
    with pytest.raises(ConfigError, match="0 tables of labels"):
        nets.with_class({"w": jnp.zeros(2)}, 0)
    with pytest.raises(ConfigError, match=r"rank=100 must be an integer in \[0, 8\]"):
        nets.personal(NEW, base, 0, 100)
    with pytest.raises(ConfigError, match="like=1.5"):
        nets.personal(NEW, base, 1.5)
    with pytest.raises(ConfigError, match="scale=nan"):
        nets.personal(NEW, base, 1, scale=float("nan"))
    for row in (1.5, None, "1"):
        with pytest.raises(ConfigError, match="row="):
            nets.with_class(base, row)
    with pytest.raises(ConfigError, match=r"row has shape \[7\], must be \[8\]"):
        nets.with_class(base, jnp.zeros(7))
    chex.assert_trees_all_equal(nets.with_class(base, np.int64(1)), nets.with_class(base, 1))
