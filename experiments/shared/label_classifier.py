"""Which labels of a training set are kept, and a classifier by these alone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.registry import Saved
from gen_jax import data, vae
from gen_jax.errors import ConfigError
from gen_jax.metrics import mean_and_error
from gen_jax.types import Array, Float, Int

PLAIN_STEPS = 500
"""Updates of the plain classifier, each on all labelled images; its training loss ends near 0."""


def labelled(config: Any, y: Int[np.ndarray, "N"], classes: int) -> Int[np.ndarray, "n"]:
    """The examples whose labels are kept, chosen by the seed: as many of each class, and one more
    of the first ones where the number cannot be shared out. Raises ConfigError if there are none.
    """
    order = np.random.default_rng(config.seed).permutation(len(y))
    each = config.labels // classes + (np.arange(classes) < config.labels % classes)
    there = np.bincount(y, minlength=classes)
    if (each > there).any():
        most = int(there.min()) * classes
        raise ConfigError(
            f"labels={config.labels} is {each.max()} of each class, but one has {there.min()} "
            f"examples (allowed: {classes} to {most})"
        )
    kept = [order[y[order] == label][:count] for label, count in enumerate(each)]
    return np.sort(np.concatenate(kept))


def plain_classifier(
    config: Any, inputs: Float[Array, "n E"], y: Int[Array, "n"], classes: int
) -> Any:
    """Parameters of the classifier's network, trained on labelled examples alone."""
    network, optimizer = vae.mlp(config.hidden)(classes), optax.adam(1e-3)
    loss = lambda params: optax.softmax_cross_entropy_with_integer_labels(
        network.apply(params, inputs), y
    ).mean()

    def step(carry, _):
        params, memory = carry
        change, memory = optimizer.update(jax.grad(loss)(params), memory)
        return (optax.apply_updates(params, change), memory), None

    params = network.init(jax.random.key(config.seed), inputs)
    first = (params, optimizer.init(params))
    return jax.jit(lambda first: jax.lax.scan(step, first, None, PLAIN_STEPS)[0][0])(first)


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Accuracy on the whole test set, of the model's classifier and of one by the labels alone."""
    config, classes, network = saved.config, saved.spec.num_classes, vae.mlp(saved.config.hidden)
    law = vae.likelihood(saved.model, saved.state)

    def inputs(x):
        return law.network_input(vae.values(saved.model, saved.state, x)).reshape(len(x), -1)

    train = data.load(saved.spec.name, "train")
    rows = labelled(config, train["y"], classes)
    alone = plain_classifier(
        config, inputs(train["x"][rows]), jnp.asarray(train["y"][rows]), classes
    )
    guesses = {
        "classifier_accuracy": vae.label_logits(saved.model, saved.state, test["x"]),
        "labels_alone_accuracy": network(classes).apply(alone, inputs(test["x"])),
    }
    right = lambda logits: (np.asarray(logits).argmax(1) == test["y"]).astype(np.float64)
    return {name: mean_and_error(right(logits)) for name, logits in guesses.items()}
