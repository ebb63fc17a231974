"""Models of a trained first stage's latents, and a first stage that is trained for them."""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.shared.bases import check_same_data
from experiments.shared.code_options import CodeConfig
from experiments.shared.code_report import reconstructions
from experiments.shared.diffusion_options import bound_in_steps, model_options
from experiments.shared.networks import make_network
from experiments.shared.prompts import check_captioned
from experiments.shared.registry import Saved, find
from experiments.shared.runner import Run, default_directory, run
from gen_jax import data, vae
from gen_jax.conditions import Condition
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import Parts, denoiser, diffusion
from gen_jax.errors import ConfigError
from gen_jax.flow_matching import flow_map_model, flow_matching
from gen_jax.frozen import Given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.types import Array, Key, State

MODELS: dict[str, Callable[..., GenerativeModel]] = {
    "diffusion": partial(diffusion, prediction="v"),
    "flow_matching": lambda network, path, rate, **options: flow_matching(
        network, rate, path=path, **options
    ),
    "flow_map": flow_map_model,
}
FIRST_STAGES = ("vae", "vqvae")
"""Experiments whose runs can be a first stage."""


def density(keys: Key[Array, "B"], model: GenerativeModel, state: State, u: Array) -> Array:
    """The variational bound on log p(u) of standardised latents, in nats [B]."""
    parts, _ = parts_of(model, state, Parts)
    return bound_in_steps(keys, denoiser(model, state), parts.path, u, bin_width=None)


def model_of_latents(
    config: Any,
    spec: DatasetSpec,
    base: Saved | None,
    model: str = "diffusion",
    condition: Condition | None = None,
) -> GenerativeModel:
    """The model of MODELS that the options of a `PathConfig` describe, of the base's latents.

    Args:
      condition: in place of that of the data.
    Raises ConfigError without a base, for one of other data, and for options that cannot work.
    """
    if base is None:
        raise ConfigError("from=None: a model of latents needs the run of a first stage")
    check_same_data(config, spec, base)
    shape = vae.latent_shape(base.model, base.state)
    kind = "images" if len(shape) == 3 else "points"
    inner = replace(spec, kind=kind, shape=shape, mean=0.0, std=1.0)
    sized, name = config.network, config.network.name
    sized = replace(sized, name="dit" if (name, kind) == ("auto", "images") else name)
    network, options = make_network(sized, inner), model_options(config, inner)
    if condition is not None:
        options["condition"] = condition
    rate = one_cycle_adam(config.steps, config.learning_rate)

    def make(transform: Any) -> GenerativeModel:
        return MODELS[model](network, config.path, rate, **options | {"transform": transform})

    bounded = base.name == "vae" and base.model.log_prob is not None
    stage = vae.untouched(base.model, base.state)
    return vae.latent_model(base.model, stage, make, density if bounded else None)


def standardised(begun: Run, model: GenerativeModel) -> dict[str, Any]:
    """What training starts from: the first stage with the moments of its latents."""
    base, key = begun.base, jax.random.key(0)
    assert base is not None
    stage = vae.first_stage(key, base.model, base.state, begun.train["x"])
    print(f"latents: std {np.round(stage.std, 3)}")
    return {"initial": Given(stage, None)}


SHARED = {"dataset", "batch_size", "seed", "learning_rate", "cpu_devices", "plugin"}
"""Options of a run that the first stage trained for it has too."""


def with_first_stage(config: Any, name: str) -> Any:
    """The configuration of a run of the experiment `name` with the run of a first stage.

    Where it names none, a VQ-VAE is trained by its options of a `CodeConfig` for its `first_steps`,
    or resumed, in its directory with "-first_stage" behind it.
    """
    config.check()
    check_captioned(data.describe(config.dataset))
    if config.initial_run is not None:
        return config
    experiment, same = find("vqvae"), SHARED | {field.name for field in fields(CodeConfig)}
    beside = config.directory or default_directory(name, config.dataset, config.seed)
    make: Any = experiment.config
    own = make(
        **{option: getattr(config, option) for option in same},
        steps=config.first_steps,
        directory=f"{beside}-first_stage",
        prior="counts",
    )
    run(experiment, own, reconstructions)
    return replace(config, initial_run=own.directory)
