"""Attention to words: what is padding is never read, and a trained network can start from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import conditions, nets
from gen_jax.errors import ConfigError
from gen_jax.nets.blocks import over_tokens
from gen_jax.nets.dit import layer_norm

X = jax.random.normal(jax.random.key(0), (2, 3, 4))
CONTEXT = jax.random.normal(jax.random.key(1), (2, 5, 6))
MASK = jnp.array([[True, True, False, False, True], [False] * 5])
LAYER = nets.CrossAttention(2, out_init=jax.nn.initializers.lecun_normal())
VARIABLES = LAYER.init(jax.random.key(2), X, CONTEXT, MASK)


def by_hand(x, context, p):
    """softmax(q k / sqrt(d)) v of each head, written out in NumPy."""
    dense = lambda name, h: h @ np.asarray(p[name]["kernel"]) + np.asarray(p[name]["bias"])
    query, key, value = dense("query", x), dense("key", context), dense("value", context)
    out = []
    for place in range(len(x)):
        heads = []
        for head in (slice(0, 2), slice(2, 4)):
            scores = key[:, head] @ query[place, head] / np.sqrt(2)
            weights = np.exp(scores - scores.max())
            heads.append(weights / weights.sum() @ value[:, head])
        out.append(np.concatenate(heads))
    return np.stack(out) @ np.asarray(p["out"]["kernel"])


def test_is_softmax_attention_over_the_words_alone():
    found = LAYER.apply(VARIABLES, X, CONTEXT, MASK)
    kept = np.asarray(CONTEXT[0])[np.asarray(MASK[0])]
    wanted = by_hand(np.asarray(X[0]), kept, VARIABLES["params"])
    np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[1], 0)  # no word


def test_padding_is_not_read_in_values_and_gradients():
    spoilt = jnp.where(MASK[..., None], CONTEXT, jnp.nan)

    def total(variables, x, context):
        return jnp.sum(LAYER.apply(variables, x, context, MASK) ** 2)

    found = jax.value_and_grad(total, (0, 1, 2))(VARIABLES, X, spoilt)
    wanted = jax.value_and_grad(total, (0, 1, 2))(VARIABLES, X, CONTEXT)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    np.testing.assert_array_equal(found[1][2][~MASK], 0)


def test_heads_divide_the_width():
    with pytest.raises(ConfigError, match="heads=3"):
        nets.CrossAttention(3).init(jax.random.key(0), X, CONTEXT, MASK)


TOKENS = jnp.array([[1, 2, 0], [2, 1, 0], [0, 0, 0]])
CAPTIONS = conditions.captions(4, 3)


@pytest.mark.parametrize(
    "network",
    [
        nets.DiT(patch=4, width=8, depth=1, condition=CAPTIONS),
        nets.UNet((4,), 1, condition=CAPTIONS),
        nets.TokenTransformer(4, 6, width=8, depth=1, condition=CAPTIONS),
        nets.TokenDiT(4, (2, 3, 1), 2, width=8, depth=1, condition=CAPTIONS),
    ],
    ids=lambda network: type(network).__name__,
)
def test_networks_attend_to_words_by_their_order(network):
    """A sentence differs from its words in another order, and no sentence is the empty one."""
    tokens = isinstance(network, nets.TokenTransformer | nets.TokenDiT)
    x = jnp.ones((3, 6), int) if tokens else jnp.ones((3, 8, 8, 1))
    noise = jnp.zeros(3)
    variables = jax.jit(network.init)(jax.random.key(0), x, noise, TOKENS)
    assert "Cross" in str(jax.tree.structure(variables))
    wave = lambda leaf: np.float32(leaf + 0.3 * np.cos(np.arange(leaf.size)).reshape(leaf.shape))
    moved = jax.tree.map(wave, jax.device_get(variables))

    @jax.jit
    def both(variables):
        return [network.apply(variables, x, noise, words) for words in (TOKENS, None)]

    out, null = both(moved)
    assert not np.allclose(out[0], out[1], atol=1e-4)
    np.testing.assert_allclose(null[2], out[2], rtol=1e-4, atol=1e-5)


def test_layer_norm_has_the_derivatives_of_its_formula():
    def plain(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred * (jnp.mean(centred**2, -1, keepdims=True) + 1e-6) ** -0.5

    at = jax.random.normal(jax.random.key(0), (1, 2, 5))
    along = jnp.cos(jnp.arange(10.0)).reshape(at.shape)
    first = lambda f: lambda x: jax.jvp(f, (x,), (along,))[1]
    for order in (first, lambda f: first(first(f)), jax.jacrev):
        np.testing.assert_allclose(
            jax.jit(order(layer_norm))(at), jax.jit(order(plain))(at), rtol=2e-4, atol=2e-5
        )


def test_over_tokens_is_the_layer_of_three_axes():
    kernel = jax.random.normal(jax.random.key(0), (4, 7))
    loss = lambda kernel, flat: jnp.sum(
        jnp.sin(over_tokens(lambda h: h @ kernel, X) if flat else X @ kernel)
    )
    found, wanted = (jax.value_and_grad(loss)(kernel, flat) for flat in (True, False))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, wanted)
