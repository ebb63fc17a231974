"""Networks inside others: what reaches the inner one, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax import gan_nets
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import Caption, Captioned, PairGenerator, SentenceEncoder

E, ENCODER = 4, SentenceEncoder(5, 4)
TOKENS = Caption(jnp.array([[1, 2, 0], [3, 0, 0]]))
Z, X = jnp.ones((2, 3)), jnp.ones((2, 4, 4, 1))


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (gan_nets.MLPGenerator((2,), (8,), E), Z),
        (gan_nets.DCGANGenerator((4, 4, 1), (8,), E), Z),
        (gan_nets.MLPCritic((8,), "concat", E), X),
        (gan_nets.MLPCritic((8,), "projection", E), X),
        (gan_nets.LipschitzCritic((8,), E), X),
    ],
    ids=lambda part: type(part).__name__,
)
def test_a_sentence_reaches_every_network(network, x):
    """Other sentences, other numbers; and the inner network's own with the embedding as label."""
    captioned = Captioned(network, ENCODER)
    variables = captioned.init(jax.random.key(0), x, TOKENS)
    value = lambda out: out if isinstance(out, jax.Array) else out.score
    found = value(captioned.apply(variables, x, TOKENS))
    assert np.abs(found[0] - found[1]).max() > 1e-4
    alone = {name: tree["network"] for name, tree in variables.items()}
    words = ENCODER.apply({"params": variables["params"]["encoder"]}, TOKENS.tokens)
    np.testing.assert_allclose(value(network.apply(alone, x, words)), found, rtol=1e-5)


@pytest.mark.parametrize(
    ("network", "x", "word"),
    [
        (gan_nets.MLPGenerator((2,), (8,)), Z, "num_classes=0"),
        (gan_nets.MLPGenerator((2,), (8,), 3), Z, r"must be \[B, 3\]"),
        (gan_nets.MLPCritic((8,)), X, "does not read labels"),
        (gan_nets.MLPCritic((8,), "ac", E), X, "does not read labels"),
        (gan_nets.LipschitzCritic((8,)), X, "num_classes=0"),
        (gan_nets.AutoencoderCritic((4,)), X, "num_classes=0"),
    ],
)
def test_a_sentence_that_nobody_reads_is_refused(network, x, word):
    with pytest.raises(ConfigError, match=word):
        jax.eval_shape(Captioned(network, ENCODER).init, jax.random.key(0), x, TOKENS)


@pytest.mark.parametrize("wrap", [lambda n: Captioned(n, ENCODER), lambda n: PairGenerator(n, 1)])
def test_a_network_of_another_face_is_refused(wrap):
    with pytest.raises(ConfigError, match="UNetGenerator has no argument label"):
        wrap(gan_nets.UNetGenerator())
    with pytest.raises(ConfigError, match="StyleGenerator would not be given its keys"):
        wrap(gan_nets.StyleGenerator((8, 8, 1), (4, 4)))


def test_a_caption_for_a_network_that_is_not_captioned_is_refused():
    with pytest.raises(ConfigError, match="label is a Caption"):
        gan_nets.MLPGenerator((2,), (8,), E).init(jax.random.key(0), Z, TOKENS)
