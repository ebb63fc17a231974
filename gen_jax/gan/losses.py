"""Losses of generators and critics, from the critic's scores of real and generated examples.

`GAN_LOSSES[name] = (critic, generator)`, both minimised; p is the data's law and q the generator's.
Optimal critics and what the critic's loss then says (S1, S2, S4):

    minimax         log(p / q)               -E[critic loss] + log 4 = 2 JS       (goodfellow2014)
    non_saturating  the same critic; the generator minimises -log D instead of log(1 - D)
    lsgan           (b p + a q) / (p + q)    Pearson's divergence if b - c = 1, b - a = 2 (mao2017)
    wgan            a 1-Lipschitz potential  -E[critic loss] = W_1                (arjovsky2017)
    hinge           sign(p - q)              E[critic loss] = 2 - 2 TV            (lim2017)
    relativistic    log(p / q) + constant    log 2 - E[critic loss] = JS(p x q || q x p)
                                                                              (jolicoeur2019)
    f_NAME          T = f'(p / q)            -E[critic loss] = D_f(p || q)        (nowozin2016)

The scores of `f_NAME` are v with T = activation(v); its generator minimises the same bound, that of
`f_NAME_non_saturating` -T (nowozin2016, sec. 3.2). Every loss has finite gradients at |score| = 80.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.divergences import F_DIVERGENCES
from gen_jax.divergences.f_divergence import FDivergence, f_divergence
from gen_jax.errors import check_choice
from gen_jax.registries import described
from gen_jax.types import Array, Float

ScoreLoss = Callable[[Float[Array, "B"], Float[Array, "B"]], Float[Array, "B"]]
"""`(real_scores [B], fake_scores [B]) -> [B]`."""


class GanLoss(NamedTuple):
    """What each network minimises, of the scores of both kinds."""

    critic: ScoreLoss
    generator: ScoreLoss


softplus = jax.nn.softplus
"""-log D is softplus(-score) and -log(1 - D) is softplus(score)."""


def minimax() -> GanLoss:
    """The zero-sum game; the generator's gradient vanishes where the critic is sure (saturates)."""
    critic = lambda real, fake: softplus(-real) + softplus(fake)
    return GanLoss(critic, lambda real, fake: -softplus(fake))


def non_saturating() -> GanLoss:
    """The generator minimises -log D: its gradient is (1 - D) / D times that of `minimax`."""
    return GanLoss(minimax().critic, lambda real, fake: softplus(-fake))


def lsgan(a: float = 0.0, b: float = 1.0, c: float = 1.0) -> GanLoss:
    """Least squares to the values a (fake), b (real), and c (the generator's target)."""
    return GanLoss(
        lambda real, fake: 0.5 * (real - b) ** 2 + 0.5 * (fake - a) ** 2,
        lambda real, fake: 0.5 * (fake - c) ** 2,
    )


def wgan() -> GanLoss:
    """Differences of scores; the caller keeps the critic Lipschitz."""
    return GanLoss(lambda real, fake: fake - real, lambda real, fake: -fake)


def hinge() -> GanLoss:
    """Scores beyond +-1 on their own side cost the critic nothing (lim2017, miyato2018)."""
    critic = lambda real, fake: jax.nn.relu(1 - real) + jax.nn.relu(1 + fake)
    return GanLoss(critic, lambda real, fake: -fake)


def relativistic() -> GanLoss:
    """Pairs: is the real example more real than the generated one? (jolicoeur2019, RpGAN)."""
    return GanLoss(
        lambda real, fake: softplus(fake - real), lambda real, fake: softplus(real - fake)
    )


def f_gan(divergence: str | FDivergence, saturating: bool = True) -> GanLoss:
    """The dual of D_f(p || q) for any f; `saturating=False` has the generator raise T instead."""
    row = f_divergence(divergence)
    bound = lambda real, fake: row.activation(real) - row.conjugate_activation(fake)
    generator = row.conjugate_activation if saturating else row.activation
    return GanLoss(lambda real, fake: -bound(real, fake), lambda real, fake: -generator(fake))


def _f_gan(name: str, saturating: bool = True) -> Callable[[], GanLoss]:
    line = f"The dual of the f-divergence {name} (nowozin2016)."
    more = "" if saturating else " The generator raises its scores instead."
    return described(line + more, lambda: f_gan(name, saturating))


LOSS_MAKERS: dict[str, Callable[[], GanLoss]] = {
    "minimax": minimax,
    "non_saturating": non_saturating,
    "lsgan": lsgan,
    "lsgan_pearson": described(
        "Least squares to -1 and 1, the generator to 0: Pearson's divergence.",
        lambda: lsgan(-1.0, 1.0, 0.0),
    ),
    "wgan": wgan,
    "hinge": hinge,
    "relativistic": relativistic,
    **{f"f_{name}": _f_gan(name) for name in F_DIVERGENCES},
    **{f"f_{name}_non_saturating": _f_gan(name, saturating=False) for name in F_DIVERGENCES},
}
"""Constructors of the losses, each with its line."""

GAN_LOSSES: dict[str, GanLoss] = {name: make() for name, make in LOSS_MAKERS.items()}
"""Every loss of scores alone; "began", whose balance is carried, is in `began`."""


def gan_loss(loss: str | GanLoss) -> GanLoss:
    """The row of that name, or the loss itself; ConfigError for unknown names."""
    if isinstance(loss, GanLoss):
        return loss
    return GAN_LOSSES[check_choice("loss", loss, GAN_LOSSES)]


def ranking_accuracy(real: Float[Array, "N"], fake: Float[Array, "M"]) -> Float[Array, ""]:
    """Share of all pairs in which the real score is higher: 1/2 for a critic at chance.

    The area under the ROC curve of the scores; it means the same for every loss.
    """
    return jnp.mean(real[:, None] > fake) + 0.5 * jnp.mean(real[:, None] == fake)
