"""Networks by name and size, as the experiments' options describe them."""

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import jax.numpy as jnp
import tyro

from experiments.shared.option_types import MAX_WIDTH, Layers, MaybeLayers, Share, Width, within
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.nets import MLP, NETWORKS, DiT, UNet
from gen_jax.nets.blocks import check_heads
from gen_jax.ranges import check_ranges

SIZED = ("mlp", "unet", "dit")
"""Those whose sizes are set here; others of NETWORKS are made of the sizes that are given."""
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


@dataclass(frozen=True)
class NetworkConfig:
    """A conditional network; "auto" is an MLP for points and tiny images, a DiT for larger ones and
    for captions, whose words DiT and U-Net attend to."""

    name: str = "auto"
    """auto, mlp, unet, dit, or one that a plugin adds to NETWORKS"""
    width: Annotated[int | None, *within(2, MAX_WIDTH)] = None
    """Channels: of the MLP's and DiT's hidden layers, or of the U-Net's first level."""
    depth: MaybeLayers = None
    """Residual blocks of the MLP and the DiT, levels of the U-Net."""
    patch: Width = 4
    """Side of the DiT's patches in pixels."""
    dropout: Share = 0.0
    dtype: str = "float32"
    """What the network computes in: float32 or bfloat16; parameters are float32."""

    def check(self) -> None:
        """Raise ConfigError for unknown names and for sizes that no network can have."""
        check_choice("network.name", self.name, ("auto", *NETWORKS))
        check_choice("network.dtype", self.dtype, DTYPES)
        check_ranges(self, "network.")
        if self.name == "dit":
            self.check_dit()

    def check_dit(self) -> None:
        """Raise ConfigError for a width that a DiT cannot have."""
        if self.width is not None:
            check_heads(self.width, 1, low=8, multiple=4, prefix="network.")


@dataclass(frozen=True)
class TransformerNetwork:
    """Sizes of the transformer."""

    width: Width = 128
    depth: Layers = 4
    heads: Width = 4
    dropout: Share = 0.1
    name: tyro.conf.Suppress[str] = "transformer"

    def check(self, prefix: str = "network.", patches: bool = False) -> None:
        """Raise ConfigError for sizes that no transformer, or none of patches, can have."""
        check_ranges(self, prefix)
        low, multiple = (8, 4) if patches else (2, 1)
        check_heads(self.width, self.heads, low, multiple, prefix)


def make_network(config: NetworkConfig, spec: DatasetSpec) -> Any:
    """The network for data of this shape; one of a plugin is made of the sizes that are given.

    Raises ConfigError for names and sizes.
    """
    config.check()
    name = config.name
    if name not in ("auto", *SIZED):
        sizes = {"width": config.width, "depth": config.depth}
        given = {k: size for k, size in sizes.items() if size is not None}
        try:
            inspect.signature(NETWORKS[name]).bind(**given)
        except TypeError as error:
            words = ", ".join(f"network.{k}={size}" for k, size in given.items()) or "no sizes"
            raise ConfigError(f"network.name={name!r} with {words}: {error}") from error
        return NETWORKS[name](**given)
    common = {
        "num_classes": spec.num_classes,
        "dropout": config.dropout,
        "dtype": DTYPES[config.dtype],
    }
    image = spec.kind == "images"
    if name == "auto":
        large = image and max(spec.shape[:2]) > 12
        name = "dit" if large or spec.sentences is not None else "mlp"
    if name != "mlp" and not image:
        raise ConfigError(f"network.name={name!r} needs images; dataset {spec.name!r} has points")
    width = 128 if config.width is None else config.width
    if name == "mlp":
        width, depth = config.width or (256 if image else 128), config.depth or 4
        return MLP(features=(width,) * depth, **common)
    if name == "dit":
        config.check_dit()
        # About 32 channels per head, and as many heads as divide the width.
        heads = max(h for h in range(1, max(width // 32, 1) + 1) if width % h == 0)
        return DiT(config.patch, width, config.depth or 6, heads, **common)
    levels = config.depth or 2
    check_range("network.depth", levels, 1, max(spec.shape[:2]).bit_length(), integer=True)
    widths = tuple((config.width or 32) * 2**level for level in range(levels))
    return UNet(widths=widths, attention=(), **common)
