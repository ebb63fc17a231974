"""Laws over the registries: what holds for every sampler, loss, density of times and network.

The laws of single networks and metrics stand beside their own tests.
"""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_networks import smallest

import gen_jax
from gen_jax import diffusion, nets, paths
from gen_jax.diffusion.losses import WEIGHTINGS, denoising_loss
from gen_jax.parameterisations import PARAMETERISATIONS
from gen_jax.randomness import sample_keys

STEPPERS, N = diffusion.STEPPERS, 3


def sampling(name, path="vp"):
    """(`run(keys, x)`, keys [N], x [N, 2]) of a sampler with few steps."""
    path, stepper = paths.PATHS[path](), STEPPERS[name]()
    denoise = diffusion.mixture_denoiser(*exact.mixture_2d(), path)
    times = diffusion.GRIDS[stepper.grid](path, 3)
    key = jax.random.key(7)
    x = diffusion.prior(key, path, (N, 2))
    run = lambda keys, x: diffusion.sample(keys, denoise, path, x, times, stepper)
    return run, sample_keys(key, N), x


@pytest.mark.parametrize("name", STEPPERS)
def test_samplers_keep_samples_apart_and_work_under_jit_and_vmap(name, count_traces):
    run, keys, x = sampling(name)
    counted = count_traces(run)
    compiled = jax.jit(counted)
    whole = compiled(keys, x)
    compiled(keys[::-1], x + 1)
    assert counted.calls == 1
    assert np.abs(compiled(keys, x[::-1]) - whole).max() > 1e-3
    rounding = {"rtol": 1e-4, "atol": 1e-5 * float(np.abs(whole).max())}
    alone = jax.jit(run)(keys[1:2], x[1:2])
    np.testing.assert_allclose(alone[0], whole[1], **rounding)
    each = jax.jit(jax.vmap(lambda key, x: run(key[None], x[None])[0]))(keys, x)
    np.testing.assert_allclose(each, whole, **rounding)
    again = compiled(keys, x)
    np.testing.assert_array_equal(again, whole)
    assert (np.abs(compiled(keys[::-1], x) - whole).max() > 1e-4) == STEPPERS[name]().stochastic


@pytest.mark.parametrize("name", paths.PATHS)
def test_every_path_serves_a_sampler_in_any_shape(name):
    """One key is one per sample, images are vectors, and jit changes nothing."""
    path, key = paths.PATHS[name](), jax.random.key(3)
    denoise = exact.gaussian_denoiser(0.2, 0.7, path)
    times = diffusion.GRIDS["karras"](path, 4)
    x = diffusion.prior(key, path, (N, 2, 2, 1))
    run = lambda key, x: diffusion.sample(key, denoise, path, x, times, diffusion.ddim(1.0))
    whole = jax.jit(run)(key, x)
    assert np.isfinite(whole).all()
    np.testing.assert_allclose(run(key, x), whole, rtol=1e-4, atol=1e-5)
    alone = run(sample_keys(key, N)[2:], x[2:])
    np.testing.assert_allclose(alone[0], whole[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("kind", PARAMETERISATIONS)
def test_losses_keep_examples_apart_and_work_under_jit_and_vmap(kind, weighting, count_traces):
    x0, eps = jax.random.normal(jax.random.key(1), (2, N, 2))
    t, path = jnp.array([0.2, 0.5, 0.8]), paths.vp()
    predict = lambda x, t: jnp.sin(x) * t[:, None]

    def loss(x0, eps, t):
        options = {"prediction": kind, "weighting": weighting, "data_std": 0.7}
        return denoising_loss(predict, path, x0, eps, t, **options)[0]

    counted = count_traces(loss)
    compiled = jax.jit(counted)
    whole = compiled(x0, eps, t)
    compiled(eps, x0, t)
    assert counted.calls == 1
    assert np.isfinite(whole).all()
    each = jax.vmap(lambda *row: loss(*(r[None] for r in row))[0])(x0, eps, t)
    np.testing.assert_allclose(each, whole, rtol=1e-4)


@pytest.mark.parametrize("name", diffusion.TIME_DENSITIES)
def test_time_densities_work_under_jit_and_vmap(name, count_traces):
    path, keys = paths.vp(), jax.random.split(jax.random.key(0), 2)
    counted = count_traces(lambda key: diffusion.TIME_DENSITIES[name](key, path, 5))
    compiled = jax.jit(counted)
    rows = jnp.stack([compiled(key) for key in keys])
    assert counted.calls == 1
    np.testing.assert_allclose(jax.vmap(compiled)(keys), rows, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(nets.NETWORKS))
def test_networks_work_under_vmap(name):
    network = smallest(name)
    x, noise = jax.random.normal(jax.random.key(0), (N, 8, 8, 1)), jnp.array([-1.0, 0.0, 1.0])
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, noise)
    fill = lambda p: 0.2 * jnp.cos(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape)
    variables = jax.tree.map(fill, shapes)
    whole = jax.jit(network.apply)(variables, x, noise)
    each = jax.jit(jax.vmap(lambda x, noise: network.apply(variables, x[None], noise[None])[0]))
    np.testing.assert_allclose(each(x, noise), whole, rtol=1e-4, atol=1e-4)


def test_one_device_and_eight_give_the_same_numbers(tmp_path):
    """To rounding; each name of the registries must have been compared."""
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "NPROC": "16",  # threads to spare: see training.set_cpu_devices
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    script = Path(__file__).with_name("on_devices.py")
    root = Path(gen_jax.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, script],
        env={**environment, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    errors = {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in run.stdout.splitlines()
    }
    expected = {f"sampler {name}" for name in STEPPERS} | {f"network {n}" for n in nets.NETWORKS}
    assert set(errors) == expected | {"training"}
    assert max(errors.values()) < 1e-4, errors


def public_functions(module, result):
    """Names of the module's public functions that are annotated to return `result`."""
    functions = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }
    annotated = lambda f: inspect.signature(inspect.unwrap(f)).return_annotation is result
    return {name for name, function in functions.items() if annotated(function)}


def test_every_stepper_is_reachable_from_its_registry():
    made = public_functions(diffusion, diffusion.Stepper)
    assert {"ddim", "euler", "predictor_corrector", "adaptive"} <= made
    owners = {make().step.__qualname__.split(".")[0] for make in STEPPERS.values()}
    made -= set(diffusion.OWN_STEPPERS)
    assert made <= owners | {make.__name__ for make in STEPPERS.values()}


def test_every_path_is_in_its_registry():
    made = public_functions(paths, paths.GaussianPath)
    assert {"linear", "ddpm"} <= made
    assert made - {"as_path", "check_path", "from_gamma"} <= set(paths.PATHS)


@pytest.mark.parametrize(
    ("module", "registry"),
    [("diffusion.grids", "GRIDS"), ("solvers.divergence", "DIVERGENCES")],
)
def test_every_function_of_a_module_is_in_its_registry(module, registry):
    module = importlib.import_module(f"gen_jax.{module}")
    entries = {inspect.unwrap(f).__name__ for f in getattr(module, registry).values()}
    public = {
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and value.__module__ == module.__name__
    }
    assert public - {"rising"} <= entries  # rising: of likelihoods, which no option takes


PACKAGES = sorted(module.name for module in pkgutil.iter_modules(gen_jax.__path__))


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_resolves_once(name):
    module = importlib.import_module(f"gen_jax.{name}")
    names = list(getattr(module, "__all__", []))
    assert len(set(names)) == len(names)
    assert all(hasattr(module, n) for n in names)
