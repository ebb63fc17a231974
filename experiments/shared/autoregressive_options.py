"""What the autoregressive experiments share: their checks, and the law of the data's values."""

from dataclasses import dataclass
from typing import Annotated, Any

from experiments.shared.config import RunConfig
from experiments.shared.option_types import MAX_WIDTH, Layers, Positive, Share, within
from gen_jax import data
from gen_jax.autoregressive import LIKELIHOODS, Likelihood
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice

NAMES = ("auto", *LIKELIHOODS)
DENSITIES = ("gaussian", "gaussian_mixture")


@dataclass(frozen=True)
class LabelledRun(RunConfig):
    """What the experiments on sequences of values share."""

    conditional: bool = False
    """Condition on the labels."""
    learning_rate: Positive = 1e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.999
    label_dropout: Share = 0.1

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        if hasattr(self, "likelihood"):
            check_choice("likelihood", self.likelihood, NAMES)


def default_likelihood(spec: DatasetSpec) -> str:
    """Mixtures for points and colours, Bernoulli for black and white, else 256 values."""
    if spec.kind == "points":
        return "gaussian_mixture"
    if spec.name.startswith(data.binarized.PREFIX):
        return "bernoulli"
    return "categorical" if spec.shape[-1] == 1 else "logistic_mixture"


def make_likelihood(
    name: str, spec: DatasetSpec, components: int, by_pixel: bool
) -> tuple[Likelihood, data.Transform]:
    """A law by its name, and the transform between data units and its values.

    Args:
      by_pixel: whether the channels of a pixel may be one unit.
    Raises ConfigError for laws that the data cannot have.
    """
    name = default_likelihood(spec) if name == "auto" else name
    if spec.kind == "text" or (name in DENSITIES) != (spec.kind == "points"):
        raise ConfigError(f"likelihood={name!r} does not fit dataset {spec.name!r} ({spec.kind})")
    if name == "bernoulli":
        check_black_and_white(name, spec)
        return LIKELIHOODS[name](), data.binarize()
    if name == "gaussian":
        return LIKELIHOODS[name](), data.standardize(spec.mean, spec.std)
    if name == "gaussian_mixture":
        return LIKELIHOODS[name](components), data.standardize(spec.mean, spec.std)
    if name == "logistic_mixture":
        channels = spec.shape[-1] if by_pixel else 1
        return LIKELIHOODS[name](components, channels), data.integers()
    return LIKELIHOODS[name](256), data.integers()


def check_black_and_white(name: str, spec: DatasetSpec) -> None:
    """Raise ConfigError for images in grey: cut at a threshold they would be another data set,
    whose numbers compare with nothing."""
    if not spec.name.startswith(data.binarized.PREFIX):
        raise ConfigError(
            f"likelihood={name!r} is for black and white images; {spec.name!r} is not: "
            f"try dataset {data.binarized.PREFIX}{spec.name}, or another likelihood"
        )


@dataclass(frozen=True)
class PixelNetwork:
    """A network that sees the pixels before each one."""

    name: str = "gated"
    """pixel_rnn, pixelcnn, gated or pixelcnn_pp"""
    width: Annotated[int, *within(2, MAX_WIDTH)] = 24
    """Channels."""
    depth: Layers = 4
    """Layers; of pixelcnn_pp blocks per resolution, on the way down and up."""
    kernel: Annotated[int, *within(3, 255)] = 3
    """Side of the windows of pixelcnn and gated."""
    dropout: Share = 0.0
    """Of pixelcnn_pp."""

    def sizes(self) -> dict[str, Any]:
        """The module's sizes."""
        if self.name == "pixelcnn_pp":
            return {"width": self.width, "blocks": self.depth}
        window = {} if self.name == "pixel_rnn" else {"kernel": self.kernel}
        return {"width": self.width, "depth": self.depth, **window}
