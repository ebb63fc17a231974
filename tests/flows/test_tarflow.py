"""TarFlow: causality, both inversions, guidance as one formula, denoising by Tweedie's formula."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from filled import filled
from jax.scipy.stats import norm

from gen_jax import conditions, flows
from gen_jax.errors import ConfigError
from gen_jax.flows import Guided, causal_affine, tarflow
from gen_jax.nets import CausalTransformer
from gen_jax.nets.cached_attention import attention_at, empty_cache

KEY = jax.random.key(0)


def drawn(shapes):
    """Parameters of these shapes from N(0, 0.3^2)."""
    leaves, tree = jax.tree.flatten(shapes)
    keys = jax.random.split(jax.random.key(4), len(leaves))
    return jax.tree.unflatten(
        tree, [0.3 * jax.random.normal(k, p.shape) for k, p in zip(keys, leaves)]
    )


def test_transformer_outputs_move_with_the_tokens_before_them_only():
    network = CausalTransformer(3, 8, 2, 2)
    x = jax.random.normal(KEY, (1, 5, 2))
    shapes = jax.eval_shape(network.init, KEY, x, jnp.zeros((1, 3)))
    params = drawn(shapes)
    each = jnp.concatenate([x, x + jnp.eye(5)[:, :, None]])
    out = jax.jit(network.apply)(params, each, jnp.ones((6, 3)))
    moved = np.abs(out[1:] - out[:1]).max(-1) > 1e-6
    np.testing.assert_array_equal(moved, np.triu(np.ones((5, 5), bool), 1))
    rows = jax.jit(network.apply)(params, x, jnp.zeros((1, 3)))
    assert np.all(np.abs(rows - out[:1]).max(-1) > 1e-6)


def test_one_place_of_the_transformer_is_the_whole_pass():
    network, x = CausalTransformer(3, 8, 2, 2), jax.random.normal(KEY, (2, 5, 2))
    rows = jax.random.normal(KEY, (2, 3))
    params = drawn(jax.eval_shape(network.init, KEY, x, rows))
    cache, outputs = empty_cache(network, 2, 5, params), []
    for index in range(5):
        attention, cache = attention_at(jnp.int32(index), cache)
        previous = x[:, index - 1 : index] if index else jnp.full((2, 1, 2), 7.0)
        place = jnp.int32(index), 5
        outputs.append(network.apply(params, previous, rows, place=place, attention=attention))
    whole = network.apply(params, x, rows)
    np.testing.assert_allclose(jnp.concatenate(outputs, 1), whole, atol=1e-5)


@pytest.mark.parametrize("condition", ["none", "given", "guided"])
def test_sequence_and_jacobi_find_the_same_image(x64, condition):
    shape, extra = (4, 6, 1), 0 if condition == "none" else 3
    pair = [tarflow(2, 2, 8, 1, 2, inversion) for inversion in flows.TOKEN_INVERSIONS]
    rows = jax.nn.one_hot(jnp.arange(3), 3, dtype=jnp.float64) if extra else None
    rows = Guided(rows, 1.7) if condition == "guided" else rows
    params = filled(pair[0], shape, size=0.5, dtype=jnp.float64, extra=extra)
    assert pair[0].base_shape(shape) == (2, 3, 4)
    z = jax.random.normal(KEY, (3, 2, 3, 4), jnp.float64)
    found = [jax.jit(layer.bijector(params, rows).forward)(z) for layer in pair]
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-10)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-10)
    back, log_det = jax.jit(pair[0].bijector(params, rows).inverse)(found[0][0])
    np.testing.assert_allclose(back, z, atol=1e-9)
    np.testing.assert_allclose(log_det, -found[0][1], atol=1e-9)


def test_guidance_extrapolates_from_the_unconditional_map():
    layer = causal_affine(8, 1, 2)
    shapes = jax.eval_shape(lambda key: layer.init(key, (1, 3, 2), 4), KEY)
    params = jax.tree.map(
        lambda p: 0.3 * jnp.cos(jnp.arange(p.size * 1.0)).reshape(p.shape), shapes
    )
    rows = jax.nn.one_hot(jnp.array([1, 2]), 4)
    z = jax.random.normal(KEY, (2, 1, 3, 2))
    run = jax.jit(lambda z, rows: layer.bijector(params, rows).forward(z)[0])
    np.testing.assert_allclose(run(z, Guided(rows, 1.0)), run(z, rows), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(run(z, Guided(rows, 0.0)), run(z, 0 * rows), rtol=1e-5, atol=1e-5)
    # The first token's shift is linear in the raw outputs: z = 0 shows it.
    first = lambda condition: run(0 * z, condition)[:, 0, 0]
    plain, full = first(0 * rows), first(rows)
    np.testing.assert_allclose(first(Guided(rows, 3.0)), plain + 3 * (full - plain), rtol=1e-4)
    coupled = flows.coupling(flows.affine())
    with pytest.raises(ConfigError, match="guidance is for TarFlow"):
        coupled.bijector(coupled.init(KEY, 2, 4), Guided(rows, 2.0)).forward(jnp.ones((2, 2)))


def test_denoising_is_the_posterior_mean_of_gaussian_data():
    """Data N(m, s^2) plus noise: E[clean | x] = (s^2 x + noise^2 m) / (s^2 + noise^2)."""
    mean, std, noise = 0.7, 0.8, 0.5
    layer = flows.actnorm()
    whole = math.hypot(std, noise)
    params = {"shift": jnp.full(2, mean), "log_scale": jnp.full(2, math.log(whole))}
    x = jax.random.normal(KEY, (5, 2))
    wanted = (std**2 * x + noise**2 * mean) / whole**2
    got = flows.denoise(layer.bijector(params), x, noise)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_a_model_with_noise_learns_the_noisy_law_and_samples_the_clean_one():
    mean, std, noise = 2.0, 0.5, 0.5
    x = mean + std * jax.random.normal(KEY, (4000, 2))
    model = flows.flow(flows.actnorm(), optax.adam(0.02), shape=(2,), noise=noise, ema_decay=0.9)
    batch = {"x": x}
    run = lambda state, key: model.step(key, state, batch)
    train = jax.jit(lambda s: jax.lax.scan(run, s, jax.random.split(KEY, 200))[0])
    state = train(model.init(KEY, batch))
    log_p = model.log_prob(KEY, state, x[:20])
    exact = norm.logpdf(x[:20], mean, math.hypot(std, noise)).sum(-1)
    np.testing.assert_allclose(log_p, exact, atol=0.05)
    noisy = model.sample(KEY, state, 20_000, denoised=False)
    clean = model.sample(KEY, state, 20_000)
    assert noisy.std() == pytest.approx(math.hypot(std, noise), rel=0.05)
    # The posterior mean has variance s^4 / (s^2 + noise^2).
    assert clean.std() == pytest.approx(std**2 / math.hypot(std, noise), rel=0.05)
    options = {"shape": (2,), "noise": noise, "condition": conditions.labels(2)}
    conditional = flows.flow(flows.actnorm(), optax.adam(0.02), **options)
    assert {"label", "guidance", "denoised", "temperature"} == set(conditional.conditions)
    assert {"denoised", "temperature"} == set(model.conditions)
    state = conditional.init(KEY, {"x": x, "y": jnp.zeros(4000, jnp.int32)})
    with pytest.raises(ConfigError, match="guidance=2 needs label"):
        conditional.sample(KEY, state, 3, guidance=2)
    never = flows.flow(flows.actnorm(), optax.adam(0.02), **options, condition_dropout=0.0)
    with pytest.raises(ConfigError, match="guidance=2 needs .* condition_dropout above 0"):
        never.sample(KEY, state, 3, label=1, guidance=2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tarflow(3).init(KEY, (8, 8, 1)), "multiples of 3"),
        (lambda: tarflow(layers=0), "layers=0"),
        (lambda: tarflow(inversion="newton"), "inversion='newton'"),
        (lambda: tarflow().init(KEY, 4), "must be .H, W, C."),
    ],
)
def test_bad_options_of_tarflow(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
