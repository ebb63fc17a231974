"""Low-rank adapters: nothing at first, of their rank later, and only where they are asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import nets
from gen_jax.errors import ConfigError
from gen_jax.nets import lora

PARAMS = {
    "conv": {"kernel": jnp.ones((3, 3, 2, 8)), "bias": jnp.zeros(8)},
    "qkv": {"kernel": jnp.ones((6, 9), jnp.bfloat16), "bias": jnp.zeros(9)},
}


def moved(adapters):
    return jax.tree.map(
        lambda leaf: leaf + jnp.sin(jnp.arange(leaf.size)).reshape(leaf.shape), adapters
    )


def test_changes_nothing_at_first_and_by_its_rank_later():
    adapters = lora.init(jax.random.key(0), PARAMS, 2)
    assert set(adapters) == {"conv/kernel", "qkv/kernel"}
    jax.tree.map(np.testing.assert_array_equal, lora.merge(PARAMS, adapters), PARAMS)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), PARAMS)
    whole = lora.merge(params, moved(adapters))
    for name, inputs in (("conv", 18), ("qkv", 6)):
        update = (whole[name]["kernel"] - params[name]["kernel"]).reshape(inputs, -1)
        assert np.linalg.matrix_rank(update, tol=1e-4) == 2
        np.testing.assert_array_equal(whole[name]["bias"], params[name]["bias"])
    half = lora.merge(params, moved(adapters), 0.5)
    np.testing.assert_allclose(
        2 * (half["qkv"]["kernel"] - 1), whole["qkv"]["kernel"] - 1, rtol=1e-5, atol=1e-6
    )
    none = lora.merge(PARAMS, moved(adapters), 0.0)
    jax.tree.map(np.testing.assert_array_equal, none, PARAMS)
    assert whole["conv"]["kernel"].dtype == jnp.float32
    assert none["qkv"]["kernel"].dtype == jnp.bfloat16


def test_gradient_reaches_up_first_and_the_base_never():
    network = nets.MLP((4,))
    x, noise = jnp.ones((2, 3)), jnp.zeros(2)
    params = jax.tree.map(
        lambda leaf: leaf + 0.1, network.init(jax.random.key(0), x, noise)["params"]
    )
    adapters = lora.init(jax.random.key(1), params, 1, lambda path: path.endswith("kernel"))

    def loss(adapters):
        return jnp.sum(network.apply({"params": lora.merge(params, adapters)}, x, noise) ** 2)

    gradient = jax.grad(loss)(adapters)
    assert all(not leaf["down"].any() for leaf in gradient.values())
    assert any(leaf["up"].any() for leaf in gradient.values())
    later = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, adapters, gradient)
    assert any(leaf["down"].any() for leaf in jax.grad(loss)(later).values())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lora.init(jax.random.key(0), PARAMS, 0), "rank=0"),
        (lambda: lora.init(jax.random.key(0), PARAMS, 7), "rank=7"),
        (lambda: lora.init(jax.random.key(0), PARAMS, 1, lambda path: "no" in path), "match"),
        (
            lambda: lora.merge({"a": jnp.ones((2, 2))}, lora.init(jax.random.key(0), PARAMS, 1)),
            "no parameter",
        ),
        (
            lambda: lora.merge(
                {"qkv": {"kernel": jnp.ones((6, 8))}},
                {"qkv/kernel": {"down": jnp.ones((6, 1)), "up": jnp.ones((1, 9))}},
            ),
            r"must be \[6, rank\] and \[rank, 8\]",
        ),
        (lambda: lora.merge(PARAMS, {}, scale=float("nan")), "scale=nan"),
    ],
)
def test_bad_adapters_are_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
