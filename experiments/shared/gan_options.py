"""Options of `experiments.gan` that choose its loss, its penalty, its remedies and its networks."""

from dataclasses import dataclass
from typing import Annotated, Any

from experiments.shared.config import RunConfig
from experiments.shared.gan_parts import ARCHITECTURES, Networks, networks_of
from experiments.shared.gan_remedies import REMEDIES, remedies_of
from experiments.shared.option_types import MAX_WIDTH, MaybeWidths, of
from gen_jax import conditions, gan
from gen_jax.data import DatasetSpec
from gen_jax.errors import ConfigError, check_choice


@dataclass(frozen=True)
class GanOptions(RunConfig):
    """Which game is played, and by which networks."""

    loss: str = "non_saturating"
    """minimax, non_saturating, lsgan, wgan, hinge, relativistic, began, f_kl, ...;
    `python -m experiments.list` shows all"""
    penalty: str = "r1"
    """none, wgan_gp, wgan_lp, dragan, r1, r2 or r1_r2; began takes none"""
    penalty_weight: Annotated[float | None, *of(gan.Options, "penalty_weight")] = None
    """That of the penalty's paper if not given."""
    remedy: tuple[str, ...] = ()
    """Any of: accumulation, augmentation, clipping, consensus, dropout, feature_matching, freezing,
    instance_noise, lazy, minibatch_deviation, minibatch_discrimination, n_critic, orthogonal,
    spectral, ttur, unrolled"""
    architecture: str = "auto"
    """auto, mlp, lipschitz, dcgan, sagan, biggan, or autoencoder (for loss began)"""
    conditional: str = "none"
    """none, concat, projection, ac or info"""
    code: Annotated[tuple[int, int], *of(gan.Options, "code", MAX_WIDTH)] = (10, 2)
    """Categories and numbers of the code of "info"."""
    diversity: Annotated[float, *of(gan.Options, "diversity")] = 0.5
    """Of began: error of generated images per error of real ones at which it rests."""
    balance_rate: Annotated[float, *of(gan.Options, "balance_rate")] = 1e-3
    """Of began's k."""
    widths: MaybeWidths = ()
    """Of the generator's layers; the architecture's if not given."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("loss", self.loss, [*gan.GAN_LOSSES, "began"])
        check_choice("penalty", self.penalty, ["none", *gan.PENALTIES])
        check_choice("architecture", self.architecture, ["auto", *ARCHITECTURES])
        check_choice("conditional", self.conditional, gan.CONDITIONALS)
        if (self.loss == "began") != (self.architecture == "autoencoder"):
            raise ConfigError(
                f"loss={self.loss!r} with architecture={self.architecture!r}: began and "
                "autoencoder go together"
            )
        for name in self.remedy:
            check_choice("remedy", name, REMEDIES)


def assembled(config: GanOptions, spec: DatasetSpec) -> tuple[Networks, dict[str, Any]]:
    """Generator and critic, and the options of `gan.gan` that these fields stand for.

    Raises ConfigError for options that do not go together, and for data without the labels that
    `conditional` needs.
    """
    remedy, kind = remedies_of(config), config.conditional
    labelled = kind not in ("none", "info")
    if labelled and not spec.num_classes:
        raise ConfigError(f"conditional={kind!r}, but dataset {spec.name!r} has no labels")
    code = config.code if kind == "info" else (0, 0)
    penalty = None if config.penalty == "none" else config.penalty
    networks = networks_of(
        config.architecture,
        spec,
        config.widths,
        {"conditional": kind, "codes": sum(code)},
        remedy.critic,
        penalty is not None,
    )
    options = {
        "loss": config.loss,
        "penalty": penalty,
        "penalty_weight": config.penalty_weight,
        "condition": conditions.labels(spec.num_classes) if labelled else None,
        "conditional": kind,
        "code": code,
        "diversity": config.diversity,
        "balance_rate": config.balance_rate,
        **remedy.options,
    }
    return networks, options
