"""Wrong calls of `training.fit`, for test_api_mistakes.py."""

import jax.numpy as jnp
import numpy as np
from wrong_calls.common import BAD, KEY, KEYS, MASKED, NAN, WORDS, X

from gen_jax import training
from gen_jax.model import GenerativeModel


def model_of_points():
    """A model that fits the mean."""

    def step(key, state, batch):
        return state, {"loss": batch["x"].mean()}

    return GenerativeModel(
        lambda key, batch: jnp.zeros(3), step, lambda key, state, n: jnp.zeros((n, 3))
    )


def fit(key=KEY, model="tiny", arrays="tiny", **options):
    """One short run of the model of points with something wrong."""
    model = model_of_points() if isinstance(model, str) else model
    arrays = {"x": X.astype(np.float32)} if isinstance(arrays, str) and arrays == "tiny" else arrays
    options = {"steps": 1, "batch_size": 4, "progress": False} | options
    return training.fit(key, model, arrays, **options)


def stream(batch):
    return lambda start: iter([batch])


FIT = {
    "key": [{"key": k} for k in (0, None, KEYS, "key", np.zeros(3), 1.5)],
    "model": [{"model": m} for m in (None, 3, lambda: None, (1, 2, 3))],
    "data": [
        {"arrays": a}
        for a in (
            None,
            [1.0, 2.0],
            X,
            "digits",
            5,
            {"y": np.arange(12)},
            {1: X},
            {"x": WORDS},
            {"x": X.astype(complex)},
            {"x": MASKED},
            {"x": BAD},
            {"x": None},
            {"x": [[1.0], [1.0, 2.0]]},
            {"x": X, "y": np.array([2**32] * 12)},
            {"x": X, "y": np.arange(12.0)},
            {"x": X, "y": np.arange(11)},
            {"x": X[:0]},
            lambda: iter([]),
            lambda start: None,
        )
    ],
    "batch": [{"arrays": stream(b)} for b in ([X], {"x": WORDS}, {"x": BAD[:4]})],
    "batch_size": [{"batch_size": b} for b in (0, -1, 2.0, "4", None, True, 13)],
    "steps": [{"steps": s} for s in (0, 1.0, None, "1", float("inf"), NAN, 2**31)],
    "save_every": [{"save_every": 0}, {"save_every": None}],
    "log_every": [{"log_every": 1.5}],
    "keep": [{"keep": 0}],
    "save_minutes": [{"save_minutes": m} for m in (0, NAN, "10", None)],
    "sample_every": [{"sample_every": -1}, {"sample_every": 3}],
    "on_sample": [{"on_sample": lambda step, state: None}, {"on_sample": 3, "sample_every": 1}],
    "evaluate": [{"evaluate": {"loss": 1.0}}],
    "fsdp": [{"fsdp": "yes"}, {"fsdp": 2}],
    "progress": [{"progress": "x"}],
    "best": [
        {"best": "loss"},
        {"best": ("loss", "max")},
        {"best": ("loss", "least"), "evaluate": lambda step, state: {}},
        {"best": (1, "max"), "evaluate": lambda step, state: {}},
    ],
    "directory": [
        {"directory": 3},
        {"directory": ["run"]},
        {"directory": ""},
        {"directory": "a\0b"},
    ],
    "config": [{"config": "diffusion"}],
    "allow_changed": [{"allow_changed": "lr"}, {"allow_changed": (3,)}],
    "renamed": [{"renamed": "lr"}, {"renamed": {"old": 3}}],
    "initial": [{"initial": i} for i in (3, "run", X, {"w": X})],
    "steps_per_call": [{"steps_per_call": 0}, {"steps_per_call": 2.0}],
    "mesh": [{"mesh": 2}],
}
"""Argument -> wrong calls of `fit`."""
