"""Draw what outlines and labels say: a side copy of a trained transformer, or a network of its own.

    python -m experiments.diffusion --network.name dit --network.patch 2 --directory runs/dit
    python -m experiments.control --from runs/dit                              # ControlNet
    python -m experiments.control --network.name dit --network.patch 2         # Palette
    python -m experiments.control --from runs/dit --pairs 200                  # from few pairs

With `--from` the base is frozen in the run, and a side copy of it alone is trained: it sees the
outlines of each image (`data.pairs`) through layers that are zero at first (zhang2023b). Without it
a network is trained from scratch that sees them beside x_t (saharia2022palette). Then
`python -m experiments.evaluate RUN_DIR` draws images for the outlines and labels of test images:
how well outlines agree, beside those of the base without the control where there is one.
`model.sample(..., control=)` takes outlines in [-1, 1].
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.shared.bases import BASES, check_same_data
from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.control_report import compared, picture
from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.option_types import MAX_COUNT, Positive, Share, within
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import conditions, data, nets
from gen_jax.data import DatasetSpec
from gen_jax.data.pairs import outlines
from gen_jax.diffusion import Parts, diffusion, make_parts, model_from_parts
from gen_jax.errors import ConfigError, check_range
from gen_jax.frozen import given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.nets.control import sizes_of
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main
from gen_jax.types import Array, State

OF_BOTH = {"learning_rate", "ema_decay", "label_dropout", *(f.name for f in fields(RunConfig))}
OF_BASE = tuple(f.name for f in fields(PathConfig) if f.name not in OF_BOTH)
"""Options that a base has settled; without one they are those of the network from scratch."""


@dataclass(frozen=True)
class Config(PathConfig):
    """A side copy, or a network from scratch; the defaults train on 8x8 digits."""

    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Directory of a run of diffusion or flow_matching with a DiT, whose parameters stay; if not
    given, a network is trained from scratch."""
    pairs: Annotated[int | None, *within(1, MAX_COUNT)] = None
    """Training images that are used, a random part that is always the same; all if not given."""
    learning_rate: Positive = 1e-3
    """Peak of a one-cycle schedule of Adam."""
    condition_dropout: Annotated[float, *within(0, 1, open_low=True)] = 0.1
    """Share of the examples whose outlines training hides; of as many others also the label. Above
    0, as pictures of a run are drawn without outlines."""
    label_dropout: tyro.conf.Suppress[tyro.conf.Fixed[Share]] = 0.0

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        usual = Config()
        for name in OF_BASE if self.initial_run is not None else ():
            if getattr(self, name) != getattr(usual, name):
                raise ConfigError(
                    f"{name}={getattr(self, name)!r} is of a network from scratch, and "
                    f"from={self.initial_run!r} has its own"
                )


def check_images(spec: DatasetSpec) -> None:
    """Raise ConfigError for data that have no outlines."""
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} has no images: outlines are of images")


def seen_with(own: conditions.Condition | None, control: conditions.Image) -> conditions.Condition:
    """Outlines beside what else a model is conditioned on."""
    return conditions.joint(**({} if own is None else {own.name: own}), control=control)


def from_scratch(config: Config, spec: DatasetSpec, control: conditions.Image) -> GenerativeModel:
    """A network that sees outlines beside x_t."""
    options = model_options(config, spec)
    options["condition"] = seen_with(options["condition"], control)
    options["condition_dropout"] = config.condition_dropout
    rate = one_cycle_adam(config.steps, config.learning_rate)
    network = make_network(config.network, spec)
    return diffusion(network, config.path, rate, prediction="v", **options)


def beside(
    config: Config, spec: DatasetSpec, control: conditions.Image, base: Saved
) -> GenerativeModel:
    """A side copy of the base. Raises ConfigError for a base that has none."""
    check_same_data(config, spec, base)
    parts, state = parts_of(base.model, base.state, Parts)
    if not isinstance(parts.network, nets.DiT) or parts.learned_variance:
        raise ConfigError(f"from={config.initial_run!r} has no DiT without learned variances")
    own = parts.options.condition
    if own is not None and not parts.options.condition_dropout:
        raise ConfigError(
            f"from={config.initial_run!r} was trained without hidden labels (its label_dropout is "
            "0), which a control needs"
        )
    condition = seen_with(own, control)
    network = nets.ControlledDiT(**sizes_of(parts.network), condition=condition)
    options = parts.options._replace(
        condition=condition,
        condition_dropout=config.condition_dropout,
        ema_decay=config.ema_decay,
    )
    rate = one_cycle_adam(config.steps, config.learning_rate)

    def make(params: Any) -> GenerativeModel:
        return model_from_parts(make_parts(nets.beside(network, params), parts.path, rate, options))

    return given(state.ema["params"], make)


def build(
    config: Config, spec: DatasetSpec | None = None, base: Saved | None = None
) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    check_images(spec)
    control = conditions.image((*spec.shape[:2], 1), "control")
    if base is None:
        model = from_scratch(config, spec, control)
    else:
        model = beside(config, spec, control, base)

    def init(key: Array, batch: dict[str, Any]) -> State:
        return model.init(key, batch | {"control": control.null(len(batch["x"]))})

    def step(key: Array, state: State, batch: dict[str, Any]) -> tuple[State, dict[str, Array]]:
        key, key_hide = jax.random.split(key)
        value = 2 * batch["outlines"].astype(jnp.float32) / 255 - 1
        hidden = jax.random.bernoulli(key_hide, config.condition_dropout, (len(value),))
        return model.step(key, state, batch | {"control": control.hide(value, hidden)})

    return model._replace(init=init, step=step)


def training_pairs(config: Config) -> dict[str, np.ndarray]:
    """Training images, `config.pairs` of them, with their outlines.

    Raises ConfigError for more than there are, and for data that are no images.
    """
    check_images(data.describe(config.dataset))
    train = data.load(config.dataset, "train")
    if config.pairs is not None:
        check_range("pairs", config.pairs, 1, len(train["x"]), integer=True)
        train = data.examples(config.dataset, "train", config.pairs)
    return train | {"outlines": outlines(train["x"])}


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How well samples keep the outlines of test images, with the control and of the base."""
    return compared(saved, test)


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Outlines of test images, samples for them, and the images."""
    return picture(directory / "samples" / "controlled.png", model, spec, state)


EXPERIMENT = Experiment(
    "control",
    Config,
    build,
    "adaptation",
    measure_test,
    bases=BASES,
    needs_base=lambda config: config.initial_run is not None,
    kinds="images",
)


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    run(EXPERIMENT, config, comparison, train=training_pairs(config))


if __name__ == "__main__":
    run_main(main)
