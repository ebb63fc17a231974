"""The small classifier: shapes, independence of examples, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax.errors import ConfigError
from gen_jax.nets import Classifier


@pytest.mark.parametrize(("shape", "conditioned"), [((2, 8, 8, 1), False), ((3, 13, 9, 3), True)])
def test_shapes_and_independence(key, shape, conditioned):
    network = Classifier(5, (8, 12), noise_conditioned=conditioned)
    x = jax.random.normal(key, shape)
    noise = (jnp.linspace(-1, 1, shape[0]),) if conditioned else ()
    variables = jax.jit(network.init)(key, x, *noise)
    apply = jax.jit(network.apply)
    logits, features = apply(variables, x, *noise)
    assert logits.shape == (shape[0], 5)
    assert features.shape == (shape[0], 96)
    assert logits.dtype == features.dtype == jnp.float32
    alone = apply(variables, x[1:2], *(n[1:2] for n in noise))
    np.testing.assert_allclose(alone[0][0], logits[1], atol=1e-5)
    np.testing.assert_allclose(alone[1][0], features[1], atol=1e-5)


def test_weights_fit_the_repository(key):
    variables = jax.eval_shape(Classifier(10).init, key, jnp.zeros((1, 28, 28, 1)))
    assert sum(p.size for p in jax.tree.leaves(variables)) * 2 < 600_000  # bytes in float16


def test_noise_is_asked_for_and_refused(key):
    x = jnp.zeros((1, 8, 8, 1))
    with pytest.raises(ConfigError, match="needs noise"):
        Classifier(3, noise_conditioned=True).init(key, x)
    with pytest.raises(ConfigError, match="does not take noise"):
        Classifier(3).init(key, x, jnp.zeros(1))
    with pytest.raises(ConfigError, match=r"\[B, H, W, C\]"):
        Classifier(3).init(key, x[0])


@pytest.mark.parametrize(
    "options",
    [{"num_classes": 1}, {"num_classes": 3, "widths": ()}, {"num_classes": 3, "features": 0}],
)
def test_bad_options(options):
    with pytest.raises(ConfigError):
        Classifier(**options)


def test_learns_the_orientation_of_stripes(key):
    """Two classes no single pixel tells apart: 30 steps reach > 0.95 on fresh draws."""
    network = Classifier(2, (8, 16))
    optimizer = optax.adam(5e-3)

    def draw(key):
        key_label, key_phase, key_noise = jax.random.split(key, 3)
        label = jax.random.bernoulli(key_label, shape=(64,)).astype(jnp.int32)
        phase = jax.random.uniform(key_phase, (64, 1, 1), maxval=6.3)
        stripes = jnp.broadcast_to(jnp.cos(2 * jnp.arange(8)[None, :, None] + phase), (64, 8, 8))
        x = jnp.where(label[:, None, None] == 1, stripes, stripes.transpose(0, 2, 1))
        return (x + 0.2 * jax.random.normal(key_noise, x.shape))[..., None], label

    def loss(variables, x, label):
        logits, _ = network.apply(variables, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    @jax.jit
    def step(state, key):
        variables, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(variables, *draw(key)), moments)
        return (optax.apply_updates(variables, updates), moments), None

    variables = jax.jit(network.init)(key, jnp.zeros((1, 8, 8, 1)))
    state = (variables, optimizer.init(variables))
    for key_step in jax.random.split(key, 30):
        state, _ = step(state, key_step)
    x, label = jax.jit(draw)(jax.random.fold_in(key, 1))
    assert float(jnp.mean(jax.jit(network.apply)(state[0], x)[0].argmax(-1) == label)) > 0.95
