"""The recipes of the landscape: for every family a registered experiment and its options.

They are the best that were found for 8x8 digits in two CPU minutes on two cores. For large images
those of the GAN (`docs/race.md`), diffusion, VQ-VAE and the latents were chosen by measurements of
their own; the others are first guesses until their row is there. A recipe with `--steps` has
converged, or starts to overfit, before the time is up.
"""

import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.shared.registry import Saved

LARGE = 12
"""Images with more pixels a side are trained by the options for large ones."""


def one(saved: Saved) -> int:
    """A single pass through a network."""
    return 1


def every_pixel(saved: Saved) -> int:
    """A pass for each pixel, though caches make it a small one."""
    height, width, _ = saved.spec.shape
    return height * width


def every_code(saved: Saved) -> int:
    """A pass of the prior for each code, and the decoder."""
    sides = saved.spec.shape[0] // 2 ** (1 if max(saved.spec.shape[:2]) < 16 else 2)
    return sides**2 + 1


def chain(saved: Saved) -> int:
    """A gradient of the energy for each step of the chain."""
    return saved.config.sample_steps


def every_patch(saved: Saved) -> int:
    """A pass for each patch of each of the flow's transformers."""
    height, width, _ = saved.spec.shape
    return saved.config.layers * (height // saved.config.patch) * (width // saved.config.patch)


def steps(saved: Saved) -> int:
    """A pass for each step of the sampler."""
    return saved.config.sampling_steps


class Recipe(NamedTuple):
    """How a family is trained.

    Fields:
      family: the row of the decks' table that this is a model of.
      small, large: experiment and options for images up to LARGE pixels a side, and above.
      calls: network calls of a sample, where the model does not mark its calls itself.
      base: the run that it is built on, by the same fields, and `share`, the part of the time that
        this takes.
    """

    family: str
    small: str
    large: str = ""
    calls: Callable[[Saved], int] = one
    base: Any = None
    share: float = 0.0

    def words(self, side: int) -> list[str]:
        """Experiment and options for images of `side` pixels."""
        return shlex.split(self.large if side > LARGE and self.large else self.small)

    def text(self, side: int) -> str:
        """All stages in one line; rows are of this recipe as long as it stays the same."""
        stages = filter(None, (self.base, self))
        return "; ".join(shlex.join(stage.words(side)) for stage in stages)


DIT = "--network.name dit --network.width 96 --network.depth 5 --batch-size 64 --ema-decay 0.999 "
DIT += "--learning-rate 2e-3"
CODER = "vae --convolutional --latent 4 --batch-size 64 --learning-rate 4e-3 --width 16"
CODES = "vqvae --batch-size 64 --width 32 --codes 128 --prior-network.width 96 "
CODES += "--prior-network.depth 3 --prior-network.dropout 0"

RECIPES: dict[str, Recipe] = {
    "mixture of Gaussians, EM": Recipe(
        "mixture",
        "mixture --components 20 --epsilon 0.1 --batch-size 1198 --steps 60 --forgetting 0",
        "mixture --components 20 --epsilon 0.05 --batch-size 4000 --steps 200",
    ),
    "MADE": Recipe(
        "autoregressive",
        "made --hidden 256 --conditional --batch-size 64 --learning-rate 3e-3 --ema-decay 0.99",
        "made --likelihood logistic_mixture --components 5 --hidden 500 --conditional "
        "--batch-size 64 --ema-decay 0.999",
        every_pixel,
    ),
    "PixelRNN": Recipe(
        "autoregressive",
        "pixelcnn --network.name pixel_rnn --conditional",
        "pixelcnn --network.name gated --network.width 32 --network.depth 5 --network.kernel 5 "
        "--conditional --batch-size 32 --learning-rate 2e-3 --ema-decay 0.99",
        every_pixel,
    ),
    "RealNVP": Recipe(
        "flow",
        "glow --architecture realnvp --levels 1 --conditional",
        "glow --depth 8 --width 64 --dequantization variational --conditional",
    ),
    "TarFlow": Recipe(
        "flow",
        "tarflow --conditional --width 48 --depth 1 --batch-size 64 --learning-rate 3e-3 "
        "--noise 0.05",
        "tarflow --patch 4 --width 96 --conditional",
        every_patch,
    ),
    "JEM": Recipe(
        "energy",
        "jem --features 256 256 256 --annealed-chains 64",
        "jem --channels 32 64 64 --features 128 --annealed-chains 64",
        chain,
    ),
    "VAE, VampPrior": Recipe(
        "VAE",
        "vae --conditional --prior vamp --components 100 --steps 10000",
        "vae --conditional --prior vamp --components 100",
    ),
    "VQ-VAE": Recipe(
        "VAE",
        "vqvae --batch-size 64 --width 24 --prior-network.width 48 --prior-network.depth 2 "
        "--prior-network.dropout 0 --conditional",
        f"{CODES} --conditional",
        every_code,
    ),
    "GAN": Recipe(
        "GAN",
        "gan --loss relativistic --penalty r1_r2 --conditional projection",
        "gan --architecture dcgan --conditional projection --loss hinge --penalty none "
        "--remedy spectral --widths 64 32 --latent 64 --batch-size 64 --learning-rate 4e-4 "
        "--beta1 0.0 --ema-decay 0.999",
    ),
    "diffusion": Recipe(
        "diffusion",
        "diffusion",
        f"diffusion {DIT}",
    ),
    "flow matching": Recipe(
        "diffusion",
        "flow_matching",
        f"flow_matching {DIT}",
    ),
    "flow map, one call": Recipe(
        "diffusion",
        "flow_map",
        f"flow_map {DIT}",
    ),
    "latent diffusion": Recipe(
        "diffusion",
        "latent_diffusion --network.width 64 --network.depth 3 --batch-size 64 "
        "--learning-rate 3e-3 --sampling-steps 16",
        "latent_diffusion --network.name dit --network.patch 1 --network.width 64 "
        "--network.depth 4 --batch-size 64 --ema-decay 0.998 --sampling-steps 20",
        base=Recipe(
            "VAE",
            f"{CODER} --halvings 1 --beta 0.2",
            f"{CODER} --beta 0.1",
        ),
        share=0.25,
    ),
    "token diffusion": Recipe(
        "diffusion",
        "token_diffusion --conditional --patch 2 --network.width 96 --network.depth 3 "
        "--network.dropout 0 --batch-size 64 --learning-rate 2e-3 --ema-decay 0.99",
        "token_diffusion --conditional --patch 4 --network.width 96 --network.depth 4 "
        "--network.dropout 0 --batch-size 64 --learning-rate 2e-3 --ema-decay 0.998",
        steps,
    ),
}
