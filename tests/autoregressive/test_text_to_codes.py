"""One transformer over sentences and codes: enumerated, sampled, padded."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import autoregressive as ar
from gen_jax import vae
from gen_jax.errors import ConfigError, DataError

T, WORDS, N, CODES = 2, 3, 2, 2
SIZES = {"caption_length": T, "words": WORDS, "num_codes": N, "codes": CODES}
NETWORK = {"width": 8, "depth": 2, "heads": 2}
make = partial(ar.text_to_codes, optax.adam(1e-2), **NETWORK)
MODEL = make(**SIZES)
BATCH = {"x": jnp.array([[0, 1], [1, 1]]), "caption": jnp.array([[2, 0], [1, 2]])}
SENTENCES = jnp.array([(0, 0), (1, 0), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2)])
IMAGES = jnp.array(list(product(range(CODES), repeat=N)))


def moved(state):
    """Parameters away from the start, where the network is uniform."""
    rng = np.random.default_rng(0)
    change = lambda leaf: leaf + jnp.asarray(rng.normal(size=leaf.shape) * 0.7, leaf.dtype)
    params = jax.tree.map(change, state.params)
    return state._replace(params=params, ema=params)


STATE = moved(jax.jit(MODEL.init)(jax.random.key(0), BATCH))


def every_pair():
    """(log p(w), log p(c | w)) of the 7 sentences by the 4 images, [7, 4] each."""
    captions, codes = jnp.repeat(SENTENCES, len(IMAGES), 0), jnp.tile(IMAGES, (len(SENTENCES), 1))
    found = ar.text_and_code_log_probs(MODEL, STATE, captions, codes)
    return [np.asarray(each, float).reshape(len(SENTENCES), len(IMAGES)) for each in found]


def test_probabilities_of_all_that_is_legal_sum_to_one():
    text, image = every_pair()
    np.testing.assert_allclose(np.exp(image).sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(text[:, 0]).sum(), 1, rtol=1e-5)
    assert np.ptp(text, axis=1).max() == 0
    assert np.exp(image).std(0).min() > 0.02  # each sentence has its own images
    given = MODEL.log_prob(None, STATE, IMAGES, caption=SENTENCES[4])
    np.testing.assert_allclose(given, image[4], rtol=1e-5)


def test_all_else_is_impossible():
    """Every sequence of words, end and codes: as many are possible as there are legal ones."""
    parts = MODEL.parts
    size = WORDS + CODES
    every = jnp.array(list(product(range(size), repeat=T + 1 + N)))
    units = parts.whole.parts.log_units(STATE.ema, every[..., None], None, 0)
    log_p = np.asarray(units.sum(1), float)
    assert np.isfinite(log_p).sum() == len(SENTENCES) * len(IMAGES)
    assert (log_p[~np.isfinite(log_p)] == -np.inf).all()
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, rtol=1e-5)


def test_the_cache_changes_no_draw():
    few = partial(MODEL.sample, jax.random.key(5), STATE, 40, caption=BATCH["caption"][0])
    np.testing.assert_array_equal(few(), few(cached=False))


@pytest.mark.parametrize("cached", [True, False])
def test_guided_draws_follow_the_enumerated_law(cached):
    """Codes given a sentence, extrapolated from those given the empty one, place by place."""
    n, w, sentence = 20_000, 2.5, 6
    plain, given = (np.exp(every_pair()[1][row]).reshape(2, 2) for row in (0, sentence))
    wanted = np.ones((2, 2))
    for first in range(2):
        p, q = given.sum(1), plain.sum(1)
        share = p**w * q ** (1 - w)
        wanted[first] *= share[first] / share.sum()
        p, q = given[first] / given[first].sum(), plain[first] / plain[first].sum()
        share = p**w * q ** (1 - w)
        wanted[first] *= share / share.sum()
    draw = partial(MODEL.sample, jax.random.key(3), STATE, n, cached=cached)
    x = np.asarray(draw(caption=SENTENCES[sentence], guidance=w))
    shares, p = np.bincount(x @ (CODES, 1), minlength=4) / n, wanted.reshape(4)
    assert np.abs((shares - p) / np.sqrt(p * (1 - p) / n)).max() < 5
    assert np.abs(given.reshape(4) - p).max() > 0.05  # far from the law without guidance
    with pytest.raises(ConfigError, match=r"guidance=2\.0 needs caption"):
        MODEL.sample(jax.random.key(0), STATE, 1, guidance=2.0)


@pytest.mark.slow
def test_draws_follow_the_probabilities():
    n, sentence = 20_000, 4
    draw = partial(MODEL.sample, jax.random.key(3), STATE, n, caption=SENTENCES[sentence])
    x = np.asarray(draw())
    shares = np.bincount(x @ (CODES, 1), minlength=4) / n
    p = np.exp(every_pair()[1][sentence])
    assert np.abs((shares - p) / np.sqrt(p * (1 - p) / n)).max() < 5
    empty = partial(MODEL.sample, jax.random.key(5), STATE, 40)
    np.testing.assert_array_equal(empty(), empty(caption=SENTENCES[0]))
    whole = MODEL.parts.whole.sample(jax.random.key(1), STATE, 200)
    units = MODEL.parts.whole.parts.log_units(STATE.ema, whole[..., None], None, 0)
    assert bool(jnp.isfinite(units).all())


def test_padding_changes_nothing():
    """A model of longer sentences with the same parameters, and anything at the places between."""
    more = 3
    longer = make(**SIZES | {"caption_length": T + more})

    def stretched(params):
        places = params["params"]["places"]
        wild = 100.0 * jnp.ones((more, places.shape[1]))
        rows = jnp.concatenate([places[: T + 1], wild, places[T + 1 :]])
        return {"params": {**params["params"], "places": rows}}

    params = stretched(STATE.ema)
    state = STATE._replace(params=params, ema=params)
    padded = jnp.pad(SENTENCES, ((0, 0), (0, more)))
    for row, wide in zip(SENTENCES, padded):
        found = longer.log_prob(None, state, IMAGES, caption=wide)
        wanted = MODEL.log_prob(None, STATE, IMAGES, caption=row)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    draw = lambda model, state, row: model.sample(jax.random.key(2), state, 4, caption=row)
    assert draw(longer, state, padded[2]).shape == draw(MODEL, STATE, SENTENCES[2]).shape


@pytest.mark.slow
def test_the_loss_weighs_the_text():
    model = make(**SIZES, text_weight=0.25, condition_dropout=0.0)
    state = moved(jax.jit(model.init)(jax.random.key(0), BATCH))
    text, image = ar.text_and_code_log_probs(model, state, BATCH["caption"], BATCH["x"])
    _, metrics = jax.jit(model.step)(jax.random.key(1), state, BATCH)
    np.testing.assert_allclose(metrics["loss"], -jnp.mean(text / 4 + image), rtol=1e-5)


@pytest.mark.slow
def test_learns_what_a_sentence_says():
    """Codes that are the words themselves: log p(codes | sentence) goes to 0."""
    model = make(**SIZES)
    caption = jnp.tile(SENTENCES[3:], (4, 1))
    batch = {"x": caption - 1, "caption": caption}
    state, step = jax.jit(model.init)(jax.random.key(0), batch), jax.jit(model.step)
    for i in range(200):
        state, _ = step(jax.random.key(i), state, batch)
    assert model.log_prob(None, state, batch["x"], caption=caption).mean() > -0.1
    alone = model.log_prob(None, state, batch["x"]).mean()
    np.testing.assert_allclose(alone, -np.log(4), atol=0.1)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: MODEL.log_prob(None, STATE, IMAGES + 1, caption=SENTENCES[0]), r"\[0, 1\]"),
        (lambda: MODEL.log_prob(None, STATE, IMAGES[:, :1]), r"integers \[B, 2\]"),
        (lambda: MODEL.log_prob(None, STATE, IMAGES, caption=jnp.array([3, 0])), r"\[0, 2\]"),
        (lambda: MODEL.sample(jax.random.key(0), STATE, 1, caption=jnp.zeros(3, int)), "shape"),
        (lambda: MODEL.init(jax.random.key(0), {"x": IMAGES}), "no captions"),
        (lambda: MODEL.init(jax.random.key(0), {**BATCH, "x": IMAGES[:2] + 5}), r"\[0, 1\]"),
        (lambda: ar.text_and_code_log_probs(MODEL, STATE, SENTENCES[0], None), "codes"),
        (lambda: ar.text_and_code_log_probs(MODEL, STATE, None, IMAGES), "caption"),
        (lambda: make(**SIZES | {"codes": 1}), "codes=1"),
        (lambda: make(**SIZES | {"words": 1}), "words=1"),
        (lambda: make(**SIZES, text_weight=-1.0), "text_weight"),
        (
            lambda: make(**SIZES, condition_dropout=0.0).sample(jax.random.key(0), STATE, 1),
            "caption is needed",
        ),
    ],
)
def test_bad_input(run, message):
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        run()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_coder_has_it_as_its_prior():
    """A VQ-VAE tells its prior the sentence: log p(x | w) = log p(x | codes) + log p(codes | w)."""
    options = {"shape": (4, 4, 1), "codes": 4, "dim": 2, "width": 4, "halvings": 1}
    options["likelihood"] = "gaussian"
    sides = vae.code_sides(vae.VQOptions(**options))
    prior = make(**SIZES | {"num_codes": vae.num_codes(sides), "codes": 4})
    condition = prior.parts.condition
    model = vae.vqvae(optax.adam(1e-3), prior, condition=condition, **options)
    x = jax.random.uniform(jax.random.key(0), (8, 4, 4, 1), minval=-1)
    batch = {"x": x, "caption": jnp.tile(SENTENCES[3:], (2, 1))}
    state = jax.jit(model.init)(jax.random.key(1), batch)
    state, metrics = jax.jit(model.step)(jax.random.key(2), state, batch)
    assert np.isfinite(metrics["prior_loss"])
    state = state._replace(prior=moved(state.prior))
    codes = vae.to_sequence(vae.encode_codes(model, state, x))
    difference = lambda score: np.subtract(*(score(w) for w in (SENTENCES[3], SENTENCES[6])))
    np.testing.assert_allclose(
        difference(lambda w: model.log_prob(jax.random.key(0), state, x, caption=w)),
        difference(lambda w: prior.log_prob(None, state.prior, codes, caption=w)),
        rtol=1e-3,
        atol=1e-4,
    )
    drawn = [
        model.sample(jax.random.key(3), state, 99, caption=w) for w in (SENTENCES[0], SENTENCES[6])
    ]
    assert drawn[0].shape == (99, 4, 4, 1)
    assert not np.array_equal(*drawn)
    with pytest.raises(ConfigError, match=r"\[0, 2\]"):
        model.sample(jax.random.key(3), state, 6, caption=jnp.array([9, 0]))
