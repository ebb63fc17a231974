"""Hierarchical and discrete VAEs as probability laws of three binary pixels; imputation."""

import itertools

import exact
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, vae
from gen_jax.errors import ConfigError
from gen_jax.vae.discrete import uniform_kl_terms
from gen_jax.vae.hierarchical import _run

EVERY = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=3)), jnp.float32)
"""All images of three binary pixels."""


def ladder(latents=(1, 2), **options):
    sizes = {"shape": (3,), "width": 8, "latents": latents, "likelihood": "bernoulli"}
    return vae.hierarchical_vae(optax.adam(1e-2), **{**sizes, **options})


def discrete(**options):
    sizes = {"shape": (3,), "variables": 2, "classes": 3, "likelihood": "bernoulli"}
    network = vae.mlp((8,))
    return vae.discrete_vae(network, network, optax.adam(1e-2), **{**sizes, **options})


def maps(**options):
    """The ladder of maps: of images of two by two pixels, one place and four."""
    sizes = {"shape": (2, 2, 1), "width": 8, "latents": (1, 1), "halvings": (1, 0)}
    return vae.hierarchical_vae(optax.adam(1e-2), **{**sizes, "likelihood": "bernoulli", **options})


MODELS = {"ladder": ladder, "discrete": discrete, "maps": maps}
SQUARES = jnp.asarray(list(itertools.product([0.0, 1.0], repeat=4)), jnp.float32)
IMAGES = {"ladder": EVERY, "discrete": EVERY, "maps": SQUARES.reshape(-1, 2, 2, 1)}


def bent_state(model, key, scale=0.5, images=EVERY):
    """A state whose parameters are far from where they start."""
    state = jax.jit(model.init)(key, {"x": images})
    leaves, tree = jax.tree.flatten(state.params)
    keys = jax.random.split(key, len(leaves))
    moved = [p + scale * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys)]
    return state._replace(params=jax.tree.unflatten(tree, moved))


@pytest.mark.parametrize("name", MODELS)
def test_the_estimates_are_a_law_and_that_of_the_samples(key, name):
    """exp(log_prob) is unbiased: it sums to 1 over all images, and is how often they are drawn."""
    model, images, n = MODELS[name](), IMAGES[name], 20_000
    bent = {"ladder": 0.12, "discrete": 0.5, "maps": 0.1}[name]
    state = bent_state(model, key, bent, images)
    if name == "maps":  # ones are likely: without that the law is nearly that of the negatives
        state.params["params"]["leave"]["bias"] += 1.0
    repeats = jnp.repeat(images, 25, 0)
    score = jax.jit(lambda key: model.log_prob(key, state, repeats, num_samples=64))
    p = np.exp(np.asarray(score(key), np.float64)).reshape(len(images), 25)
    error = p.std(1, ddof=1) / np.sqrt(25)
    total, spread = p.mean(1).sum(), np.sqrt((error**2).sum())
    assert abs(total - 1) < 5.1 * spread
    assert abs(total + 0.3 - 1) > 5.1 * spread  # planted
    drawn = np.asarray(jax.jit(model.sample, static_argnums=2)(key, state, n))
    places = 2 ** np.arange(drawn[0].size)[::-1]
    index = (drawn.reshape(n, -1) @ places).astype(int)
    share = np.bincount(index, minlength=len(images)) / n
    scores = (share - p.mean(1)) / np.sqrt(share * (1 - share) / n + error**2)
    assert np.abs(scores).max() < 5.1
    assert np.abs((share - p.mean(1)[::-1]) / np.sqrt(share / n + error**2)).max() > 5.1


@pytest.mark.parametrize("name", ["ladder", "maps"])
def test_a_ladder_by_labels_has_a_law_of_each(key, name):
    """log p(x | y) is that of the samples of y, and without a label p(x) is the mean over labels;
    a label of a jit-ed call that is none gives NaN.
    """
    model, images, n = MODELS[name](condition=conditions.labels(2)), IMAGES[name], 20_000
    batch = {"x": images, "y": jnp.arange(len(images)) % 2}
    state = model.init(key, batch)
    inner = state.params["params"]
    inner["label_down"] = inner["label_down"] + jnp.array([[-4.0], [4.0]])
    inner["leave"]["kernel"] = inner["leave"]["kernel"] + 0.03
    score = jax.jit(lambda label: model.log_prob(key, state, images, num_samples=256, label=label))
    draw = jax.jit(lambda label: model.sample(key, state, n, label=label))
    places, laws = 2 ** np.arange(images[0].size)[::-1], []
    for label in (0, 1):
        laws.append(np.exp(np.asarray(score(jnp.int32(label)), np.float64)))
        index = (np.asarray(draw(jnp.int32(label))).reshape(n, -1) @ places).astype(int)
        share = np.bincount(index, minlength=len(images)) / n
        np.testing.assert_allclose(share, laws[label], atol=5.1 * np.sqrt(0.25 / n) + 1e-3)
    assert np.abs(laws[0] - laws[1]).max() > 0.05  # more than the shares may be off
    mixed = np.exp(np.asarray(model.log_prob(key, state, images, num_samples=256)))
    np.testing.assert_allclose(mixed, (laws[0] + laws[1]) / 2, rtol=1e-4)
    assert np.isnan(score(jnp.int32(2))).all()
    with pytest.raises(ConfigError, match=r"label=2"):
        model.sample(key, state, 2, label=2)


@pytest.mark.parametrize("name", MODELS)
def test_training_and_batch_independence(key, count_traces, name):
    model, batch = MODELS[name](), {"x": jnp.concatenate([IMAGES[name][:3]] * 8)}
    counted = count_traces(model.step)
    step, state, losses = jax.jit(counted), model.init(key, batch), []
    for i in range(120):
        state, metrics = step(jax.random.fold_in(key, i), state, batch)
        losses.append(float(metrics["loss"]))
    assert counted.calls == 1
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:5])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(3))
    whole = model.sample(key, state, 3, mean=True)
    one = model.sample(keys[1:2], state, 1, mean=True)
    np.testing.assert_allclose(one[0], whole[1], rtol=1e-4, atol=1e-6)


LADDERS = {
    "ladder": vae.LadderOptions((3,), (1, 2, 1), 8),
    "maps": vae.LadderOptions((2, 2, 1), (1, 2, 1), 8, (1, 1, 0)),
}


@pytest.mark.parametrize("name", LADDERS)
def test_the_ladders_closed_form_kl_is_the_mean_log_ratio(key, name):
    options, images = LADDERS[name], IMAGES[name]
    parts = vae.make_ladder_parts(optax.sgd(0.1), options)
    model = vae.hierarchical_vae(optax.sgd(0.1), **options._asdict())
    state, n = bent_state(model, key, 0.15, images), 8000
    u, keys = jnp.stack([images[5]] * n), jax.random.split(key, n)
    _, done = jax.jit(lambda keys: _run(parts, state.params, u, keys))(keys)
    difference = np.asarray(done.log_ratio - done.kl.sum(1), np.float64)
    error = difference.std() / np.sqrt(n)
    assert abs(difference.mean()) < 5.1 * error
    assert abs(difference.mean() + 0.2 * done.kl.sum(1).mean()) > 5.1 * error  # planted
    assert np.asarray(done.kl).min() > 0


@pytest.mark.parametrize("shape", [(5, 7, 3), (28, 28, 1), (4, 9, 1)])
@pytest.mark.parametrize("halvings", [(2, 2, 0), (2, 1, 1), (0, 0, 0), (1, 1, 0)])
def test_maps_fit_any_sides_and_every_latent_reaches_the_image(key, shape, halvings):
    model = maps(shape=shape, latents=(1, 1, 2), halvings=halvings, likelihood="gaussian")
    x = jax.random.normal(key, (2, *shape))
    state = bent_state(model, key, 0.3, x)
    parts = vae.make_ladder_parts(
        optax.sgd(0.1), vae.LadderOptions(shape, (1, 1, 2), 8, halvings, "gaussian")
    )
    sides = [[-(-side // 2**k) for side in shape[:2]] for k in halvings]
    assert parts.network.levels == tuple((*s, d) for s, d in zip(sides, (1, 1, 2)))
    noise = [jnp.ones((1, *level)) for level in parts.network.levels]
    pixels = lambda noise: parts.network.apply(state.params, noise, method="down").raw
    for moved in jax.jacrev(lambda noise: pixels(noise).reshape(shape).sum())(noise):
        assert np.abs(moved).min() > 0
    assert model.sample(key, state, 2).shape == (2, *shape)
    assert np.isfinite(model.log_prob(key, state, x)).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"halvings": (1,)}, "one number for each of 2 latents"),
        ({"halvings": (0, 1)}, "none above the one before"),
        ({"halvings": (2, 0)}, "halvings=2 must be"),
        ({"halvings": (1, -1)}, "halvings"),
        ({"shape": (4,)}, "halvings=.1, 0. are of images"),
    ],
)
def test_wrong_halvings_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        maps(**options)


def test_top_levels_can_be_held_while_sampling(key):
    model = ladder((2, 2, 2))
    state = bent_state(model, key)
    draw = lambda **o: np.asarray(model.sample(key, state, 6, mean=True, **o))
    assert np.ptp(draw(hold=3), 0).max() < 1e-6
    held, free = draw(hold=2), draw()
    assert np.ptp(held, 0).max() > 0
    assert held.var(0).sum() < free.var(0).sum()
    assert np.abs(draw(hold=2, held_seed=1) - held).max() > 1e-4
    with pytest.raises(ConfigError, match="hold=4"):
        draw(hold=4)


def test_six_levels_train_without_blowing_up(key):
    model, batch = ladder((1,) * 6, width=8), {"x": EVERY}

    @jax.jit
    def run(key):
        step = lambda state, key: model.step(key, state, batch)
        return jax.lax.scan(step, model.init(key, batch), jax.random.split(key, 200))[1]

    metrics = run(key)
    assert all(np.isfinite(v).all() for v in metrics.values())
    assert float(metrics["loss"][0]) == pytest.approx(3 * np.log(2), rel=1e-4)
    assert float(metrics["loss"].max()) < 3


def test_gumbel_softmax_draws_its_law(key):
    logits = jnp.log(jnp.array([0.6, 0.3, 0.1]))
    n, wide = 20_000, jnp.broadcast_to(logits, (20_000, 3))
    hard = np.asarray(vae.relaxed_one_hot(key, wide, 0.5, True))
    np.testing.assert_allclose(hard.sum(1), 1, rtol=1e-5)
    share = hard.mean(0)
    score = (share - np.exp(logits)) / np.sqrt(share * (1 - share) / n)
    assert np.abs(score).max() < 5.1
    assert np.abs((share - [0.5, 0.4, 0.1]) / np.sqrt(share / n)).max() > 5.1
    soft = np.asarray(vae.relaxed_one_hot(key, wide, 0.5))
    np.testing.assert_array_equal(soft.argmax(1), hard.argmax(1))
    value = lambda raw, hard: (vae.relaxed_one_hot(key, raw, 0.7, hard) @ jnp.arange(3.0)).sum()
    np.testing.assert_allclose(jax.grad(value)(logits, True), jax.grad(value)(logits, False))
    for low in (1e-38, 0.0):
        np.testing.assert_allclose(vae.relaxed_one_hot(key, wide, low), hard, atol=1e-6)
        first = lambda raw, low=low: vae.relaxed_one_hot(key, raw, low)[0]
        assert np.isfinite(jax.grad(first)(logits)).all()
    p = np.exp(logits)
    np.testing.assert_allclose(uniform_kl_terms(logits), (p * np.log(3 * p)).sum(), rtol=1e-5)


def test_imputation_draws_the_conditional_law(key):
    """Orthogonal columns make the exact posterior diagonal: then the chain's law is Gaussian's."""
    weight, scale = jnp.array([[1.0, 0.5], [-0.5, 1.0], [0.6, 0.3], [-0.3, 0.6]]), 0.5
    precision = 1 + np.square(weight).sum(0) / scale**2
    encode = lambda x: vae.diagonal_gaussian(
        x @ weight / scale**2 / precision,
        jnp.broadcast_to(-0.5 * jnp.log(precision), (len(x), 2)),
    )
    n, known = 6000, np.array([True, False, True, False])
    covariance = np.asarray(weight @ weight.T + scale**2 * np.eye(4), np.float64)
    values = np.array([1.0, 0.0, -0.5, 0.0])
    a, b = covariance[~known][:, known], covariance[known][:, known]
    mean = a @ np.linalg.solve(b, values[known])
    spread = covariance[~known][:, ~known] - a @ np.linalg.solve(b, a.T)
    likelihood = vae.make_likelihood("gaussian", scale=scale)
    functions = vae.VAEFunctions(encode, lambda z: (z @ weight.T)[..., None], likelihood)
    seen = jnp.tile(known, (n, 1))
    run = jax.jit(lambda key, x: vae.impute(key, functions, x, seen, rounds=40))
    x = np.asarray(run(key, jnp.tile(jnp.asarray(values, jnp.float32), (n, 1))))
    np.testing.assert_array_equal(x[:, known], np.tile(values[known], (n, 1)))
    white = np.linalg.solve(np.linalg.cholesky(spread), (x[:, ~known] - mean).T)
    assert exact.standard_normal_p_value(white) > 5e-7
    assert exact.standard_normal_p_value(1.06 * white + 0.05) < 5e-7  # planted


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (ladder, {"latents": ()}, r"latents=\(\)"),
        (ladder, {"latents": (2, 0)}, "latents=0"),
        (ladder, {"likelihood": "gaussian_scalar"}, "one learned scale"),
        (discrete, {"classes": 1}, "classes=1"),
        (discrete, {"temperature": 0}, "temperature=0"),
    ],
)
def test_bad_options_are_refused(make, options, message):
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_given_codes_are_decoded(key):
    """Averaged over all codes, their means are the share of white that free samples have."""
    model = discrete()
    state, n = bent_state(model, key), 20_000
    codes = np.array(list(itertools.product(range(3), repeat=2)))
    means = np.asarray(model.sample(key, state, len(codes), mean=True, codes=codes))
    assert len(np.unique(means.round(5), axis=0)) == len(codes)
    drawn = np.asarray(jax.jit(model.sample, static_argnums=2)(key, state, n))
    white = means.mean(0)
    scores = (drawn.mean(0) - white) / np.sqrt(white * (1 - white) / n)
    assert np.abs(scores).max() < 5.1
    for wrong, message in ((codes[:2], "shape"), (codes + 1, "codes=3"), (codes - 1, "codes=-1")):
        with pytest.raises(ConfigError, match=message):
            model.sample(key, state, len(codes), codes=wrong)
