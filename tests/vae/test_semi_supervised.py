"""The VAE with few labels: its two bounds by enumeration; labels spread by the data's shape."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import conditions, vae
from gen_jax.errors import ConfigError
from gen_jax.vae.semi_supervised import semi_supervised_loss


def test_the_loss_is_the_sum_over_labels():
    rng = np.random.default_rng(0)
    joint, logits = rng.normal(size=(2, 4, 3))
    label = np.array([1, 3, 0, 3])
    loss, aux = semi_supervised_loss(*map(jnp.asarray, (joint, logits, label)), 2.5)
    q = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for i, y in enumerate(label):
        entropy = -(q[i] * np.log(q[i])).sum()
        truth = -(q[i] @ joint[i]) - entropy if y == 3 else -joint[i, y] - 2.5 * np.log(q[i, y])
        np.testing.assert_allclose(loss[i], truth, rtol=1e-5)
    np.testing.assert_array_equal(aux["known"], label < 3)
    # The best guess turns the unlabelled bound into log sum_y p(x, y).
    best, _ = semi_supervised_loss(jnp.asarray(joint), jnp.asarray(joint), jnp.full(4, 3), 1.0)
    np.testing.assert_allclose(best, -np.log(np.exp(joint).sum(1)), rtol=1e-5)


def test_two_labels_are_enough_for_two_clusters(key):
    truth = jnp.arange(200) % 2
    x = jnp.where(truth == 0, 1.5, -1.5)[:, None] + 0.3 * jax.random.normal(key, (200, 2))
    label = jnp.full(200, 2).at[:2].set(truth[:2])
    network = vae.mlp((16,))
    model = vae.semi_supervised(
        *[network] * 3, optax.adam(1e-2), weight=100.0, shape=(2,), latent=1,
        likelihood="gaussian", condition=conditions.labels(2),
    )  # fmt: skip
    batch = {"x": x, "y": label}

    @jax.jit
    def run(key):
        state = model.init(key, batch)
        step = lambda state, key: model.step(key, state, batch)
        return jax.lax.scan(step, state, jax.random.split(key, 400))

    state, metrics = run(key)
    assert np.isfinite(metrics["loss"]).all()
    guesses = vae.label_logits(model, state, x).argmax(1)
    assert float((guesses == truth).mean()) > 0.97
    drawn = np.asarray(model.sample(key, state, 400, label=jnp.arange(400) % 2))
    assert drawn[::2].mean() > 0.7
    assert drawn[1::2].mean() < -0.7
    bound = np.asarray(model.log_prob(key, state, x[:50]))
    assert bound.shape == (50,)
    assert bound.mean() > -4.5
    # By a classifier that is nearly sure, U is L of the right label, and log p(y) = -log 2.
    known = np.asarray(model.log_prob(key, state, x[:50], label=truth[:50]))
    assert abs((known - np.log(2) - bound).mean()) < 0.1
    z = vae.encode(model, state, x[:50], label=truth[:50]).moments[0]
    back = vae.decode(model, state, z, label=truth[:50])
    assert np.mean((np.asarray(back) - np.asarray(x[:50])) ** 2) < 0.15


def test_labels_are_needed():
    with pytest.raises(ConfigError, match=r"condition=None must be labels\(K\)"):
        vae.semi_supervised(*[vae.mlp((4,))] * 3, optax.adam(1e-2), shape=(2,), latent=1)


@pytest.mark.parametrize("label", [2, -1, [0, 5]])
def test_samples_have_labels_that_were_trained(key, label):
    """2 stands for "not known" in training: its condition was never decoded."""
    options = {"shape": (2,), "latent": 1, "condition": conditions.labels(2)}
    model = vae.semi_supervised(*[vae.mlp((4,))] * 3, optax.adam(1e-2), **options)
    with pytest.raises(ConfigError, match=r"integers in \[0, 1\]"):
        model.sample(key, None, 2, label=jnp.asarray(label))
