"""Train a diffusion model of tokens: text, grey levels, black and white images.

    python -m experiments.token_diffusion                                  # Genesis, by characters
    python -m experiments.token_diffusion --dataset digits --path uniform
    python -m experiments.token_diffusion --dataset binarized:digits --stepper by_confidence
    python -m experiments.token_diffusion --dataset binarized:mnist --patch 4   # a DiT

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from experiments.shared.autoregressive_options import LabelledRun
from experiments.shared.command_line import read_options
from experiments.shared.config import condition_of
from experiments.shared.networks import TransformerNetwork
from experiments.shared.option_types import Count, MaybeWidth, Steps
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, nets
from gen_jax.data import DatasetSpec, Vocabulary
from gen_jax.discrete_diffusion import TOKEN_PATHS, TOKEN_STEPPERS, discrete_diffusion
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(LabelledRun):
    """A bidirectional transformer; its defaults were not measured yet."""

    dataset: str = "genesis"
    steps: Steps = 3000
    batch_size: Count = 32
    network: TransformerNetwork = field(default_factory=TransformerNetwork)
    patch: MaybeWidth = None
    """Side in pixels of the patches that the transformer sees; single values if not given."""
    path: str = "absorbing"
    """absorbing (masks) or uniform (any token)"""
    stepper: str = "ancestral"
    """ancestral, euler, by_confidence or first_hitting"""
    sampling_steps: Count = 64

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("path", self.path, TOKEN_PATHS)
        check_choice("stepper", self.stepper, TOKEN_STEPPERS)
        self.network.check(patches=self.patch is not None)


def tokens_of(spec: DatasetSpec) -> tuple[int, data.Transform | None]:
    """The number of values of a token, and the transform to tokens.

    Raises ConfigError for points.
    """
    if spec.kind == "points":
        raise ConfigError(f"dataset={spec.name!r} has neither text nor images")
    if spec.kind == "text":
        return Vocabulary.from_json(spec.vocabulary).size, None
    if spec.name.startswith(data.binarized.PREFIX):
        return 2, data.binarize()
    return 256, data.integers()


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    size, transform = tokens_of(spec)
    sizes, values = config.network, size + (config.path == "absorbing")
    given: Any = {name: getattr(sizes, name) for name in ("width", "depth", "heads", "dropout")}
    network: Any
    if config.patch is None:
        network = nets.TokenTransformer(values, int(np.prod(spec.shape)), **given)
    elif spec.kind == "images":
        network = nets.TokenDiT(values, spec.shape, config.patch, **given)
    else:
        raise ConfigError(f"patch={config.patch} is for images; dataset={spec.name!r} has text")
    return discrete_diffusion(
        network,
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        size=size,
        path=config.path,
        condition=condition_of(config, spec),
        condition_dropout=config.label_dropout,
        ema_decay=config.ema_decay,
        transform=transform,
        stepper=config.stepper,
        num_steps=config.sampling_steps,
    )


EXPERIMENT = Experiment(
    "token_diffusion", Config, build, "tokens", kinds="images text", level="research"
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
