"""The tests of `benchmarks.exact_inputs` by other libraries: {library: {test: () -> number}}.

Each imports its library where it is called. The sizes are those of exact_inputs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BINS, WIDTH, LAYERS, BOX = 8, 16, 4, 5.0


def grid() -> tuple[np.ndarray, float]:
    """Points of the plane [N, 2] and the area of each."""
    axis = np.linspace(-8, 8, 801, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), float(axis[1] - axis[0]) ** 2


def normals(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def noisy(params: Any, scale: float = 0.1) -> Any:
    """Arrays of a pytree with noise of their own added."""
    leaves, form = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    add = lambda key, leaf: leaf + scale * jax.random.normal(key, leaf.shape)
    return form.unflatten([add(*pair) for pair in zip(keys, leaves)])


def inverse_error(x: Any, back: Any, log_det: Any, scaled: bool) -> float:
    """Largest error of a coordinate; scaled by the determinant where this is below 1.

    A map that contracts by a factor loses as much of its points to rounding, whoever inverts it.
    """
    error = np.abs(np.asarray(back) - np.asarray(x)).max(1)
    return float((error * np.exp(np.minimum(np.asarray(log_det), 0)) if scaled else error).max())


# flowjax


def flowjax_slope() -> float:
    import equinox
    from flowjax.bijections import RationalQuadraticSpline
    from paramax import unwrap

    spline = RationalQuadraticSpline(knots=BINS, interval=BOX)
    params, static = equinox.partition(spline, equinox.is_inexact_array)
    made = unwrap(equinox.combine(noisy(params, 1.0), static))
    x = jnp.linspace(-4.9, 4.9, 999)
    slopes = jax.vmap(jax.grad(made.transform))(x)
    log_slopes = jax.vmap(made.transform_and_log_det)(x)[1]
    return float(jnp.abs(log_slopes - jnp.log(slopes)).max())


def _flowjax_flow() -> Any:
    import equinox
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow
    from paramax import NonTrainable, unwrap

    flow = coupling_flow(
        jax.random.key(0),
        base_dist=Normal(jnp.zeros(2)),
        transformer=RationalQuadraticSpline(knots=BINS, interval=BOX),
        flow_layers=LAYERS,
        nn_width=WIDTH,
        nn_depth=2,
    )
    fixed = lambda leaf: isinstance(leaf, NonTrainable)
    params, static = equinox.partition(flow, equinox.is_inexact_array, is_leaf=fixed)
    return unwrap(equinox.combine(noisy(params), static))


def flowjax_integral() -> float:
    x, area = grid()
    flow = _flowjax_flow()
    density = jax.jit(lambda x: jnp.exp(flow.log_prob(x)))(x)
    return float(np.asarray(density, np.float64).sum() * area - 1)


def flowjax_inverse(scaled: bool) -> float:
    flow = _flowjax_flow().bijection
    x = 2 * normals(1, (10_000, 2))
    y, log_det = jax.vmap(flow.transform_and_log_det)(x)
    return inverse_error(x, jax.vmap(flow.inverse)(y), log_det, scaled)


# zuko and nflows, of PyTorch


def _with_noise(module: Any) -> Any:
    """The parameters with noise of deviation 0.1, as those of the other flows."""
    import torch

    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def _torch_slope(forward: Callable) -> float:
    """`forward(x [N]) -> (y, log-slope)` against PyTorch's autodiff."""
    import torch

    x = torch.linspace(-4.9, 4.9, 999, requires_grad=True)
    y, log_slope = forward(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    return float((log_slope - slope.log()).abs().max().detach())


def _torch_integral(log_prob: Callable) -> float:
    import torch

    x, area = grid()
    with torch.no_grad():
        return float(log_prob(torch.from_numpy(x)).double().exp().sum() * area - 1)


def zuko_slope() -> float:
    import torch
    from zuko.transforms import MonotonicRQSTransform

    torch.manual_seed(0)
    sizes = (BINS, BINS, BINS - 1)
    spline = MonotonicRQSTransform(*(torch.randn(n) for n in sizes), bound=BOX)
    return _torch_slope(spline.call_and_ladj)


def _zuko_flow() -> Any:
    import torch
    import zuko

    torch.manual_seed(0)
    options = {"transforms": LAYERS, "hidden_features": (WIDTH, WIDTH), "passes": 2, "bins": BINS}
    return _with_noise(zuko.flows.NSF(2, 0, **options))()


def zuko_integral() -> float:
    return _torch_integral(_zuko_flow().log_prob)


def zuko_inverse(scaled: bool) -> float:
    import torch

    flow, x = _zuko_flow().transform, torch.from_numpy(2 * normals(1, (10_000, 2)))
    with torch.no_grad():
        y, log_det = flow.call_and_ladj(x)
        return inverse_error(x, flow.inv(y), log_det, scaled)


def nflows_slope() -> float:
    import torch
    from nflows.transforms.splines import unconstrained_rational_quadratic_spline as spline

    torch.manual_seed(0)
    sizes = (BINS, BINS, BINS - 1)
    raw = [torch.randn(n).expand(999, n) for n in sizes]
    return _torch_slope(lambda x: spline(x, *raw, tails="linear", tail_bound=BOX))


def _nflows_flow() -> Any:
    import torch
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow
    from nflows.nn.nets import ResidualNet
    from nflows.transforms import base, coupling

    torch.manual_seed(0)
    network = lambda size, out: ResidualNet(size, out, hidden_features=WIDTH, num_blocks=1)
    spline = coupling.PiecewiseRationalQuadraticCouplingTransform
    masks = [torch.tensor([1.0, -1.0]) * (-1) ** i for i in range(LAYERS)]
    options = {"num_bins": BINS, "tails": "linear", "tail_bound": BOX}
    parts = [spline(mask, network, **options) for mask in masks]
    return _with_noise(Flow(base.CompositeTransform(parts), StandardNormal([2]))).eval()


def nflows_integral() -> float:
    return _torch_integral(_nflows_flow().log_prob)


def nflows_inverse(scaled: bool) -> float:
    import torch

    flow, x = _nflows_flow()._transform, torch.from_numpy(2 * normals(1, (10_000, 2)))
    with torch.no_grad():
        y, log_det = flow(x)
        return inverse_error(x, flow.inverse(y)[0], log_det, scaled)


# blackjax


def blackjax_variance() -> float:
    import blackjax

    chain = blackjax.hmc(lambda x: -0.5 * jnp.sum(x**2), 0.7, jnp.ones(1), 3)
    x = jax.random.normal(jax.random.key(4), (10**6, 1))

    @jax.jit
    def run(x):
        state = jax.vmap(chain.init)(x)
        for i in range(5):
            keys = jax.random.split(jax.random.key(i), len(x))
            state = jax.vmap(chain.step)(keys, state)[0]
        return state.position

    return float(run(x).var() - 1)


# diffusers

LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}


def _diffusers_spread(name: str, noisy: bool = False, **options: Any) -> float:
    """The exact noise of N(0, 1) is E[eps | x_t] = sigma_t x_t."""
    import diffusers
    import torch

    made = getattr(diffusers, name)(**LINEAR, timestep_spacing="trailing", **options)
    made.set_timesteps(20)
    more = {"generator": torch.Generator().manual_seed(0)} if noisy else {}
    # A linear sampler without noise multiplies its start, whose deviation is 1, by a number.
    x = torch.from_numpy(normals(2, (10**6, 1))) if noisy else torch.ones(1, 1)
    for t in made.timesteps:
        noise = (1 - made.alphas_cumprod[int(t)]).sqrt() * x
        x = made.step(noise, t, x, **more).prev_sample
    return float((x.std() if noisy else x[0, 0].abs()) - 1)


def _mixture_mean(y: Any, sigma: Any) -> Any:
    """E[x0 | y = x0 + sigma eps] of a mixture at -1 and 1 of deviation 0.5."""
    import torch

    total = 0.25 + sigma**2
    share = torch.sigmoid(2 * y / total)  # of the mode at 1
    return (2 * share - 1) * (1 - 0.25 / total) + 0.25 * y / total


def diffusers_heun_order() -> float:
    import diffusers
    import torch

    def run(steps):
        made = diffusers.HeunDiscreteScheduler(**LINEAR, use_karras_sigmas=True)
        made.set_timesteps(steps)
        made.sigmas = made.sigmas.double()
        x = made.sigmas[0] * torch.linspace(-1.5, 1.5, 7, dtype=torch.float64)[:, None]
        for t in made.timesteps:
            made.scale_model_input(x, t)
            sigma = made.sigmas[made.step_index]
            x = made.step((x - _mixture_mean(x, sigma)) / sigma, t, x).prev_sample
        return x

    exact = run(2048)
    errors = [float((run(n) - exact).abs().max()) for n in (64, 128)]
    return float(np.log2(errors[0] / errors[1]))


PEERS: dict[str, dict[str, Callable[[], float]]] = {
    "diffusers": {
        "spread_ddim": lambda: _diffusers_spread("DDIMScheduler", clip_sample=False),
        "spread_ddpm": lambda: _diffusers_spread("DDPMScheduler", True, clip_sample=False),
        "spread_dpm_solver_pp": lambda: _diffusers_spread(
            "DPMSolverMultistepScheduler", use_lu_lambdas=True
        ),
        "heun_order": diffusers_heun_order,
    },
    "flowjax": {
        "spline_slope": flowjax_slope,
        "flow_integral": flowjax_integral,
        "flow_inverse": lambda: flowjax_inverse(False),
        "flow_inverse_scaled": lambda: flowjax_inverse(True),
    },
    "zuko": {
        "spline_slope": zuko_slope,
        "flow_integral": zuko_integral,
        "flow_inverse": lambda: zuko_inverse(False),
        "flow_inverse_scaled": lambda: zuko_inverse(True),
    },
    "nflows": {
        "spline_slope": nflows_slope,
        "flow_integral": nflows_integral,
        "flow_inverse": lambda: nflows_inverse(False),
        "flow_inverse_scaled": lambda: nflows_inverse(True),
    },
    "blackjax": {"chain_variance": blackjax_variance},
}
"""Library -> test -> what it finds."""
