"""Networks from image to image, and the critic of patches: what each output can see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import ConfigError
from gen_jax.gan_nets import PatchCritic, ResNetGenerator, UNetGenerator
from gen_jax.gan_nets.patch_critic import receptive_field
from gen_jax.gan_nets.unet_generator import dropout
from gen_jax.nets.blocks import GroupNorm, instance_norm
from gen_jax.randomness import sample_keys

GENERATORS = {
    "unet": UNetGenerator(2, (4, 8)),
    "resnet": ResNetGenerator(2, (4, 8), blocks=1),
}


def seen(halvings, normalise):
    """Where the score in the middle has a gradient: (rows, columns, share of their rectangle)."""
    critic = PatchCritic(2, halvings, normalise)
    side = 2 * receptive_field(halvings)
    x = jax.random.normal(jax.random.key(0), (1, side, side, 1))
    variables = critic.init(jax.random.key(1), x)

    def middle(x):
        scores = critic.apply(variables, x)
        return scores[0, scores.shape[1] // 2, scores.shape[2] // 2]

    rows, columns = np.nonzero(np.asarray(jax.jit(jax.grad(middle))(x))[0, :, :, 0])
    size = np.ptp(rows) + 1, np.ptp(columns) + 1
    return *size, len(rows) / np.prod(size)


@pytest.mark.parametrize(("halvings", "side"), [(0, 7), (1, 16), (2, 34), (3, 70)])
def test_a_score_sees_its_patch_and_all_of_it(halvings, side):
    """By automatic differentiation; the sides are those of isola2017, app. 6.1.2."""
    assert receptive_field(halvings) == side
    assert seen(halvings, False) == (side, side, 1.0)


def test_normalised_a_score_sees_the_whole_image_a_little():
    assert min(seen(1, True)[:2]) > receptive_field(1)


def test_the_map_of_scores_and_its_examples():
    critic = PatchCritic(4, 2)
    x = jax.random.normal(jax.random.key(0), (3, 28, 21, 2))
    variables = critic.init(jax.random.key(1), x)
    whole = jax.jit(critic.apply)(variables, x)
    assert whole.shape == (3, 7, 6)
    alone = jax.jit(critic.apply)(variables, x[1:2])
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_keep_the_size_and_the_examples_apart(name):
    network = GENERATORS[name]
    x, keys = jax.random.normal(jax.random.key(0), (3, 7, 10, 1)), sample_keys(jax.random.key(1), 3)
    variables = network.init(jax.random.key(2), x)
    run = jax.jit(network.apply)
    whole = run(variables, x, keys)
    assert whole.shape == (3, 7, 10, 2)
    assert np.abs(whole).max() <= 1
    np.testing.assert_allclose(run(variables, x[1:2], keys[1:2])[0], whole[1], rtol=1e-4, atol=1e-5)
    noisy = np.abs(run(variables, x, keys[::-1]) - whole).max((1, 2, 3)) > 1e-3
    assert noisy.tolist() == ([True, False, True] if name == "unet" else [False] * 3)
    fixed = run(variables, x)
    assert np.isfinite(fixed).all()


def test_dropout_keeps_the_mean_and_each_mask_is_its_key_s():
    """The count kept is binomial: |z| < 5 has false-alarm rate 6e-7."""
    keys, x = sample_keys(jax.random.key(0), 2), jnp.ones((2, 100, 100))
    out = dropout(keys, x, 0.3)
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((out > 0).sum() - 14_000) < 5 * np.sqrt(20_000 * 0.3 * 0.7)
    assert ((out[0] > 0) != (out[1] > 0)).mean() == pytest.approx(0.42, abs=0.03)
    np.testing.assert_array_equal(dropout(keys[1:], x[1:], 0.3)[0], out[1])
    np.testing.assert_array_equal(dropout(None, x, 0.3), x)


def test_instance_normalisation_whitens_each_map():
    x = 3 + 5 * jax.random.normal(jax.random.key(0), (2, 6, 5, 12))
    norm = GroupNorm(groups=12)
    y = norm.apply(norm.init(jax.random.key(1), x), x)
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((1, 2)), 1, rtol=1e-4)
    one = x[:, :1, :1]
    np.testing.assert_array_equal(instance_norm(one), one)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: UNetGenerator(widths=()), "widths"),
        (lambda: UNetGenerator(dropout=1.0), "dropout"),
        (lambda: UNetGenerator(widths=(4,)), "dropout=0.5 has no layer"),
        (lambda: ResNetGenerator(outputs=0), "outputs"),
        (lambda: ResNetGenerator(blocks=-1), "blocks"),
        (lambda: PatchCritic(halvings=-1), "halvings"),
    ],
)
def test_refusals(make, word):
    with pytest.raises(ConfigError, match=word):
        make()
