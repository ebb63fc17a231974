"""Train a decoder-only transformer on text or on the pixels of images, and read its samples.

    python -m experiments.transformer                            # Genesis, by characters
    python -m experiments.transformer --dataset genesis_pairs    # by byte pairs
    python -m experiments.transformer --dataset text:book.txt@2000
    python -m experiments.transformer --dataset digits --conditional

Then `python -m experiments.sample RUN_DIR --prompt "And God said"`, with `--temperature`, `--top-k`
or `--top-p`, and `python -m experiments.evaluate RUN_DIR` for the perplexity.
"""

from dataclasses import dataclass, field

from experiments.shared.autoregressive_options import LabelledRun
from experiments.shared.command_line import read_options
from experiments.shared.config import condition_of
from experiments.shared.networks import TransformerNetwork
from experiments.shared.option_types import Count, Steps
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data
from gen_jax.autoregressive import transformer
from gen_jax.data import DatasetSpec, Vocabulary
from gen_jax.errors import ConfigError
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(LabelledRun):
    """A transformer; the defaults train on Genesis in some ten minutes on two cores."""

    dataset: str = "genesis"
    steps: Steps = 3000
    batch_size: Count = 32
    network: TransformerNetwork = field(default_factory=TransformerNetwork)

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        self.network.check()


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind == "points":
        raise ConfigError(f"dataset={config.dataset!r} has neither text nor images")
    text = spec.kind == "text"
    return transformer(
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        vocabulary=Vocabulary.from_json(spec.vocabulary).size if text else 256,
        width=config.network.width,
        depth=config.network.depth,
        heads=config.network.heads,
        dropout=config.network.dropout,
        transform=None if text else data.integers(),
        condition=condition_of(config, spec),
        condition_dropout=config.label_dropout,
        ema_decay=config.ema_decay,
    )


EXPERIMENT = Experiment("transformer", Config, build, "autoregressive", kinds="images text")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__))


if __name__ == "__main__":
    run_main(main)
