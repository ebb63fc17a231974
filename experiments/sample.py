"""Sample a trained run.

    python -m experiments.sample runs/diffusion-digits
    python -m experiments.sample runs/diffusion-digits --num 10000 --output samples.npz
    python -m experiments.sample runs/diffusion-digits --label 3 5 7 --output pictures/
    python -m experiments.sample runs/diffusion-digits --stepper ddim --steps 10 --label 3 --animate
    python -m experiments.sample runs/diffusion-digits --guidance 2
    python -m experiments.sample runs/diffusion-digits --classifier runs/noisy_classifier-digits
    python -m experiments.sample runs/transformer-genesis --num 3 --prompt "And God" --top-p 0.9
    python -m experiments.sample runs/text_gan-captions_digits --prompt "a thick seven in black"

Options of the sampler that are not given are those of the run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np

from experiments.shared.asked import condition_of
from experiments.shared.command_line import read_options
from experiments.shared.exports import is_folder, output_of, write_arrays, write_pictures
from experiments.shared.option_types import MAX_SAMPLES, within
from experiments.shared.pictures import balanced, draw, picture
from experiments.shared.sampling import Sampler, SamplingConfig, prepare
from gen_jax import diffusion, plotting, training
from gen_jax.errors import ConfigError


@dataclass(frozen=True)
class Config(SamplingConfig):
    """What to draw, and how; options not given are those of the run."""

    num: Annotated[int, *within(1, MAX_SAMPLES)] = 100
    label: tuple[int, ...] = ()
    """Classes, drawn in turn; all of them if not given."""
    output: str | None = None
    """A .png (one picture), .txt (text), .npz (arr_0 and labels), or a folder, with a / at the end:
    a PNG for each image, and labels.csv. In samples/ of the run if not given."""
    prompt: str | None = None
    """Text that the samples continue, or what pictures are to show."""
    animate: bool = False
    """Also write a GIF of the way from noise to data."""


def animate(config: Config, sampler: Sampler, path: Path) -> Path:
    """A GIF of 36 images, or of 2000 points, along the sampling path."""
    spec = sampler.saved.spec
    n = 36 if spec.kind == "images" else 2000
    asked = condition_of(config.label, config.prompt, sampler.saved, n)
    options = sampler.options | (asked or balanced(sampler.model, spec, n))
    key = jax.random.key(config.seed)
    draw = jax.jit(
        lambda key, state: diffusion.trajectory(key, sampler.model, state, n, **options).states
    )
    states = np.asarray(draw(key, sampler.state))[1:]
    animation = plotting.point_animation if spec.kind == "points" else plotting.image_animation
    return animation(path, states)


def main() -> None:
    config = read_options(Config, __doc__)
    sampler = prepare(config)
    saved = sampler.saved
    condition = condition_of(config.label, config.prompt, saved, config.num)
    if config.animate and "grid" not in sampler.model.conditions:
        raise ConfigError(f"animate=True needs a sampler of steps, which {saved.name!r} has not")
    output = output_of(config.output, config.animate, saved)
    options = {**sampler.options, **condition}
    samples = draw(sampler.model, saved.spec, sampler.state, config.num, config.seed, **options)
    labels = condition.get("label")
    if is_folder(config.output):
        write_pictures(output, samples, labels)
    elif output.suffix == ".npz":
        write_arrays(output, samples, labels)
    else:
        picture(output, saved.spec, samples)
    if saved.spec.kind == "text" and output.suffix == ".txt":
        print(output.read_text(encoding="utf-8"))
    print(f"{config.num} samples of step {saved.step}: {output}")
    if config.animate:
        print(f"animation: {animate(config, sampler, output.with_suffix('.gif'))}")


if __name__ == "__main__":
    training.run_main(main)
