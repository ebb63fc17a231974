"""The latent energy of a small VAE, from its run to numbers and a picture."""

import json
import math
from dataclasses import replace

import pytest
from PIL import Image

from experiments import latent_energy
from experiments.shared import latent_samplers, runner
from gen_jax import mcmc
from gen_jax.errors import ConfigError

SMALL = (
    *("--examples", 20, "--num", 100, "--evaluations", 1000, "--flow.bins", 4, "--flow.hidden", 8),
    *("--schedule.batch-size", 20, "--schedule.first-steps", 3, "--schedule.stage-steps", 2),
    *("--schedule.max-stages", 2),
)


@pytest.fixture(scope="module")
def run(command, tmp_path_factory):
    """A VAE of digits with two latents, hardly trained."""
    folder = tmp_path_factory.mktemp("latent") / "run"
    small = ("--latent", 2, "--hidden", 16, "--steps", 2, "--batch-size", 16)
    ended = command("vae", *small, "--directory", folder)
    assert ended.code == 0, ended.err
    return folder


def test_every_sampler_has_numbers_and_a_row(command, run, monkeypatch):
    kernels = latent_samplers.KERNELS
    assert {name for name, _ in kernels.values()} <= mcmc.KERNELS.keys()
    one = {title: kernels[title] for title in list(kernels)[:1]}  # the others compile for long
    monkeypatch.setattr(latent_samplers, "KERNELS", one)
    ended = command("latent_energy", run, *SMALL)
    assert ended.code == 0, ended.err
    report = json.loads((run / "latent_energy.json").read_text())
    exact, flows = latent_samplers.EXACT, {latent_samplers.TEMPERFLOW, latent_samplers.REVERSE_KL}
    assert report.keys() == {exact, *flows, latent_samplers.REFINED, *one}
    for title, numbers in report.items():
        assert all(math.isfinite(value) for value in numbers.values())
        assert numbers["sliced_wasserstein"] > 0
        assert numbers["frechet"] > 0
        assert 0 <= numbers["class_tv"] <= 1
        assert ("log_normalizer_error" in numbers) == (title in flows)
        assert title in ended.out
    spread = report[exact]["sliced_wasserstein_exact_std"]
    excess = report[exact]["sliced_wasserstein"] - report[exact]["sliced_wasserstein_exact"]
    assert abs(excess) < 8 * spread
    with Image.open(run / "samples" / "latent_energy.png") as picture:
        # Four rows of 8 x 8 digits, enlarged four times, one white pixel between.
        assert picture.size[1] == 4 * (32 + 1) + 1


def test_runs_that_will_not_do(command, run, points_run):
    saved = runner.rebuild(run)
    conditional = saved._replace(config=replace(saved.config, conditional=True))
    points = saved._replace(spec=replace(saved.spec, kind="points"))
    for unfit, message in ((conditional, "labels"), (points, "images")):
        with pytest.raises(ConfigError, match=message):
            latent_energy.latents_of(unfit, 10)
    ended = command("latent_energy", points_run)
    assert ended.code == 2
    assert "'flow_matching'" in ended.err


def test_bad_options_are_named(command):
    for words, message in (
        (("--examples", 1), "examples=1"),
        (("--evaluations", 10), "evaluations=10"),
        (("--schedule.kl-factor", 1), "kl_factor"),
    ):
        ended = command("latent_energy", "nowhere", *words)
        assert ended.code == 2
        assert message in ended.err
