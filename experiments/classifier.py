"""A small convolutional classifier: the feature network of the metrics, or a guide for diffusion.

    python -m experiments.classifier --dataset mnist
    python -m experiments.classifier --dataset digits --noise-conditioned

The first writes `gen_jax/metrics/weights/DATASET.npz`, whose hash is printed beside every number
made with it. The second trains on noisy images and keeps its weights in its run directory, for
classifier guidance: `python -m experiments.sample RUN --classifier runs/noisy_classifier-DATASET`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.shared.config import RunConfig
from experiments.shared.registry import Experiment
from experiments.shared.runner import default_directory, start
from gen_jax import data, metrics, training
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import noise_input
from gen_jax.diffusion.time_sampling import low_discrepancy
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.model import GenerativeModel
from gen_jax.nets import Classifier
from gen_jax.paths import PATHS, expand
from gen_jax.types import Array, Key


@dataclass(frozen=True)
class Config(RunConfig):
    """A classifier of one image dataset."""

    dataset: str = "digits"
    steps: int = 3000
    batch_size: int = 128
    learning_rate: float = 2e-3
    widths: tuple[int, ...] = (32, 64, 96)
    features: int = 96
    noise_conditioned: bool = False
    path: str = "cosine"
    """Path of the noise, when noise-conditioned."""
    shift: int = 2
    """Random shift in pixels (half of it for images under 16 pixels)."""
    flip: bool = False
    """Random left-right flips."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("path", self.path, PATHS)
        check_range("learning_rate", self.learning_rate, 0, open_low=True)
        check_range("shift", self.shift, 0, integer=True)
        for width in self.widths:
            check_range("widths", width, 4, integer=True)
        check_range("features", self.features, 1, integer=True)
        if not self.noise_conditioned and self.dataset not in data.DATASETS:
            raise ConfigError(
                f"dataset={self.dataset!r} has no name for its weights (add it to "
                "DATASETS, or use --noise-conditioned)"
            )


class ClassifierState(NamedTuple):
    """Parameters, their moving average, optimizer state, step count."""

    params: Any
    ema: Any
    optimizer: Any
    step: Array


def augment(key: Key[Array, ""], x: Array, shift: int, flip: bool) -> Array:
    """Shift each image [B, H, W, C] by up to `shift` pixels, edges repeated, and flip some."""
    key_shift, key_flip = jax.random.split(key)
    b, h, w, c = x.shape
    padded = jnp.pad(x, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="edge")
    corner = jax.random.randint(key_shift, (b, 2), 0, 2 * shift + 1)
    cut = lambda image, at: jax.lax.dynamic_slice(image, (at[0], at[1], 0), (h, w, c))
    x = jax.vmap(cut)(padded, corner)
    mirrored = jax.random.bernoulli(key_flip, 0.5, (b, 1, 1, 1)) & flip
    return jnp.where(mirrored, x[:, :, ::-1], x)


def network_of(config: Config, spec: DatasetSpec) -> Classifier:
    """The network; raises ConfigError for a dataset without images or labels."""
    if spec.kind != "images" or spec.num_classes < 2:
        raise ConfigError(f"dataset={config.dataset!r} has no labelled images to classify")
    return Classifier(
        spec.num_classes,
        widths=config.widths,
        features=config.features,
        noise_conditioned=config.noise_conditioned,
    )


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """init and step of the classifier; it has nothing to sample."""
    config.check()
    spec = spec or data.describe(config.dataset)
    network, path = network_of(config, spec), PATHS[config.path]()
    schedule = optax.cosine_onecycle_schedule(config.steps, config.learning_rate, 0.1)
    optimizer = optax.adamw(schedule, weight_decay=0.02)
    # A guide's gradient is that of log p(y | x), which smoothed labels would flatten.
    smoothing = 0.0 if config.noise_conditioned else 0.05
    shift = config.shift if min(spec.shape[:2]) >= 16 else config.shift // 2

    def init(key, batch):
        noise = jnp.zeros(1) if config.noise_conditioned else None
        params = network.init(key, jnp.zeros((1, *spec.shape)), noise)
        copy = jax.tree.map(jnp.copy, params)
        return ClassifierState(params, copy, optimizer.init(params), jnp.int32(0))

    def loss(params, key, batch):
        key_augment, key_time, key_noise = jax.random.split(key, 3)
        x = batch["x"].astype(jnp.float32) / 127.5 - 1
        x = augment(key_augment, x, shift, config.flip)
        noise = None
        if config.noise_conditioned:
            t = low_discrepancy(key_time, path, len(x))
            eps = jax.random.normal(key_noise, x.shape)
            x = expand(path.alpha(t), x) * x + expand(path.sigma(t), x) * eps
            noise = noise_input(path, t)
        logits, _ = network.apply(params, x, noise)
        smooth = optax.smooth_labels(jax.nn.one_hot(batch["y"], spec.num_classes), smoothing)
        accuracy = jnp.mean(logits.argmax(-1) == batch["y"])
        return jnp.mean(optax.softmax_cross_entropy(logits, smooth)), {"accuracy": accuracy}

    def step(key, state, batch):
        (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, key, batch)
        updates, moments = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        decay = jnp.minimum(0.995, (1 + state.step) / (10 + state.step))
        ema = optax.incremental_update(params, state.ema, 1 - decay)
        return ClassifierState(params, ema, moments, state.step + 1), {"loss": value, **aux}

    return GenerativeModel(init, step, sample=None)  # type: ignore[arg-type]


def log_likelihood(
    config: Config, spec: DatasetSpec, params: Any, label: Array
) -> Callable[[Array, Array], Array]:
    """`(x_t [B, H, W, C], t [B]) -> log p(label [B] | x_t)` [B] on the classifier's own path.

    Images are in [-1, 1], as diffusion models have them.
    """
    network, path = network_of(config, spec), PATHS[config.path]()

    def log_p(x, t):
        logits, _ = network.apply(params, x, noise_input(path, t))
        return jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1)[:, 0]

    return log_p


def test_accuracy(network: Classifier, params: Any, dataset: str) -> float:
    """Share of the test set classified correctly."""
    test = data.load(dataset, "test")
    predict = jax.jit(lambda x: network.apply(params, x / 127.5 - 1)[0].argmax(-1))
    parts = np.array_split(np.arange(len(test["x"])), max(len(test["x"]) // 500, 1))
    right = [predict(test["x"][p].astype(np.float32)) == test["y"][p] for p in parts]
    return float(np.concatenate(right).mean())


def save(config: Config, spec: DatasetSpec, params: Any) -> Path:
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


GUIDE = Experiment("classifier", Config, build)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    if config.noise_conditioned and config.directory is None:
        config = replace(config, directory=default_directory("noisy_classifier", config.dataset))
    run = start(GUIDE, config)
    state = training.fit(run.key, build(config, run.spec), run.train, **run.fit_options)
    if config.noise_conditioned:
        print(f"guide: --classifier {run.directory}")
    else:
        save(config, run.spec, state.ema)


if __name__ == "__main__":
    training.run_main(main)
