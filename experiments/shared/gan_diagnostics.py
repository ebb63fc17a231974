"""Diagnostics of a trained GAN: a critic that has memorised the training set, how well its code
predicts the classes, sums of its latents."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from optax.assignment import hungarian_algorithm

from experiments.shared.likelihoods import in_batches
from experiments.shared.pictures import balanced_labels, draw
from experiments.shared.registry import Saved
from gen_jax import data, gan, metrics
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of
from gen_jax.gan.diagnostics import analogy, overfitting
from gen_jax.model import GenerativeModel
from gen_jax.types import Array, State

MOST = 1000
"""Examples of each kind that the critic judges, and latents to take the sums of."""

COLUMNS = 10

BORDER = ("minimax", "non_saturating", "hinge")
"""Losses whose critic says "real" with a score above 0."""


def critic_signs(saved: Saved, test: dict[str, np.ndarray]) -> dict[str, Any]:
    """`overfitting` of the critic as it was trained; nothing for began, which has no scores."""
    parts, _ = parts_of(saved.model, saved.state, gan.Parts)
    if parts.options.loss == "began":
        return {}
    train = data.subset(data.load(saved.spec.name, "train"))
    n = min(len(train["x"]), len(test["x"]), MOST)
    samples = {"x": draw(saved.model, saved.spec, saved.state, n)}
    if parts.options.condition is not None:
        samples["y"] = np.asarray(balanced_labels(saved.model, saved.spec, n))

    def scores(batch):
        condition = {"label": batch["y"][:n]} if parts.critic_sees else {}
        return gan.critic(saved.model, saved.state, **condition)(batch["x"][:n]).score

    found = overfitting(*(jax.jit(scores)(batch) for batch in (train, test, samples)))
    signs = {"critic_overfitting": float(found.ratio)}
    if parts.options.loss in BORDER:
        signs["critic_sure_of_training"] = float(found.sure)
    return signs


def code_accuracy(saved: Saved, test: dict[str, np.ndarray]) -> dict[str, Any]:
    """Share of test images whose likeliest category under q(code | x) is that of their class
    (chen2016, 7.2), and that of the class that most training images have, for comparison.

    Each category is named after a class by training images, one to one, so that most are right.
    Nothing without categories or labels.
    """
    options = parts_of(saved.model, saved.state, gan.Parts)[0].options
    categories, classes = options.code[0], saved.spec.num_classes
    if not (categories and classes):
        return {}
    train = data.subset(data.load(saved.spec.name, "train"))

    @jax.jit
    def likeliest(key, x):
        said = gan.critic(saved.model, saved.state)(x)
        return jnp.argmax(jnp.asarray(said.code)[:, :categories], 1)

    read = lambda split: in_batches(likeliest, split["x"][: 10 * MOST]).astype(int)
    found, label = read(train), train["y"][: 10 * MOST]
    together = np.zeros((categories, classes))
    np.add.at(together, (found, label), 1)
    names = np.full(categories, -1)
    named, of = hungarian_algorithm(jnp.asarray(-together))
    names[np.asarray(named)] = np.asarray(of)
    label = test["y"][: 10 * MOST]
    return {
        "code_accuracy": metrics.mean_and_error((names[read(test)] == label).astype(float)),
        "code_accuracy_of_one_class": float(np.mean(label == np.argmax(np.bincount(train["y"])))),
    }


class Analogies(NamedTuple):
    """Images of a class, and each with what the next class has and its own has not.

    Fields:
      rows: [2 R, COLUMNS, H, W, C], images and below them their analogies.
      accuracy: share of the analogies that the classifier reads as the next class.
    """

    rows: np.ndarray
    accuracy: float


def analogies(model: GenerativeModel, state: State, spec: DatasetSpec) -> Analogies | None:
    """z + mean(z of class k + 1) - mean(z of class k) for latents of every class k (radford2016),
    classes as the bundled classifier reads the samples.

    None where labels or codes enter beside z, where there is no classifier, or no two classes that
    follow one another have COLUMNS samples of MOST.
    """
    options = parts_of(model, state, gan.Parts)[0].options
    if spec.kind != "images" or options.conditional != "none":
        return None
    try:
        read = metrics.load_classifier(spec.name).predict
    except ConfigError:
        return None
    keys = jax.random.split(jax.random.key(3), MOST)
    make = jax.jit(lambda z: gan.generator(model, state)(z, keys[: len(z)]))
    z = jax.random.normal(jax.random.key(4), (MOST, options.latent))
    images = np.asarray(make(z))
    named = read(images)
    rows, right = [], []
    for k in range(spec.num_classes):
        own, wanted = (
            np.flatnonzero(named == k),
            np.flatnonzero(named == (k + 1) % spec.num_classes),
        )
        if min(len(own), len(wanted)) < COLUMNS:
            continue
        give = lambda c, own=z[own], wanted=z[wanted]: analogy(wanted, own, c[None])
        chosen: Array = z[own[:COLUMNS]]
        made = np.asarray(make(jax.vmap(give)(chosen)))
        rows += [images[own[:COLUMNS]], made]
        right.append(read(made) == (k + 1) % spec.num_classes)
    return Analogies(np.stack(rows), float(np.mean(right))) if rows else None
