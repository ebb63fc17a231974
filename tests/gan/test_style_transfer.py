"""AdaIN: exact statistics, the content it keeps, its losses, and a decoder that learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import data, metrics
from gen_jax.errors import ConfigError
from gen_jax.gan import style_transfer
from gen_jax.gan.style_transfer import adain, content_loss, objective, style_loss
from gen_jax.gan.translation import split_pair
from gen_jax.gan_nets import StyleDecoder


def maps(seed, size, shift=0.0, scale=1.0):
    return shift + scale * jax.random.normal(jax.random.key(seed), (3, *size, 4))


def test_the_result_has_the_statistics_of_the_style_and_the_content_s_pattern():
    content, style = maps(0, (7, 5), 3.0, 2.0), maps(1, (6, 6), -1.0, 0.5)
    out = adain(content, style)
    np.testing.assert_allclose(out.mean((1, 2)), style.mean((1, 2)), atol=1e-5)
    np.testing.assert_allclose(out.std((1, 2)), style.std((1, 2)), rtol=1e-3)
    flat = lambda h: np.moveaxis(np.asarray(h), 3, 1).reshape(12, -1)
    for a, b in zip(flat(out), flat(content)):
        assert np.corrcoef(a, b)[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_an_image_in_its_own_style_is_itself_and_flat_maps_have_gradients():
    h = maps(0, (4, 4))
    np.testing.assert_allclose(adain(h, h), h, atol=1e-5)
    gradient = jax.grad(lambda h: adain(h, maps(1, (4, 4))).sum())(jnp.ones((3, 4, 4, 4)))
    assert np.isfinite(gradient).all()


def test_losses_of_shifted_and_scaled_maps():
    """A shift of s costs s^2, a scale of k costs (k - 1)^2 of the deviation, per map."""
    layers = [maps(0, (5, 5)), maps(1, (3, 3))]
    assert style_loss(layers, layers).tolist() == [0.0] * 3
    np.testing.assert_allclose(style_loss([h + 0.3 for h in layers], layers), 2 * 0.09, rtol=1e-4)
    wide = jnp.repeat(jnp.array([1.0, -1.0]), 8).reshape(1, 4, 4, 1)
    np.testing.assert_allclose(style_loss([3 * wide], [wide]), 4.0, rtol=1e-4)
    turned = layers[0][:, ::-1]
    np.testing.assert_allclose(style_loss([turned], layers[:1]), 0, atol=1e-10)
    assert content_loss(turned, layers[0]).min() > 0.5


def test_a_perfect_decoder_has_no_loss():
    """With f the identity and g too, g(t) has t's maps and the style's statistics."""
    content, style = maps(0, (6, 6), 1.0), maps(1, (6, 6), 2.0, 3.0)
    total, parts = objective(lambda x: (x,), lambda h: h, content, style)
    assert total.shape == (3,)
    assert max(parts["content"].max(), parts["style"].max()) < 1e-6


@pytest.fixture(scope="module")
def trained():
    """(batch, model, state after 40 steps, first and last metrics) with the digits' classifier."""
    features = metrics.load_classifier("digits").maps
    x = data.load("thick:digits")["x"][:24]
    units = data.chain(data.to_unit(), data.to_symmetric())
    decoder = StyleDecoder((8, 8, 1), (8, 8))
    model = style_transfer(
        lambda x: features(x)[:2], decoder, optax.adam(1e-2), shape=(8, 16, 1), transform=units
    )
    state, step = jax.jit(model.init)(jax.random.key(0), {"x": x}), jax.jit(model.step)
    found = []
    for i in range(40):
        state, values = step(jax.random.key(i), state, {"x": x})
        found.append(values)
    return x, model, state, found[0], found[-1]


def test_a_decoder_learns(trained):
    _, _, _, first, last = trained
    assert set(last) == {"loss", "content", "style", "gradient_norm"}
    assert last["loss"] < 0.7 * first["loss"]


def test_samples(trained):
    x, model, state, _, _ = trained
    run = lambda keys, strength, **given: model.sample(
        keys, state, len(keys), strength=strength, **given
    )
    draw, keys = jax.jit(run), jax.random.split(jax.random.key(1), 4)
    content, style = split_pair(jnp.asarray(x))
    given = {"source": content[:4], "style": style[4:8]}
    whole = draw(keys, 1.0, **given)
    assert (whole.shape, whole.dtype) == ((4, 8, 16, 1), jnp.uint8)
    np.testing.assert_array_equal(split_pair(whole)[0], content[:4])
    one = {name: value[2:3] for name, value in given.items()}
    assert np.abs(np.int16(draw(keys[2:3], 1.0, **one)[0]) - np.int16(whole[2])).max() <= 1
    weak, other = (draw(keys, 0.0, **{**given, "style": s[4:8]}) for s in (style, content))
    np.testing.assert_array_equal(weak, other)
    assert (whole != weak).any()
    with pytest.raises(ConfigError, match="source"):
        model.sample(keys, state, 4, style=style[:3])


def test_negative_weights_are_refused():
    with pytest.raises(ConfigError, match="style_weight"):
        style_transfer(
            lambda x: (x,),
            StyleDecoder((8, 8, 1)),
            optax.adam(1e-3),
            shape=(8, 16, 1),
            style_weight=-1,
        )
