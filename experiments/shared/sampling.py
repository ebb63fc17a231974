"""How a trained run is sampled: the options that `sample` and `evaluate` share, and its guides."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import tyro

from experiments.shared import noisy_classifier
from experiments.shared.option_types import MAX_COUNT, MaybePositive, SavedStep, Seed, within
from experiments.shared.plugins import load_plugin
from experiments.shared.provenance import changes, compare, in_report
from experiments.shared.registry import GUIDES, Saved
from experiments.shared.runner import rebuild
from gen_jax import diffusion, training
from gen_jax.discrete_diffusion import TOKEN_STEPPERS
from gen_jax.errors import ConfigError, check_choice, check_range
from gen_jax.model import GenerativeModel
from gen_jax.paths import PATHS
from gen_jax.ranges import check_ranges
from gen_jax.training.identity import RUN
from gen_jax.types import State

DECODING = ("temperature", "top_k", "top_p")
"""Options of autoregressive models alone."""


@dataclass(frozen=True)
class SamplingConfig:
    """Which run, and how to sample it; options not given are those of the run."""

    run: Annotated[str, tyro.conf.Positional]
    """Directory of the run."""
    seed: Seed = 0
    stepper: str | None = None
    """Sampler. edm_heun and edm are useless below 20 network calls (two a step)."""
    num_steps: Annotated[int | None, *within(1, MAX_COUNT), tyro.conf.arg(aliases=["--steps"])] = (
        None
    )
    """Steps of the sampler; those of the run if not given."""
    grid: str | None = None
    """Time grid; the one that the sampler is meant for if not given."""
    sigma_min: MaybePositive = None
    """Noise level sigma / alpha of the last step to the data; the grid's own if not given."""
    sigma_max: MaybePositive = None
    """Noise level sigma / alpha to start from; the path's own end if not given."""
    path: str | None = None
    """Another path to sample on."""
    temperature: Annotated[float | None, *within(0)] = None
    """Of an autoregressive model; 0 takes the most probable value each time."""
    top_k: Annotated[int | None, *within(1, MAX_COUNT)] = None
    """Draw from the k most probable values."""
    top_p: Annotated[float | None, *within(0, 1, open_low=True)] = None
    """Draw from the fewest values whose probability reaches p (the nucleus)."""
    guidance: Annotated[float, *within(-1e3, 1e3)] = 1.0
    """Weight of classifier-free guidance, or of autoguidance; 1 is none."""
    guidance_interval: Annotated[tuple[float, float], *within(0, 1)] = (0.0, 1.0)
    """Times, of 0 (data) to 1 (noise), in which guidance acts."""
    autoguide: SavedStep = None
    """An earlier saved step, whose weaker model is the guide (see --keep of training)."""
    classifier: str | None = None
    """Directory of a noise-conditioned classifier that guides towards the labels."""
    classifier_weight: Annotated[float, *within(-1e3, 1e3)] = 1.0
    classifier_only: bool = False
    """The classifier sees the labels, but the network does not."""
    checkpoint: SavedStep = None
    """A saved step; the newest if not given."""
    allow_changed_data: bool = False
    """Go on although the data are not those of the training."""
    plugin: str | None = None
    """Your own module, imported first; that of the run is imported in any case."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before the run is read."""
        load_plugin(self.plugin)
        check_ranges(self)
        for name, registry in (
            ("stepper", (*diffusion.STEPPERS, *diffusion.OWN_STEPPERS, *TOKEN_STEPPERS)),
            ("grid", diffusion.GRIDS),
            ("path", PATHS),
        ):
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), registry)
        if self.autoguide is not None and self.guidance == 1:
            raise ConfigError(f"autoguide={self.autoguide} needs a guidance other than 1")
        if self.classifier_only and self.classifier is None:
            raise ConfigError("classifier_only=True needs classifier, the directory of its run")


class Sampler(NamedTuple):
    """A rebuilt run with its guides: `draw(sampler.model, spec, sampler.state, n, **options)`."""

    saved: Saved
    model: GenerativeModel
    state: State
    options: dict[str, Any]
    report: Mapping[str, Any] = MappingProxyType({})
    """What a report says of the classifier, and of data that have changed."""


def prepare(config: SamplingConfig, needs_data: bool = False) -> Sampler:
    """Check the options, rebuild the run, compare its data; raises as `rebuild` and `compare`."""
    config.check()
    training.configure_backend(1)
    saved = rebuild(config.run, config.checkpoint)
    chosen = ("stepper", "num_steps", "grid", "sigma_min", "sigma_max", "path", *DECODING)
    options = {name: value for name in chosen if (value := getattr(config, name)) is not None}
    if config.guidance != 1:
        options["guidance"] = config.guidance
    if config.guidance_interval != (0, 1):
        options["guidance_interval"] = config.guidance_interval
    model, state, report = saved.model, saved.state, dict[str, Any]()
    for name, value in options.items():
        if name not in model.conditions:
            raise ConfigError(f"{name}={value!r} is no option of a {saved.name!r} run")
    if config.classifier is not None and "guide" not in model.conditions:
        raise ConfigError(f"classifier={config.classifier!r} cannot guide a {saved.name!r} run")
    if config.autoguide is not None:
        check_range("autoguide", config.autoguide, 0, saved.step - 1, integer=True)
        weaker, _ = training.restore_state(saved.directory, saved.state, config.autoguide)
        training.check_same_run(saved.directory)
        model, state = diffusion.autoguided(model, state, weaker)
    if config.classifier is not None:
        guide = load_guide(config.classifier, saved)
        model, state = diffusion.classifier_guided(
            model,
            state,
            lambda params, x, t, label: noisy_classifier.log_likelihood(
                guide.config, guide.spec, params, label
            )(x, t),
            guide.state.ema,
            source=PATHS[guide.config.path](),
            weight=config.classifier_weight,
            only=config.classifier_only,
        )
        run = training.read_config(guide.directory).get(RUN)
        report["classifier_run"] = {RUN: run, "step": guide.step}
    report |= in_report(compare(saved, config.allow_changed_data, needs_data))
    return Sampler(saved, model, state, options, report)


def load_guide(directory: str, saved: Saved) -> Saved:
    """The noise-conditioned classifier of a run; raises ConfigError if it cannot guide `saved`."""
    guide = rebuild(directory, experiments=GUIDES)
    if not guide.config.noise_conditioned:
        raise ConfigError(f"classifier={directory!r} was trained without --noise-conditioned")
    if guide.spec.name != saved.spec.name or guide.spec.shape != saved.spec.shape:
        raise ConfigError(
            f"classifier={directory!r} was trained on {guide.spec.name!r} "
            f"{guide.spec.shape}, the run on {saved.spec.name!r} {saved.spec.shape}"
        )
    if guide.digests and saved.digests and guide.digests != saved.digests:
        found = "; ".join(changes(saved.digests, guide.digests))
        raise ConfigError(f"classifier={directory!r} was trained on other data: {found}")
    coupling = getattr(saved.config, "coupling", "independent")
    if coupling not in ("independent", "paired"):
        raise ConfigError(
            f"classifier={directory!r} cannot guide a run with coupling={coupling!r}: "
            "its noise depends on the data"
        )
    return guide
