"""Data that come batch by batch: resumed at the right one, checked against the first."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gen_jax import training
from gen_jax.data import transforms
from gen_jax.data.loader import stream
from gen_jax.errors import DataError
from gen_jax.model import GenerativeModel


def batch(step):
    rng = np.random.default_rng(step)
    return {"x": rng.normal(size=(tiny.BATCH, 3)).astype(np.float32)}


def endless(start):
    return (batch(step) for step in itertools.count(start))


def test_resumed_stream_is_equal(tmp_path):
    starts = []

    def data(start):
        starts.append(start)
        return endless(start)

    unbroken = tiny.bits(tiny.train(data=endless))
    tiny.train(tmp_path, steps=6, data=data)
    assert tiny.bits(tiny.train(tmp_path, steps=12, data=data, steps_per_call=4)) == unbroken
    assert starts == [0, 0, 0, 6]
    skipped = lambda start: (batch(k + (k >= 5)) for k in itertools.count(start))
    assert tiny.bits(tiny.train(data=skipped)) != unbroken


def test_stream_of_a_set_in_memory(tmp_path):
    """`data.loader.stream` is a stream as `fit` wants it; its batches are those of its own seed."""
    data = lambda start: stream(tiny.data(), 5, tiny.BATCH, start, num_threads=0)
    unbroken = tiny.bits(tiny.train(data=data))
    tiny.train(tmp_path, steps=5, data=data)
    assert tiny.bits(tiny.train(tmp_path, data=data)) == unbroken


def test_stream_that_ends(tmp_path):
    short = lambda start: (batch(step) for step in range(start, 7))
    with pytest.raises(DataError, match="the stream ended before batch 7"):
        tiny.train(tmp_path, data=short)
    assert int(tiny.train(tmp_path, steps=9, data=endless).count) == 9
    with pytest.raises(DataError, match="the stream ended before batch 0"):
        tiny.train(data=lambda start: iter(()))


def test_stream_of_another_form():
    with pytest.raises(DataError, match=r"'x' has shape \(8, 3\); batch_size=4"):
        tiny.train(data=endless, batch_size=4)
    ragged = lambda start: iter([batch(0), {"x": batch(1)["x"][:5]}])
    with pytest.raises(DataError, match=r"batch 1 is .*\(5, 3\).*first one was .*\(8, 3\)"):
        tiny.train(data=ragged)
    wide = lambda start: iter([batch(0), {"x": batch(1)["x"].astype(np.float64)}])
    with pytest.raises(DataError, match=r"batch 1 is .*float64"):
        tiny.train(data=wide)


def test_floats_of_a_later_batch_that_leave_their_range_are_refused():
    """Such as pictures in 0..255 after the first ones, of which all were dark."""
    to_symmetric = transforms.to_symmetric()

    def init(key, batch):
        to_symmetric.encode(key, batch["x"])
        return jnp.zeros(())

    model = GenerativeModel(init, lambda key, state, batch: (state + 1, {"loss": state}), None)
    fit = lambda rows: training.fit(
        jax.random.key(0), model, lambda start: iter(rows[start:]), steps=3, batch_size=2,
        progress=False,
    )  # fmt: skip
    of = lambda value: {"x": np.full((2, 3), value, np.float32)}
    assert float(fit([of(0.1), of(0.0), of(1.0)])) == 3
    with pytest.raises(DataError, match="x"):
        fit([of(0.1), of(0.2), of(200.0)])
