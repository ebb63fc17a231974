"""What `model.init` sees of the data, which may be sorted."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gen_jax import training
from gen_jax.data import subset
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.training.batches import Batches

SORTED = {
    "x": np.repeat(np.float32([[-1.0], [1.0]]), 500, 0),
    "y": np.repeat(np.int32([0, 1]), 500),
}


def test_a_subset_has_every_class_and_no_row_twice():
    x = np.arange(1000)
    drawn = subset({"x": x, "y": x // 500}, 64)
    np.testing.assert_array_equal(drawn["y"], drawn["x"] // 500)
    assert len(set(drawn["x"].tolist())) == 64
    assert 16 < drawn["y"].sum() < 48  # 4 standard deviations
    np.testing.assert_array_equal(subset({"x": x}, 10)["x"], drawn["x"][:10])
    assert sorted(subset({"x": x}, 1000, 3)["x"].tolist()) == x.tolist()
    with pytest.raises(ConfigError, match=r"count=1001 must be an integer in \[1, 1000\]"):
        subset({"x": x}, 1001)


def test_the_first_batch_is_of_the_key():
    of = lambda seed: Batches(SORTED, 64).first(jax.random.key(seed))
    assert 16 < of(0)["y"].sum() < 48
    np.testing.assert_array_equal(of(0)["x"], of(0)["x"])
    assert not np.array_equal(of(0)["y"], of(1)["y"])
    np.testing.assert_array_equal(of(0)["x"][:, 0], 2 * of(0)["y"] - 1)


class Kept(NamedTuple):
    """What a start from data leaves."""

    mean: jax.Array


def test_a_start_from_data_sees_a_sorted_set_whole():
    model = GenerativeModel(
        lambda key, batch: Kept(jnp.mean(batch["x"])),
        lambda key, state, batch: (state, {"loss": jnp.float32(0)}),
        None,
    )
    options = {"steps": 1, "batch_size": 64, "progress": False}
    state = training.fit(jax.random.key(0), model, SORTED, **options)
    assert abs(float(state.mean)) < 0.5  # 4 standard deviations; the first rows have -1


def test_a_stream_of_other_data_is_refused(tmp_path):
    def endless(seed):
        rows = lambda k: np.random.default_rng((seed, k)).normal(size=(tiny.BATCH, 3))
        return lambda start: ({"x": rows(k).astype(np.float32)} for k in itertools.count(start))

    tiny.train(tmp_path, steps=3, data=endless(0))
    with pytest.raises(ConfigError, match="data_first_x"):
        tiny.train(tmp_path, steps=6, data=endless(1))
    tiny.train(tmp_path, steps=6, data=endless(1), allow_changed=("data_first_x",))
