"""Samplers of diffusers and k-diffusion behind one face, for `benchmarks.solvers`.

A peer is `(denoise, z, calls) -> (x0, first noise level, calls made)`, `denoise(x, alpha, sigma)`
in NumPy and z standard normal. It needs `pip install torch diffusers k-diffusion`.
"""

import importlib.util
import logging
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

Peer = Callable[..., tuple[np.ndarray, float, int]]


def _k_sampling() -> Any:
    """k_diffusion.sampling alone: the package itself imports what training needs."""
    spec = importlib.util.find_spec("k_diffusion")
    assert spec is not None
    package: Any = types.ModuleType("k_diffusion")
    package.__spec__, package.__path__ = spec, list(spec.submodule_search_locations or [])
    utils: Any = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    package.utils = utils
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    return importlib.import_module("k_diffusion.sampling")


def _flow(make, per_step: int, denoise, z, calls):
    """A scheduler of diffusers on the linear path; its model predicts the velocity."""
    import torch

    scheduler = make()
    scheduler.set_timesteps(max(1, (calls + per_step - 1) // per_step))
    x = torch.as_tensor(z)
    by_time = "FlowMatch" in type(scheduler).__name__
    for i, t in enumerate(scheduler.timesteps):
        sigma = float(t) / 1000 if by_time else float(scheduler.sigmas[i])
        value = x.numpy().astype(np.float64)
        velocity = (value - denoise(value, 1 - sigma, sigma)) / sigma
        x = scheduler.step(torch.as_tensor(velocity), t, x).prev_sample.double()
    return x.numpy(), np.inf, len(scheduler.timesteps)


def _vp(make, std, denoise, z, calls):
    """A scheduler of diffusers on DDPM's schedule; its model predicts the noise."""
    import torch

    scheduler = make()
    scheduler.set_timesteps(calls)
    levels = [float(level) for level in scheduler.sigmas]
    scale = [1 / np.hypot(1, level) for level in levels]
    x = torch.as_tensor(z * np.hypot(levels[0], std) * scale[0])
    for i, t in enumerate(scheduler.timesteps):
        alpha, sigma = scale[i], levels[i] * scale[i]
        value = x.numpy().astype(np.float64)
        eps = (value - alpha * denoise(value, alpha, sigma)) / sigma
        x = scheduler.step(torch.as_tensor(eps), t, x).prev_sample.double()
    return x.numpy(), levels[0], len(scheduler.timesteps)


def _edm(sampler, levels, per_step: int, std, denoise, z, calls):
    """A sampler of k-diffusion, where alpha = 1."""
    import torch

    sigmas, made = levels(max(2, (calls + per_step - 1) // per_step)).double(), [0]

    def model(x, sigma, **_):
        made[0] += 1
        return torch.as_tensor(denoise(x.numpy(), 1.0, float(sigma[0])))

    x = torch.as_tensor(z * np.hypot(float(sigmas[0]), std))
    return sampler(model, x, sigmas, disable=True).numpy(), float(sigmas[0]), made[0]


def peers(std: float) -> Iterator[tuple[str, str, Peer]]:
    """(path, title, peer) of every peer, for data of this standard deviation."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import diffusers

    yield "linear", "diffusers Euler", partial(_flow, diffusers.FlowMatchEulerDiscreteScheduler, 1)
    yield "linear", "diffusers Heun", partial(_flow, diffusers.FlowMatchHeunDiscreteScheduler, 2)
    multistep = {
        "UniPC": diffusers.UniPCMultistepScheduler,
        "DPM-Solver++": diffusers.DPMSolverMultistepScheduler,
        "DEIS": diffusers.DEISMultistepScheduler,
    }
    spaced = {"linspace": {}, "karras": {"use_karras_sigmas": True}}
    for title, scheduler in multistep.items():
        for order in (2, 3):
            flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
            make = partial(scheduler, solver_order=order, flow_shift=1.0, **flow)
            yield "linear", f"diffusers {title} {order}", partial(_flow, make, 1)
            for name, options in spaced.items():
                make = partial(
                    scheduler,
                    solver_order=order,
                    beta_start=1e-4,
                    beta_end=0.02,
                    beta_schedule="linear",
                    **options,
                )
                yield "vp", f"diffusers {title} {order}, {name}", partial(_vp, make, std)
    k = _k_sampling()
    none = {"eta": 0.0, "noise_sampler": lambda *_: 0.0}
    samplers = {
        "Euler": (k.sample_euler, 1),
        "Heun": (k.sample_heun, 2),
        "DPM2": (k.sample_dpm_2, 2),
        "LMS 4": (k.sample_lms, 1),
        "DPM++ 2M": (k.sample_dpmpp_2m, 1),
        "DPM++ 3M": (partial(k.sample_dpmpp_3m_sde, **none), 1),
    }
    grids = {
        "karras": partial(k.get_sigmas_karras, sigma_min=0.002, sigma_max=80.0),
        "exponential": partial(k.get_sigmas_exponential, sigma_min=0.002, sigma_max=80.0),
        "karras 0.01-20": partial(k.get_sigmas_karras, sigma_min=0.01, sigma_max=20.0),
    }
    for title, (sampler, per_step) in samplers.items():
        for name, grid in grids.items():
            peer = partial(_edm, sampler, grid, per_step, std)
            yield "edm", f"k-diffusion {title}, {name}", peer
