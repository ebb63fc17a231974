"""Images of an instance, the images that a base draws beside them, and what a run learnt of it."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.shared import pictures
from experiments.shared.command_line import named_by
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import parent_of
from experiments.shared.translation import rows
from gen_jax import data, metrics
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, DataError, check_range
from gen_jax.model import GenerativeModel
from gen_jax.types import Float, State, UInt8

SAMPLES = 300


def instances_of(config: Any) -> UInt8[np.ndarray, "I H W C"]:
    """The images that the options name: the first ones of a set, or test images of a class alike.

    Alike are the first one and its nearest neighbours. Raises ConfigError for a label that there is
    not and images of another shape, DataError where there are no images.
    """
    spec = data.describe(config.dataset)
    if spec.kind != "images" or not spec.num_classes:
        raise ConfigError(f"dataset={config.dataset!r} has no images with labels")
    check_range("label", config.label, 0, spec.num_classes - 1, integer=True)
    if config.instances is None:
        test = data.examples(config.dataset, "test")
        x = test["x"][test["y"] == config.label]
        far = np.square(x.astype(np.float64) - x[:1]).sum((1, 2, 3)) if len(x) else np.zeros(0)
        x = x[np.argsort(far, kind="stable")]
    else:
        with named_by("instances"):
            x = data.load(config.instances, "train")["x"]
    if x.shape[1:] != spec.shape:
        raise ConfigError(
            f"instances={config.instances!r} have shape {x.shape[1:]}, dataset="
            f"{config.dataset!r} {spec.shape}"
        )
    if not len(x):
        raise DataError(f"there are no instance images: no test image has label={config.label}")
    x = x[: config.num_instances]
    return x[:, :, ::-1] if config.mirrored else x


def further_data(config: Any) -> dict[str, UInt8[np.ndarray, "I H W C"]]:
    """The instance's images, where they are not from the dataset: what a run has a digest of."""
    return {} if config.instances is None else {"instances": instances_of(config)}


def training_set(config: Any, experiment: Experiment, images: np.ndarray) -> dict[str, np.ndarray]:
    """The images of the instance, repeated, beside as many as the base draws of `prior_labels`.

    Raises ConfigError for a base without labels, and for labels that there are not.
    """
    base = parent_of(experiment, config)
    assert base is not None
    if "label" not in base.model.conditions or not base.spec.num_classes:
        raise ConfigError(f"from={config.initial_run!r} has no labels")
    classes = config.prior_labels or (config.label,)
    for label in classes:
        check_range("prior_labels", label, 0, base.spec.num_classes - 1, integer=True)
    n = max(config.prior_images, config.batch_size)
    again = np.arange(n) % len(images)
    labels = np.resize(np.asarray(classes, np.int32), n)
    found = {"x": images[again], "y": np.full(n, config.label, np.int32)}
    if config.prior_weight:
        drawn = pictures.draw(base.model, base.spec, base.state, n, config.seed + 1, label=labels)
        found |= {"prior_x": drawn, "prior_y": labels}
    return found


def likeness(a: Float[np.ndarray, "N F"], b: Float[np.ndarray, "M F"]) -> Float[np.ndarray, "N"]:
    """The mean cosine of each row of a with the rows of b (ruiz2023 sec. 4.1, DINO's features)."""
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return (unit(a) @ unit(b).T).mean(1)


def compared(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Likeness to the instance's images of samples, of the class's samples, of the class's images.

    Of the class's images only where the test set has two or more. Features are those of the set's
    classifier, or pixels. Also how many of the samples of the
    instance's old class are of that class still.
    """
    config, spec = saved.config, saved.spec
    try:
        judge: Any = metrics.load_classifier(spec.name)
    except ConfigError:
        judge = metrics.FEATURES["pixels"](spec.name)
    images = instances_of(config)
    draw = lambda label: pictures.draw(
        saved.model, spec, saved.state, SAMPLES, label=np.full(SAMPLES, label, np.int32)
    )
    features = lambda x: np.asarray(judge.features(x), np.float64)
    own, old = draw(spec.num_classes), draw(config.label)
    wanted, real = features(images), test["x"][test["y"] == config.label][:SAMPLES]
    sets = {"samples": own, "class_samples": old}
    if len(real) > 1:
        sets["class_images"] = real
    report: dict[str, Any] = {
        f"likeness_of_{name}": metrics.mean_and_error(likeness(features(x), wanted))
        for name, x in sets.items()
    }
    if isinstance(judge, metrics.ClassifierFeatures):
        right = (judge.predict(old) == config.label).astype(float)
        report["class_accuracy"] = float(right.mean())
    return report


def picture(
    path: Path, config: Any, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """The instance's images, in turn, above twelve samples of it and twelve of its class."""
    images = instances_of(config)
    draw = lambda label: pictures.draw(model, spec, state, 12, label=np.full(12, label, np.int32))
    return rows(
        path, [images[np.arange(12) % len(images)], draw(spec.num_classes), draw(config.label)]
    )
