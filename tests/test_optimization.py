"""`gen_jax.optimization` on a parabola, where every step is known, and `gen_jax.conditions`."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax.conditions import labels, one_hot
from gen_jax.errors import ConfigError
from gen_jax.optimization import (
    init_state_with_ema,
    moving_average,
    optimizer_step,
    optimizer_step_with_ema,
    start_average,
)


def test_a_step_down_a_parabola():
    data, rate = jnp.array([1.0, 2.0, 6.0]), 0.1
    loss = lambda w: ((w - data) ** 2, {"value": data})
    state = init_state_with_ema(jnp.float32(0), optax.sgd(rate))
    mean, w, ema = 3.0, 0.0, 0.0
    for step in range(30):
        state, metrics = optimizer_step_with_ema(loss, optax.sgd(rate), 0.5, state)
        slope = 2 * abs(w - mean)
        np.testing.assert_allclose(metrics["gradient_norm"], slope, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(metrics["loss"], (w - mean) ** 2 + 14 / 3, rtol=1e-5)
        np.testing.assert_allclose(metrics["value"], mean)
        w = mean - mean * (1 - 2 * rate) ** (step + 1)
        kept = min(0.5, (1 + step) / (10 + step))
        ema = kept * ema + (1 - kept) * w
        np.testing.assert_allclose([state.params, state.ema], [w, ema], rtol=1e-4, atol=1e-6)
    assert state.step == 30


def test_an_average_of_bfloat16_moves_on():
    params = jnp.ones((), jnp.bfloat16)
    ema = start_average(jnp.zeros((), jnp.bfloat16))
    assert ema.dtype == jnp.float32
    for _ in range(2000):
        ema = moving_average(ema, params, jnp.int32(10**6), 0.999)
    np.testing.assert_allclose(ema, 1 - 0.999**2000, rtol=1e-3)


def test_a_loss_of_one_number_may_be_descended():
    optimizer, params = optax.sgd(0.25), jnp.float32(2)
    loss = lambda w: (w**2, {})
    params, _, metrics = optimizer_step(loss, optimizer, params, optimizer.init(params))
    assert (params, metrics["loss"]) == (1, 4)


def test_labels_at_the_door():
    assert labels(4).checked(None, 3) is None
    np.testing.assert_array_equal(labels(4).checked(2, 3), [2, 2, 2])
    np.testing.assert_array_equal(labels(4).checked(np.array([0, 3]), 2), [0, 3])
    with pytest.raises(ConfigError, match=r"shape \[3\]"):
        labels(4).checked(jnp.zeros(2, jnp.int32), 3)
    for label in (-1, 4, 1.0, np.array([0, 1, 9])):
        with pytest.raises(ConfigError, match=r"integers in \[0, 3\]"):
            labels(4).checked(label, 3)


def test_rows_of_labels():
    rows = np.asarray(one_hot(jnp.array([0, 2, 3, 4, -1]), 3))
    np.testing.assert_array_equal(rows[:3], [[1, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert np.isnan(rows[3:]).all()
