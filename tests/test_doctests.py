"""The examples in docstrings of what a newcomer meets first: they run, and print what they show."""

import doctest

import pytest

from gen_jax import (
    conditions,
    data,
    diffusion,
    divergences,
    flow_matching,
    flows,
    gan,
    mcmc,
    metrics,
    model,
    nets,
    paths,
    plotting,
    training,
    vae,
)

FIRST_MET = (
    data.load,
    data.describe,
    data.symmetric_images,
    data.standardize,
    conditions.labels,
    paths.GaussianPath,
    nets.from_functions,
    nets.from_nnx,
    diffusion.diffusion,
    diffusion.denoiser,
    diffusion.sample,
    flow_matching.flow_matching,
    vae.vae,
    gan.gan,
    flows.flow,
    mcmc.run,
    training.fit,
    model.sample_in_batches,
    divergences.gaussian_kl,
    metrics.energy_distance,
    plotting.image_grid,
)


@pytest.mark.parametrize("shown", FIRST_MET, ids=lambda shown: shown.__qualname__)
def test_example_of_docstring(shown):
    name = f"{shown.__module__}.{shown.__qualname__}"
    examples = doctest.DocTestParser().get_doctest(shown.__doc__, {}, name, None, None)
    assert examples.examples
    printed: list[str] = []
    ended = doctest.DocTestRunner().run(examples, out=printed.append)
    assert ended.failed == 0, "".join(printed)
