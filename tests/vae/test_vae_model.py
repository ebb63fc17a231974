"""The assembled VAE family on tiny data: laws of every variant, linear models against PCA."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from gen_jax import conditions, data, vae
from gen_jax.errors import ConfigError, DataError
from gen_jax.vae import model as vae_model
from gen_jax.vae.penalties import SCALES

SCALES_4 = np.array([2.0, 1.0, 0.3, 0.3])
ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]


def points(n=256, seed=1):
    z = np.random.default_rng(seed).normal(size=(n, 4)) * SCALES_4
    return jnp.asarray(z @ ROTATION.T + 0.5, jnp.float32)


def build(network=None, rate=1e-2, variant="vae", **options):
    network = network or vae.mlp((8,))
    options = {"likelihood": "gaussian_scalar", "shape": (4,), "latent": 2, **options}
    return vae.vae(network, network, optax.adam(rate), variant=variant, **options)


def train(key, model, batch, steps):
    @jax.jit
    def run(key):
        state = model.init(key, batch)
        step = lambda state, key: model.step(key, state, batch)
        return jax.lax.scan(step, state, jax.random.split(key, steps))

    return run(key)


def tree_distance(a, b):
    return max(
        (float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))),
        default=0.0,
    )


@pytest.mark.parametrize("variant", vae.VARIANTS)
def test_every_variant_trains(key, count_traces, variant):
    model, batch = build(variant=variant), {"x": points(16)}
    state = jax.jit(model.init)(key, batch)
    counted = count_traces(model.step)
    step = jax.jit(counted)
    new, metrics = step(key, state, batch)
    newer, _ = step(jax.random.fold_in(key, 1), new, batch)
    assert counted.calls == 1
    assert all(np.isfinite(v) and v.shape == () for v in metrics.values())
    assert tree_distance(newer.params, state.params) > 1e-4
    has_critic = vae.VARIANTS[variant].critic_loss is not None
    assert (tree_distance(newer.critic, state.critic) > 0) == has_critic
    no_bound = vae.VARIANTS[variant].deterministic
    assert model.log_prob_kind == ("none" if no_bound else "lower bound")
    assert (model.log_prob is None) == no_bound


@pytest.mark.parametrize("variant", ["vae", "autoencoder"])
def test_samples_and_scores_do_not_depend_on_their_batch(key, variant):
    model, batch = build(variant=variant), {"x": points(16)}
    state, _ = train(key, model, batch, 3)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(3))
    draw = jax.jit(model.sample, static_argnums=2)
    whole = draw(key, state, 3)
    assert whole.shape == (3, 4)
    np.testing.assert_allclose(draw(keys[1:2], state, 1)[0], whole[1], rtol=1e-4, atol=1e-5)
    if variant == "vae":
        score = jax.jit(model.log_prob)
        both = score(keys[:2], state, batch["x"][:2])
        one = score(keys[1:2], state, batch["x"][1:2])
        np.testing.assert_allclose(one[0], both[1], rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"posterior": "iaf", "prior": vae.make_prior("vamp", components=4, bounds=None)},
        {"posterior": "mixture", "prior": "gaussian_mixture"},
        {"prior": "flow"},
    ],
)
def test_priors_and_posteriors_are_swapped_by_one_argument(key, options):
    _, metrics = train(key, build(**options), {"x": points(32)}, 20)
    losses = np.asarray(metrics["loss"])
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < losses[:5].mean()


def test_a_linear_autoencoder_spans_the_pca_subspace(key):
    x = points()
    network = vae.linear()
    model = build(network, 2e-2, "autoencoder", likelihood="gaussian")
    state, _ = train(key, model, {"x": x}, 600)
    kernel = np.asarray(state.params["decoder"]["params"]["kernel"]).T
    learned = np.linalg.qr(kernel)[0]
    vectors = np.linalg.svd(np.asarray(x - x.mean(0)), full_matrices=False)[2][:2].T
    cosines = np.linalg.svd(learned.T @ vectors)[1]
    assert cosines.min() > 0.999
    drawn = np.asarray(model.sample(key, state, 4000, mean=True))
    np.testing.assert_allclose(drawn.mean(0), x.mean(0), atol=0.2)
    spread = np.linalg.eigvalsh(np.cov(drawn.T))[::-1][:2]
    truth = np.linalg.eigvalsh(np.cov(np.asarray(x).T))[::-1][:2]
    np.testing.assert_allclose(spread, truth, rtol=0.25)


def test_a_linear_vae_recovers_probabilistic_pca(key):
    """Its best ELBO is the maximal likelihood of probabilistic PCA (lucas2019)."""
    x, network = points(), vae.linear()
    # Unclipped, a log-variance linear in x runs away from one start in five.
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2))
    options = {"likelihood": "gaussian_scalar", "shape": (4,), "latent": 2}
    model = vae.vae(network, network, optimizer, variant="vae", **options)
    state, _ = train(key, model, {"x": x}, 2000)
    values, vectors = np.linalg.eigh(np.cov(np.asarray(x, np.float64).T, bias=True))
    noise = values[:2].mean()
    covariance = vectors * np.array([noise, noise, *values[2:]]) @ vectors.T
    truth = stats.multivariate_normal.logpdf(x, x.mean(0), covariance).mean()
    bound = np.asarray(jax.jit(lambda k: model.log_prob(k, state, x, num_samples=50))(key))
    assert truth - 0.03 < bound.mean() < truth + 0.005


def test_labels_condition_encoder_decoder_and_samples(key):
    label = jnp.arange(64) % 2
    x = 0.1 * jax.random.normal(key, (64, 4)) + jnp.where(label == 0, 2.0, -2.0)[:, None]
    model = build(condition=conditions.labels(2), likelihood="gaussian_diagonal")
    state, _ = train(key, model, {"x": x, "y": label}, 250)
    drawn = model.sample(key, state, 8, label=jnp.array([0, 1] * 4), mean=True)
    assert np.all(np.asarray(drawn)[::2] > 1)
    assert np.all(np.asarray(drawn)[1::2] < -1)
    both = np.asarray(model.sample(key, state, 40, mean=True))[:, 0]
    assert both.min() < -1 < 1 < both.max()
    each = [model.log_prob(key, state, x[:4], label=jnp.full(4, y)) for y in (0, 1)]
    either = model.log_prob(key, state, x[:4])
    np.testing.assert_allclose(either, np.logaddexp(*each) - np.log(2), rtol=1e-4)
    with pytest.raises(ConfigError, match="no labels"):
        model.init(key, {"x": x})
    with pytest.raises(ConfigError, match=r"integers in \[0, 1\]"):
        model.sample(key, state, 2, label=2)
    with pytest.raises(ConfigError, match=r"integers in \[0, 1\]"):
        model.log_prob(key, state, x, label=-1)


def test_images_in_every_kind_of_values(key):
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
    for likelihood, transform in (
        ("bernoulli", data.binarize()),
        ("gaussian_scalar", data.symmetric_images()),
        ("discretized_logistic", data.identity()),
    ):
        model = build(likelihood=likelihood, transform=transform, shape=(4, 4, 1))
        state = model.init(key, {"x": x})
        for mean in (False, True):
            drawn = model.sample(key, state, 3, mean=mean)
            assert (drawn.shape, drawn.dtype) == ((3, 4, 4, 1), jnp.uint8)
        assert np.isfinite(model.log_prob(key, state, x, num_samples=2)).all()


def test_an_ignorant_model_scores_eight_bits(key):
    """Before training the decoder is uniform over 256 values, and the posterior is the prior."""
    x = np.random.default_rng(0).integers(0, 256, (6, 3, 3, 1), np.uint8)
    model = build(likelihood="categorical", shape=(3, 3, 1))
    nats = model.log_prob(key, model.init(key, {"x": x}), x, num_samples=3)
    np.testing.assert_allclose(-nats / (9 * np.log(2)), 8, rtol=1e-6)


def test_mmd_is_the_double_sum(key):
    x, y = np.random.default_rng(0).normal(size=(2, 5, 3))
    kernel = lambda a, b: sum(6 * s / (6 * s + ((a - b) ** 2).sum()) for s in SCALES)
    pairs = [(i, j) for i in range(5) for j in range(5)]
    truth = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / 20
    truth -= 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / 25
    np.testing.assert_allclose(vae.mmd_squared(jnp.asarray(x), jnp.asarray(y)), truth, rtol=1e-4)


def test_permuting_dimensions_keeps_marginals_and_breaks_dependence(key):
    z = jnp.repeat(jax.random.normal(key, (500, 1)), 2, 1)
    permuted = vae.permute_dimensions(key, z)
    np.testing.assert_array_equal(np.sort(permuted, 0), np.sort(z, 0))
    assert abs(np.corrcoef(np.asarray(permuted).T)[0, 1]) < 5.1 / np.sqrt(500)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent": 0}, "latent=0"),
        ({"likelihood": "bernouli"}, "likelihood='bernouli'"),
        ({"prior": "normal"}, "prior='normal'"),
        ({"posterior": "flow"}, "posterior='flow'"),
        ({"variant": "wae"}, "variant='wae'"),
        ({"beta": -1}, "beta=-1"),
        ({"free_bits": -1}, "free_bits=-1"),
        ({"kl": "exact"}, "kl='exact'"),
        ({"variant": "autoencoder", "posterior": "iaf"}, "deterministic"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_data_that_do_not_fit_are_refused(key):
    grey = np.random.default_rng(0).integers(0, 256, (6, 4), np.uint8)
    with pytest.raises(ConfigError, match="binary values"):
        build(likelihood="bernoulli").init(key, {"x": grey})
    with pytest.raises(DataError, match="takes 0 and 1"):
        build(likelihood="bernoulli").init(key, {"x": grey / np.float32(255)})
    with pytest.raises(ConfigError, match="shape"):
        build().init(key, {"x": points()[:, :3]})


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1e-4), (1000.0, 0.5)])
def test_codes_are_drawn_with_the_moments_of_those_seen(key, mean, std):
    """Of any size and anywhere: their variance was a difference of squares, and 1e-6 was added."""
    z = mean + std * jax.random.normal(key, (400, 3))
    state = vae_model.VAEState({}, (), (), (), vae_model.no_moments(3), jnp.int32(0))
    for i, part in enumerate(z.reshape(8, 50, 3)):
        state = state._replace(moments=vae_model.next_moments(part, state.moments, jnp.int32(i)))
    drawn = np.asarray(vae_model.code_sampler(state)(jax.random.split(key, 3000)), np.float64)
    np.testing.assert_allclose(drawn.mean(0), z.mean(0), atol=0.15 * std)
    np.testing.assert_allclose(drawn.std(0), z.std(0), rtol=0.1)
