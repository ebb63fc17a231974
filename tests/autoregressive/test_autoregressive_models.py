"""Whole models: laws of 2 x 2 pictures by enumeration, cached against full passes, bad input."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from gen_jax import autoregressive as ar
from gen_jax import conditions, data
from gen_jax.autoregressive import likelihoods, pixels
from gen_jax.autoregressive.transformer import factorise
from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import bits_per_dim
from gen_jax.nets import GatedPixelCNN, PixelCNN, Transformer
from gen_jax.randomness import sample_keys

FALSE_ALARM, N, SHAPE, MODELS_SEED = 5e-7, 20_000, (2, 2, 1), 0
ALL = np.array(list(itertools.product((0, 255), repeat=4)), np.uint8).reshape(16, *SHAPE)
ADAM = optax.adam(1e-2)


def pixel(network, **options):
    sizes = {"width": 8, **options}
    kind = {"shape": SHAPE, "likelihood": "bernoulli", "transform": data.binarize()}
    return lambda **more: ar.pixel_model(ADAM, network=network, sizes=sizes, **kind, **more)


MODELS = {
    "made": lambda **more: ar.made(
        ADAM, shape=SHAPE, hidden=(8,), transform=data.binarize(), **more
    ),
    "made_orders": lambda **more: ar.made(
        ADAM, shape=SHAPE, hidden=(8,), orders=3, transform=data.binarize(), **more
    ),
    "pixel_rnn": pixel("pixel_rnn", depth=1, first=3),
    "pixelcnn": pixel("pixelcnn", depth=1, first=3),
    "gated": pixel("gated", depth=2),
    "pixelcnn_pp": pixel("pixelcnn_pp", blocks=1),
    "transformer": lambda **more: ar.transformer(
        ADAM, shape=SHAPE, vocabulary=2, width=8, depth=1, heads=2, transform=bits(), **more
    ),
}


def bits():
    """Tokens 0 and 1 of black and white pictures."""
    half = data.binarize()
    return half._replace(encode=lambda key, x: half.encode(key, x).astype(jnp.int32))


def random_state(model, batch, scale=0.5):
    """A state whose parameters are random, so that nothing is zero or uniform."""
    state = jax.eval_shape(model.init, jax.random.key(0), batch)
    draw = np.random.default_rng(1).normal
    fill = lambda p: jnp.asarray(scale * draw(size=p.shape), p.dtype)
    params = jax.tree.map(fill, state.params)
    return state._replace(params=params, ema=params)


def compiled_sample(model, state):
    """The jitted sampler of (keys, label, cached), and the list that its traces lengthen."""
    traces = []

    def sample(keys, label, cached=True):
        traces.append(len(keys))
        return model.sample(keys, state, len(keys), label=label, cached=cached)

    return jax.jit(sample, static_argnums=2), traces


def guided_law(law, plain, w):
    """Probabilities of all bits, place by place from the laws [2, ..] given and not."""
    if law.ndim == 0:
        return np.ones(())
    p, q = (each.reshape(2, -1).sum(1) / each.sum() for each in (law, plain))
    first = p**w * q ** (1 - w)
    first = first / first.sum()
    return np.stack([first[bit] * guided_law(law[bit], plain[bit], w) for bit in range(2)])


@pytest.fixture(scope="module", params=list(MODELS))
def drawn(request):
    """(name, model, state, keys, samples of class 1)."""
    model = MODELS[request.param](condition=conditions.labels(2))
    scale = 0.3 if request.param == "pixelcnn_pp" else 0.5
    state = random_state(model, {"x": ALL, "y": np.zeros(16, np.int32)}, scale)
    keys = sample_keys(jax.random.key(MODELS_SEED), N)
    run, traces = compiled_sample(model, state)
    run(keys, jnp.zeros(N, jnp.int32))
    x = run(keys, jnp.ones(N, jnp.int32))
    assert len(traces) == 1
    return request.param, model, state, keys, x


def test_all_pictures_sum_to_one_and_samples_follow_their_law(drawn, key):
    """20,000 draws of class 1; the planted twin compares with class 0."""
    _, model, state, _, x = drawn
    exact = jax.jit(lambda label: model.log_prob(key, state, ALL, label=label))
    p = [np.exp(np.asarray(exact(jnp.full(16, label)), float)) for label in (0, 1)]
    np.testing.assert_allclose([q.sum() for q in p], 1, atol=2e-6)
    assert x.dtype == jnp.uint8
    weights = np.array([8, 4, 2, 1])
    counts = np.bincount((np.asarray(x).reshape(N, 4) // 255) @ weights, minlength=16)
    p_values = [scipy.stats.chisquare(counts, N * q / q.sum()).pvalue for q in p]
    assert p_values[1] > FALSE_ALARM > p_values[0]


def test_logits_are_the_conditionals_of_the_enumerated_law(drawn, key):
    """p(x_i = 1 | x_<i) from the probabilities of all pictures, and from the logits of one."""
    name, model, state, _, _ = drawn
    if name == "made_orders":
        return  # its law is a mixture of orderings, the logits are those of the first
    law = np.exp(np.asarray(model.log_prob(key, state, ALL, label=1), float)).reshape(2, 2, 2, 2)
    raw = np.asarray(ar.logits(model, state, ALL[5:6], label=1), float)[0]
    ones = raw[:, 1] - raw[:, 0] if raw.shape[1] == 2 else raw[:, 0]
    for i, bits in enumerate([(), (0,), (0, 1), (0, 1, 0)]):  # picture 5 is 0101
        given = law[bits].reshape(2, -1).sum(1)
        np.testing.assert_allclose(1 / (1 + np.exp(-ones[i])), given[1] / given.sum(), rtol=1e-4)


def test_guided_samples_follow_the_enumerated_law(drawn, key):
    """At each place p^w p_plain^(1 - w), from the probabilities of all pictures; w by sample."""
    name, model, state, keys, _ = drawn
    if name == "made_orders":
        return
    law, plain = (
        np.exp(np.asarray(model.log_prob(key, state, ALL, **label), float)).reshape(2, 2, 2, 2)
        for label in ({"label": 1}, {})
    )
    weights = np.tile(np.float32([3.0, 0.0]), N // 2)
    x = np.asarray(model.sample(keys, state, N, label=1, guidance=weights)).reshape(N, 4) // 255
    for w, wanted in ((3.0, guided_law(law, plain, 3.0)), (0.0, plain)):
        counts = np.bincount(x[weights == w] @ np.array([8, 4, 2, 1]), minlength=16)
        expected = counts.sum() * wanted.reshape(16) / wanted.sum()
        assert scipy.stats.chisquare(counts, expected).pvalue > FALSE_ALARM
    same = model.sample(keys[:9], state, 9, label=1, guidance=np.ones(9, np.float32))
    np.testing.assert_array_equal(same, model.sample(keys[:9], state, 9, label=1))
    for wrong in ({"guidance": 2.0}, {"guidance": None, "label": 1}, {"guidance": np.nan}):
        with pytest.raises(ConfigError, match="guidance="):
            model.sample(key, state, 2, **wrong)


def test_guidance_needs_logits_and_hidden_labels(key):
    never = MODELS["made"](condition=conditions.labels(2), condition_dropout=0.0)
    state = random_state(never, {"x": ALL, "y": np.zeros(16, np.int32)})
    with pytest.raises(ConfigError, match=r"guidance=2\.0 needs .* condition_dropout above 0"):
        never.sample(key, state, 2, label=1, guidance=2.0)
    mixture = {"likelihood": "gaussian_mixture", "condition": conditions.labels(2)}
    for model in (ar.made(ADAM, shape=(2,), **mixture), MODELS["made"]()):
        assert "guidance" not in model.conditions


def test_a_label_that_training_never_hid_is_drawn_and_averaged_over(key):
    make = lambda share: MODELS["made"](condition=conditions.labels(2), condition_dropout=share)
    hidden, never = make(0.1), make(0.0)
    state = random_state(never, {"x": ALL, "y": np.zeros(16, np.int32)})
    each = [np.exp(hidden.log_prob(key, state, ALL, label=k)) for k in range(2)]
    law = np.exp(np.asarray(never.log_prob(key, state, ALL), float))
    np.testing.assert_allclose(law, np.mean(each, 0), rtol=1e-5)
    drawn = np.asarray(never.sample(key, state, N)).reshape(N, 4) // 255
    counts = np.bincount(drawn @ np.array([8, 4, 2, 1]), minlength=16)
    assert scipy.stats.chisquare(counts, N * law / law.sum()).pvalue > FALSE_ALARM
    with pytest.raises(ConfigError, match="label is needed"):
        ar.logits(never, state, ALL)
    with pytest.raises(ConfigError, match="must be labels"):
        MODELS["made"](condition=conditions.image((2,)))


def test_samples_do_not_depend_on_their_batch_nor_on_the_cache(drawn):
    name, model, state, keys, x = drawn
    run, _ = compiled_sample(model, state)
    one = jnp.ones(3, jnp.int32)
    np.testing.assert_array_equal(run(keys[5:8], one), x[5:8])
    if name in ("made", "pixelcnn", "gated", "transformer"):
        np.testing.assert_array_equal(run(keys[5:8], one, False), x[5:8])


def test_training_reaches_the_entropy_of_a_known_law(key):
    """Two pictures with probabilities 3/4 and 1/4: 0.562 nats, in a mixture of two orderings."""
    x = jnp.asarray(ALL[np.array([3, 3, 3, 12])])
    model = ar.made(
        optax.adam(0.03), shape=SHAPE, hidden=(16,), orders=2, transform=data.binarize()
    )
    state = model.init(key, {"x": x})
    step = jax.jit(model.step)
    for i in range(300):
        state, metrics = step(jax.random.fold_in(key, i), state, {"x": x})
    nats = -float(model.log_prob(key, state, x).mean())
    assert 0.5623 < nats < 0.5623 + 0.03
    assert set(metrics) == {"loss", "bits_per_dim", "gradient_norm"}


@pytest.mark.parametrize("name", ["made", "gated", "transformer"])
def test_labels_are_learned_and_may_be_dropped(name, key):
    """Class 0 is all black, class 1 all white; without a label it is the one or the other."""
    x, y = jnp.asarray(ALL[np.array([0, 15] * 4)]), jnp.arange(8) % 2
    model = MODELS[name](condition=conditions.labels(2), condition_dropout=0.5)
    state = model.init(key, {"x": x, "y": y})
    step = jax.jit(model.step)
    for i in range(300):
        state, metrics = step(jax.random.fold_in(key, i), state, {"x": x, "y": y})
    assert np.isfinite(metrics["loss"])
    given_label = float(model.log_prob(key, state, x, label=y).mean())
    assert given_label > -0.2
    assert -0.9 < float(model.log_prob(key, state, x).mean()) < given_label - 0.3
    np.testing.assert_array_equal(model.sample(key, state, 8, label=y, temperature=0.0), x)


def forced(decoder, u):
    """The decoder's numbers at every place when it is given all values, [B, N, P]."""
    batch, num = u.shape[:2]
    before = jnp.pad(u, ((0, 0), (1, 0), (0, 0)))
    block = decoder.block or num

    def place(cache, index):
        if decoder.prepare is not None:
            ready = decoder.prepare(cache, index, before[:, index])
            cache = jax.tree.map(lambda a, b: jnp.where(index % block == 0, a, b), ready, cache)
        raw, cache = decoder.step(cache, index, before[:, index])
        return cache, raw

    return jax.lax.scan(place, decoder.start(batch), jnp.arange(num))[1].swapaxes(0, 1)


PIXELS = {
    "plain": PixelCNN(4, 1, width=8, depth=2, first=5, num_classes=3),
    "plain_colour": PixelCNN(4, 2, width=8, depth=2, kernel=5, first=3),
    "gated": GatedPixelCNN(4, 1, width=8, depth=3, num_classes=3),
    "gated_wide": GatedPixelCNN(4, 1, width=8, depth=2, kernel=5),
    "gated_colour": GatedPixelCNN(4, 2, width=8, depth=3, num_classes=3),
}


@pytest.mark.parametrize("name", [*PIXELS, "transformer"])
def test_cached_decoding_is_the_full_pass_at_every_place(name, key):
    """On odd sizes, with labels where the network has classes; a stale cache must show."""
    if name == "transformer":
        network, num, classes = Transformer(4, 9, 8, 2, 2, num_classes=3), 9, 3
        factorisation, u = factorise(network, num), jax.random.randint(key, (3, num, 1), 0, 4)
    else:
        network, shape = PIXELS[name], (5, 3, PIXELS[name].units)
        law, classes = likelihoods.categorical(4), network.num_classes
        factorisation = pixels.factorise(network, law, shape)
        u = jax.random.randint(key, (3, factorisation.orders.shape[1], 1), 0, 4)
    label = jnp.array([0, 2, 1]) if classes else None
    draw = np.random.default_rng(1).normal
    one = None if label is None else label[:1]
    shapes = jax.eval_shape(lambda: factorisation.init(key, one))
    params = jax.tree.map(lambda p: jnp.asarray(0.5 * draw(size=p.shape), p.dtype), shapes)
    full = jax.jit(lambda u: factorisation.raw(params, u, label, 0))(u)
    compiled = jax.jit(lambda u: forced(factorisation.decoder(params, label, 0), u))
    np.testing.assert_allclose(compiled(u), full, rtol=1e-3, atol=1e-4)
    stale = compiled(u.at[:, 0].add(1))
    assert np.abs(stale - full)[:, 1:].max() > 1e-2


def test_an_untrained_model_of_bytes_scores_exactly_eight(key):
    x = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1)).astype(np.uint8)
    model = ar.pixel_model(
        ADAM, shape=(4, 4, 1), sizes={"width": 8, "depth": 1}, transform=data.integers()
    )
    log_p = model.log_prob(key, model.init(key, {"x": x}), x)
    np.testing.assert_allclose(bits_per_dim(log_p, 16), 8, rtol=1e-6)


COLOURS = {
    "channel by channel": (likelihoods.categorical(2), {"network": "gated"}),
    "pixel by pixel": (likelihoods.logistic_mixture(2, 3, 2), {"network": "pixelcnn"}),
}


@pytest.mark.parametrize("name", COLOURS)
def test_colours_sum_to_one_and_samples_follow_their_law(name, key):
    """Two pixels of three channels of two levels; planted: pixels in the other order."""
    law, options = COLOURS[name]
    x = np.array(list(itertools.product((0, 1), repeat=6)), np.uint8).reshape(64, 1, 2, 3)
    model = ar.pixel_model(
        ADAM,
        shape=(1, 2, 3),
        likelihood=law,
        sizes={"width": 12, "depth": 1},
        transform=data.integers(2),
        **options,
    )
    state = random_state(model, {"x": x})
    p = np.exp(np.asarray(jax.jit(model.log_prob)(key, state, x), float))
    np.testing.assert_allclose(p.sum(), 1, atol=2e-6)
    drawn = np.asarray(jax.jit(lambda key: model.sample(key, state, N))(key))
    assert drawn.dtype == np.uint8
    p_values = []
    for rows in (drawn, drawn[:, :, ::-1]):
        counts = np.bincount(rows.reshape(N, 6) @ 2 ** np.arange(5, -1, -1), minlength=64)
        kept = N * p > 1
        p_values.append(
            scipy.stats.chisquare(counts[kept], counts[kept].sum() * p[kept] / p[kept].sum()).pvalue
        )
    assert p_values[0] > FALSE_ALARM > p_values[1]


def test_points_by_a_mixture_in_any_ordering(key):
    """The density integrates to 1 over the plane; samples are points."""
    transform = data.standardize((1.0, -1.0), (2.0, 0.5))
    model = ar.made(
        ADAM,
        shape=(2,),
        likelihood=likelihoods.gaussian_mixture(3),
        hidden=(8,),
        orders=np.array([[1, 0]]),
        transform=transform,
    )
    x = np.zeros((2, 2), np.float32)
    state = random_state(model, {"x": x}, 0.3)
    a, b = np.linspace(-19, 21, 401), np.linspace(-6, 4, 401)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
    density = np.exp(np.asarray(jax.jit(model.log_prob)(key, state, jnp.asarray(grid)), float))
    np.testing.assert_allclose(density.sum() * (a[1] - a[0]) * (b[1] - b[0]), 1, atol=2e-3)
    assert model.sample(key, state, 5).shape == (5, 2)


def text_model(**options):
    return ar.transformer(ADAM, shape=(6,), vocabulary=5, width=8, depth=1, heads=1, **options)


def test_prompts_are_kept_and_greedy_needs_no_luck(key):
    model = text_model()
    state = random_state(model, {"x": np.zeros((2, 6), np.int32)})
    prompt = jnp.array([4, 0, 3])
    x = model.sample(key, state, 3, prompt=prompt)
    np.testing.assert_array_equal(x[:, :3], np.broadcast_to(prompt, (3, 3)))
    one, two = (model.sample(jax.random.key(i), state, 2, temperature=0.0) for i in range(2))
    np.testing.assert_array_equal(one, two)
    only_best = model.sample(key, state, 2, top_k=1)
    np.testing.assert_array_equal(only_best, one)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda m, k, s: m.sample(k, s, 1, prompt=jnp.zeros(7, jnp.int32)),
            "longer than the context",
        ),
        (lambda m, k, s: m.sample(k, s, 1, prompt=jnp.array([5])), r"\[0, 4\]"),
        (lambda m, k, s: m.sample(k, s, 2, prompt=jnp.zeros((3, 2), jnp.int32)), "prompt of shape"),
        (lambda m, k, s: m.log_prob(k, s, jnp.zeros((1, 6), jnp.int32), label=0), "option=.label."),
        (lambda m, k, s: m.log_prob(k, s, jnp.full((1, 6), 5)), r"\[0, 4\]"),
        (lambda m, k, s: m.log_prob(k, s, jnp.zeros((1, 7), jnp.int32)), "shape"),
        (lambda m, k, s: m.init(k, {"x": jnp.full((1, 6), 9)}), r"\[0, 4\]"),
    ],
)
def test_bad_input(run, message, key):
    model = text_model()
    state = model.init(key, {"x": np.zeros((2, 6), np.int32)})
    with pytest.raises((ConfigError, DataError), match=message):
        run(model, key, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ar.made(ADAM, shape=(3,), orders=np.array([[0, 1, 1]])), "permutations"),
        (lambda: ar.made(ADAM, shape=(3,), likelihood="poisson"), "poisson"),
        (
            lambda: ar.made(ADAM, shape=(3,), likelihood=likelihoods.logistic_mixture(2, 3)),
            "needs 1",
        ),
        (lambda: ar.pixel_model(ADAM, shape=(3,)), "image"),
        (lambda: ar.pixel_model(ADAM, shape=(3, 3, 1), network="u"), "network"),
        (lambda: ar.pixel_model(ADAM, shape=(3, 3, 1), dropout=0.5), "pixelcnn_pp"),
        (
            lambda: ar.pixel_model(
                ADAM, shape=(3, 3, 2), likelihood=likelihoods.logistic_mixture(2, 3)
            ),
            "3 channels",
        ),
        (lambda: text_model(ema_decay=2.0), "ema_decay"),
        (lambda: ar.made(ADAM, shape=()), "shape"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_float64_from_the_logits_to_the_caches(x64, key):
    model = pixel("gated", depth=2)()
    state = random_state(model, {"x": ALL})
    log_p = model.log_prob(key, state, ALL)
    assert log_p.dtype == jnp.float64
    np.testing.assert_allclose(np.exp(log_p).sum(), 1, atol=1e-12)
    keys = sample_keys(key, 4)
    cached, whole = (model.sample(keys, state, 4, cached=c) for c in (True, False))
    np.testing.assert_array_equal(cached, whole)
