"""A trained VAE under a model of its latents: the bound in closed form, moments, convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from gen_jax import conditions, diffusion, nets, vae
from gen_jax.errors import ConfigError, DataError
from gen_jax.frozen import Given

SCALE, BIAS = 0.5, np.array([0.2, -0.1, 0.0, 0.5])
W = np.array([[1.0, 0.4], [0.5, -0.8], [0.0, 0.3], [-0.5, 0.0]])
MEAN, STD = np.array([0.7, -0.4]), np.array([1.5, 0.6])
ZERO = nets.from_functions(
    lambda key, x, noise, condition: {"none": jnp.zeros(1)},
    lambda params, x, noise, condition: 0 * x + params["none"],
)
"""On the cosine path v = 0 is the exact prediction for N(0, I)."""


def second_stage(transform):
    options = {"shape": (2,), "transform": transform, "prediction": "v", "num_steps": 2}
    options["likelihood"] = {"num_steps": 2}  # of an equation whose right side is 0
    return diffusion.diffusion(ZERO, "cosine", optax.sgd(0.1), **options)


@pytest.fixture(scope="module")
def linear_coder():
    """p(x | z) = N(W z + b, s^2 I) with orthogonal columns, and q = p(z | x) for z ~ N(m, S)."""
    assert abs(W[:, 0] @ W[:, 1]) < 1e-12
    likelihood = vae.make_likelihood("gaussian", scale=SCALE)
    networks = [vae.linear(), vae.linear()]
    model = vae.vae(*networks, optax.sgd(0.1), shape=(4,), latent=2, likelihood=likelihood)
    state = model.init(jax.random.key(0), {"x": jnp.zeros((2, 4))})
    variance = 1 / (1 / STD**2 + np.sum(W**2, 0) / SCALE**2)
    slope = variance[:, None] * W.T / SCALE**2
    encoder = {
        "kernel": np.concatenate([slope.T, np.zeros((4, 2))], 1),
        "bias": np.concatenate([variance * MEAN / STD**2 - slope @ BIAS, np.log(variance) / 2]),
    }
    parts = {"encoder": encoder, "decoder": {"kernel": W.T, "bias": BIAS}}
    floats = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), parts)
    params = state.params | {name: {"params": part} for name, part in floats.items()}
    return model, state._replace(params=params)


def whole_of(coder, density=None):
    model, state = coder
    stage = vae.untouched(model, state)._replace(
        mean=jnp.asarray(MEAN, jnp.float32), std=jnp.asarray(STD, jnp.float32)
    )
    whole = vae.latent_model(model, stage, second_stage, density)
    return whole, whole.init(jax.random.key(0), {"x": jnp.zeros((2, 4))})


X = jnp.array([[1.1, -0.6, 0.4, 1.9], [0.0, 0.5, 0.0, -1.0]])
TRUTH = stats.multivariate_normal.logpdf(
    X, W @ MEAN + BIAS, W @ np.diag(STD**2) @ W.T + SCALE**2 * np.eye(4)
)


def test_bound_of_a_linear_gaussian_coder_is_log_p_for_every_draw(key, linear_coder):
    whole, state = whole_of(linear_coder)
    assert whole.log_prob_kind == "estimate"
    for number in range(2):
        found = whole.log_prob(jax.random.fold_in(key, number), state, X)
        np.testing.assert_allclose(found, TRUTH, atol=2e-3)
    # Planted: the latents' moments forgotten.
    forgotten = state.frozen._replace(mean=jnp.zeros(2), std=jnp.ones(2))
    wrong = whole.log_prob(key, state._replace(frozen=forgotten), X)
    assert np.abs(np.asarray(wrong) - TRUTH).max() > 0.2


def test_density_of_ones_own_is_given_each_draw_with_its_key(key, linear_coder):
    def exact(keys, model, state, u):
        assert keys.shape == (len(u),)
        noise = jax.vmap(jax.random.normal)(keys)
        return jax.scipy.stats.norm.logpdf(u).sum(1) + noise

    whole, state = whole_of(linear_coder, density=exact)
    assert whole.log_prob_kind == "lower bound"
    keys = jax.random.split(key, len(X))
    both = whole.log_prob(keys, state, X) - TRUTH
    assert abs(both[0] - both[1]) > 1e-3
    np.testing.assert_allclose(whole.log_prob(keys[1:], state, X[1:])[0] - TRUTH[1], both[1], 1e-3)


@pytest.mark.parametrize(
    "damage", [lambda out: out[:, None], jnp.mean, lambda out: out.astype(int)]
)
def test_a_density_of_another_shape_is_refused(key, linear_coder, damage):
    """It would broadcast to the bounds of other examples."""
    normal = lambda u: jax.scipy.stats.norm.logpdf(u).sum(1)
    wrong = lambda keys, model, state, u: damage(normal(u))
    whole, state = whole_of(linear_coder, density=wrong)
    with pytest.raises(ConfigError, match="density returned shape .* one number per point"):
        whole.log_prob(key, state, X)
    model, own = linear_coder
    inner = second_stage(None)
    inner = inner._replace(log_prob=lambda key, state, u: damage(normal(u)))
    prior = vae.model_prior(inner, inner.init(key, {"x": X[:, :2]}))
    with pytest.raises(ConfigError, match="log_prob of the prior returned shape"):
        vae.with_prior(model, own, prior).log_prob(key, own, X)


def test_samples_are_decoded_means_and_the_first_stage_stays(key, linear_coder):
    whole, state = whole_of(linear_coder)
    drawn = np.asarray(whole.sample(key, state, 20_000))
    residual = (drawn - BIAS) @ np.linalg.svd(W)[0][:, 2:]
    np.testing.assert_allclose(residual, 0, atol=1e-5)
    z = np.linalg.lstsq(W, (drawn - BIAS).T, rcond=None)[0].T
    np.testing.assert_allclose(z.mean(0), MEAN, atol=5 * STD.max() / 20_000**0.5)
    np.testing.assert_allclose(z.std(0), STD, rtol=0.04)
    after, metrics = whole.step(key, state, {"x": X})
    assert isinstance(after, Given)
    assert np.isfinite(metrics["loss"])
    same = jax.tree.map(np.array_equal, after.frozen.state.params, linear_coder[1].params)
    assert all(jax.tree.leaves(same))
    assert after.frozen.state.optimizer == ()


def convolutional(channels=3, **options):
    encoder, decoder, latent = vae.convolutional((12, 32, 1), channels, 2, 8)
    options = {"shape": (12, 32, 1), "likelihood": "gaussian", "latent": latent, **options}
    return vae.vae(encoder, decoder, optax.adam(1e-2), **options)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(5), (40, 12, 32, 1))


@pytest.fixture(scope="module")
def trained(images):
    model = convolutional()
    state = model.init(jax.random.key(0), {"x": images})
    return model, jax.jit(model.step)(jax.random.key(1), state, {"x": images})[0]


def test_moments_are_those_of_posterior_draws_by_channel(trained, images):
    """Mean and variance of a draw by the law of total variance, from the posterior's moments."""
    model, state = trained
    assert vae.latent_shape(model, state) == (3, 8, 3)
    many = jnp.tile(images, (50, 1, 1, 1))
    stage = vae.first_stage(jax.random.key(2), model, state, many, threshold=1e-5)
    mean, log_std = (
        np.float64(part).reshape(-1, 3) for part in vae.encode(*trained, images).moments
    )
    variance = (mean**2 + np.exp(2 * log_std)).mean(0) - mean.mean(0) ** 2
    gap, spread = mean - mean.mean(0), np.exp(2 * log_std)
    fourth = (gap**4 + 6 * gap**2 * spread + 3 * spread**2).mean(0)
    n = 50 * len(mean)
    assert (np.abs(stage.mean - mean.mean(0)) < 5 * np.sqrt(variance / n)).all()
    error = np.sqrt((fourth - variance**2) / n)
    assert (np.abs(np.square(stage.std) - variance) < 5 * error).all()
    assert (error < 0.05 * variance).all()
    assert (np.sqrt(variance) > 1.5 * mean.std(0)).all()  # moments of means would be others


def test_latents_move_with_the_image(trained):
    """Four pixels are one place: both networks are convolutions between channels and places."""
    model, state = trained
    x = (
        jnp.zeros((1, 12, 32, 1))
        .at[:, 4:8, 4:8]
        .set(jax.random.normal(jax.random.key(3), (4, 4, 1)))
    )
    empty = vae.encode(model, state, jnp.zeros((1, 12, 32, 1))).moments[0]
    place = lambda x: (vae.encode(model, state, x).moments[0] - empty).reshape(3, 8, 3)
    here, there = place(x), place(jnp.roll(x, 4, 2))
    assert jnp.abs(here).max() > 1e-3
    np.testing.assert_allclose(there[:, 4], here[:, 3], atol=1e-5)
    z = jnp.zeros((1, 3, 8, 3)).at[0, 1, 3].set(1.0)
    decoded = lambda z: (
        vae.decode(model, state, z.reshape(1, -1)) - vae.decode(model, state, jnp.zeros((1, 72)))
    )
    moved = decoded(jnp.roll(z, 1, 2))
    assert jnp.abs(moved).max() > 1e-3
    np.testing.assert_allclose(moved[:, 4:8, 16:20], decoded(z)[:, 4:8, 12:16], atol=1e-5)


def test_first_stages_that_will_not_do_are_refused_in_one_line(trained, images):
    model, state = trained
    heads = state.params["encoder"]["params"]["Conv_2"]
    silent = jax.tree.map(lambda leaf: leaf.at[..., 1].set(0), heads)  # a channel's mean
    encoder = {"params": state.params["encoder"]["params"] | {"Conv_2": silent}}
    dead = state._replace(params=state.params | {"encoder": encoder})
    with pytest.raises(ConfigError, match="1 of 3 latent channels are dead .first: 1"):
        vae.first_stage(jax.random.key(0), model, dead, images, threshold=1e-5)
    with pytest.raises(DataError, match="x holds no examples"):
        vae.first_stage(jax.random.key(0), model, state, images[:0])
    with pytest.raises(ConfigError, match="threshold=nan"):
        vae.first_stage(jax.random.key(0), model, state, images, threshold=float("nan"))
    unknown = jnp.full((2, *images.shape[1:]), jnp.nan)
    with pytest.raises(DataError, match="finite"):
        vae.first_stage(jax.random.key(0), model, state, unknown)
    labelled = vae.vae(
        vae.mlp((4,)), vae.mlp((4,)), optax.sgd(0.1), shape=(2,), latent=1,
        likelihood="gaussian", condition=conditions.labels(2),
    )  # fmt: skip
    fresh = labelled.init(jax.random.key(0), {"x": X[:, :2], "y": jnp.array([0, 1])})
    with pytest.raises(ConfigError, match="without labels"):
        vae.untouched(labelled, fresh)
    with pytest.raises(ConfigError, match="cannot be halved 3 times"):
        vae.convolutional((28, 28, 1), halvings=3)
    with pytest.raises(ConfigError, match="must be \\[H, W, C\\]"):
        vae.convolutional((2,))


def test_codes_of_a_deterministic_encoder_have_no_unit():
    """Codes of deviation 0.01 live: they were called dead, for their variance is below 0.01."""
    options = {"shape": (2,), "latent": 2, "likelihood": "gaussian", "variant": "autoencoder"}
    model = vae.vae(vae.linear(), vae.linear(), optax.sgd(0.1), **options)
    key, x = jax.random.key(0), jax.random.normal(jax.random.key(1), (64, 2))
    state = model.init(key, {"x": x})
    kernel = 0.01 * jnp.eye(2, state.params["encoder"]["params"]["kernel"].shape[1])
    encoder = {"params": state.params["encoder"]["params"] | {"kernel": kernel}}
    small = state._replace(params=state.params | {"encoder": encoder})
    np.testing.assert_allclose(
        vae.first_stage(key, model, small, x).std, 0.01 * x.std(0), rtol=1e-4
    )


def quantised(**options):
    sizes = {"shape": (8, 8, 1), "codes": 6, "dim": 3, "width": 8, "halvings": 2}
    return vae.vqvae(optax.adam(1e-2), **{**sizes, **options})


@pytest.fixture(scope="module")
def digits():
    return np.random.default_rng(3).integers(0, 256, (30, 8, 8, 1), np.uint8)


@pytest.fixture(scope="module")
def codes(digits):
    model = quantised()
    state = model.init(jax.random.key(0), {"x": digits})
    return model, jax.jit(model.step)(jax.random.key(1), state, {"x": digits})[0]


def test_vectors_before_their_codes_are_latents(key, codes, digits):
    """Standardised by channel over the training set; their decoding is the first stage's own."""
    model, state = codes
    assert vae.latent_shape(model, state) == (2, 2, 3)
    stage = vae.first_stage(key, model, state, digits)
    coder = vae.coder(model, stage)
    u = np.asarray(coder.encode(key, digits), np.float64)
    np.testing.assert_allclose(u.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(u.std((0, 1, 2)), 1, rtol=1e-5)
    assert np.abs(np.asarray(stage.std) - 1).max() > 0.01
    truth = vae.decode_codes(model, state, vae.encode_codes(model, state, digits))
    np.testing.assert_array_equal(coder.decode(coder.encode(key, digits)), truth)
    # What lies in one cell is one image, and what lies in another is another one.
    near, far = coder.decode(jnp.float32(u) * (1 + 1e-6)), coder.decode(-jnp.float32(u))
    np.testing.assert_array_equal(near, truth)
    assert not np.array_equal(far, truth)


@pytest.mark.slow
def test_a_model_of_vectors_trains_and_draws_and_claims_no_bound(key, codes, digits):
    model, state = codes
    stage = vae.first_stage(key, model, state, digits)
    make = lambda transform: diffusion.diffusion(
        ZERO, "cosine", optax.sgd(0.1), shape=(2, 2, 3), transform=transform, num_steps=2
    )
    whole = vae.latent_model(model, stage, make)
    assert (whole.log_prob, whole.log_prob_kind) == (None, "none")
    began = whole.init(key, {"x": digits})
    after, metrics = whole.step(key, began, {"x": digits})
    assert np.isfinite(metrics["loss"])
    assert (after.frozen.state.prior, after.frozen.state.optimizer) == ((), ())
    drawn = whole.sample(key, after, 4)
    assert (drawn.shape, drawn.dtype) == ((4, 8, 8, 1), jnp.uint8)
    with pytest.raises(ConfigError, match="density is for a first stage with q"):
        vae.latent_model(model, stage, make, lambda *_: jnp.zeros(2))


def test_codes_that_will_not_do_are_refused_in_one_line(key, codes, digits):
    model, state = codes
    layer = state.params["params"]["to_codes_0"]
    silent = jax.tree.map(lambda leaf: leaf.at[..., 1].set(0), layer)
    dead = state._replace(params={"params": state.params["params"] | {"to_codes_0": silent}})
    with pytest.raises(ConfigError, match=r"1 of 3 latent channels are dead .first: 1.*dim"):
        vae.first_stage(key, model, dead, digits)
    (book,) = state.codebooks
    one = book._replace(vectors=book.vectors.at[1:].set(1e4))
    with pytest.raises(ConfigError, match="1 code in use for all of 30 examples"):
        vae.first_stage(key, model, state._replace(codebooks=(one,)), digits)
    two = quantised(levels=2, halvings=1)
    with pytest.raises(ConfigError, match="levels=2 of the first stage must be 1"):
        vae.untouched(two, two.init(key, {"x": digits}))
    with pytest.raises(ConfigError, match=r"must be a model of gen_jax.vae \(Parts\)"):
        vae.with_prior(model, state, vae.standard_normal(12))
