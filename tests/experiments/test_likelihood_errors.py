"""The steps of a likelihood are as few as the error over examples allows; its draws are seen."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.shared.likelihoods import (
    DRAWS,
    FEW,
    PROBES,
    SHARE,
    chosen_steps,
    draws_error,
    options_of,
    settled,
)
from gen_jax.errors import ConfigError

X = np.random.default_rng(0).normal(size=(400, 1))


def run_of(error, noise=0.0, kind="estimate"):
    """A run whose log p is -100 x^2 + error(steps) + noise of its own for each key."""

    def log_prob(key, state, x, num_steps=4):
        drawn = noise * np.asarray(jax.random.normal(key, (len(x),)))
        return -100 * x[:, 0] ** 2 + error(num_steps) + drawn

    log_prob.options = ("num_steps",)
    held = SimpleNamespace(log_prob=log_prob)
    model = SimpleNamespace(held=held, log_prob=log_prob, log_prob_kind=kind)
    return SimpleNamespace(name="made", model=model, state=None)


@pytest.mark.parametrize("num", [4, 400, 40_000])
def test_the_fewest_steps_within_the_share(num):
    """Of fourth order, error 2e5 / steps^4 nats: the change by twice as many is 15 / 16 of it."""
    error = lambda steps: 2e5 / steps**4
    most = SHARE * (100 * X[:FEW, 0] ** 2).std(ddof=1) / np.sqrt(num)
    wanted = next(n for n in (8, 16, 32, 64, 128) if error(n) - error(2 * n) <= most)
    found = chosen_steps(run_of(error), X, num)
    assert found.taken == wanted
    assert found.change == pytest.approx((error(wanted) * 15 / 16, 0), abs=1e-9)
    assert chosen_steps(run_of(error), X, 4, steps=24).change.value == pytest.approx(
        error(24) * 15 / 16
    )


def test_an_error_that_never_falls_takes_the_most_and_says_so():
    found = chosen_steps(run_of(lambda steps: 50.0 * np.log2(steps)), X, 400)
    assert (found.taken, found.change.value) == (128, pytest.approx(-50))


def test_all_numbers_of_steps_are_tried_by_one_program(count_traces):
    run = run_of(abs)
    traced = count_traces(lambda key, state, x, num_steps: 50.0 * num_steps + x[:, 0])
    run.model.log_prob = jax.jit(traced)
    assert chosen_steps(run, X, 400).taken == 128
    draws_error(run, X, 400, num_steps=128)
    assert traced.calls == 1


def test_the_error_of_draws():
    """Noise of deviation 3: 3 / sqrt(num), known from 16 differences to 18 %; 0 without noise."""
    run = run_of(lambda steps: 0.0, noise=3.0)
    first = np.asarray(run.model.log_prob(jax.random.fold_in(jax.random.key(0), 0), None, X[:FEW]))
    found = draws_error(run, X, 400)
    assert 0.4 < found / (3 / np.sqrt(400)) < 1.8
    assert draws_error(run, X, 400, first) == pytest.approx(found)
    assert draws_error(run_of(lambda steps: 0.0), X, 400) == 0


@pytest.mark.parametrize("noise", [0.3, 30.0])
@pytest.mark.parametrize("pixels", [64, 784])
def test_the_divergence_is_estimated_where_its_draws_cost_little(noise, pixels):
    """log p has deviation 100 or so over examples; the noise of 30 is more than its share."""
    seen = []

    def log_prob(key, state, x, num_steps=4, divergence="exact", num_probes=1):
        seen.append((divergence, num_probes))
        drawn = np.asarray(jax.random.normal(key, (len(x),)))
        deviation = noise * (DRAWS * 10 if divergence == "hutchinson" else 0.01)
        return 30 * x[:, 0] + deviation * drawn

    log_prob.options = ("num_steps", "divergence", "num_probes")
    model = SimpleNamespace(
        held=SimpleNamespace(log_prob=log_prob), log_prob=log_prob, log_prob_kind="estimate"
    )
    spec = SimpleNamespace(kind="images", shape=(pixels, 1, 1))
    run = SimpleNamespace(name="made", model=model, state=None, spec=spec)
    options, numbers = settled(run, X)
    if pixels == 784:
        assert set(seen) == {("exact", 1)}  # the model's own choice: nothing is tried
    if pixels == 64 and noise < 1:
        assert options == {"num_steps": 8, "divergence": "hutchinson", "num_probes": PROBES}
        assert numbers["likelihood_probes"] == PROBES
    else:
        assert options == {"num_steps": 8}
        assert "likelihood_probes" not in numbers
    error = numbers["log_prob_nats_draws_error"]
    assert error <= DRAWS * (30 * X[:FEW, 0]).std(ddof=1) / np.sqrt(len(X))


def test_steps_of_what_has_none_are_refused():
    assert options_of(run_of(abs), None, 12) == {"likelihood_steps": 12}
    with pytest.raises(ConfigError, match="likelihood_steps=12"):
        options_of(run_of(abs, kind="exact"), None, 12)
    with pytest.raises(ConfigError, match="importance_samples=3"):
        options_of(run_of(abs), 3, None)
