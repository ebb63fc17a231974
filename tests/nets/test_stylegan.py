"""StyleGAN's networks: AdaIN, truncation, which layers a mixed style reaches, growing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import signal

from gen_jax import gan
from gen_jax.errors import ConfigError
from gen_jax.gan.updates import update_inputs
from gen_jax.gan_nets import StyleCritic, StyleGenerator
from gen_jax.gan_nets.equalized import Equalized
from gen_jax.gan_nets.growing import blend, grown_level
from gen_jax.gan_nets.resampling import blur, double, halve
from gen_jax.gan_nets.stylegan import AdaIN, mix_styles
from gen_jax.randomness import sample_keys

N, LATENT, FADE = 4, 6, 10
SHAPE, WIDTHS = (8, 8, 1), (6, 5, 4)


def shaken(variables):
    """Every parameter moved, so that nothing is hidden by zeros at the start."""
    leaves, tree = jax.tree.flatten(variables["params"])
    keys = jax.random.split(jax.random.key(5), len(leaves))
    moved = [p + 0.5 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys)]
    return {**variables, "params": jax.tree.unflatten(tree, moved)}


@pytest.fixture(scope="module")
def generator():
    """(network, variables with a mean style that is not 0, z, one key per image)."""
    network = StyleGenerator(SHAPE, WIDTHS, style=7, depth=2, fade_steps=FADE)
    z = jax.random.normal(jax.random.key(0), (N, LATENT))
    variables = shaken(network.init(jax.random.key(1), z))
    variables["mean_style"]["mean"] = jnp.linspace(-1, 1, 7)
    return network, variables, z, sample_keys(jax.random.key(2), N)


def test_adain_gives_exactly_the_mean_and_the_deviation_of_the_style():
    x, w = jax.random.normal(jax.random.key(0), (N, 5, 6, 3)) * 4 + 7, jnp.eye(N, 2)
    variables = shaken(AdaIN().init(jax.random.key(1), x, w))
    y, made = AdaIN().apply(variables, x, w, capture_intermediates=True)
    inner = made["intermediates"]
    scale, shift = (inner[name]["__call__"][0] for name in ("scale", "shift"))
    np.testing.assert_allclose(y.mean((1, 2)), shift, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), jnp.abs(scale), rtol=1e-5)
    assert np.abs(scale).min() > 0.01


def test_equalized_weights_have_unit_scale_and_rate_only_speeds_learning():
    x = jax.random.normal(jax.random.key(0), (500, 8, 8, 16))
    for kernel in ((), (3, 3)):
        layer = Equalized(64, kernel, gain=1.0)
        variables = layer.init(jax.random.key(1), x)
        assert abs(layer.apply(variables, x)[:, 1:-1, 1:-1].std() - 1) < 0.06
    variables = Equalized(3, rate=0.01).init(jax.random.key(2), x)
    slow = Equalized(3, rate=0.01).apply(variables, x)
    assert abs(slow.std() - np.sqrt(2)) < 0.1
    plain = Equalized(3).apply(jax.tree.map(lambda p: p * 0.01, variables), x)
    np.testing.assert_allclose(slow, plain, rtol=1e-4, atol=1e-5)


def test_truncation_zero_is_the_image_of_the_mean_style(generator):
    network, variables, z, keys = generator
    mean = jnp.broadcast_to(variables["mean_style"]["mean"], (N, network.layers, 7))
    wanted = network.apply(variables, mean, keys, method="synthesize")
    found = network.apply(variables, z, keys=keys, truncation=0.0)
    np.testing.assert_array_equal(found, wanted)
    smooth = network.apply(variables, z, truncation=0.0)
    np.testing.assert_allclose(smooth, smooth[:1].repeat(N, 0), atol=1e-6)
    assert np.abs(found - found[:1]).max() > 0.01  # the noise is each image's own


def test_truncation_is_linear_in_the_style(generator):
    network, variables, z, _ = generator
    w, mean = network.apply(variables, z, method="styles"), variables["mean_style"]["mean"]
    for psi in (0.3, 1.0, 1.4):
        found = network.apply(variables, w, psi, method="truncated")
        np.testing.assert_allclose(found, psi * w + (1 - psi) * mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("crossover", [1, 2, 5])
def test_a_mixed_style_reaches_only_the_layers_from_its_own_on(generator, crossover):
    """The activations of every coarser layer are the same to the last bit."""
    network, variables, z, keys = generator
    w = network.apply(variables, z, method="styles")
    other = network.apply(variables, z[::-1] + 1, method="styles")

    @jax.jit
    def layers(styles):
        options = {"method": "synthesize", "capture_intermediates": True}
        made = network.apply(variables, styles, keys, **options)[1]["intermediates"]
        return [made[f"synthesis_{i}"]["__call__"][0] for i in range(network.layers)]

    plain = layers(mix_styles(w, other, network.layers, network.layers))
    mixed = layers(mix_styles(w, other, crossover, network.layers))
    for i, (a, b) in enumerate(zip(plain, mixed)):
        if i < crossover:
            np.testing.assert_array_equal(a, b)
        else:
            assert np.abs(a - b).max() > 1e-3


def test_mixing_draws_every_crossover_and_leaves_its_share_alone(generator):
    """Of 4000 images 1 - 0.9 unmixed within 5 standard errors; each layer begins some mixture."""
    network, _, _, _ = generator
    n = 4000
    keys = sample_keys(jax.random.key(9), n)
    small = StyleGenerator(SHAPE, WIDTHS, style=1, depth=1)
    z = jnp.ones((n, 2))
    variables = small.init(jax.random.key(0), z)
    w = jnp.full((n, 1), 100.0)
    styles = small.apply(variables, keys, w, z, None, method="mix")[..., 0]
    kept = np.asarray((styles == 100).sum(1))
    counts = np.bincount(kept, minlength=network.layers + 1)
    assert counts[0] == 0
    share = counts[network.layers] / n
    assert abs(share - 0.1) < 5 * np.sqrt(0.1 * 0.9 / n)
    each = 0.9 * n / (network.layers - 1)
    assert np.abs(counts[1:-1] - each).max() < 5 * np.sqrt(each)


def test_the_mean_style_is_tracked_in_training_only(generator):
    network, variables, z, keys = generator
    fresh = {**variables, "mean_style": jax.tree.map(jnp.zeros_like, variables["mean_style"])}
    w = network.apply(variables, z, method="styles")
    call = lambda v, train: network.apply(v, z, keys=keys, train=train, mutable=["mean_style"])[1]
    assert call(fresh, False)["mean_style"]["updates"] == 0
    once = {**fresh, **call(fresh, True)}
    np.testing.assert_allclose(once["mean_style"]["mean"], 0.9 * w.mean(0), rtol=1e-4, atol=1e-6)
    twice = call(once, True)["mean_style"]
    decayed = (2 / 11 * 0.9 + 9 / 11) * w.mean(0)
    np.testing.assert_allclose(twice["mean"], decayed, rtol=1e-4, atol=1e-6)
    tracked = lambda params: call({**fresh, "params": params}, True)["mean_style"]["mean"].sum()
    gradient = jax.grad(tracked)
    assert all(np.all(g == 0) for g in jax.tree.leaves(gradient(fresh["params"])))


def test_images_stay_apart_and_compile_once(generator, count_traces):
    network, variables, z, keys = generator
    counted = count_traces(lambda v, z, keys, psi: network.apply(v, z, keys=keys, truncation=psi))
    run = jax.jit(counted)
    whole = run(variables, z, keys, 0.7)
    run(variables, z + 1, keys, 0.3)
    assert counted.calls == 1
    alone = network.apply(variables, z[1:2], keys=keys[1:2], truncation=0.7)
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-4, atol=1e-5)
    assert whole.shape == (N, *SHAPE)


def test_levels_of_growing():
    steps = jnp.array([0, 9, 10, 15, 20, 29, 35, 40, 1000])
    found = [float(grown_level(step, 10, 3)) for step in steps]
    np.testing.assert_allclose(found, [0, 0, 0, 0.5, 1, 1, 1.5, 2, 2], atol=1e-6)
    assert grown_level(jnp.int32(5), 0, 3) is None
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 2))
    np.testing.assert_allclose(halve(double(x, 2), 2), x, rtol=1e-6)
    parts = [jnp.ones((1, 1, 1, 1)), 3 * jnp.ones((1, 2, 2, 1))]
    np.testing.assert_allclose(blend(parts, 0.25), 1.5 * jnp.ones((1, 2, 2, 1)))


def test_a_growing_generator_shows_larger_pixels_and_blends_between(generator):
    network, variables, z, keys = generator
    image = jax.jit(lambda step: network.apply(variables, z, keys=keys, step=step))
    coarse, middle, full = (image(jnp.int32(step)) for step in (0, 2 * FADE, 4 * FADE))
    for times, x in ((2, coarse), (1, middle)):
        np.testing.assert_allclose(double(halve(x, times), times), x, atol=1e-5)
    np.testing.assert_allclose(image(jnp.int32(FADE + 5)), (coarse + middle) / 2, atol=1e-5)
    np.testing.assert_allclose(full, network.apply(variables, z, keys=keys), atol=1e-5)
    assert np.abs(double(halve(full)) - full).max() > 0.01


def pixelated(x, size):
    """Means of size x size pixels in their places, in NumPy."""
    blocks = np.asarray(x).reshape(len(x), 8 // size, size, 8 // size, size, 1).mean((2, 4))
    return np.kron(blocks, np.ones((1, size, size, 1)))


def test_real_images_grow_as_generated_ones_do(generator):
    """karras2018: also between two resolutions; in what both updates of a GAN see."""
    rates = optax.set_to_zero(), optax.set_to_zero()
    critic = StyleCritic(WIDTHS, fade_steps=FADE)
    parts = gan.make_parts(generator[0], critic, *rates, gan.Options(SHAPE, LATENT))
    x = jax.random.normal(jax.random.key(3), (N, *SHAPE))
    coarse, middle, full = (pixelated(x, size) for size in (4, 2, 1))
    for count, wanted in (
        (0, coarse),
        (FADE + 4, 0.6 * coarse + 0.4 * middle),
        (2 * FADE, middle),
        (3 * FADE + 5, 0.5 * middle + 0.5 * full),
        (5 * FADE, full),
    ):
        state = gan.GanState(*[None] * 8, jnp.int32(count))
        seen = update_inputs(parts, state, jax.random.key(0), {"x": x}).x
        np.testing.assert_allclose(seen, wanted, atol=1e-5)
    assert np.abs(coarse - middle).max() > 0.1


def test_a_growing_critic_sees_means_only_and_fades_in():
    critic = StyleCritic(WIDTHS, features=5, fade_steps=FADE)
    x = jax.random.normal(jax.random.key(0), (N, *SHAPE))
    variables = shaken(critic.init(jax.random.key(1), x))
    score = jax.jit(lambda x, step: critic.apply(variables, x, step=step).score)
    for step, times in ((0, 2), (2 * FADE, 1)):
        blurred = double(halve(x, times), times)
        np.testing.assert_allclose(score(blurred, step), score(x, step), rtol=1e-4, atol=1e-5)
    blurred = double(halve(x))
    for step in (2 * FADE + FADE // 2 + FADE, 4 * FADE):
        assert np.abs(score(blurred, step) - score(x, step)).max() > 1e-3
    plain = critic.apply(variables, x).score
    np.testing.assert_allclose(score(x, 9 * FADE), plain, rtol=1e-4, atol=1e-5)


def test_the_spread_of_the_batch_is_seen_only_when_asked_for():
    x = jax.random.normal(jax.random.key(0), (N, *SHAPE))
    for deviation in (False, True):
        critic = StyleCritic(WIDTHS, features=5, deviation=deviation)
        variables = critic.init(jax.random.key(1), x)
        score = jax.jit(lambda x, critic=critic, v=variables: critic.apply(v, x).score)
        moved = np.abs(score(x)[0] - score(x.at[1:].set(x[0]))[0])
        assert (moved > 1e-4) == deviation


def test_refusals():
    for options, word in (
        ({"shape": (6, 8, 1), "widths": WIDTHS}, "halved 2"),
        ({"shape": SHAPE, "widths": ()}, "widths"),
        ({"shape": SHAPE, "widths": (4,), "mixing": 2}, "mixing"),
        ({"shape": SHAPE, "widths": (4,), "depth": 0}, "depth"),
        ({"shape": SHAPE, "widths": (4,), "fade_steps": 9}, "fade_steps=9"),
    ):
        with pytest.raises(ConfigError, match=word):
            StyleGenerator(**options)
    with pytest.raises(ConfigError, match="fade_steps=9"):
        StyleCritic((4,), fade_steps=9)
    with pytest.raises(ConfigError, match="halved"):
        StyleCritic(WIDTHS).init(jax.random.key(0), jnp.zeros((1, 6, 6, 1)))


def test_the_blur_is_binomial_and_acts_after_each_doubling(generator):
    """Against a convolution by hand; constants stay what they are away from the border."""
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3))
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    truth = [
        [signal.convolve2d(image[..., c], kernel, mode="same") for c in range(3)] for image in x
    ]
    np.testing.assert_allclose(blur(jnp.array(x)), np.moveaxis(truth, 1, -1), atol=1e-5)
    network, variables, z, _ = generator
    plain, blurred = network.apply(variables, z), network.clone(blur=True).apply(variables, z)
    assert np.abs(plain - blurred).max() > 1e-3
    # Nothing is doubled for the lowest resolution, so nothing there is blurred.
    w = jnp.zeros((1, network.layers, 7))
    lowest = [
        n.apply(variables, w, None, 0.0, method="synthesize")
        for n in (network, network.clone(blur=True))
    ]
    np.testing.assert_allclose(*lowest, atol=1e-6)
