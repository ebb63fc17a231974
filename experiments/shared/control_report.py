"""Whether controlled samples follow their outlines, and a picture of them."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.shared.registry import Saved
from experiments.shared.translation import rows
from gen_jax import data, metrics
from gen_jax.data import DatasetSpec
from gen_jax.data.pairs import outlines
from gen_jax.errors import ConfigError
from gen_jax.frozen import Given
from gen_jax.model import GenerativeModel, sample_in_batches
from gen_jax.types import Float, State, UInt8

EXAMPLES, BATCH_SIZE = 1000, 250


def agreement(
    wanted: UInt8[np.ndarray, "N H W 1"], found: UInt8[np.ndarray, "N H W 1"]
) -> Float[np.ndarray, "N"]:
    """F1 score of the pixels of outlines [N]: twice those of both over the sum of each one's.

    1 where both have none.
    """
    there, made = wanted > 0, found > 0
    count = lambda pixels: pixels.sum((1, 2, 3))
    total = count(there) + count(made)
    return np.where(total > 0, 2 * count(there & made) / np.maximum(total, 1), 1.0)


def without_control(state: State) -> State | None:
    """The state with the layers zero that lead from the side copy to the base: the base itself.

    None of a network from scratch, which has no base.
    """
    if not isinstance(state, Given):
        return None
    zero = lambda path, leaf: leaf * ("zero_" not in jax.tree_util.keystr(path))
    return state._replace(own=jax.tree_util.tree_map_with_path(zero, state.own))


def drawn(
    model: GenerativeModel, state: State, wanted: np.ndarray, labels: np.ndarray | None
) -> np.ndarray:
    """One sample for each of the outlines, with the labels of their images."""
    condition = {"control": 2 * wanted.astype(np.float32) / 255 - 1}
    if labels is not None and "label" in model.conditions:
        condition["label"] = labels
    n, key = len(wanted), jax.random.key(0)
    return np.asarray(sample_in_batches(model, key, state, n, min(n, BATCH_SIZE), **condition))


def with_base(
    model: GenerativeModel, state: State, wanted: np.ndarray, labels: np.ndarray | None
) -> dict[str, np.ndarray]:
    """`drawn` of the base, where there is one, and with the control."""
    states = {"base": without_control(state), "controlled": state}
    return {
        name: drawn(model, own, wanted, labels) for name, own in states.items() if own is not None
    }


def compared(saved: Saved, test: dict[str, np.ndarray]) -> dict[str, Any]:
    """Agreement of outlines, of a base and of other images too; labels and Frechet distance."""
    x, y = test["x"][:EXAMPLES], test.get("y")
    y = None if y is None else y[: len(x)]
    wanted = outlines(x)
    made = with_base(saved.model, saved.state, wanted, y)
    of = lambda images: metrics.mean_and_error(agreement(wanted, outlines(images)))
    report: dict[str, Any] = {"outline_agreement": of(made["controlled"])}
    if "base" in made:
        report["outline_agreement_of_base"] = of(made["base"])
    report["outline_agreement_of_others"] = of(np.roll(x, 1, 0))
    report["controlled_examples"] = len(x)
    try:
        judge = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        return report
    real = judge.features(x)
    for name, images in made.items():
        distance = metrics.frechet_from_features(real, judge.features(images))
        report[f"{name}_frechet"] = float(distance)
        if y is not None:
            report[f"{name}_label_accuracy"] = float((judge.predict(images) == y).mean())
    return report


def picture(path: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Outlines of twelve test images, samples of a base, the controlled ones, the images."""
    test = data.examples(spec.name, "test", 12)
    wanted, y = outlines(test["x"]), test.get("y")
    made = with_base(model, state, wanted, y)
    shown = np.broadcast_to(wanted, test["x"].shape)
    return rows(path, [shown, *made.values(), test["x"]])
