"""The law of samples in batches: an option that is "per sample" is cut with them, no other one."""

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.model import PER_SAMPLE, STATIC, sample_in_batches
from gen_jax.randomness import sample_keys

ROWS = {
    "label": lambda model, x: np.array([0, 1, 2, 1]),
    "caption": lambda model, x: (
        np.arange(4 * model.parts.options.condition.length).reshape(4, -1) % 9
    ),
    "guidance": lambda model, x: np.array([0.5, 1.0, 2.0, 3.0], np.float32),
    "prompt": lambda model, x: (np.arange(12).reshape(4, 3) % 2).astype(x.dtype),
    "image": lambda model, x: x / np.abs(x).max(),
    "source": lambda model, x: np.split(x, 2, 2)[0],
    "style": lambda model, x: np.split(x, 2, 2)[1],
    "codes": lambda model, x: np.arange(4 * model.parts.options.variables).reshape(4, -1) % 7,
    "content_keys": lambda model, x: jax.random.split(jax.random.key(1), 4),
    "view_keys": lambda model, x: jax.random.split(jax.random.key(2), 4),
}
"""Option -> different values for four samples, by the model and four examples."""

SHARED = {"temperature": 0.7, "truncation": 0.7, "strength": 0.5}
CONDITIONS = {"label", "caption", "image"}


def _filled(path, leaf):
    """Numbers of a leaf's kind, variances positive: a state without any training."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    drawn = 0.3 * np.random.default_rng(0).normal(size=leaf.shape)
    drawn = np.abs(drawn) if "var" in jax.tree_util.keystr(path[-1:]) else drawn
    return jnp.asarray(drawn if jnp.issubdtype(leaf.dtype, jnp.floating) else 0 * drawn, leaf.dtype)


def check_rows(key, model, batch):
    """Rows of options and keys in another order give the samples in that order; a changed row
    changes its own sample alone. All draws, in batches of two, share one program.
    """
    kinds = {name: kind for name, kind in model.conditions.items() if kind != STATIC}
    kinds.pop("given", None)  # of a guide: tests/test_conditions.py
    if not kinds.keys() & CONDITIONS:  # without one it is refused
        kinds.pop("guidance", None)
    if "caption" in kinds:  # a sentence takes the place of a label
        kinds.pop("label", None)
    known = ROWS.keys() | SHARED.keys()
    assert kinds.keys() <= known, f"options {kinds.keys() - known} need values in tests/rows.py"
    if not kinds:
        return
    state = jax.tree.map_with_path(_filled, jax.eval_shape(model.init, key, batch))
    x = np.asarray(batch["x"])[:4]
    rows = {name: ROWS[name](model, x) for name, kind in kinds.items() if kind == PER_SAMPLE}
    rest = {name: SHARED[name] for name in kinds.keys() - rows.keys()}
    rest |= {"num_steps": 1} if "num_steps" in model.conditions else {}
    rest |= {"stepper": "ddim"} if "grid" in model.conditions else {}

    def draw(keys, rows):
        drawn = sample_in_batches(model, keys, state, 4, 2, **rows, **rest)
        return np.asarray(drawn, np.float64)

    keys, order, copied = sample_keys(key, 4), np.array([2, 0, 3, 1]), np.array([0, 1, 2, 0])
    first = draw(keys, rows)
    assert np.isfinite(first).all()
    close = {"rtol": 1e-5, "atol": 1e-5 * float(np.abs(first).max())}
    again = draw(keys[order], {name: row[order] for name, row in rows.items()})
    np.testing.assert_allclose(again, first[order], **close)
    for name, row in rows.items():
        other = draw(keys, rows | {name: row[copied]})
        np.testing.assert_allclose(other[:3], first[:3], **close)
        assert (other[3] != first[3]).any(), f"no sample depends on {name!r}"
