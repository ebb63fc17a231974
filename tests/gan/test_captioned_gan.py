"""GAN-CLS and GAN-INT: losses, encoder, whose sentence a critic sees, the model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_expit

from gen_jax import conditions, data, gan
from gen_jax.data import captions
from gen_jax.errors import ConfigError
from gen_jax.gan.matching import differs, of_the_next
from gen_jax.gan_nets import Captioned, DCGANCritic, DCGANGenerator, Mixed, SentenceEncoder
from gen_jax.randomness import sample_keys

E, LATENT, SHAPE = 6, 4, (8, 8, 1)
ADAM = optax.adam(1e-3)
WORDS = conditions.captions(len(captions.WORDS), captions.LENGTH)
LOSS = partial(gan.matching_loss, gan.GAN_LOSSES["non_saturating"].critic)


def networks():
    encoder = SentenceEncoder(len(captions.WORDS), E)
    generator = Captioned(DCGANGenerator(SHAPE, (4,)), encoder)
    return generator, Captioned(DCGANCritic((4,), "projection", norm="spectral"), encoder)


def model(rates=(ADAM, ADAM), **options):
    given = {
        "shape": SHAPE,
        "latent": LATENT,
        "condition": WORDS,
        "conditional": "projection",
        "matching": 0.5,
        "interpolation": 1.0,
        "transform": data.symmetric_images(),
    }
    return gan.gan(*networks(), *rates, **given | options)


@pytest.fixture(scope="module")
def trained():
    """(model, first state, its compiled step, a batch)."""
    made = model()
    batch = {name: jnp.asarray(v[:8]) for name, v in data.load("captions:digits").items()}
    return made, jax.jit(made.init)(jax.random.key(0), batch), jax.jit(made.step), batch


def test_the_loss_is_reeds_and_finite_at_the_ends():
    """reed2016, algorithm 1, line 7, in scipy's log sigmoid."""
    rng = np.random.default_rng(0)
    real, wrong, fake = scores = rng.normal(size=(3, 5)) * 3
    wanted = -(log_expit(real) + (log_expit(-wrong) + log_expit(-fake)) / 2)
    found = LOSS(*map(jnp.asarray, scores), jnp.ones(5, bool))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    alike = LOSS(*map(jnp.asarray, scores), jnp.zeros(5, bool))
    np.testing.assert_allclose(alike, -(log_expit(real) + log_expit(-fake)), rtol=1e-5)
    for end in (-80.0, 80.0):
        slope = jax.grad(lambda s: LOSS(s, s, s, jnp.ones(1, bool)).sum())
        assert np.isfinite(slope(jnp.full(1, end))).all()


def test_the_optimal_critic_reads():
    """On a table of 2 images x 2 sentences, the minimiser is log of real over the two others."""
    p = jnp.array([[0.4, 0.1], [0.2, 0.3]])  # real pairs
    q = jnp.array([[0.1, 0.3], [0.35, 0.25]])  # made pairs
    wrong = p.sum(1)[:, None] * p.sum(0)[None]  # images with independent sentences
    ones = jnp.ones(4, bool)

    def loss(scores):
        flat = scores.ravel()
        parts = [jnp.zeros(4)] * 3
        total = 0.0
        for i, law in enumerate((p, wrong, q)):
            only = [flat if j == i else parts[j] for j in range(3)]
            rest = LOSS(*only, ones) - LOSS(*parts, ones)
            total = total + jnp.sum(law.ravel() * rest)
        return total

    optimum = jnp.log(p) - jnp.log((wrong + q) / 2)
    np.testing.assert_allclose(jax.grad(loss)(optimum), 0, atol=1e-6)
    assert np.abs(jax.grad(loss)(jnp.log(p / q))).max() > 1e-2


def test_the_encoder_stops_at_the_end_and_minds_the_order():
    encoder = SentenceEncoder(len(captions.WORDS), E)
    text = ["a thick seven in black", "a thick two in black", "seven thick a in black"]
    tokens = jnp.stack([captions.encode(line) for line in text])
    variables = encoder.init(jax.random.key(0), tokens)
    whole = jax.jit(encoder.apply)(variables, tokens)
    np.testing.assert_allclose(encoder.apply(variables, tokens[:, :5]), whole, atol=1e-6)
    assert np.abs(whole[0] - whole[1]).max() > 1e-2
    assert np.abs(whole[0] - whole[2]).max() > 1e-2
    outside = encoder.apply(variables, jnp.full((1, 8), len(captions.WORDS)))
    assert np.isnan(outside).all()


def test_a_mean_of_sentences_is_the_mean_of_their_embeddings():
    generator, _ = networks()
    z = jax.random.normal(jax.random.key(0), (3, LATENT))
    tokens = jnp.asarray(captions.prompts()[:, 0])
    one, two = tokens[:3], tokens[3:6]
    variables = generator.init(jax.random.key(1), z, one)
    bound = {name: values["encoder"] for name, values in variables.items() if "encoder" in values}
    a, b = (generator.encoder.clone(parent=None).apply(bound, rows) for rows in (one, two))
    inner = {n: v["network"] for n, v in variables.items() if "network" in v}
    wanted = generator.network.clone(parent=None).apply(inner, z, 0.3 * a + 0.7 * b)
    found = generator.apply(variables, z, Mixed(one, two, 0.3))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_another_sentence_is_the_next_examples():
    tokens = jnp.array([[1, 2], [1, 2], [1, 3]])
    np.testing.assert_array_equal(of_the_next(tokens), [[1, 3], [1, 2], [1, 2]])
    assert differs(tokens, of_the_next(tokens)).tolist() == [True, False, True]
    both = {"label": jnp.array([0, 0, 1]), "caption": tokens}
    assert differs(both, both | {"label": jnp.array([0, 1, 1])}).tolist() == [False, True, False]


def test_a_step_moves_both_networks_and_their_collections_once(trained):
    _, state, step, batch = trained
    after, metrics = step(jax.random.key(1), state, batch)
    assert after.step == 1
    for name in ("generator", "critic", "generator_stats", "critic_stats"):
        pairs = zip(*map(jax.tree.leaves, (getattr(state, name), getattr(after, name))))
        assert any(not np.array_equal(a, b) for a, b in pairs), name
    assert {"critic_loss", "generator_loss", "mismatched_score"} <= metrics.keys()
    assert all(np.isfinite(v) for v in metrics.values())
    again, _ = step(jax.random.key(1), state, batch)
    jax.tree.map(np.testing.assert_array_equal, again, after)


def test_the_options_take_their_share_of_the_losses(trained):
    """Of a critic of zeros: log 2 of real ones and log 2 of the others, whatever the share; the
    generator has log 2 for its sentences and as much for means of two."""
    _, state, _, batch = trained
    blind = state._replace(critic=jax.tree.map(jnp.zeros_like, state.critic))
    still = (optax.set_to_zero(),) * 2
    blind = blind._replace(
        generator_optimizer=(still[0].init(0)), critic_optimizer=still[1].init(0)
    )
    _, metrics = jax.jit(model(still).step)(jax.random.key(1), blind, batch)
    np.testing.assert_allclose(metrics["critic_loss"], 2 * np.log(2), rtol=1e-5)
    for name in ("generator_loss", "interpolated_loss"):
        np.testing.assert_allclose(metrics[name], np.log(2), rtol=1e-5)


@pytest.mark.parametrize("lost", ["generator", "critic"])
def test_the_network_that_is_lost_is_named_first(trained, lost):
    """`training.fit` names what is not finite in the order of the alphabet."""
    _, state, _, batch = trained
    rates = [optax.sgd(jnp.inf if lost == name else 0.1) for name in ("generator", "critic")]
    state = state._replace(
        generator_optimizer=rates[0].init(state.generator),
        critic_optimizer=rates[1].init(state.critic),
    )
    _, metrics = jax.jit(model(rates).step)(jax.random.key(1), state, batch)
    names = sorted(name for name, value in metrics.items() if not np.isfinite(value))
    assert names[0].startswith(lost)


def test_samples_follow_their_sentence_and_stay_apart(trained):
    made, state, _, _ = trained
    state = state._replace(ema=jax.tree.map(lambda p: 3 * p, state.ema))
    keys = sample_keys(jax.random.key(2), 3)
    tokens = captions.prompts()[[7, 7, 2], 0]
    found = made.sample(keys, state, 3, caption=tokens)
    alone = made.sample(keys[1:2], state, 1, caption=tokens[0])
    np.testing.assert_array_equal(alone[0], found[1])
    assert found.dtype == np.uint8
    other = made.sample(keys, state, 3, caption=captions.prompts()[3, 0])
    assert all(not np.array_equal(a, b) for a, b in zip(found, other))
    make = gan.generator(made, state, caption=tokens)
    np.testing.assert_array_equal(make(gan.latents(keys, made, state, 3)), found)
    read = lambda caption: gan.critic(made, state, caption=caption)(found).score
    assert (read(tokens) != read(tokens[::-1])).any()


def test_refusals(trained):
    made, state, _, batch = trained
    key = jax.random.key(0)
    with pytest.raises(ConfigError, match="no captions"):
        made.step(key, state, {"x": batch["x"]})
    with pytest.raises(ConfigError, match="caption is needed"):
        made.sample(key, state, 2)
    with pytest.raises(ConfigError, match="caption is needed"):
        gan.critic(made, state)(batch["x"])
    with pytest.raises(ConfigError, match="caption has shape"):
        made.sample(key, state, 2, caption=np.zeros(3, np.int32))
    with pytest.raises(ConfigError, match="vocabulary=99"):
        model(condition=conditions.captions(99, 8))
    with pytest.raises(ConfigError, match="takes labels, not condition='caption'"):
        gan.gan(
            DCGANGenerator(SHAPE, (4,)), networks()[1], ADAM, ADAM,
            shape=SHAPE, latent=2, condition=WORDS, conditional="concat",
        )  # fmt: skip
