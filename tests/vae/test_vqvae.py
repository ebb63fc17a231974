"""Vector quantisation against brute force, gradient masks and k-means; the model on tiny images."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import autoregressive, conditions, discrete_diffusion, nets, vae
from gen_jax.errors import ConfigError, DataError
from gen_jax.randomness import fold_in, sample_keys
from gen_jax.vae import code_prior, quantize
from gen_jax.vae.vqvae import Quantised, _follow_all, _log_likelihood, _pass, training_loss


def images(n=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 1), np.uint8)


def build(rate=3e-3, **options):
    sizes = {"codes": 6, "dim": 3, "width": 8, "shape": (8, 8, 1)}
    return vae.vqvae(optax.adam(rate), **{**sizes, **options})


def test_the_nearest_code_is_that_of_brute_force(key):
    z, vectors = jax.random.normal(key, (2, 5, 7, 4)), jax.random.normal(key, (9, 4)) + 0.1
    distance = np.linalg.norm(np.asarray(z)[..., None, :] - np.asarray(vectors), axis=-1)
    np.testing.assert_array_equal(quantize.nearest(z, vectors), distance.argmin(-1))


def test_gradients_reach_exactly_what_they_should(key):
    """-log p: encoder and decoder; codebook term: codes alone; commitment: encoder alone."""
    parts = vae.make_vq_parts(
        optax.adam(1e-3), vae.VQOptions((8, 8, 1), codes=4, dim=2, width=4, halvings=1)
    )
    u = jnp.asarray(images(2))
    params = parts.network.init(key, parts.likelihood.network_input(u))
    params = jax.tree.map(lambda p: p + 0.1, params)
    books = (quantize.Codebook(jax.random.normal(key, (4, 2)), jnp.ones(4), jnp.ones((4, 2))),)

    def reached(term):
        def value(params, vectors):
            maps, levels = _pass(parts, params, [books[0]._replace(vectors=vectors)], u)
            if term == "likelihood":
                return _log_likelihood(parts, params, maps, u).sum()
            return quantize.quantisation_terms(levels[0].z, levels[0].q)[term].sum()

        tree, codes = jax.grad(value, (0, 1))(params, books[0].vectors)
        size = lambda *names: sum(
            float(jnp.abs(leaf).sum())
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
            if any(name in jax.tree_util.keystr(path) for name in names)
        )
        encoder, decoder = size("'down", "'to_codes"), size("'mix", "'last", "'out", "'up_blocks")
        return encoder > 0, decoder > 0, float(jnp.abs(codes).sum()) > 0

    assert reached("likelihood") == (True, True, False)
    assert reached(0) == (False, False, True)
    assert reached(1) == (True, False, False)


@pytest.mark.parametrize("decay", [None, 0.98])
def test_the_training_loss_is_the_sum_of_its_terms(key, decay):
    """Its gradient is that of -log p, the commitment and, without running averages, the codes."""
    options = {"codes": 4, "dim": 2, "width": 4, "halvings": 1, "commitment": 0.7, "decay": decay}
    parts = vae.make_vq_parts(optax.sgd(0.0), vae.VQOptions((8, 8, 1), **options))
    u = jnp.asarray(images(2))
    params = parts.network.init(key, parts.likelihood.network_input(u))
    params = jax.tree.map(lambda p: p + 0.1, params)
    book = quantize.Codebook(jax.random.normal(key, (4, 2)), jnp.ones(4), jnp.ones((4, 2)))
    books = lambda vectors: [book._replace(vectors=vectors)]

    def terms(params, vectors):
        maps, (level,) = _pass(parts, params, books(vectors), u)
        codebook, commitment = quantize.quantisation_terms(level.z, level.q)
        learned = codebook.mean() if decay is None else 0.0
        return 0.7 * commitment.mean() + learned - _log_likelihood(parts, params, maps, u).mean()

    whole = lambda params, vectors: training_loss(params, books(vectors), parts, u)[0]
    found, truth = (jax.grad(f, (0, 1))(params, book.vectors) for f in (whole, terms))
    assert (float(jnp.abs(found[1]).max()) > 0) == (decay is None)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(truth)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("decay", "share"), [(0.0, 1.0), (0.5, 0.5), (None, 0.0)])
def test_the_models_codebook_follows_by_its_decay(key, decay, share):
    """From equal counts the vector moves by 1 - decay of the way to the mean; None stays."""
    parts = vae.make_vq_parts(
        optax.adam(1e-3), vae.VQOptions((8, 8, 1), codes=1, decay=decay, revive_below=0.0)
    )
    book = quantize.Codebook(jnp.zeros((1, 2)), jnp.full(1, 8.0), jnp.zeros((1, 2)))
    z = jax.random.normal(key, (2, 2, 2, 2)) + 3.0
    level = Quantised(z, jnp.zeros((2, 2, 2), jnp.int32), z)
    (moved,), _ = _follow_all(key, parts, (book,), [level])
    np.testing.assert_allclose(moved.vectors[0], share * z.reshape(-1, 2).mean(0), rtol=1e-4)


def test_without_memory_the_codebook_takes_a_step_of_k_means(key):
    z = jax.random.normal(key, (200, 3))
    book = quantize.start_codebook(key, z, 5)
    assert all((np.asarray(z) == row).all(1).any() for row in np.asarray(book.vectors))
    codes = quantize.nearest(z, book.vectors)
    moved = quantize.follow(book, z, codes, 0.0)
    means = [np.asarray(z)[np.asarray(codes) == k].mean(0) for k in range(5)]
    np.testing.assert_allclose(moved.vectors, means, rtol=1e-4, atol=1e-5)
    averaged = book
    for _ in range(600):  # the same batch again and again: the fixed point is the same
        averaged = quantize.follow(averaged, z, codes, 0.97)
    np.testing.assert_allclose(averaged.vectors, means, rtol=1e-3, atol=1e-4)


def test_dead_codes_restart_among_the_batch(key):
    z = jax.random.normal(key, (50, 2))
    book = quantize.start_codebook(key, z, 4)
    far = book._replace(
        vectors=book.vectors.at[2].set(100.0), counts=jnp.array([5.0, 5.0, 0.01, 5.0])
    )
    revived, number = quantize.revive(key, far, z, 0.1)
    assert int(number) == 1
    alive = np.array([0, 1, 3])
    np.testing.assert_array_equal(revived.vectors[alive], far.vectors[alive])
    assert (np.asarray(z) == np.asarray(revived.vectors)[2]).all(1).any()
    assert float(revived.counts[2]) == 1
    np.testing.assert_allclose(revived.sums[2], revived.vectors[2])


def test_codebooks_larger_than_the_data_are_refused(key):
    with pytest.raises(ConfigError, match="codes=5 is larger"):
        quantize.start_codebook(key, jnp.zeros((4, 2)), 5)
    with pytest.raises(ConfigError, match="codes=99 is larger"):
        build(codes=99).init(key, {"x": images(2)})


@pytest.mark.parametrize("options", [{"levels": 2, "halvings": 1}, {"decay": None}])
def test_the_model_trains_samples_and_bounds(key, count_traces, options):
    model, batch = build(**options), {"x": images()}
    state = model.init(key, batch)
    counted = count_traces(model.step)
    step, losses = jax.jit(counted), []
    for i in range(30):
        state, metrics = step(jax.random.fold_in(key, i), state, batch)
        losses.append(float(metrics["loss"]))
    assert counted.calls == 1
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert 1 < float(metrics["perplexity_0"]) <= 6
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(3))
    draw = jax.jit(model.sample, static_argnums=2)
    whole = draw(key, state, 3)
    assert (whole.shape, whole.dtype) == ((3, 8, 8, 1), jnp.uint8)
    np.testing.assert_array_equal(draw(keys[1:2], state, 1)[0], whole[1])
    assert model.log_prob_kind == "lower bound"


def test_the_bound_counts_the_codes_and_the_pixels(key):
    """Codes and their decoding round-trip; log p(codes) sums to 1 over all maps of one position."""
    sizes = {"shape": (2, 2, 1), "codes": 3, "dim": 2, "width": 4, "halvings": 1}
    model = vae.vqvae(optax.sgd(0.0), **sizes)
    x = np.random.default_rng(1).integers(0, 256, (4, 2, 2, 1), np.uint8)
    state = model.init(key, {"x": x})
    state, _ = model.step(key, state, {"x": x})
    (codes,) = vae.encode_codes(model, state, x)
    assert codes.shape == (4, 1, 1)
    raw = vae.decode_codes(model, state, [codes], raw=True)
    law = vae.likelihood(model, state)
    pixels = law.log_prob(raw, jnp.asarray(x)).reshape(4, -1).sum(1)
    counts = np.bincount(np.asarray(codes).ravel(), minlength=3) + 0.5
    prior = np.log(counts / counts.sum())[np.asarray(codes).ravel()]
    np.testing.assert_allclose(model.log_prob(key, state, x), pixels + prior, rtol=1e-4)


def test_maps_and_sequences_are_inverse(key):
    sides = [(4, 2), (2, 1)]
    maps = [jax.random.randint(key, (3, *side), 0, 9) for side in sides]
    sequence = code_prior.to_sequence(maps)
    assert sequence.shape == (3, code_prior.num_codes(sides)) == (3, 10)
    np.testing.assert_array_equal(sequence[:, :2], maps[1].reshape(3, 2))
    for before, after in zip(maps, code_prior.to_maps(sequence, sides)):
        np.testing.assert_array_equal(before, after)


def test_an_autoregressive_prior_learns_that_codes_agree(key):
    """Images of one grey have equal codes everywhere: log 2 nats, where counts need 4 log 2."""
    grey = jax.random.choice(key, jnp.array([20, 230], jnp.uint8), (64, 1, 1, 1))
    batch = {"x": jnp.broadcast_to(grey, (64, 8, 8, 1))}
    prior = autoregressive.transformer(
        optax.adam(1e-2), shape=(4,), vocabulary=2, width=16, depth=1, heads=2, ema_decay=0.9
    )
    model = build(codes=2, halvings=2, prior=prior)
    state, step = model.init(key, batch), jax.jit(model.step)
    for i in range(60):
        state, metrics = step(jax.random.fold_in(key, i), state, batch)
    assert float(metrics["prior_loss"]) == pytest.approx(np.log(2), abs=0.1)
    drawn = np.asarray(model.sample(key, state, 64, mean=True)).reshape(64, -1) > 125
    assert (drawn.all(1) | ~drawn.any(1)).mean() > 0.9
    assert 0.2 < drawn.mean() < 0.8


@pytest.mark.parametrize("diffusion", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_options_of_the_prior_are_the_models(key, diffusion):
    """Codes of a prior by labels: with the keys of the whole, guidance and temperature included."""
    condition = {"condition": conditions.labels(2)}
    adam, sizes = optax.adam(1e-2), {"width": 8, "depth": 1, "heads": 2}
    if diffusion:
        network = nets.TokenTransformer(7, 4, **sizes)
        prior = discrete_diffusion.discrete_diffusion(
            network, adam, shape=(4,), size=6, **condition
        )
        options = {"guidance": 3.0, "num_steps": 3}
    else:
        prior = autoregressive.transformer(adam, shape=(4,), vocabulary=6, **sizes, **condition)
        options = {"guidance": 3.0, "temperature": 0.5}
    model = build(halvings=2, prior=prior, **condition)
    batch = {"x": images(), "y": np.arange(16) % 2}
    filled = lambda leaf: jax.random.normal(key, leaf.shape).astype(leaf.dtype) / 2
    state = jax.tree.map(filled, jax.eval_shape(model.init, key, batch))
    drawn = model.sample(key, state, 5, mean=True, label=1, **options)
    keys = fold_in(sample_keys(key, 5), 0)
    codes = prior.sample(keys, state.prior, 5, label=1, **options)
    assert not np.array_equal(codes, prior.sample(keys, state.prior, 5, label=1))
    maps = code_prior.to_maps(codes, vae.code_sides(model.parts.options))
    wanted = vae.decode_codes(model, state, maps)
    np.testing.assert_allclose(drawn, wanted, atol=1e-3)
    with pytest.raises(ConfigError, match="guidance"):
        model.sample(key, state, 5, label=1, guidance=np.nan)
    with pytest.raises(ConfigError, match="guidance must be one number or have shape"):
        model.sample(key, state, 5, label=1, guidance=np.ones(4))
    with pytest.raises(ConfigError, match="label"):
        model.sample(key, state, 5, guidance=2.0)


def test_counts_know_each_place_alone(key):
    x = jnp.broadcast_to(jax.random.randint(key, (4000, 1), 0, 2), (4000, 4))
    prior = code_prior.independent_codes(4, 3)
    state, _ = prior.step(key, prior.init(key, {"x": x}), {"x": x})
    np.testing.assert_allclose(prior.log_prob(key, state, x).mean(), -4 * np.log(2), atol=0.01)
    drawn = np.asarray(prior.sample(key, state, 4000))
    assert (drawn < 2).mean() > 0.999
    agree = (drawn == drawn[:, :1]).all(1).mean()
    assert abs(agree - 1 / 8) < 5 * np.sqrt(7 / 64 / 4000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halvings": 4}, "cannot be halved 4 times"),
        ({"codes": 0}, "codes=0"),
        ({"decay": 2}, "decay=2"),
        ({"shape": (8,)}, "shape="),
    ],
)
def test_bad_options_are_refused(key, options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options).init(key, {"x": images(2)})


@pytest.mark.slow
def test_a_diffusion_of_tokens_is_a_prior(key):
    """Its bound is that of the codes, with the key of the whole; the whole stays a lower bound."""
    prior = discrete_diffusion.discrete_diffusion(
        nets.TokenTransformer(7, 16, 8, 1, 2), optax.adam(1e-2), shape=(16,), size=6
    )
    model, batch = build(halvings=1, prior=prior), {"x": images()}
    state, metrics = jax.jit(model.step)(key, model.init(key, batch), batch)
    assert np.isfinite(metrics["prior_loss"])
    maps = vae.encode_codes(model, state, batch["x"])
    law = vae.likelihood(model, state)
    raw = vae.decode_codes(model, state, maps, raw=True)
    pixels = law.log_prob(raw, jnp.asarray(batch["x"])).reshape(16, -1).sum(1)
    of_codes = prior.log_prob(key, state.prior, vae.to_sequence(maps))
    np.testing.assert_allclose(model.log_prob(key, state, batch["x"]), pixels + of_codes, rtol=1e-5)
    assert model.log_prob_kind == "lower bound"
    assert model.sample(key, state, 3).shape == (3, 8, 8, 1)


def test_codes_that_the_model_has_not_are_refused():
    """An index would clamp them, and a broadcast read one map of two."""
    model = build(halvings=2)
    state = model.init(jax.random.key(0), {"x": images(4)})
    good = np.zeros((1, 2, 2), np.int32)
    assert vae.decode_codes(model, state, [good]).shape == (1, 8, 8, 1)
    for wrong, message in (
        ([good + 6], r"codes in \[6, 6\] must be in \[0, 5\]"),
        ([good - 1], r"codes in \[-1, -1\]"),
        ([good + 0.5], r"float32 \[1, 2, 2\]"),
        ([good, good], r"must be integer maps \[B, h, w\] of h, w = \[\(2, 2\)\]"),
        ([good[:, :1]], r"int32 \[1, 1, 2\]"),
        ([good[0]], r"int32 \[2, 2\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            vae.decode_codes(model, state, wrong)


@pytest.mark.parametrize("jit", [False, True])
def test_priors_of_other_codes_are_refused(jit):
    """In training codes are traced, so that nothing later would see it."""
    tokens = discrete_diffusion.discrete_diffusion(
        nets.TokenTransformer(6, 4, 8, 1, 2), optax.sgd(0.0), shape=(4,), size=5
    )
    counts = code_prior.independent_codes
    for prior in (tokens, counts(4, 5), counts(3, 6)):
        model = build(halvings=2, prior=prior)
        init = jax.jit(model.init) if jit else model.init
        with pytest.raises(
            (ConfigError, DataError), match=r"\[5, 5\].*\[0, 4\]|up to 5 for a prior"
        ):
            init(jax.random.key(0), {"x": images(4)})
