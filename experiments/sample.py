"""Sample a trained run.

python -m experiments.sample runs/diffusion-digits
python -m experiments.sample runs/diffusion-digits --num 10000 --output samples.npz
python -m experiments.sample runs/diffusion-digits --label 3 5 7 --output pictures/
python -m experiments.sample runs/diffusion-digits --stepper ddim --steps 10 --label 3 --animate
python -m experiments.sample runs/diffusion-digits --guidance 2
python -m experiments.sample runs/diffusion-digits --classifier runs/noisy_classifier-digits
python -m experiments.sample runs/transformer-genesis --num 3 --prompt "And God said" --top-p 0.9
python -m experiments.sample runs/text_gan-captions_digits --prompt "a thick seven in black"
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.shared.exports import LABELS, write_arrays, write_pictures
from experiments.shared.option_types import MAX_SAMPLES, within
from experiments.shared.pictures import balanced, balanced_labels, draw, picture
from experiments.shared.prompts import sentences_of
from experiments.shared.registry import Saved, find
from experiments.shared.sampling import Sampler, SamplingConfig, prepare
from gen_jax import diffusion, plotting, training
from gen_jax.data import Vocabulary
from gen_jax.data.text import prompt_tokens
from gen_jax.errors import ConfigError, check_range

SUFFIXES = {
    "images": (".png", ".npz"),
    "points": (".png", ".svg", ".pdf", ".npz"),
    "text": (".txt", ".npz"),
}


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


def labels_of(chosen: Sequence[int], saved: Saved, n: int) -> np.ndarray | None:
    """The labels of n samples: those chosen in turn, or all; None where the model takes none.

    Raises ConfigError for a label that the run's data do not have, or its model does not take.
    """
    spec = saved.spec
    for label in chosen:
        if not spec.num_classes:
            raise ConfigError(f"label={label} was given, but dataset {spec.name!r} has no labels")
        if "label" not in saved.model.conditions:
            raise ConfigError(f"label={label} is no option of a {saved.name!r} run")
        last = spec.num_classes - 1 + find(saved.name).more_labels
        check_range("label", label, 0, last, integer=True)
    if chosen:
        return np.resize(np.asarray(chosen, np.int32), n)
    every = balanced_labels(saved.model, spec, n)
    return None if every is None else np.asarray(every)


def prompt_of(prompt: str, saved: Saved) -> dict[str, Any]:
    """The option of the sampler. Raises ConfigError or DataError for text that does not fit."""
    if "caption" in saved.model.conditions:
        return {"caption": sentences_of(saved.spec).encode(prompt)}
    if saved.spec.kind != "text":
        raise ConfigError(
            f"prompt={prompt!r} was given to a run on {saved.spec.name!r}, whose model takes none"
        )
    vocabulary = Vocabulary.from_json(saved.spec.vocabulary)
    return {"prompt": prompt_tokens(vocabulary, prompt, saved.spec.shape[0])}


def condition_of(config: Config, saved: Saved, n: int) -> dict[str, Any]:
    """What n samples are conditioned on: the prompt, or labels. Raises ConfigError or DataError."""
    labels = labels_of(config.label, saved, n) if config.prompt is None or config.label else None
    if config.prompt is None:
        return {} if labels is None else {"label": labels}
    if labels is not None:
        raise ConfigError(f"prompt={config.prompt!r} and label: give one of them")
    return prompt_of(config.prompt, saved)


def output_of(config: Config, sampler: Sampler) -> Path:
    """The file to write, and may be written: asked before the time for sampling is spent."""
    allowed = SUFFIXES[sampler.saved.spec.kind]
    path = Path(config.output or sampler.saved.directory / "samples" / f"drawn{allowed[0]}")
    if is_folder(config.output) and sampler.saved.spec.kind == "images":
        if config.animate:
            raise ConfigError(f"animate=True needs a file as output, not {config.output!r}")
        training.check_writable("output", path / LABELS)
        return path
    if path.suffix not in allowed:
        more = ", or with a / for a folder" if sampler.saved.spec.kind == "images" else ""
        raise ConfigError(f"output={str(path)!r} must end in one of: {', '.join(allowed)}{more}")
    if config.animate:
        training.check_writable("output", path.with_suffix(".gif"))
    return training.check_writable("output", path)


def is_folder(output: str | None) -> bool:
    """Whether pictures of their own are asked for: a path that ends in a / names a folder."""
    return output is not None and output.endswith("/")


def animate(config: Config, sampler: Sampler, path: Path) -> Path:
    """A GIF of 36 images, or of 2000 points, along the sampling path."""
    spec = sampler.saved.spec
    n = 36 if spec.kind == "images" else 2000
    told = condition_of(config, sampler.saved, n) or balanced(sampler.model, spec, n)
    options = sampler.options | told
    key = jax.random.key(config.seed)
    draw = jax.jit(
        lambda key, state: diffusion.trajectory(key, sampler.model, state, n, **options).states
    )
    states = np.asarray(draw(key, sampler.state))[1:]
    animation = plotting.point_animation if spec.kind == "points" else plotting.image_animation
    return animation(path, states)


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    sampler = prepare(config)
    saved = sampler.saved
    condition = condition_of(config, saved, config.num)
    if config.animate and "grid" not in sampler.model.conditions:
        raise ConfigError(f"animate=True needs a sampler of steps, which {saved.name!r} has not")
    output = output_of(config, sampler)
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
