"""Are samples as good as data to learn from? A classifier trained on them, tried on real images."""

from typing import Any, NamedTuple

import numpy as np

from gen_jax.checks import as_array, as_key, no_type_check
from gen_jax.errors import ConfigError, check_range, shown
from gen_jax.metrics.fitted import Logits, fit_network
from gen_jax.metrics.resampling import mean_and_error
from gen_jax.nets.classifier import Classifier
from gen_jax.types import Array, Estimate, Int, Key, UInt8


class Downstream(NamedTuple):
    """Accuracy on real test images of two classifiers alike in all but their training set.

    Fields:
      generated: trained on generated images and the labels that they were generated for.
      real: trained on as many real examples.
      difference: generated less real, with the error of the paired answers.
    """

    generated: Estimate
    real: Estimate
    difference: Estimate


def _images(name: str, x, y, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in [-1, 1] and their labels; raises ConfigError for what are none."""
    x, y = np.asarray(as_array(f"{name}_x", x)), np.asarray(as_array(f"{name}_y", y))
    if x.ndim != 4 or x.dtype != np.uint8 or len(x) < 2:
        raise ConfigError(f"{name}_x is {x.dtype} {x.shape}; it must be uint8 [N, H, W, C], N >= 2")
    whole = y.shape == x.shape[:1] and np.issubdtype(y.dtype, np.integer)
    if not (whole and y.min() >= 0 and y.max() < classes):
        raise ConfigError(f"{name}_y must hold {len(x)} labels in [0, {classes - 1}]")
    return x.astype(np.float32) / 127.5 - 1, y


@no_type_check
def downstream_accuracy(
    key: Key[Array, ""],
    generated_x: UInt8[Array | np.ndarray, "N H W C"],
    generated_y: Int[Array | np.ndarray, "N"],
    real_x: UInt8[Array | np.ndarray, "M H W C"],
    real_y: Int[Array | np.ndarray, "M"],
    test_x: UInt8[Array | np.ndarray, "L H W C"],
    test_y: Int[Array | np.ndarray, "L"],
    num_classes: int,
    steps: int = 1000,
    network: Any = None,
) -> Downstream:
    """Classification accuracy score (ravuri2019 sec. 2), beside that of real training examples.

    Both classifiers have the same network, first parameters and order of batches; of the larger
    training set a random part is taken, as many as the smaller one has: its rows may be sorted.

    Args:
      generated_x, generated_y: samples, and the labels that they were asked to have.
      real_x, real_y: of the training set; test_x, test_y: of the test set.
      steps: of AdamW on batches of 128 examples.
      network: Flax module, x [B, H, W, C] in [-1, 1] -> (logits [B, K], anything); by default
        `nets.classifier.Classifier`.
    Raises ConfigError for images that are not uint8 or of two shapes, labels out of range.
    """
    key = as_key("key", key)
    check_range("num_classes", num_classes, 2, integer=True)
    check_range("steps", steps, 1, integer=True)
    sets = {
        "generated": (generated_x, generated_y),
        "real": (real_x, real_y),
        "test": (test_x, test_y),
    }
    made = {name: _images(name, *pair, int(num_classes)) for name, pair in sets.items()}
    for name, (x, _) in made.items():
        if x.shape[1:] != made["test"][0].shape[1:]:
            shapes = x.shape[1:], made["test"][0].shape[1:]
            raise ConfigError(f"{name}_x has images {shapes[0]}, test_x {shapes[1]}; must be equal")
    n = min(len(made["generated"][0]), len(made["real"][0]))
    network = Classifier(int(num_classes)) if network is None else network
    if not (hasattr(network, "init") and hasattr(network, "apply")):
        raise ConfigError(f"network={shown(network)} must be a Flax module")
    tried, answers = made["test"]
    right = {}
    for name in ("generated", "real"):
        x, y = made[name]
        part = np.sort(np.random.default_rng(0).permutation(len(x))[:n])
        predict = fit_network(key, Logits(network), x[part], y[part], steps=int(steps), rate=2e-3)
        right[name] = (predict(tried) == answers).astype(np.float64)
    accuracy = {name: mean_and_error(flags) for name, flags in right.items()}
    return Downstream(**accuracy, difference=mean_and_error(right["generated"] - right["real"]))
