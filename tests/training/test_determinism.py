"""The same run gives the same bits: unbroken, resumed, and cut into other calls."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from gen_jax import training
from gen_jax.data.loader import batch_indices, take
from gen_jax.model import GenerativeModel


@pytest.fixture(scope="module")
def unbroken():
    return tiny.bits(tiny.train())


def test_two_unbroken_runs_are_equal(unbroken):
    assert tiny.bits(tiny.train(steps_per_call=5)) == unbroken


def test_resumed_run_is_equal(tmp_path, unbroken):
    """Saved at 6, resumed with other calls, saves and logs, to the bits of one run of 12."""
    half = tiny.train(tmp_path, steps=6, steps_per_call=4)
    assert tiny.bits(half) != unbroken
    whole = tiny.train(tmp_path, steps=12, steps_per_call=1, save_every=5, log_every=7, keep=1)
    assert tiny.bits(whole) == unbroken
    assert whole.params["average"].dtype == jnp.bfloat16
    assert jax.dtypes.issubdtype(whole.key.dtype, jax.dtypes.prng_key)


def test_another_key_is_caught(unbroken):
    assert tiny.bits(tiny.train(seed=1)) != unbroken


def replayed(skip=None):
    """Twelve steps by hand, from what DESIGN promises of keys and batches; one may be skipped."""
    key_init, key_order, key_steps = jax.random.split(jax.random.key(0), 3)
    model, data = tiny.model(), tiny.data()
    state = jax.jit(model.init)(key_init, {"x": data["x"][: tiny.BATCH]})
    step = jax.jit(model.step)
    for k in range(12):
        j = k if skip is None or k < skip else k + 1
        batch = take(data, batch_indices(key_order, j, len(data["x"]), tiny.BATCH))
        state, _ = step(jax.random.fold_in(key_steps, k), state, batch)
    return state


def test_batches_and_keys_are_functions_of_the_step(unbroken):
    """Against a plain Python loop; a loop that skips one batch is caught."""
    wanted = [np.frombuffer(raw, np.float32) for kind, _, raw in unbroken if kind == "float32"]
    close = lambda state: np.allclose(state.params["w"], wanted[-1], rtol=0, atol=1e-5)
    assert close(replayed())
    assert not close(replayed(skip=4))


def test_nothing_is_traced_again(tmp_path, count_traces):
    """One trace for the metrics' names and one to compile, however many calls."""
    model = tiny.model()
    counted = count_traces(model.step)
    model = model._replace(step=counted)
    options = {"batch_size": tiny.BATCH, "directory": tmp_path, "progress": False}
    key = jax.random.key(0)
    training.fit(key, model, tiny.data(), steps=9, steps_per_call=2, save_every=4, **options)
    assert counted.calls == 2
    training.fit(key, model, tiny.data(), steps=11, **options)
    assert counted.calls <= 4


def test_evaluate_and_samples_come_when_due(tmp_path):
    seen = {"evaluate": [], "sample": []}

    def evaluate(step, state):
        seen["evaluate"].append((step, int(state.count)))
        return {"score": step}

    tiny.train(
        tmp_path,
        steps=10,
        save_every=4,
        evaluate=evaluate,
        sample_every=3,
        on_sample=lambda step, state: seen["sample"].append((step, int(state.count))),
    )
    assert seen == {"evaluate": [(4, 4), (8, 8), (10, 10)], "sample": [(3, 3), (6, 6), (9, 9)]}


@pytest.mark.parametrize("abstract", [False, True])
def test_state_comes_back_as_it_was(tmp_path, abstract):
    """Typed keys of two generators, bfloat16, empty and scalar arrays; from a concrete template or
    from shapes alone."""
    from gen_jax.training.checkpoint import Checkpoints

    state = {
        "keys": jax.random.split(jax.random.key(3), 4),
        "rbg": jax.random.key(4, impl="rbg"),
        "pair": (jnp.arange(5, dtype=jnp.bfloat16) / 3, jnp.zeros((0, 2), jnp.int8)),
        "flag": jnp.array(True),
    }
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(7, state, {})
    checkpoints.wait()
    template = jax.eval_shape(lambda: state) if abstract else state
    restored, step = training.restore_state(tmp_path, template)
    assert step == 7
    assert tiny.bits(restored) == tiny.bits(state)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert restored["rbg"].dtype == state["rbg"].dtype != restored["keys"].dtype


def test_saving_is_not_disturbed_by_the_next_steps(tmp_path):
    """What was saved at step 3 is the state of step 3, although its buffers were donated."""
    make = {"padding": 200_000}
    tiny.train(tmp_path, steps=6, save_every=3, steps_per_call=1, make=make)
    wanted = tiny.train(steps=3, make=make)
    assert tiny.bits(training.restore_state(tmp_path, wanted, step=3)[0]) == tiny.bits(wanted)


def test_metrics_must_be_scalars():
    step = lambda key, state, batch: (state, {"loss": batch["x"]})
    model = GenerativeModel(lambda key, batch: {"w": jnp.zeros(3)}, step, None)
    with pytest.raises(Exception, match="scalar metrics"):
        training.fit(jax.random.key(0), model, tiny.data(), steps=1, batch_size=4, progress=False)
