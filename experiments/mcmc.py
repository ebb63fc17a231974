"""Sample a known density with Markov chains, and see how well they mix.

    python -m experiments.mcmc                                   # tempered chains on eight modes
    python -m experiments.mcmc --dataset target:funnel --kernel hmc --adapt 50
    python -m experiments.mcmc --dataset target:clayton --kernel random_walk --step-size 0.1

Then `python -m experiments.sample RUN_DIR` and `python -m experiments.evaluate RUN_DIR`. The run's
samples/ get the density with the chains on top and their traces, `diagnostics.json` its numbers.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from experiments.shared.chain_options import kernel_of
from experiments.shared.chain_report import diagnose
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.known_densities import target_of
from experiments.shared.option_types import MAX_COUNT, MAX_STEPS, Count, Steps, of, within
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import mcmc
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.mcmc.adaptation import FEWEST
from gen_jax.mcmc.model import Options
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main


@dataclass(frozen=True)
class Config(RunConfig):
    """Markov chains on a target; the defaults take half a minute on two cores."""

    dataset: str = "target:ring"
    """target:NAME or target:NAME@DIM, a known density; 8gaussians or 25grid."""
    steps: Steps = 200
    batch_size: Count = 1
    """Not used: chains look at no data."""
    chains: Count = 256
    kernel_steps: Annotated[int, *of(Options, "kernel_steps", MAX_STEPS)] = 10
    """Kernel steps per training step."""
    kernel: str = "parallel_tempering"
    """langevin, mala, random_walk, hmc or parallel_tempering"""
    inner: str = "random_walk"
    """The kernel at each temperature: mala, random_walk or hmc."""
    step_size: Annotated[float, *of(Options, "step_size")] = 0.5
    adapt: Annotated[int, *of(Options, "adapt", MAX_STEPS)] = 0
    """First training steps in which the step size is adapted; not for langevin."""
    learn_scale: bool = False
    """Whether adaptation, of 8 steps or more, also learns a scale for each coordinate."""
    leapfrog_steps: Count = 8
    temperatures: Annotated[int, *within(2, 1000)] = 5
    coldest: Annotated[float, *within(0, 0.999, open_low=True)] = 0.02
    """Smallest inverse temperature; the others are geometric between it and 1."""
    spread: Annotated[float, *of(Options, "spread")] = 5.0
    """Chains start at N(0, spread^2 I)."""
    recorded: Annotated[int, *within(4, MAX_COUNT)] = 500
    """Kernel steps recorded at the end for the diagnostics."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("kernel", self.kernel, mcmc.KERNELS)
        check_choice("inner", self.inner, mcmc.TARGET_ACCEPTANCE)
        if self.adapt and self.kernel == "langevin":
            raise ConfigError(f"adapt={self.adapt} needs an acceptance, which langevin has not")
        if self.learn_scale:
            check_range("adapt", self.adapt, FEWEST, integer=True)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    target = target_of(config.dataset)
    moving = config.inner if config.kernel == "parallel_tempering" else config.kernel
    return mcmc.markov_chains(
        target.log_density,
        partial(kernel_of, config, config.kernel, target.log_density),
        target.dim,
        num_chains=config.chains,
        kernel_steps=config.kernel_steps,
        step_size=config.step_size,
        adapt=config.adapt,
        target=mcmc.TARGET_ACCEPTANCE.get(moving, 0.5),
        learn_scale=config.learn_scale,
        spread=config.spread,
        log_normalizer=target.log_normalizer,
    )


EXPERIMENT = Experiment("mcmc", Config, build, "mcmc", kinds="points", level="first")


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, partial(diagnose, config), load_data=False)


if __name__ == "__main__":
    run_main(main)
