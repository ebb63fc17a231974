"""Multi-view GAN: views, pairs, which latents decide what, the model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import affine_transform

from gen_jax import data, gan
from gen_jax.data.views import random_view, turned
from gen_jax.errors import ConfigError
from gen_jax.gan_nets import DCGANCritic, DCGANGenerator, PairGenerator
from gen_jax.randomness import sample_keys

SHAPE, CONTENT, VIEW = (8, 8, 1), 5, 2
ADAM = optax.adam(1e-3)
LOOK = partial(random_view, degrees=30.0, shift=1.0, contrast=0.3)


def model(**options):
    networks = DCGANGenerator(SHAPE, (4,)), DCGANCritic((4,), norm="spectral")
    options = {"content": CONTENT, "view": VIEW, "views": LOOK, **options}
    transform = data.symmetric_images()
    return gan.multi_view(*networks, ADAM, ADAM, shape=SHAPE, transform=transform, **options)


@pytest.fixture(scope="module")
def begun():
    made = model()
    batch = {"x": jnp.asarray(data.load("digits")["x"][:8])}
    return made, jax.jit(made.init)(jax.random.key(0), batch), batch


@pytest.mark.parametrize("angle", [0.0, 0.6, np.pi / 2])
def test_turned_is_scipys_affine_map(angle):
    x = np.asarray(data.load("digits")["x"][3], np.float32) / 127.5 - 1
    shift, centre = np.array([0.5, -1.0]), np.array([3.5, 3.5])
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = centre - matrix @ (centre + shift)
    wanted = affine_transform(x[..., 0], matrix, offset, order=1, cval=-1.0, mode="grid-constant")
    found = turned(jnp.asarray(x), jnp.float32(angle), jnp.asarray(shift, jnp.float32))
    np.testing.assert_allclose(found[..., 0], wanted, atol=1e-4)
    quarter = turned(jnp.asarray(x), jnp.float32(np.pi / 2), jnp.zeros(2))
    np.testing.assert_allclose(quarter[..., 0], np.rot90(x[..., 0], -1), atol=1e-4)


def test_views_differ_and_none_is_the_image_itself():
    x = jnp.asarray(data.load("digits")["x"][3] / 127.5 - 1)
    same = random_view(jax.random.key(0), x, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(same, x, atol=1e-6)
    a, b = (LOOK(jax.random.key(seed), x) for seed in (1, 2))
    assert np.abs(a - b).max() > 0.1
    assert min(a.min(), b.min()) >= -1 - 1e-6
    for options in ({"degrees": 200.0}, {"shift": -1.0}, {"contrast": 2.0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            random_view(
                jax.random.key(0), x, **{"degrees": 1.0, "shift": 1.0, "contrast": 0.0} | options
            )


def test_the_pair_shares_its_content_and_nothing_else():
    """Against the inner generator, called for each image alone."""
    inner = DCGANGenerator(SHAPE, (4,))
    pair = PairGenerator(inner, CONTENT)
    z = jax.random.normal(jax.random.key(0), (3, CONTENT + 2 * VIEW))
    variables = pair.init(jax.random.key(1), z)
    both = pair.apply(variables, z)
    alone = {name: values["network"] for name, values in variables.items()}
    cut = [jnp.r_[0:CONTENT, i : i + VIEW] for i in (CONTENT, CONTENT + VIEW)]
    for channel, columns in enumerate(cut):
        wanted = inner.clone(parent=None).apply(alone, z[:, columns])
        np.testing.assert_allclose(both[..., channel : channel + 1], wanted, atol=1e-6)
    for size in (CONTENT + 1, CONTENT + 3):
        with pytest.raises(ConfigError, match="content=5"):
            pair.init(jax.random.key(1), z[:, :size])


def test_real_pairs_are_two_views_of_one_image(begun):
    """With views that only dim, both halves are the image up to a factor each."""
    dim = lambda key, x: jax.random.uniform(key, minval=0.5) * (x + 1) - 1
    pairs = gan.PairTransform(data.to_unit(), lambda key, x: dim(key, 2 * x - 1))
    x = begun[2]["x"]
    made = np.asarray(pairs.encode(jax.random.key(0), x)) + 1
    grey = np.asarray(x, np.float32) / 255
    factor = made.max((1, 2)) / (2 * grey.max((1, 2)))
    np.testing.assert_allclose(made, factor[:, None, None] * 2 * grey, atol=1e-5)
    assert (np.abs(factor[:, 0] - factor[:, 1]) > 1e-3).all()
    assert len(np.unique(factor)) == 2 * len(x)
    keys = sample_keys(jax.random.key(0), len(x))
    alone = pairs.encode(keys[2:3], x[2:3])
    np.testing.assert_allclose(alone[0] + 1, made[2], atol=1e-6)


def test_keys_of_content_and_view_are_taken_apart(begun):
    made, state, batch = begun
    state, metrics = jax.jit(made.step)(jax.random.key(1), state, batch)
    assert np.isfinite(metrics["critic_loss"])
    state = state._replace(ema=jax.tree.map(lambda p: 4 * p, state.ema))
    keys = sample_keys(jax.random.key(5), 4)
    one = sample_keys(jax.random.key(6), 1)[jnp.zeros(4, int)]
    draw = lambda **given: made.sample(keys, state, 4, **given)
    plain = draw()
    assert plain.shape == (4, *SHAPE)
    assert plain.dtype == np.uint8
    same = draw(content_keys=one, view_keys=one)
    np.testing.assert_array_equal(same, same[:1].repeat(4, 0))
    for given in ({"content_keys": one}, {"view_keys": one}):
        mixed = draw(**given)
        assert all(not np.array_equal(mixed[0], other) for other in mixed[1:])
    np.testing.assert_array_equal(draw(content_keys=keys), plain)
    alone = made.sample(keys[2:3], state, 1)
    np.testing.assert_array_equal(alone[0], plain[2])


def test_refusals():
    with pytest.raises(ConfigError, match="view"):
        model(view=0)
    with pytest.raises(ConfigError, match="content"):
        model(content=0)
