"""Networks inside others: what reaches the inner one, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import gan_nets
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import Captioned, PairGenerator, SentenceEncoder
from gen_jax.gan_nets.conditioning import condition_vector
from gen_jax.randomness import fold_in, sample_keys

E, ENCODER = 4, SentenceEncoder(5, 4)
TOKENS = jnp.array([[1, 2, 0], [3, 0, 0]])
Z, X = jnp.ones((2, 3)), jnp.ones((2, 4, 4, 1))


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (gan_nets.MLPGenerator((2,), (8,)), Z),
        (gan_nets.DCGANGenerator((4, 4, 1), (8,), E), Z),
        (gan_nets.MLPCritic((8,), "concat", E), X),
        (gan_nets.MLPCritic((8,), "projection", E), X),
        (gan_nets.LipschitzCritic((8,), E), X),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_sentence_reaches_every_network(network, x):
    """Other sentences, other numbers; and the inner network's own with the embedding."""
    captioned = Captioned(network, ENCODER)
    variables = captioned.init(jax.random.key(0), x, TOKENS)
    value = lambda out: out if isinstance(out, jax.Array) else out.score
    found = value(captioned.apply(variables, x, TOKENS))
    assert np.abs(found[0] - found[1]).max() > 1e-4
    network = captioned.network.clone(parent=None)  # with the encoder's width where it had none
    alone = {name: tree["network"] for name, tree in variables.items()}
    words = ENCODER.apply({"params": variables["params"]["encoder"]}, TOKENS)
    np.testing.assert_allclose(value(network.apply(alone, x, words)), found, rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "x", "word"),
    [
        (gan_nets.MLPGenerator((2,), (8,), 3), Z, r"must be \[B, 3\]"),
        (gan_nets.MLPCritic((8,)), X, "does not read labels"),
        (gan_nets.MLPCritic((8,), "ac", E), X, "does not read labels"),
        (gan_nets.AutoencoderCritic((4,)), X, "num_classes=4"),
    ],
)
def test_a_sentence_that_nobody_reads_is_refused(network, x, word):
    with pytest.raises(ConfigError, match=word):
        jax.eval_shape(lambda: Captioned(network, ENCODER).init(jax.random.key(0), x, TOKENS))


def test_what_the_inner_network_takes_is_handed_on():
    """Noise, step and truncation of a StyleGAN, under a sentence and in pairs."""
    style = gan_nets.StyleGenerator((4, 4, 1), (4, 4), 3, 1, fade_steps=5)
    keys, step = sample_keys(jax.random.key(1), 2), jnp.int32(7)
    given = {"keys": keys, "step": step, "truncation": 0.5}
    captioned, pair = Captioned(style, ENCODER), PairGenerator(style, 1)
    assert captioned.takes == pair.takes == style.takes
    variables = captioned.init(jax.random.key(0), Z, TOKENS)
    alone = {name: tree["network"] for name, tree in variables.items() if "network" in tree}
    words = ENCODER.apply({"params": variables["params"]["encoder"]}, TOKENS)
    wanted = style.clone(num_classes=E).apply(alone, Z, words, **given)
    np.testing.assert_allclose(captioned.apply(variables, Z, TOKENS, **given), wanted, atol=1e-6)
    variables = jax.tree.map(lambda p: p + 0.3, pair.init(jax.random.key(0), Z))
    alone = {name: tree["network"] for name, tree in variables.items()}
    both = pair.apply(variables, Z, **given)
    first = style.apply(alone, Z[:, :2], **given | {"keys": fold_in(keys, 0)})
    np.testing.assert_allclose(both[..., :1], first, atol=1e-6)
    assert not np.array_equal(both[..., :1], both[..., 1:])  # noise of its own
    x = jax.random.normal(jax.random.key(2), (2, 4, 4, 1))
    np.testing.assert_array_equal(captioned.shown(x, step), style.shown(x, step))
    np.testing.assert_array_equal(
        pair.shown(jnp.concatenate([x, 2 * x], -1), step)[..., 1:], style.shown(2 * x, step)
    )


def test_tokens_and_vectors_are_told_apart():
    with pytest.raises(ConfigError, match=r"must be \[B, T\]"):
        Captioned(gan_nets.MLPGenerator((2,), (8,)), ENCODER).init(
            jax.random.key(0), Z, jnp.zeros(2, int)
        )
    with pytest.raises((ConfigError, TypeError)):  # an annotation may refuse it first
        Captioned(gan_nets.MLPGenerator((2,), (8,)), 11)
    with pytest.raises(ConfigError, match="condition is a dict"):
        gan_nets.MLPGenerator((2,), (8,), E).init(jax.random.key(0), Z, {"caption": TOKENS})


def test_a_network_may_lie_between_two_labels():
    one, two = jnp.array([0, 1]), jnp.array([2, 2])
    found = condition_vector(gan_nets.Mixed(one, two, jnp.array([0.25, 0.5])), 3, 2)
    np.testing.assert_allclose(found, [[0.25, 0, 0.75], [0, 0.5, 0.5]])
