"""Teach a trained transformer to follow outlines: a side copy of it alone is trained (ControlNet).

    python -m experiments.diffusion --network.name dit --network.patch 2 --directory runs/dit
    python -m experiments.control --from runs/dit

The base is frozen in the run, and its side copy sees the outlines of each training image
(`data.pairs`) through layers that are zero at first (zhang2023b). `python -m experiments.evaluate
RUN_DIR` draws images for the outlines and labels of test images: how well outlines agree, beside
those of the base without the control. `model.sample(..., control=)` takes outlines in [-1, 1].
"""

from dataclasses import dataclass
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
from experiments.shared.option_types import Positive, Share, within
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from gen_jax import conditions, data, nets
from gen_jax.data import DatasetSpec
from gen_jax.data.pairs import outlines
from gen_jax.diffusion import Parts, make_parts, model_from_parts
from gen_jax.errors import ConfigError
from gen_jax.frozen import given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main
from gen_jax.types import Array, State


@dataclass(frozen=True)
class Config(RunConfig):
    """A side copy; the defaults train on 8x8 digits."""

    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Directory of a run of diffusion or flow_matching with a DiT; its parameters stay."""
    learning_rate: Positive = 1e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998
    condition_dropout: Annotated[float, *within(0, 1, open_low=True)] = 0.1
    """Share of the examples whose outlines training hides; of as many others also the label. Above
    0, as pictures of a run are drawn without outlines."""


def build(config: Config, spec: DatasetSpec, base: Saved) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    check_same_data(config, spec, base)
    parts, state = parts_of(base.model, base.state, Parts)
    if not isinstance(parts.network, nets.DiT) or parts.learned_variance:
        raise ConfigError(f"from={config.initial_run!r} has no DiT without learned variances")
    control, own = conditions.image((*spec.shape[:2], 1), "control"), parts.options.condition
    if own is not None and not parts.options.condition_dropout:
        raise ConfigError(
            f"from={config.initial_run!r} was trained without hidden labels (its label_dropout is "
            "0), which a control needs"
        )
    condition = conditions.joint(**({} if own is None else {own.name: own}), control=control)
    names = ("patch", "width", "depth", "heads", "dtype", "param_dtype")
    sizes = {name: getattr(parts.network, name) for name in names}
    network = nets.ControlledDiT(**sizes, condition=condition)
    options = parts.options._replace(
        condition=condition,
        condition_dropout=config.condition_dropout,
        ema_decay=config.ema_decay,
    )
    rate = one_cycle_adam(config.steps, config.learning_rate)

    def make(params: Any) -> GenerativeModel:
        return model_from_parts(make_parts(nets.beside(network, params), parts.path, rate, options))

    model = given(state.ema["params"], make)

    def init(key: Array, batch: dict[str, Any]) -> State:
        return model.init(key, batch | {"control": control.null(len(batch["x"]))})

    def step(key: Array, state: State, batch: dict[str, Any]) -> tuple[State, dict[str, Array]]:
        key, key_hide = jax.random.split(key)
        value = 2 * batch["outlines"].astype(jnp.float32) / 255 - 1
        hidden = jax.random.bernoulli(key_hide, config.condition_dropout, (len(value),))
        return model.step(key, state, batch | {"control": control.hide(value, hidden)})

    return model._replace(init=init, step=step)


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """How well samples keep the outlines of test images, with the control and without."""
    return compared(saved, test)


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Outlines of test images, samples for them, and the images."""
    return picture(directory / "samples" / "controlled.png", model, spec, state)


EXPERIMENT = Experiment(
    "control", Config, build, "adaptation", measure_test, bases=BASES, kinds="images"
)


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    train = data.load(config.dataset, "train")
    if train["x"].ndim != 4:
        raise ConfigError(f"dataset={config.dataset!r} has no images: outlines are of images")
    run(EXPERIMENT, config, comparison, train=train | {"outlines": outlines(train["x"])})


if __name__ == "__main__":
    run_main(main)
