"""Detect another dataset by a trained model: area under the ROC curve of every score.

    python -m experiments.anomaly runs/pca-fashion_mnist --against mnist
    python -m experiments.anomaly runs/diffusion-fashion_mnist --against mnist --num 28
    python -m experiments.anomaly runs/pixelcnn-fashion_mnist --against mnist \\
        --background runs/pixelcnn-mutated_fashion_mnist_0.1

Any run with a log-likelihood will do. The likelihood itself fails between such sets as those above:
simpler images are likelier, whether they belong or not (nalisnick2019deep). Scores, in nats, higher
for what does not belong: "likelihood" -log p(x) (of an energy: its energy, up to a constant);
"typicality" | -log p(x) - its mean in training | (nalisnick2019); "likelihood_ratio" log p0(x) -
log p(x) with the run of --background as p0, trained on mutated:NAME (ren2019); "complexity"
-log p(x) less the length of x as a PNG (serra2020); "classifier_energy" -logsumexp of the dataset's
classifier (liu2020) and "classifier_softmax" -max log p(y | x) (hendrycks2017), for comparison:
they are given labels.

Probabilistic PCA and mixtures of Gaussians do not fail so between clothes and digits; diffusion and
PixelCNN do.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from experiments.shared.command_line import named_by, read_options
from experiments.shared.option_types import MAX_SAMPLES, SavedStep, within
from experiments.shared.outliers import far_log_prob, scores
from experiments.shared.provenance import compare, in_report
from experiments.shared.runner import rebuild
from gen_jax import data, metrics, training
from gen_jax.errors import DataError
from gen_jax.ranges import check_ranges


@dataclass(frozen=True)
class Config:
    """Which run, against which data."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of a run with a log-likelihood."""
    against: str
    """Dataset that does not belong, of the same shape."""
    background: str | None = None
    """Directory of a run for the likelihood ratio: the same model of mutated:NAME, say."""
    num: Annotated[int, *within(2, MAX_SAMPLES)] = 1000
    """Examples of each set, at most."""
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is read."""
        check_ranges(self)
        with named_by("against"):
            data.registry.find(self.against)


def main() -> None:
    config = read_options(Config, __doc__)
    config.check()
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint)
    slug = "".join(c if c.isalnum() else "_" for c in config.against)
    path = training.check_writable("anomaly", saved.directory / f"anomaly_{slug}.json")
    background = rebuild(config.background) if config.background else None
    changed = compare(saved, config.allow_changed_data)
    drawn = lambda name, split: data.examples(name, split, config.num)["x"]
    train, test = (drawn(saved.spec.name, split) for split in ("train", "test"))
    with named_by("against"):
        other = drawn(config.against, "test")
    if other.shape[1:] != test.shape[1:]:
        raise DataError(
            f"against={config.against!r} has shape {other.shape[1:]}, the run {test.shape[1:]}"
        )
    mean = float(-far_log_prob(saved, train).mean())
    inside, outside = (scores(saved, background, mean, x) for x in (test, other))
    bits = lambda s: metrics.mean_and_error(s["likelihood"] / (test[0].size * math.log(2)))
    report: dict[str, Any] = {
        "run": saved.name,
        "dataset": saved.spec.name,
        "against": config.against,
        **in_report(changed),
        "log_prob_kind": saved.model.log_prob_kind,
        "num": [len(test), len(other)],
        "bits_per_dim_inside": bits(inside),
        "bits_per_dim_outside": bits(outside),
        **{f"auroc_{name}": metrics.auroc(inside[name], outside[name]) for name in inside},
    }
    for name, value in report.items():
        print(f"{name:26s}  {value}")
    training.write_json(path, report)
    print(f"written: {path}")


if __name__ == "__main__":
    training.run_main(main)
