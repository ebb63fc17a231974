"""Train a diffusion model, or a relative of it, of the latents of a trained VAE.

    python -m experiments.vae --convolutional --latent 4
    python -m experiments.latent_diffusion --from runs/vae-digits
    python -m experiments.latent_diffusion --from runs/vae-digits --model flow_matching

The first stage is frozen in the run (rombach2022); its latents are standardised by channel over
posterior draws of the training set. Then `python -m experiments.sample RUN_DIR` and `evaluate`:
log p(x) is the bound of both stages, by one draw of z and 100 of 1000 steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
import tyro

from experiments.shared.bases import check_same_data
from experiments.shared.command_line import read_options
from experiments.shared.diffusion_options import PathConfig, bound_in_steps, model_options
from experiments.shared.networks import NetworkConfig, make_network
from experiments.shared.reconstruction import compared, comparison
from experiments.shared.registry import Experiment, Saved
from experiments.shared.runner import Run, run
from gen_jax import vae
from gen_jax.data import DatasetSpec
from gen_jax.diffusion import Parts, denoiser, diffusion
from gen_jax.errors import check_choice
from gen_jax.flow_matching import flow_map_model, flow_matching
from gen_jax.frozen import Given, parts_of
from gen_jax.model import GenerativeModel
from gen_jax.optimization import one_cycle_adam
from gen_jax.training import run_main
from gen_jax.types import Array, Key, State

MODELS: dict[str, Callable[..., GenerativeModel]] = {
    "diffusion": partial(diffusion, prediction="v"),
    "flow_matching": lambda network, path, rate, **options: flow_matching(
        network, rate, path=path, **options
    ),
    "flow_map": flow_map_model,
}


@dataclass(frozen=True)
class Config(PathConfig):
    """A second stage; the defaults train on latents of 8x8 digits."""

    initial_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Directory of the run of experiments.vae whose latents are modelled."""
    model: str = "diffusion"
    """diffusion, flow_matching, or with --noise-input slow_angle and one sampling step flow_map"""
    network: NetworkConfig = field(default_factory=lambda: NetworkConfig(patch=1))
    """auto is a DiT for latents [h, w, c], and an MLP for others."""

    def check(self) -> None:
        """Raise ConfigError for what cannot work, before anything is loaded or compiled."""
        super().check()
        check_choice("model", self.model, MODELS)


def density(keys: Key[Array, "B"], model: GenerativeModel, state: State, u: Array) -> Array:
    """The variational bound on log p(u) of standardised latents, in nats [B]."""
    parts, _ = parts_of(model, state, Parts)
    return bound_in_steps(keys, denoiser(model, state), parts.path, u, bin_width=None)


def build(config: Config, spec: DatasetSpec, base: Saved) -> GenerativeModel:
    """The model of a configuration; raises ConfigError for options that cannot work."""
    config.check()
    check_same_data(config, spec, base)
    shape = vae.latent_shape(base.model, base.state)
    kind = "images" if len(shape) == 3 else "points"
    inner = replace(spec, kind=kind, shape=shape, mean=0.0, std=1.0)
    sized, name = config.network, config.network.name
    sized = replace(sized, name="dit" if (name, kind) == ("auto", "images") else name)
    network, options = make_network(sized, inner), model_options(config, inner)
    model, rate = MODELS[config.model], one_cycle_adam(config.steps, config.learning_rate)

    def make(transform: Any) -> GenerativeModel:
        return model(network, config.path, rate, **options | {"transform": transform})

    return vae.latent_model(base.model, vae.untouched(base.model, base.state), make, density)


def standardised(begun: Run, model: GenerativeModel) -> dict[str, Any]:
    """What training starts from: the first stage with the moments of its latents."""
    base, key = begun.base, jax.random.key(0)
    assert base is not None
    stage = vae.first_stage(key, base.model, base.state, begun.train["x"])
    print(f"latents: std {np.round(stage.std, 3)}")
    return {"initial": Given(stage, None)}


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """What the first stage alone loses of test images."""
    return compared(saved, test["x"])


EXPERIMENT = Experiment(
    "latent_diffusion", Config, build, "diffusion", measure_test, bases=("vae",), kinds="images"
)


def main() -> None:
    config = read_options(Config, __doc__)
    run(EXPERIMENT, config, comparison, fit_options=standardised)


if __name__ == "__main__":
    run_main(main)
