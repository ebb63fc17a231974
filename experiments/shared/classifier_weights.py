"""Weights of a classifier, stored as the metrics read them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.noisy_classifier import network_of
from gen_jax import data, metrics
from gen_jax.batching import in_batches
from gen_jax.data import DatasetSpec
from gen_jax.nets import Classifier


def test_accuracy(network: Classifier, params: Any, dataset: str) -> float:
    """Share of the test set classified correctly."""
    test = data.load(dataset, "test")
    predict = jax.jit(lambda x: network.apply(params, x / 127.5 - 1)[0].argmax(-1))
    found = in_batches(lambda x: predict(x.astype(np.float32)), 500, test["x"])
    return float((found == test["y"]).mean())


def save(config: Any, spec: DatasetSpec, params: Any) -> Path:
    """Write the weights as the metrics read them, with the accuracy of what was stored."""
    network = network_of(config, spec)
    stored = jax.tree.map(lambda p: p.astype(jnp.float16).astype(jnp.float32), params)
    accuracy = test_accuracy(network, stored, config.dataset)
    path = metrics.features.WEIGHTS / f"{config.dataset}.npz"
    metadata = {
        "architecture": "Classifier",
        "arguments": {
            "num_classes": spec.num_classes,
            "widths": list(config.widths),
            "features": config.features,
        },
        "dataset": config.dataset,
        "image_shape": list(spec.shape),
        "accuracy": accuracy,
    }
    digest = metrics.save_classifier(path, stored, metadata)
    print(f"test accuracy {accuracy:.4f}, weights {path} ({digest})")
    return path
