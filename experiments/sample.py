"""Sample a trained run.

python -m experiments.sample runs/diffusion-digits
python -m experiments.sample runs/diffusion-digits --stepper ddim --steps 10 --label 3 --animate
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.pictures import draw, picture
from experiments.runner import Saved, rebuild
from gen_jax import plotting, training
from gen_jax.errors import check_range


@dataclass(frozen=True)
class Config:
    """What to draw, and how; options not given are those of the run."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of the run."""
    num: int = 100
    seed: int = 0
    label: int | None = None
    guidance: float = 1.0
    """Weight of classifier-free guidance; 1 is none."""
    stepper: str | None = None
    steps: int | None = None
    grid: str | None = None
    path: str | None = None
    """Another path to sample on."""
    checkpoint: int | None = None
    """A saved step; the newest if not given."""
    output: str | None = None
    """A .png (picture) or .npz (arrays); samples/ of the run if not given."""
    animate: bool = False
    """Also write a GIF of the way from noise to data."""


def animate(config: Config, saved: Saved, options: dict, path: Path) -> Path:
    """A GIF of 36 images, or of 2000 points, along the sampling path."""
    image = saved.spec.kind == "images"
    n = 36 if image else 2000
    key = jax.random.key(config.seed)
    label = options.get("label")
    if saved.spec.num_classes and label is None:
        options = {**options, "label": jnp.arange(n) % saved.spec.num_classes}
    _, info = saved.model.sample(key, saved.state, n, trajectory=True, **options)
    states = np.asarray(info.trajectory)
    if not image:
        return plotting.point_animation(path, states)
    return plotting.image_animation(path, np.uint8(np.clip((states + 1) * 127.5, 0, 255)))


def main() -> None:
    config = tyro.cli(Config, description=__doc__)
    check_range("num", config.num, 1, integer=True)
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint)
    chosen = ("stepper", "steps", "grid", "path")
    options = {k: getattr(config, k) for k in chosen if getattr(config, k) is not None}
    if config.guidance != 1.0:
        options["guidance"] = config.guidance
    label = {} if config.label is None else {"label": config.label}
    samples = draw(
        saved.model, saved.spec, saved.state, config.num, config.seed, **label, **options
    )
    output = Path(config.output or saved.directory / "samples" / "drawn.png")
    if output.suffix == ".npz":
        output.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(output, x=samples)
    else:
        picture(output, saved.spec, samples)
    print(f"{config.num} samples of step {saved.step}: {output}")
    if config.animate:
        print(
            f"animation: {animate(config, saved, {**label, **options}, output.with_suffix('.gif'))}"
        )


if __name__ == "__main__":
    training.run_main(main)
