"""Measure a trained run: every number with its error, its reference between real sets, its cost.

    python -m experiments.evaluate runs/diffusion-digits
    python -m experiments.evaluate runs/diffusion-mnist --num 10000 --likelihood 1000
    python -m experiments.evaluate runs/vae-binarized_mnist --likelihood 10000 \\
        --importance-samples 500

Writes `evaluation.json` and the curve of precision and recall in the run directory, and both into
`report.html`. Real examples are a random part of each split, always the same one; data that are not
those of the training are refused, unless --allow-changed-data. docs/guides/evaluation.md says what
each number means.
"""

import time
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

import numpy as np

from experiments.shared import caption_checks, measures
from experiments.shared.command_line import read_options
from experiments.shared.likelihoods import options_of
from experiments.shared.option_types import MAX_COUNT, MAX_SAMPLES, Duration, within
from experiments.shared.pictures import draw
from experiments.shared.runner import shown_path
from experiments.shared.sampling import Sampler, SamplingConfig, prepare
from experiments.shared.text_measures import TEXTS
from gen_jax import training
from gen_jax.data import known_densities
from gen_jax.errors import ConfigError
from gen_jax.training.identity import RUN

OPTIONS = frozenset(field.name for field in fields(SamplingConfig)) - {"run", "allow_changed_data"}
"""Fields that the report repeats: they decide what was measured."""


@dataclass(frozen=True)
class Config(SamplingConfig):
    """How to sample and how much to measure."""

    num: Annotated[int | None, *within(measures.MIN_EXAMPLES, MAX_SAMPLES)] = None
    """Samples; if not given 100 texts, of other data as many as the test set has, at most 10000."""
    likelihood: Annotated[int, *within(0, MAX_SAMPLES)] = 500
    """Test examples whose log-likelihood is computed; 0 for none."""
    importance_samples: Annotated[int | None, *within(1, MAX_COUNT)] = None
    """For log p of a VAE (1: its bound); as many as the run says if not given."""
    likelihood_steps: Annotated[int | None, *within(1, MAX_COUNT)] = None
    """Of an ODE; chosen on few examples, see `log_prob_nats_steps_change`, if not given."""
    downstream: Duration = 0
    """Updates of classifiers trained on labelled samples and on real images; 0 for none."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before the run is read."""
        super().check()
        if self.likelihood == 1:
            raise ConfigError("likelihood=1 gives no standard error (allowed: 0, or at least 2)")


def as_captions_say(
    config: Config, sampler: Sampler, samples: np.ndarray, test: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Of a model of captions, how often its images are as asked."""
    if "caption" not in sampler.model.conditions:
        return {}
    model, spec, state = sampler.model, sampler.saved.spec, sampler.state
    drawn = lambda caption: draw(
        model, spec, state, len(caption), config.seed, caption=caption, **sampler.options
    )
    return caption_checks.measure(spec.name, samples, test, drawn)


def main() -> None:
    config = read_options(Config, __doc__)
    sampler = prepare(config, needs_data=True)
    saved = sampler.saved
    path = training.check_writable("evaluation", saved.directory / "evaluation.json")
    given = options_of(saved, config.importance_samples, config.likelihood_steps)
    if config.downstream and not measures.has_labels(saved):
        raise ConfigError(f"downstream={config.downstream} needs a run of images of given labels")
    is_known = saved.spec.name.startswith(known_densities.PREFIX)
    train, test = ({}, {}) if is_known else measures.load_both(saved.spec.name)
    most = 10_000 if is_known else min(len(test["x"]), 10_000)
    usual = TEXTS if saved.spec.kind == "text" else most
    num = usual if config.num is None else config.num
    begun = time.perf_counter()
    measures.phase(f"{num} samples")
    samples = draw(sampler.model, saved.spec, sampler.state, num, config.seed, **sampler.options)
    seconds = time.perf_counter() - begun
    options = OPTIONS if "stepper" in sampler.model.conditions else {"seed", *sampler.options}
    options = {*options, "importance_samples"}
    chosen = {k: v for k, v in asdict(config).items() if k in options and v is not None}
    if is_known:
        measured = measures.evaluate_target(saved, samples, config.seed)
    else:
        measured = measures.evaluate_data(saved, samples, train, test, config.likelihood, **given)
        measured |= as_captions_say(config, sampler, samples, test)
        if config.downstream:
            measured |= measures.evaluate_downstream(saved, samples, train, test, config.downstream)
    report = {
        "run": saved.name,
        RUN: training.read_config(saved.directory).get(RUN),
        "dataset": saved.spec.name,
        "step": saved.step,
        "num_samples": num,
        "options": chosen,
        **sampler.report,
        "sampling_seconds_with_compilation": round(seconds, 2),
        **measured,
    }
    measures.show(report)
    training.write_json(path, report)
    training.write_report(saved.directory)
    print(f"written: {path}\nnext: python -m experiments.record {shown_path(saved.directory)}")


if __name__ == "__main__":
    training.run_main(main)
