"""Train Palette: a diffusion model of images given their measurement, one network for one operator.

    python -m experiments.palette                                       # 8x8 digits, lower half
    python -m experiments.palette --operator super_resolution --directory runs/palette-pixels
    python -m experiments.palette --dataset mnist --operator blur --network.name unet

The network sees A^+ y beside x_t (saharia2022palette). Noise is drawn anew in each step. Then
`python -m experiments.evaluate RUN_DIR` restores test images as `experiments.restore` does with a
prior that was trained without the operator, and reports the same numbers. Outlines, which are no
linear measurement, are seen by `experiments.control`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, model_options
from experiments.shared.networks import make_network
from experiments.shared.registry import Experiment, Saved
from experiments.shared.restoration import (
    OPERATORS,
    OperatorOptions,
    make_operator,
    measured,
    restored,
    restored_picture,
)
from experiments.shared.runner import rebuild, run
from gen_jax import conditions, data
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import diffusion
from gen_jax.errors import ConfigError, check_choice
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main
from gen_jax.types import Array, State

DRAWS, IMAGES = 8, 50


@dataclass(frozen=True, kw_only=True)
class Config(OperatorOptions, PathConfig):
    """Palette; the defaults train on 8x8 digits."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("operator", self.operator, OPERATORS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} is no set of images: nothing can be measured")
    operator, noise_std = make_operator(config, spec.shape), config.noise_std
    image = conditions.image(spec.shape)
    options = model_options(config, spec) | {"condition": image}
    network = make_network(config.network, spec).clone(condition=image, num_classes=0)
    rate = one_cycle_adam(config.steps, config.learning_rate)
    inner = diffusion(network, config.path, rate, prediction="v", **options)

    def with_image(key: Array, batch: dict[str, Any]) -> dict[str, Any]:
        y = measured(key, operator, batch["x"], noise_std)
        return batch | {"image": operator.pseudo_inverse(y)}

    def init(key: Array, batch: dict[str, Any]) -> State:
        return inner.init(key, with_image(key, batch))

    def step(key: Array, state: State, batch: dict[str, Any]) -> tuple[State, dict[str, Array]]:
        key_noise, key_step = jax.random.split(key)
        return inner.step(key_step, state, with_image(key_noise, batch))

    return inner._replace(init=init, step=step)


def restore(saved: Saved, test: dict[str, np.ndarray]) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Numbers and the rows of a picture, by eight samples for each test image."""
    config, x = saved.config, test["x"]
    operator = make_operator(config, saved.spec.shape)
    key_noise, key_draw = jax.random.split(jax.random.key(0))
    y = measured(key_noise, operator, x, config.noise_std)
    seen = jnp.repeat(operator.pseudo_inverse(y), DRAWS, 0)
    drawn = np.asarray(saved.model.sample(key_draw, saved.state, len(seen), image=seen))
    each = drawn.reshape(len(x), DRAWS, *x.shape[1:])
    return restored(saved, operator, config.noise_std, x, y, each, test.get("y"))


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """What `experiments.restore` reports of its 50 test images, however many `num` are."""
    report, _ = restore(saved, data.examples(saved.spec.name, "test", IMAGES))
    return {f"restored_{name}": value for name, value in report.items()}


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Test images, their measurements, samples, mean and deviation."""
    saved = rebuild(directory)._replace(model=model, state=state)
    _, rows = restore(saved, data.examples(spec.name, "test", 12))
    return restored_picture(directory / "samples" / "restored.png", rows)


EXPERIMENT = Experiment(
    "palette", Config, build, "diffusion", measure_test=measure_test, kinds="images"
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), comparison)


if __name__ == "__main__":
    run_main(main)
