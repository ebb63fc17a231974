"""Batches: every epoch visits each example once, in an order that only (key, step) decide."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gen_jax.data import batch_indices, check_batchable, stream, take
from gen_jax.errors import ConfigError, DataError

indices = jax.jit(batch_indices, static_argnums=(2, 3))


@pytest.mark.parametrize(("n", "batch"), [(1, 1), (3, 2), (10, 4), (97, 32), (1198, 128)])
def test_each_epoch_visits_each_example_once(n, batch, key):
    epochs = 4
    steps = -(-n * epochs // batch)
    drawn = jax.vmap(lambda step: batch_indices(key, step, n, batch))(jnp.arange(steps))
    order = np.asarray(drawn).ravel()[: n * epochs].reshape(epochs, n)
    assert order.dtype == np.int32
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(n), (epochs, 1)))
    if n > 90:
        assert all(not np.array_equal(order[0], later) for later in order[1:])


def test_a_large_epoch_is_a_permutation(key):
    order = np.asarray(indices(key, 3, 60_000, 60_000))
    np.testing.assert_array_equal(np.sort(order), np.arange(60_000))


def test_batch_larger_than_the_set_straddles_epochs(key):
    drawn = np.asarray(indices(key, 0, 3, 9)).reshape(3, 3)
    np.testing.assert_array_equal(np.sort(drawn, axis=1), np.tile(np.arange(3), (3, 1)))


def test_pure_function_of_key_and_step(key, count_traces):
    counted = count_traces(batch_indices)
    jitted = jax.jit(counted, static_argnums=(2, 3))
    batches = [np.asarray(jitted(key, step, 1000, 32)) for step in range(40)]
    assert counted.calls == 1
    np.testing.assert_array_equal(batch_indices(key, 17, 1000, 32), batches[17])
    _, scanned = jax.lax.scan(
        lambda step, _: (step + 1, batch_indices(key, step, 1000, 32)), jnp.int32(0), None, 40
    )
    np.testing.assert_array_equal(scanned, batches)
    assert not np.array_equal(jitted(jax.random.key(9), 17, 1000, 32), batches[17])  # wrong key
    assert not np.array_equal(batches[18], batches[17])  # skipped batch


def test_float64_mode_changes_nothing(key):
    plain = np.asarray(batch_indices(key, 12345, 60_000, 64))
    with jax.enable_x64(True):
        wide = batch_indices(key, 12345, 60_000, 64)
    assert wide.dtype == jnp.int32
    np.testing.assert_array_equal(wide, plain)


@pytest.mark.parametrize("step", [0, 10**6, 2**31 - 1])
@pytest.mark.parametrize(("n", "batch"), [(1_281_167, 4096), (2**30, 511), (1000, 999)])
def test_steps_far_out_do_not_overflow(step, n, batch, key):
    """Batch `step` and the start of the stream at the same position, found with Python integers."""
    from gen_jax.data.loader import _epoch_and_offset

    epoch, offset = jax.jit(_epoch_and_offset, static_argnums=(1, 2))(step, batch, n)
    if step * batch // n < 2**31:
        assert (int(epoch), int(offset)) == divmod(step * batch, n)
    drawn = np.asarray(indices(key, step, n, batch))
    assert drawn.min() >= 0
    assert drawn.max() < n


def test_positions_and_neighbours_are_uniform(key):
    """Chi-square over 6,000 epochs of 8 examples, false alarm 1e-6 each; no shuffling is caught."""
    epochs = np.asarray(indices(key, 0, 8, 8 * 6000)).reshape(6000, 8)

    def worst(order):
        places = [stats.chisquare(np.bincount(column, minlength=8)).pvalue for column in order.T]
        pairs = np.bincount(order[:, 0] * 8 + order[:, 1], minlength=64).reshape(8, 8)
        return min(*places, stats.chisquare(pairs[~np.eye(8, dtype=bool)]).pvalue)

    assert worst(epochs) > 1e-6
    shifted = (epochs[:, :1] + np.arange(8)) % 8  # planted: a random rotation is no shuffle
    assert worst(shifted) < 1e-6


def test_large_orders_have_no_trend(key):
    """Correlations of 50,000 positions are N(0, 1/50,000): |z| < 5 each, false alarm 6e-7."""
    first, second = np.asarray(indices(key, 0, 50_000, 100_000)).reshape(2, 50_000)
    pairs = [(first, np.arange(50_000)), (first[1:], first[:-1]), (first, second)]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(50_000) < 5


def test_take_gathers_every_array():
    data = {"x": jnp.arange(20.0).reshape(10, 2), "y": np.arange(10, dtype=np.int32)}
    batch = jax.jit(take)(data, jnp.array([3, 3, 9]))
    assert batch["x"].tolist() == [[6, 7], [6, 7], [18, 19]]
    assert batch["y"].tolist() == [3, 3, 9]


@pytest.fixture
def data():
    values = np.arange(50, dtype=np.float32)
    return {"x": np.stack([values, -values], 1), "y": (values % 5).astype(np.int32)}


class Records:
    """The same arrays by record, as a TFDS source gives them."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data["x"])

    def __getitems__(self, indices):
        return [{name: values[i] for name, values in self.data.items()} for i in indices]


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("wrap", [dict, Records])
def test_stream_is_the_batches_in_memory(data, wrap, threads):
    batches = stream(wrap(data), seed=3, batch_size=8, num_threads=threads)
    for step in range(15):
        expected = take(data, batch_indices(jax.random.key(3), step, 50, 8))
        batch = next(batches)
        assert batch.keys() == data.keys()
        for name, values in batch.items():
            np.testing.assert_array_equal(values, expected[name])
            assert values.dtype == data[name].dtype


def test_stream_resumes_bit_for_bit(data):
    def run(start, count, seed=0):
        batches = stream(data, seed, 8, start)
        return np.stack([next(batches)["x"] for _ in range(count)])

    whole = run(0, 20)
    np.testing.assert_array_equal(run(0, 20), whole)
    np.testing.assert_array_equal(run(13, 7), whole[13:])
    assert not np.array_equal(run(14, 7)[:6], whole[13:19])  # negative control: off by one step
    assert not np.array_equal(run(13, 7, seed=1), whole[13:])  # negative control: other seed


def test_stream_reads_a_memory_map(data, tmp_path):
    np.save(tmp_path / "x.npy", data["x"])
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    batch = next(stream({"x": mapped}, 0, 8))
    np.testing.assert_array_equal(batch["x"], next(stream({"x": data["x"]}, 0, 8))["x"])


def test_a_script_with_an_open_stream_ends(tmp_path):
    code = (
        "import numpy as np; from gen_jax.data import stream;"
        "batches = stream({'x': np.zeros((9, 2))}, 0, 3); print(next(batches)['x'].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "(3, 2)\n")


X = np.zeros((10, 2), np.float32)


@pytest.mark.parametrize(
    ("bad", "batch_size", "error", "words"),
    [
        ({}, 1, DataError, "no 'x'"),
        ({"y": X}, 1, DataError, "no 'x'"),
        ({"x": X[:0]}, 1, DataError, "0 examples"),
        ({"x": X}, 11, ConfigError, "batch_size=11"),
        ({"x": X}, 0, ConfigError, "batch_size=0"),
        ({"x": X, "y": np.zeros(9, np.int32)}, 2, DataError, "y (9,)"),
        ({"x": np.array(1.0)}, 1, DataError, "leading axis"),
        ({"x": X + np.nan}, 2, DataError, "not finite"),
        ({"x": jnp.asarray(X) / 0}, 2, DataError, "not finite"),
        ({"x": X, "y": np.zeros(10)}, 2, DataError, "float64"),
        ({"x": X, "y": np.zeros((10, 2), np.int32)}, 2, DataError, "(10, 2)"),
        ({"x": X, "y": np.arange(10) - 1}, 2, DataError, "-1 to 8"),
        ({"x": X, "y": np.arange(10) + 1}, 2, DataError, "below 10"),
    ],
)
def test_unusable_data_are_refused(bad, batch_size, error, words):
    with pytest.raises(error) as caught:
        check_batchable(bad, batch_size, num_classes=10)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_usable_data_pass():
    check_batchable({"x": X, "y": np.arange(10)}, 10, num_classes=10)
    check_batchable({"x": X[:1]}, 1)
    check_batchable({"x": jnp.zeros((4, 2), jnp.uint8), "y": jnp.arange(4)}, 4)


@pytest.mark.parametrize(
    ("source", "arguments", "error"),
    [
        ({"x": X[:0]}, (0, 1), DataError),
        (Records({"x": X[:0]}), (0, 1), DataError),
        (Records({"x": X}), (0, 11), ConfigError),
        ({"x": X}, (0, 11), ConfigError),
        ({"x": X}, (0, 2, -1), ConfigError),
    ],
)
def test_unusable_sources_are_refused(source, arguments, error):
    with pytest.raises(error):
        stream(source, *arguments)


def test_impossible_sizes_are_refused(key):
    with pytest.raises(ConfigError, match="num_examples=0"):
        batch_indices(key, 0, 0, 4)
    with pytest.raises(ConfigError, match="batch_size=0"):
        batch_indices(key, 0, 4, 0)
