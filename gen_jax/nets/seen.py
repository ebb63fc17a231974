"""The parts of a condition as a network takes them: a label, a sentence, an image."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from gen_jax.conditions import Captions, Image, Joint, Labels
from gen_jax.errors import ConfigError
from gen_jax.nets.embeddings import ConditionEmbedding, per_example
from gen_jax.types import Array, Float, Int, Num


class Seen(NamedTuple):
    """What a network sees beside x and the noise level; None for what it has not.

    Fields:
      num_classes, vocabulary: sizes of the tables of labels and of words.
      label: [B]; caption: tokens [B, T]; image: [B, H, W, C], beside x.
    """

    num_classes: int
    vocabulary: int = 0
    label: Int[Array, "B"] | None = None
    caption: Int[Array, "B T"] | None = None
    image: Float[Array, "B ..."] | None = None


KINDS = {"label": Labels, "caption": Captions, "image": Image}


def seen(condition: Any, num_classes: int, value: Any, count: int) -> Seen:
    """A condition's value by kind; without a condition it is a label.

    Args:
      condition: of `gen_jax.conditions`, or None.
      value: None stands for the condition's `null`.
      count: B.
    Raises ConfigError for two conditions of one kind.
    """
    if condition is None:
        return Seen(num_classes, label=value)
    value = condition.null(count) if value is None else value
    parts = condition.parts if isinstance(condition, Joint) else (condition,)
    values = value if isinstance(condition, Joint) else {condition.name: value}
    found: dict[str, Any] = {}
    sizes: dict[str, Any] = {"num_classes": 0, "vocabulary": 0}
    for part in parts:
        kind = next(kind for kind, of in KINDS.items() if isinstance(part, of))
        if kind in found:
            raise ConfigError(f"condition has two of the kind {kind}: this network takes one")
        found[kind] = values[part.name]
        if isinstance(part, Labels):
            sizes["num_classes"] = part.num_classes
        if isinstance(part, Captions):
            sizes["vocabulary"] = part.vocabulary
    return Seen(**sizes, **found)


def modulation_of(
    module: Any,
    width: int,
    noise: Float[Array, "*batch"],
    x: Num[Array, "B ..."],
    condition: Any,
    name: str | None = "Condition_0",
) -> tuple[Float[Array, "B width"], Seen]:
    """What modulates the layers, of noise level and condition; and what else there is to see.

    Args:
      module: the network whose `nn.compact` calls it, with the fields `condition`, `num_classes`
        and `param_dtype`.
    """
    beside = seen(module.condition, module.num_classes, condition, len(x))
    embed = ConditionEmbedding(
        width, beside.num_classes, module.param_dtype, beside.vocabulary, name=name
    )
    level = embed(per_example(noise, x), beside.label, beside.caption)
    return nn.silu(level), beside


def with_image(x: Float[Array, "B H W C"], image: Float[Array, "B H W D"] | None) -> Array:
    """x with a conditioning image as further channels (saharia2022)."""
    if image is None:
        return x
    if image.shape[:3] != x.shape[:3]:
        raise ConfigError(f"the condition's image has shape {image.shape[1:]}, x {x.shape[1:]}")
    return jnp.concatenate([x, image.astype(x.dtype)], -1)
