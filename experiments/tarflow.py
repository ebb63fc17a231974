"""Train TarFlow, an autoregressive flow of transformers over patches, and look at its samples.

    python -m experiments.tarflow                               # 8x8 digits
    python -m experiments.tarflow --dataset mnist --patch 4 --width 96 --conditional

Then `python -m experiments.sample RUN_DIR` (`--guidance 2` where it is conditional) and
`python -m experiments.evaluate RUN_DIR`.

Between the grey levels of digits there is nothing, which a density with uniform noise cannot say:
its bound in bits/dim is far above that of models of whole numbers.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig, condition_of
from experiments.shared.flow_options import check_images
from experiments.shared.option_types import Layers, Positive, Share, Steps, Width
from experiments.shared.pictures import balanced_labels
from experiments.shared.registry import Experiment
from experiments.shared.runner import run
from gen_jax import data, plotting
from gen_jax.data import DatasetSpec
from gen_jax.errors import check_choice
from gen_jax.flows import TOKEN_INVERSIONS, flow, tarflow
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.randomness import sample_keys
from gen_jax.training import run_main
from gen_jax.types import State


@dataclass(frozen=True)
class Config(RunConfig):
    """TarFlow on dequantised pixels in [-1, 1]; the defaults take some minutes on two cores."""

    steps: Steps = 2000
    patch: Width = 2
    layers: Layers = 4
    """Transformers, every second one from the last patch backwards."""
    width: Width = 64
    depth: Layers = 2
    """Blocks of each transformer."""
    heads: Width = 2
    noise: Positive = 0.1
    """Standard deviation of the Gaussian noise added in training."""
    inversion: str = "sequential"
    """sequential or jacobi: how samples are found"""
    conditional: bool = False
    """Condition on the labels."""
    learning_rate: Positive = 1e-3
    """Peak of a one-cycle schedule of Adam."""
    ema_decay: Share = 0.998

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("inversion", self.inversion, TOKEN_INVERSIONS)


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    check_images(spec, "tarflow")
    sizes = config.patch, config.layers, config.width, config.depth, config.heads
    layer = tarflow(*sizes, config.inversion)
    layer.base_shape(spec.shape)
    return flow(
        layer,
        one_cycle_adam(config.steps, config.learning_rate),
        shape=spec.shape,
        transform=data.symmetric_images(),
        condition=condition_of(config, spec),
        ema_decay=config.ema_decay,
        noise=config.noise,
    )


def noisy_and_clean(
    directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State
) -> Path:
    """Ten samples with the noise of training, and below them the same denoised."""
    keys, label = sample_keys(jax.random.key(1), 10), balanced_labels(model, spec, 10)
    given = {} if label is None else {"label": label}
    draw = jax.jit(
        lambda denoised: model.sample(keys, state, 10, denoised=denoised, **given), static_argnums=0
    )
    rows = np.concatenate([np.asarray(draw(denoised)) for denoised in (False, True)])
    path = directory / "samples" / "denoised.png"
    return plotting.save_image(path, plotting.image_grid(rows, columns=10))


EXPERIMENT = Experiment("tarflow", Config, build, "flows", kinds="images", level="research")


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), noisy_and_clean)


if __name__ == "__main__":
    run_main(main)
