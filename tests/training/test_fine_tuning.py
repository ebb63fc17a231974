"""Starting from a trained state: what is taken, fresh, refused, reported."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gen_jax import diffusion, nets, training
from gen_jax.errors import ConfigError

KEY = jax.random.key(0)
DATA = {"x": np.asarray(jax.random.normal(KEY, (64, 2)))}
OPTIONS = {"batch_size": 16, "progress": False}


def model(width=8):
    return diffusion.diffusion(nets.MLP((width, 8)), "linear", optax.adam(1e-2), shape=(2,))


@pytest.fixture(scope="module")
def trained():
    return training.fit(KEY, model(), DATA, steps=5, **OPTIONS)


def test_parameters_are_taken_and_the_optimizer_is_fresh(trained):
    fresh = model().init(KEY, DATA)
    state = training.start_from(fresh, trained)
    for name in ("params", "ema"):
        jax.tree.map(np.testing.assert_array_equal, getattr(state, name), getattr(trained, name))
    jax.tree.map(np.testing.assert_array_equal, state.optimizer, fresh.optimizer)
    assert (int(state.step), int(trained.step)) == (0, 5)


def test_fit_starts_from_it_and_the_run_says_so(trained, tmp_path):
    """One step from it is the step that `model.step` takes from the merged state."""
    options = {"steps": 1, "initial": trained, **OPTIONS}
    state = training.fit(KEY, model(), DATA, directory=tmp_path / "run", **options)
    other = training.fit(KEY, model(), DATA, steps=1, **OPTIONS)
    moved = lambda a, b: max(
        float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)))
    )
    assert 0 < moved(state.params, trained.params) < 0.011  # one step of Adam at 1e-2
    assert moved(state.params, other.params) > 0.02
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["fit"]["initial"]) > 8
    again = training.fit(KEY, model(), DATA, directory=tmp_path / "run", **options)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    with pytest.raises(ConfigError, match="initial"):
        training.fit(KEY, model(), DATA, directory=tmp_path / "run", steps=1, **OPTIONS)


def test_new_entries_stay_fresh_and_others_are_refused(trained):
    fresh = {"old": jnp.zeros(2), "new": jnp.ones(3)}
    state = training.start_from(fresh, {"old": jnp.full(2, 7.0)})
    np.testing.assert_array_equal(state["old"], [7, 7])
    np.testing.assert_array_equal(state["new"], [1, 1, 1])
    with pytest.raises(ConfigError, match=r"initial.*also has: more"):
        training.start_from(fresh, {"more": jnp.zeros(1)})
    with pytest.raises(ConfigError, match="has shape"):
        training.fit(KEY, model(16), DATA, steps=1, initial=trained, **OPTIONS)
    with pytest.raises(ConfigError, match="must be a AveragedState"):
        training.fit(KEY, model(), DATA, steps=1, initial={"params": 1}, **OPTIONS)
