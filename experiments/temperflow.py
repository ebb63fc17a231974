"""TemperFlow: fit a flow to a known density along its tempering curve, and draw from it at once.

    python -m experiments.temperflow --schedule.batch-size 500 --schedule.stage-steps 300
    python -m experiments.temperflow --dataset target:grid --schedule.batch-size 1000
    python -m experiments.temperflow --schedule.first-beta 1 --schedule.first-steps 4000
    python -m experiments.temperflow --dataset target:clayton@8 --flow.hidden 128 128 \\
        --flow.half-width 6 --schedule.kl-factor 0.7 --schedule.batch-size 1000 \\
        --schedule.stage-steps 600 --schedule.polish forward_kl --schedule.polish-rounds 12 \\
        --schedule.polish-steps 300 --schedule.polish-rate 1e-3 --margin 10 --steps 20000

The third is reverse KL alone. Then `python -m experiments.sample RUN_DIR` and `python -m
experiments.evaluate RUN_DIR`: modes, sliced Wasserstein distance (SW) beside that of two exact
sets, log Z, the same after refinement.

On the Clayton copula the polish by forward KL finds modes and weights that the curve alone misses;
reverse KL from there, or higher rates, unbalance the modes. A narrow --margin leaves draws above
the bound of the rejection.
"""

from dataclasses import asdict, dataclass, field

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.flow_options import FlowConfig
from experiments.shared.known_densities import target_of
from experiments.shared.option_types import Count, Positive, Steps
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from experiments.shared.tempering_report import measure_target, tempering
from gen_jax.data import DatasetSpec
from gen_jax.flows import spline_flow
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main
from gen_jax.transport import MARGIN, Schedule, temperflow


@dataclass(frozen=True)
class Config(RunConfig):
    """A target, a flow, a schedule; the run has arrived at b = 1 well before its last step."""

    dataset: str = "target:ring"
    """target:NAME or target:NAME@DIM, a known density; 8gaussians or 25grid."""
    steps: Steps = 50_000
    """Most optimizer steps; those after the last stage change nothing."""
    batch_size: Count = 1
    """Not used: flows look at no data. See schedule.batch_size."""
    flow: FlowConfig = field(default_factory=FlowConfig)
    schedule: Schedule = field(default_factory=Schedule)
    margin: Positive = MARGIN
    """Refinement's bound on p / (q Z): a larger one leaves less bias and accepts less."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        target_of(self.dataset)
        self.schedule.check()
        spline_flow(**asdict(self.flow))


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    target, layer = target_of(config.dataset), spline_flow(**asdict(config.flow))
    return temperflow(target.log_density, target.dim, layer, config.schedule)


EXPERIMENT = Experiment(
    "temperflow",
    Config,
    build,
    "mcmc",
    measure_target=measure_target,
    kinds="points",
    level="research",
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), tempering, load_data=False)


if __name__ == "__main__":
    run_main(main)
