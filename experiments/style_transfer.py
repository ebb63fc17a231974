"""Train a decoder that draws the content of one image in the style of another (AdaIN).

    python -m experiments.style_transfer                      # 8x8 digits in each other's style
    python -m experiments.style_transfer --dataset domains:mnist+fashion_mnist --steps 1500 \\
        --batch-size 32

Contents are the left halves, styles the right ones; what both are is said by the feature maps of
our classifier of the styles' set. Then `python -m experiments.evaluate RUN_DIR`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.command_line import read_options
from experiments.shared.config import RunConfig
from experiments.shared.option_types import Count, Positive, Share, Steps, of, within
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import run
from experiments.shared.style_features import features_of
from experiments.shared.translation import halves, judge_of, rows, translated, units
from gen_jax import data, gan_nets, metrics
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError
from gen_jax.gan import StyleOptions, style_transfer
from gen_jax.gan.style_transfer import adain, content_loss, style_loss
from gen_jax.gan.translation import check_pair
from gen_jax.model import GenerativeModel
from gen_jax.training import run_main
from gen_jax.types import State


@dataclass(frozen=True)
class Config(RunConfig):
    """Style transfer; the defaults train on 8x8 digits."""

    dataset: str = "domains:digits+digits"
    steps: Steps = 1000
    batch_size: Count = 64
    style_weight: Annotated[float, *of(StyleOptions, "style_weight")] = 10.0
    levels: Annotated[int | None, *within(1, 3)] = None
    """Layers of the classifier that are compared; 1 below 16 pixels, else 2."""
    learning_rate: Positive = 1e-3
    ema_decay: Share = 0.99


def build(config: Config, spec: DatasetSpec | None = None) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    spec = spec or data.describe(config.dataset)
    if spec.kind != "images":
        raise ConfigError(f"dataset={spec.name!r} has {spec.kind}; styles are those of images")
    features, shape = features_of(config, spec), check_pair(spec.shape)
    maps = jax.eval_shape(features, jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    return style_transfer(
        features,
        gan_nets.StyleDecoder(shape, tuple(h.shape[-1] for h in reversed(maps[1:]))),
        optax.adam(config.learning_rate),
        shape=spec.shape,
        style_weight=config.style_weight,
        ema_decay=config.ema_decay,
        transform=units(),
    )


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Distances from the wanted content and style, beside those of the images it is made of."""
    content, style = halves(test["x"][: max(num, 10)])
    made = halves(translated(saved.model, saved.state, content, style=style))[1]
    features = jax.jit(features_of(saved.config, saved.spec))
    maps = [features(jnp.asarray(x, jnp.float32) / 127.5 - 1) for x in (made, content, style)]
    coarse, mean = [own[-1] for own in maps], metrics.mean_and_error
    target = adain(coarse[1], coarse[2])
    report: dict[str, Any] = {
        "content_distance": mean(content_loss(coarse[0], target)),
        "content_distance_of_the_styles": mean(content_loss(coarse[2], target)),
        "style_distance": mean(style_loss(maps[0], maps[2])),
        "style_distance_of_the_contents": mean(style_loss(maps[1], maps[2])),
    }
    judge = judge_of(saved.spec)
    if judge is not None:
        right = (judge(made) == test["y"][: len(made)]).astype(float)
        report["label_agreement"] = metrics.mean_and_error(right)
    return report


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """Held-out contents, above their styles, above the results at half and full strength."""
    content, style = halves(data.examples(spec.name, "test", 12)["x"])
    draw = lambda strength: translated(model, state, content, style=style, strength=strength)
    made = [halves(draw(strength))[1] for strength in (0.5, 1.0)]
    return rows(directory / "samples" / "styles.png", [content, style, *made])


EXPERIMENT = Experiment(
    "style_transfer",
    Config,
    build,
    "gan",
    measure_test=measure_test,
    kinds="images",
    level="research",
)


def main() -> None:
    run(EXPERIMENT, read_options(Config, __doc__), comparison)


if __name__ == "__main__":
    run_main(main)
