"""Train a VQ-VAE: images as small maps of integer codes, and a prior on the codes.

    python -m experiments.vqvae                                                # 8x8 digits
    python -m experiments.vqvae --dataset mnist --steps 3000
    python -m experiments.vqvae --dataset mnist --levels 2 --halvings 1 --steps 3000  # VQ-VAE-2
    python -m experiments.vqvae --prior diffusion                              # VQ-Diffusion
    python -m experiments.vqvae --conditional            # then sample with --label, --guidance

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`. A causal
transformer over the codes is trained beside the coder and is the prior that samples are drawn from;
with `--prior diffusion` a diffusion of masked tokens is, and with `--prior counts` each position's
codes are drawn by their frequency alone. The perplexity in the metrics is that of a batch's codes;
`evaluate` reports it over the whole test set.
"""

from dataclasses import dataclass

from experiments.shared.code_options import CodeConfig, options_of, prior_of
from experiments.shared.code_report import measure_test, reconstructions
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.option_types import Positive, Share, Steps
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, vae
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(CodeConfig, RunConfig):
    """A VQ-VAE; the defaults train on 8x8 digits in a minute on two cores."""

    steps: Steps = 1000
    learning_rate: Positive = 2e-3
    """Peak of a one-cycle schedule of Adam."""
    prior: str = "transformer"
    """transformer, diffusion (of masked tokens), or counts: of the codes."""
    conditional: bool = False
    """Condition the prior on the labels."""
    label_dropout: Share = 0.1

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("prior", self.prior, ("transformer", "diffusion", "counts"))
        if self.conditional and self.prior == "counts":
            raise ConfigError("conditional=True needs prior='transformer' or 'diffusion'")


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    options = options_of(config, spec)._replace(condition=condition_of(config, spec))
    return vae.vqvae(
        one_cycle_adam(config.steps, config.learning_rate),
        prior_of(config, options),
        **options._asdict(),
    )


EXPERIMENT = Experiment("vqvae", Config, build, "vae", measure_test=measure_test, kinds="images")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), reconstructions)


if __name__ == "__main__":
    run_main(main)
