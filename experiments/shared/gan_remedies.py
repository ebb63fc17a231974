"""Remedies of `experiments.gan`, by name."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Remedy:
    """What a remedy changes: options of `gan.Options`, fields of the critic, the critic's rate."""

    options: dict[str, Any] = field(default_factory=dict)
    critic: dict[str, Any] = field(default_factory=dict)
    rate: float = 1.0
    description: str = ""


REMEDIES: dict[str, Remedy] = {
    "accumulation": Remedy(
        {"accumulate": 2}, description="Gradients of two halves of each batch, averaged."
    ),
    "augmentation": Remedy(
        {"augment": ("color", "translation", "cutout")},
        description="Differentiable colour, translation and cutout (zhao2020).",
    ),
    "clipping": Remedy(
        {"clip": 0.1}, description="Every parameter of the critic within +-0.1 (arjovsky2017)."
    ),
    "consensus": Remedy(
        {"consensus": 0.1},
        description="Both descend the squared field of the game too (mescheder2017).",
    ),
    "dropout": Remedy(critic={"dropout": 0.3}, description="In the critic."),
    "feature_matching": Remedy(
        {"feature_matching": 1.0},
        description="The generator also matches mean features (salimans2016).",
    ),
    "freezing": Remedy(
        {"freeze_above": 0.9},
        description="No critic update while it ranks over 90 % of pairs right.",
    ),
    "instance_noise": Remedy(
        {"instance_noise": 0.3},
        description="Noise on what the critic sees, falling to 0 (sonderby2017).",
    ),
    "lazy": Remedy(
        {"lazy_interval": 8},
        description="The penalty at every eighth step only, eight times as strong (karras2020).",
    ),
    "minibatch_deviation": Remedy(
        critic={"minibatch": "deviation"},
        description="The critic sees the batch's standard deviation (karras2018).",
    ),
    "minibatch_discrimination": Remedy(
        critic={"minibatch": "discrimination"},
        description="It sees how close examples are (salimans2016).",
    ),
    "n_critic": Remedy({"n_critic": 4}, description="Four critic updates per step."),
    "orthogonal": Remedy(
        {"orthogonal": 1e-4}, description="The generator's columns are drawn apart (brock2019)."
    ),
    "spectral": Remedy(
        critic={"spectral": True},
        description="Every layer of the critic has spectral norm 1 (miyato2018).",
    ),
    "ttur": Remedy(rate=4.0, description="The critic learns four times as fast (heusel2017)."),
    "unrolled": Remedy(
        {"unroll": 5}, description="The generator looks five critic steps ahead (metz2017)."
    ),
}
"""Every remedy at a usual strength; the moving average is always on."""


def remedies_of(config: Any) -> Remedy:
    """All chosen remedies as one."""
    total = Remedy()
    for name in config.remedy:
        one = REMEDIES[name]
        options, critic = total.options | one.options, total.critic | one.critic
        total = Remedy(options, critic, total.rate * one.rate)
    if "instance_noise" in config.remedy:
        total.options["instance_noise_steps"] = config.steps // 2
    return total
