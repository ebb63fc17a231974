"""Architectures of `experiments.gan`, by name."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from flax import linen as nn

from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice
from gen_jax.gan_nets import (
    AutoencoderCritic,
    BigGANGenerator,
    DCGANCritic,
    DCGANGenerator,
    LipschitzCritic,
    MLPCritic,
    MLPGenerator,
    ResidualCritic,
    SAGANGenerator,
)

Networks = tuple[nn.Module, nn.Module]
Make = Callable[[DatasetSpec, tuple[int, ...], dict[str, Any], dict[str, Any]], Networks]


def known(kind: type, fields: dict[str, Any], architecture: str) -> dict[str, Any]:
    """The fields, if this critic has them all. Raises ConfigError."""
    for name in fields:
        if name not in kind.__dataclass_fields__:  # type: ignore[attr-defined]
            raise ConfigError(f"architecture={architecture!r} has no critic with {name!r}")
    return fields


def _mlp(spec: DatasetSpec, widths: tuple[int, ...], head: dict, critic: dict) -> Networks:
    generator = MLPGenerator(spec.shape, widths, bounded=spec.kind == "images")
    return generator, MLPCritic(widths, **head, **known(MLPCritic, critic, "mlp"))


def _lipschitz(spec: DatasetSpec, widths: tuple[int, ...], head: dict, critic: dict) -> Networks:
    if head["conditional"] not in ("none", "concat"):
        raise ConfigError(f"architecture='lipschitz' is not for {head['conditional']!r}")
    generator, _ = _mlp(spec, widths, head, {})
    known(LipschitzCritic, critic, "lipschitz")
    return generator, LipschitzCritic(widths)


def _dcgan(spec: DatasetSpec, widths: tuple[int, ...], head: dict, critic: dict) -> Networks:
    """`spectral` and `normalised` choose the critic's norm; the critic has half the widths."""
    given = dict(critic)
    norm = "spectral" if given.pop("spectral", False) else "batch"
    norm = norm if given.pop("normalised", True) or norm == "spectral" else "none"
    known(DCGANCritic, given, "dcgan")
    critic_widths = tuple(max(width // 2, 1) for width in reversed(widths))
    generator = DCGANGenerator(spec.shape, widths)
    return generator, DCGANCritic(critic_widths, norm=norm, **head, **given)


def _residual(
    generator: type[nn.Module],
    spec: DatasetSpec,
    widths: tuple[int, ...],
    head: dict[str, Any],
    critic: dict,
) -> Networks:
    """Every layer has spectral norm 1 already."""
    given = {k: v for k, v in critic.items() if k != "spectral"}
    known(ResidualCritic, given, "of residuals")
    made: Any = generator(shape=spec.shape, widths=widths)  # type: ignore[call-arg]
    return made, ResidualCritic((*reversed(widths), widths[0]), **head, **given)


def _autoencoder(spec: DatasetSpec, widths: tuple[int, ...], head: dict, critic: dict) -> Networks:
    """For loss="began"; the critic has half the widths."""
    if head["conditional"] != "none":
        raise ConfigError(f"architecture='autoencoder' is not for {head['conditional']!r}")
    known(AutoencoderCritic, critic, "autoencoder")
    critic_widths = tuple(max(width // 2, 1) for width in reversed(widths))
    return DCGANGenerator(spec.shape, widths), AutoencoderCritic(critic_widths)


class Architecture(NamedTuple):
    """A pair of networks.

    Fields:
      make: `(spec, widths, head, critic's fields) -> (generator, critic)`.
      widths: unless others are given.
      images: whether it is for images only.
      normalises: whether the critic takes "normalised", False where a penalty needs slopes.
    """

    make: Make
    widths: tuple[int, ...]
    images: bool = False
    normalises: bool = False


ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(_mlp, (128, 128, 128)),
    "lipschitz": Architecture(_lipschitz, (128, 128, 128)),
    "dcgan": Architecture(_dcgan, (128, 64), images=True, normalises=True),
    "sagan": Architecture(partial(_residual, SAGANGenerator), (64, 32), images=True),
    "biggan": Architecture(partial(_residual, BigGANGenerator), (64, 32), images=True),
    "autoencoder": Architecture(_autoencoder, (64, 32), images=True),
}
"""Every architecture by name."""


def networks_of(
    name: str,
    spec: DatasetSpec,
    widths: tuple[int, ...],
    head: dict[str, Any],
    critic: dict[str, Any],
    penalised: bool,
) -> Networks:
    """Generator and critic; "auto" is an MLP for points and tiny images, else a DCGAN.

    Args:
      widths: empty for those of the architecture.
      head: how a condition or a code enters the critic, fields of `CriticHead`; the number of
        classes is set by the model.
      penalised: a penalty on slopes: no batch normalisation in the critic.
    Raises ConfigError for what does not go together.
    """
    if name == "auto":
        name = "dcgan" if spec.kind == "images" and max(spec.shape[:2]) > 12 else "mlp"
    row = ARCHITECTURES[check_choice("architecture", name, ARCHITECTURES)]
    if row.images and spec.kind != "images":
        raise ConfigError(f"architecture={name!r} needs images; dataset {spec.name!r} has none")
    if row.normalises and penalised:
        critic = critic | {"normalised": False}
    return row.make(spec, widths or row.widths, head, critic)
