"""Teach a trained class-conditional model an instance from a few images (DreamBooth).

    python -m experiments.diffusion
    python -m experiments.personalise --from runs/diffusion-digits --label 2 --mirrored
    python -m experiments.personalise --from runs/diffusion-digits --instances folder:mine --rank 0

The instance becomes one more class, number K, that starts as a copy of its own class; `--rank`
adapts by low-rank updates (hu2022), 0 tunes everything. Prior preservation (ruiz2023) trains beside
it on images that the frozen base drew. Then `python -m experiments.sample RUN_DIR --label 10`, and
`evaluate`: the damage to the old classes, and the likeness of samples, by the cosine of features.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import tyro

from experiments.shared import instances
from experiments.shared.bases import BASES, check_same_data, on_batches
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import MAX_COUNT, Count, Positive, Share, Steps, Weight, within
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import rebuild, run
from gen_jax import conditions, nets, training
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import Parts, make_parts, model_from_parts, with_prior_preservation
from gen_jax.errors import ConfigError
from gen_jax.frozen import given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.types import State


@dataclass(frozen=True)
class Config(RunConfig):
    """An instance; the defaults take a style of zeros from the test set of 8x8 digits."""

    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Directory of a class-conditional run of diffusion or flow_matching."""
    instances: str | None = None
    """A set of its images, such as folder:PATH; if not given, test images of its class alike."""
    num_instances: Annotated[int, *within(1, MAX_COUNT)] = 5
    label: Annotated[int, *within(0, MAX_COUNT)] = 0
    """The class that the instance belongs to."""
    mirrored: bool = False
    """Mirror the instance's images: a glyph that no class has."""
    rank: Annotated[int, *within(0, MAX_COUNT)] = 4
    """Of the updates of kernels; 0 tunes all parameters."""
    prior_weight: Weight = 1.0
    """Of the loss on the base's own images; 0 is without prior preservation."""
    prior_images: Count = 200
    """Drawn from the base before the training."""
    prior_labels: Annotated[tuple[int, ...], *within(0, MAX_COUNT, entries=0)] = ()
    """Their classes, in turn; that of the instance if not given."""
    steps: Steps = 400
    batch_size: Count = 16
    learning_rate: Positive = 1e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.99


def build(config: Config, spec: DatasetSpec, base: Saved) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    check_same_data(config, spec, base)
    parts, state = parts_of(base.model, base.state, Parts)
    old = parts.options.condition
    if not isinstance(old, conditions.Labels) or parts.learned_variance:
        raise ConfigError(f"from={config.initial_run!r} has no labels, or learned variances")
    classes = conditions.labels(old.num_classes + 1)
    network = parts.network.clone(num_classes=classes.num_classes)
    rate = one_cycle_adam(config.steps, config.learning_rate)
    options = parts.options._replace(condition=classes, ema_decay=config.ema_decay)

    def make(params: Any) -> GenerativeModel:
        own = nets.personal(network, params, config.label, config.rank)
        model = model_from_parts(make_parts(own, parts.path, rate, options))
        return with_prior_preservation(model, config.prior_weight)

    model = given(state.ema["params"], make)
    # In batches "y" is the class of the instance: the set's own labels are checked.
    named = lambda batch: (
        batch | {"y": jnp.full(len(batch["x"]), classes.num_classes - 1, jnp.int32)}
    )

    return on_batches(model, named)


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """The instance's images, samples of it, and samples of its class."""
    config = rebuild(directory).config
    return instances.picture(directory / "samples" / "instance.png", config, model, spec, state)


EXPERIMENT = Experiment(
    "personalise",
    Config,
    build,
    "adaptation",
    instances.compared,
    bases=BASES,
    more_labels=1,
    more_data=instances.further_data,
    kinds="images",
)


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    images = instances.instances_of(config)
    run(EXPERIMENT, config, comparison, train=instances.training_set(config, EXPERIMENT, images))


if __name__ == "__main__":
    training.run_main(main)
