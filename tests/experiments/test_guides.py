"""Classifier guidance and autoguidance of trained runs, and the classifier's own run."""

import json
import math

import exact
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.shared import noisy_classifier, registry, runner, sampling
from gen_jax import diffusion, metrics, paths, training
from gen_jax.diffusion import classifier as classifier_guidance
from gen_jax.diffusion import mixture_denoiser


def log_class(path, label):
    """log p(component = label | x_t), by Bayes' rule from the mixture's closed form."""
    mixture = exact.mixture_2d()
    one = exact.Mixture(*(part[label : label + 1] for part in mixture))

    def log_p(x, t):
        joint = jnp.log(one.weights[0]) + exact.mixture_log_density(
            one._replace(weights=jnp.ones(1)), path.alpha(t), path.sigma(t), x
        )
        return joint - exact.mixture_log_density(mixture, path.alpha(t), path.sigma(t), x)

    return jax.vmap(log_p)


@pytest.mark.parametrize("source", ["cosine", "edm"])
@pytest.mark.parametrize("target", ["cosine", "linear", "vp", "edm"])
def test_weight_one_gives_the_denoiser_of_the_class(x64, key, source, target):
    """Bayes: E[x0 | x, y] = E[x0 | x] + sigma^2 / alpha grad log p(y | x), on whichever path."""
    source, target, mixture = paths.PATHS[source](), paths.PATHS[target](), exact.mixture_2d()
    denoise = mixture_denoiser(*mixture, target)
    log_p = paths.transfer(log_class(source, 1), source, target)
    guided = classifier_guidance(denoise, log_p, target)
    t = paths.time_of_log_snr(target, -2 * jnp.log(jnp.array([0.1, 0.5, 2.0, 10.0])))
    x = jax.random.normal(key, (4, 2)) * jnp.hypot(target.alpha(t), target.sigma(t))[:, None]
    one = exact.Mixture(*(part[1:2] for part in mixture))
    truth = [
        exact.mixture_posterior(one, target.alpha(s), target.sigma(s), point)[0]
        for s, point in zip(t, x)
    ]
    np.testing.assert_allclose(guided(x, t), jnp.stack(truth), atol=1e-7)
    assert float(jnp.abs(denoise(x, t) - jnp.stack(truth)).max()) > 0.1


def test_pure_noise_is_not_guided(key):
    """alpha is 0 at t = 1 on the cosine path, where sigma^2 / alpha has a pole."""
    path = paths.cosine()
    denoise = mixture_denoiser(*exact.mixture_2d(), path)
    guided = classifier_guidance(denoise, log_class(path, 1), path, 2.0, max_level=20.0)
    x, t = jax.random.normal(key, (3, 2)), jnp.ones(3)
    assert np.array_equal(guided(x, t), denoise(x, t))


def test_guided_samples_please_the_classifier(digits_run, guide_run, key):
    """The mean of log p(label | sample) rises with the weight, for a network that knows nothing."""
    saved = runner.rebuild(digits_run)
    guide = sampling.load_guide(str(guide_run), saved)
    label = jnp.arange(20, dtype=jnp.int32) % 10
    found = noisy_classifier.log_likelihood(guide.config, guide.spec, guide.state.ema, label)

    def score(weight):
        log_p = lambda params, x, t, label: noisy_classifier.log_likelihood(
            guide.config, guide.spec, params, label
        )(x, t)
        given = (saved.model, saved.state, log_p, guide.state.ema)
        model, state = diffusion.classifier_guided(*given, weight=weight, only=True)
        x = model.sample(key, state, 20, label=label, stepper="ddim", num_steps=12)
        return float(found(jnp.asarray(x, jnp.float32) / 127.5 - 1, jnp.full(20, 1e-3)).mean())

    plain, guided, strong = (score(weight) for weight in (0.0, 1.0, 4.0))
    assert plain + 0.1 < guided < strong


def test_commands(command, digits_run, guide_run, tmp_path):
    def draw(file, *words):
        common = (digits_run, "--num", 12, "--steps", 3, "--stepper", "ddim")
        ended = command("sample", *common, "--output", tmp_path / file, *words)
        assert ended.code == 0, ended.err
        with np.load(tmp_path / file) as stored:
            return stored["arr_0"]

    plain = draw("plain.npz", "--label", 3)
    guide = ("--classifier", guide_run, "--classifier-weight", 8)
    guided = draw("guided.npz", "--label", 3, *guide)
    assert not np.array_equal(plain, guided)
    assert np.array_equal(plain, draw("none.npz", "--label", 3, *guide[:3], 0))
    animated = command("sample", digits_run, "--steps", 3, *guide, "--animate", "--path", "linear")
    assert animated.code == 0, animated.err
    weaker = draw("weaker.npz", "--label", 3, "--autoguide", 2, "--guidance", 3)
    assert not np.array_equal(plain, weaker)
    few = ("--num", 12, "--steps", 2, "--likelihood", 0)
    measured = command("evaluate", digits_run, *few, *guide)
    assert measured.code == 0, measured.err
    report = json.loads((digits_run / "evaluation.json").read_text())
    assert report["options"]["classifier"] == str(guide_run)
    assert report["options"]["classifier_weight"] == 8
    identity = training.read_config(guide_run)["run_identity"]
    assert report["classifier_run"] == {"run_identity": identity, "step": 600}
    assert math.isfinite(report["frechet"]["value"])


def test_guide_is_rebuilt_from_its_run(guide_run):
    """The step's own accuracy on noisy images is above chance, and the weights are those saved."""
    guide = runner.rebuild(guide_run, experiments=registry.GUIDES)
    lines = (guide_run / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["accuracy"] > 0.3
    assert guide.config.noise_conditioned
    assert guide.step == 600


def test_plain_classifier_writes_the_weights_of_the_metrics(
    command, small_classifier, tmp_path, monkeypatch
):
    monkeypatch.setattr(metrics.features, "WEIGHTS", tmp_path)
    words = ("--steps", 3, "--directory", tmp_path / "run")
    ended = command("classifier", *small_classifier, *words)
    assert ended.code == 0, ended.err
    extractor = metrics.load_classifier("digits", tmp_path)
    assert f"{extractor.accuracy:.4f}" in ended.out
    refused = command("sample", tmp_path / "run")
    assert (refused.code, "'classifier'" in refused.err) == (2, True)
