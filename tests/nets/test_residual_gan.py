"""SAGAN, BigGAN and BEGAN's critic: norms by class, attention, the pieces of z, reconstruction."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from gen_jax.errors import ConfigError
from gen_jax.gan_nets import AutoencoderCritic, BigGANGenerator, ResidualCritic, SAGANGenerator
from gen_jax.gan_nets.residual_gan import ConditionalBatchNorm, ImageAttention

N, K, LATENT = 4, 3, 6
SHAPE = (8, 8, 1)
LABEL = jnp.array([0, 1, 2, 0])


def filled(network, *inputs):
    """Variables that are nowhere 0, as gains are at the start; nothing is compiled."""
    shapes = jax.eval_shape(network.init, jax.random.key(1), *inputs)
    rng = np.random.default_rng(3)
    draw = lambda p: jnp.asarray(0.3 * rng.standard_normal(p.shape), p.dtype)
    variables = jax.tree.map(draw, shapes)
    if "batch_stats" in variables:  # variances
        variables["batch_stats"] = jax.tree.map(jnp.exp, variables["batch_stats"])
    return variables


def test_conditional_norm_is_a_scale_and_a_shift_per_class():
    x = jax.random.normal(jax.random.key(0), (N, 4, 4, 2)) * 3 + 1
    layer = ConditionalBatchNorm()
    variables = filled(layer, x, jnp.eye(K)[LABEL])
    options = {"train": True, "mutable": ["batch_stats"]}
    found, moved = layer.apply(variables, x, jnp.eye(K)[LABEL], **options)
    scale, shift = (variables["params"][name]["kernel"][LABEL] for name in ("scale", "shift"))
    white = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    wanted = white * (1 + scale[:, None, None]) + shift[:, None, None]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    running = moved["batch_stats"]["norm"]
    before = variables["batch_stats"]["norm"]["mean"]
    np.testing.assert_allclose(running["mean"], 0.9 * before + 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
    start = {"params": jax.tree.map(jnp.zeros_like, variables["params"]), **moved}
    plain = layer.apply(start, x, jnp.zeros((N, K)), train=True, mutable=["batch_stats"])[0]
    np.testing.assert_allclose(plain, white, rtol=1e-4, atol=1e-5)


def test_attention_is_the_formula_and_starts_as_the_identity():
    """Against loops over images in numpy, keys and values at half the resolution."""
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
    layer = ImageAttention(bounded=False)
    start = jax.jit(layer.init)(jax.random.key(1), x)
    np.testing.assert_array_equal(jax.jit(layer.apply)(start, x), x)
    variables = filled(layer, x)
    kernel = {
        n: (np.asarray(v["kernel"][0, 0]), np.asarray(v["bias"]))
        for n, v in variables["params"].items()
        if n != "gain"
    }
    for image, found in zip(np.asarray(x), jax.jit(layer.apply)(variables, x)):
        near = image.reshape(2, 2, 2, 2, 8).mean((1, 3)).reshape(4, 8)
        far = image.reshape(16, 8)
        q, k, v = (
            a @ kernel[n][0] + kernel[n][1]
            for a, n in ((far, "query"), (near, "key"), (near, "value"))
        )
        seen = softmax(q @ k.T, axis=1) @ v @ kernel["out"][0] + kernel["out"][1]
        wanted = far + float(variables["params"]["gain"]) * seen
        np.testing.assert_allclose(found.reshape(16, 8), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [SAGANGenerator, BigGANGenerator])
def test_generators_keep_images_apart_and_follow_the_label(make):
    network = make(SHAPE, (6, 4), num_classes=K)
    z = jax.random.normal(jax.random.key(0), (N, LATENT))
    variables = filled(network, z, LABEL)
    assert variables.keys() == {"params", "batch_stats", "spectral"}
    run = jax.jit(network.apply)
    whole = run(variables, z, LABEL)
    assert whole.shape == (N, *SHAPE)
    assert np.abs(whole).max() <= 1
    mixed = run(variables, z.at[0].add(5.0).at[2:].set(-3.0), LABEL.at[0].set(2))
    np.testing.assert_allclose(mixed[1], whole[1], rtol=1e-3, atol=1e-5)
    other = run(variables, z, (LABEL + 1) % K)
    assert np.abs(other - whole).max() > 1e-3


def test_every_piece_of_z_enters_biggan_at_its_own_block():
    """The second block's piece leaves the first block's output as it is, to the last bit."""
    network = BigGANGenerator(SHAPE, (6, 4), num_classes=K)
    z = jax.random.normal(jax.random.key(0), (N, LATENT))
    variables = filled(network, z, LABEL)

    @jax.jit
    def blocks(z):
        made = network.apply(variables, z, LABEL, capture_intermediates=True)[1]["intermediates"]
        return [made[f"GeneratorBlock_{i}"]["__call__"][0] for i in range(2)]

    plain, last, middle = (
        blocks(z.at[:, cut].add(1.0)) for cut in (slice(0), slice(4, 6), slice(2, 4))
    )
    np.testing.assert_array_equal(plain[0], last[0])
    assert np.abs(plain[1] - last[1]).max() > 1e-3
    assert np.abs(plain[0] - middle[0]).max() > 1e-3
    shared = variables["params"]["shared"]["kernel"]
    assert shared.shape == (K, 32)


def test_the_residual_critic_sums_over_pixels_and_projects():
    critic = ResidualCritic((4, 5), "projection", K)
    x = jax.random.normal(jax.random.key(0), (N, *SHAPE))
    variables = filled(critic, x, LABEL)
    run = jax.jit(critic.apply)
    whole = run(variables, x, LABEL)
    assert whole.features.shape == (N, 5)
    assert (np.asarray(whole.features) >= 0).all()
    mixed = run(variables, x.at[:2].add(5.0).at[3].set(-1.0), LABEL.at[0].set(2))
    np.testing.assert_allclose(mixed.score[2], whole.score[2], rtol=1e-4, atol=1e-5)
    other = run(variables, x, (LABEL + 1) % K)
    np.testing.assert_array_equal(other.features, whole.features)
    assert np.abs(other.score - whole.score).min() > 1e-5


def test_the_autoencoder_scores_its_own_error():
    critic = AutoencoderCritic((3, 4), latent=5)
    x = jax.random.normal(jax.random.key(0), (N, *SHAPE))
    variables = jax.jit(critic.init)(jax.random.key(1), x)
    said, made = jax.jit(partial(critic.apply, capture_intermediates=True))(variables, x)
    image = made["intermediates"]["pixels"]["__call__"][0]
    np.testing.assert_allclose(said.score, np.abs(x - image).mean((1, 2, 3)), rtol=1e-5)
    code = made["intermediates"]["code"]["__call__"][0]
    np.testing.assert_array_equal(said.features, code)
    assert said.features.shape == (N, 5)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: SAGANGenerator(SHAPE, (4,), attention=2), "attention"),
        (lambda: BigGANGenerator((6, 6, 1), (4, 4)), "halved"),
        (lambda: BigGANGenerator(SHAPE, (4,), embedding=0), "embedding"),
        (lambda: ResidualCritic((), "none"), "widths"),
        (lambda: AutoencoderCritic((4,), latent=0), "latent"),
        (lambda: AutoencoderCritic((4,), num_classes=3), "num_classes"),
    ],
)
def test_refusals(make, word):
    with pytest.raises(ConfigError, match=word):
        make()


def test_z_that_is_too_short_to_be_cut_is_refused():
    network = BigGANGenerator(SHAPE, (4, 4))
    with pytest.raises(ConfigError, match="at least 3"):
        network.init(jax.random.key(0), jnp.zeros((1, 2)))
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8)))["params"]
    assert shapes["Dense_0"]["kernel"].shape == (4, 16)
    assert shapes["GeneratorBlock_1"]["norm_in"]["scale"]["kernel"].shape[0] == 2
