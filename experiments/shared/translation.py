"""What the experiments from image to image share: networks, optimizer, pictures, numbers."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.shared.config import RunConfig
from experiments.shared.option_types import MaybeLayers, Positive, Share, Width
from experiments.shared.pictures import image_rows
from experiments.shared.registry import Saved
from gen_jax import data, gan_nets, metrics, plotting
from gen_jax.data import DatasetSpec, pairs
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.gan import GAN_LOSSES
from gen_jax.gan.translation import check_pair
from gen_jax.model import GenerativeModel, sample_in_batches
from gen_jax.types import State

NETWORKS = ("unet", "resnet")


@dataclass(frozen=True)
class TranslationConfig(RunConfig):
    """Options of both models."""

    loss: str = "lsgan"
    """A name in GAN_LOSSES."""
    generator: str = "unet"
    """unet or resnet"""
    width: Width = 32
    """Channels of the generator at the finest resolution; doubled by each halving."""
    levels: MaybeLayers = None
    """Halvings; if not given, 1 for a resnet, for a unet 2 below 16 pixels, else 3."""
    critic_width: Width = 32
    critic_halvings: MaybeLayers = None
    """A score sees 16, 34 or 70 pixels square with 1, 2, 3; 1 below 16 pixels, else 2."""
    learning_rate: Positive = 2e-4
    """Of Adam, falling to 0 over the second half."""
    ema_decay: Share = 0.995

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("generator", self.generator, NETWORKS)
        check_choice("loss", self.loss, GAN_LOSSES)


def networks(config: Any, spec: DatasetSpec, **options: Any) -> tuple[nn.Module, nn.Module]:
    """Generator and critic. Raises ConfigError for data that are no images of even width.

    Args:
      options: further ones of a U-Net.
    """
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} has {spec.kind}; translation needs images")
    *sides, channels = check_pair(spec.shape)
    small = max(sides) < 16
    unet = config.generator == "unet"
    levels = config.levels or (1 if not unet else 2 if small else 3)
    halvings = config.critic_halvings or (1 if small else 2)
    for name, value in {"levels": levels, "critic_halvings": halvings}.items():
        check_range(name, value, 1, max(sides).bit_length() - 1, integer=True)
    critic = gan_nets.PatchCritic(config.critic_width, halvings)
    if unet:
        widths = tuple(config.width * 2**i for i in range(levels))
        return gan_nets.UNetGenerator(channels, widths, **options), critic
    widths = tuple(config.width * 2**i for i in range(levels + 1))
    return gan_nets.ResNetGenerator(channels, widths), critic


def optimizer_of(config: Any) -> optax.GradientTransformation:
    """Adam with beta_1 = 1/2, its rate constant and then falling to 0 (zhu2017, sec. 4)."""
    half = config.steps // 2
    fall = optax.linear_schedule(config.learning_rate, 0.0, max(config.steps - half, 1), half)
    return optax.adam(fall, b1=0.5)


def units() -> data.Transform:
    """uint8 and [-1, 1], without noise."""
    return data.chain(data.to_unit(), data.to_symmetric())


def halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left and right."""
    width = x.shape[2] // 2
    return x[:, :, :width], x[:, :, width:]


def translated(
    model: GenerativeModel, state: State, source: np.ndarray, **condition: Any
) -> np.ndarray:
    """Pairs of sources and their translations, uint8 [N, H, 2 W, C]."""
    key, n = jax.random.key(0), len(source)
    pair = sample_in_batches(model, key, state, n, min(n, 256), source=source, **condition)
    return np.asarray(pair)


def rows(path: Path, columns: list[np.ndarray]) -> Path:
    """A picture whose rows are these sets of at most twelve images."""
    return plotting.save_image(path, image_rows(columns, 12, padding=2))


def errors(x: np.ndarray, y: np.ndarray) -> Any:
    """Mean absolute difference of images, white being 1, with its standard error over images."""
    gap = np.abs(x.astype(np.float64) - y) / 255
    return metrics.mean_and_error(gap.mean((1, 2, 3)))


def constant_of(targets: np.ndarray) -> np.ndarray:
    """The best guess in L1 that ignores the source: the median of each number."""
    return np.median(targets, 0).astype(np.uint8)


def judge_of(spec: DatasetSpec) -> Callable[[np.ndarray], np.ndarray] | None:
    """`images -> labels`: a classifier of the set that the pairs are made of, or of their hues."""
    name = pairs.parse(spec.name)
    if name is None or not spec.num_classes:
        return None
    if name.kind == "colour" and data.describe(name.bases[0]).shape[-1] == 1:
        return lambda images: nearest_hue(images, spec.num_classes)
    try:
        return metrics.load_classifier(name.bases[0]).predict
    except ConfigError:
        return None


def nearest_hue(images: np.ndarray, num_classes: int) -> np.ndarray:
    """The label whose colour (see `data.pairs.paint`) is most like an image's mean colour."""
    colours = np.array([colorsys.hsv_to_rgb(k / num_classes, 1, 1) for k in range(num_classes)])
    mean = images.reshape(len(images), -1, 3).mean(1, dtype=np.float64)
    directions = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    return (mean @ directions.T).argmax(1)


def against_targets(
    spec: DatasetSpec, made: np.ndarray, test: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Translations of held-out sources beside their targets, and what simpler guesses reach."""
    source, target = halves(test["x"][: len(made)])
    constant = constant_of(halves(data.examples(spec.name, "train", 5000)["x"])[1])
    report: dict[str, Any] = {
        "l1": errors(made, target),
        "l1_of_the_source_itself": errors(source, target),
        "l1_of_the_median_target": errors(np.broadcast_to(constant, target.shape), target),
    }
    judge = judge_of(spec)
    if judge is not None:
        labels = test["y"][: len(made)]
        for name, images in (("", made), ("_of_targets", target)):
            right = (judge(images) == labels).astype(float)
            report[f"label_agreement{name}"] = metrics.mean_and_error(right)
    return report


def between_domains(
    other: str, forth: tuple[np.ndarray, np.ndarray], test: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The Frechet distance of held-out images of A to B in the features of B's classifier, before
    and after translation.

    "label_kept" is the share of translations whose class there is the usual one of their label.
    """
    source, made = forth
    judge = metrics.load_classifier(other)
    real = judge.features(halves(test["x"])[1][: len(made)])
    distance = lambda images: metrics.frechet_from_features(real, judge.features(images))
    report: dict[str, Any] = {
        "frechet_to_the_other_domain": distance(made),
        "frechet_of_the_sources": distance(source),
    }
    if "y" in test:
        classes = judge.predict(made)
        counts = np.histogram2d(test["y"][: len(made)], classes, (range(100), range(100)))[0]
        report["label_kept"] = float(counts.max(1).sum() / counts.sum())
        report["label_kept_without_looking"] = float(counts.sum(0).max() / counts.sum())
    return report


def saved_pairs(
    saved: Saved, test: dict[str, np.ndarray], num: int, **condition: Any
) -> np.ndarray:
    """Translations of the first `num` (at least 10) held-out sources, beside them."""
    side = 1 if condition.get("direction") == "backward" else 0
    source = halves(test["x"])[side][: max(num, 10)]
    return translated(saved.model, saved.state, source, **condition)
