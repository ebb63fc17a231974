"""What the experiments from image to image measure, at images whose answers are known."""

import numpy as np
import pytest

from experiments import cyclegan, pix2pix
from experiments.shared.translation import (
    against_targets,
    between_domains,
    constant_of,
    errors,
    halves,
    judge_of,
    nearest_hue,
    networks,
    optimizer_of,
)
from gen_jax import data, gan_nets
from gen_jax.errors import ConfigError


def test_targets_translate_themselves_and_sources_do_not():
    """The label agreement of colours is exact: each label has its hue."""
    spec, test = data.describe("colour:digits"), data.load("colour:digits", "test")
    report = against_targets(spec, halves(test["x"])[1], test)
    assert report["l1"].value == 0
    assert report["l1_of_the_source_itself"].value > 0.05
    assert report["label_agreement"].value == report["label_agreement_of_targets"].value == 1
    grey = against_targets(spec, halves(test["x"])[0], test)
    assert grey["label_agreement"].value < 0.2
    assert grey["l1"] == report["l1_of_the_source_itself"]


def test_hues_of_other_brightness_and_with_some_noise():
    x = np.random.default_rng(0).integers(100, 255, (50, 6, 6, 1), np.uint8)
    y = np.arange(50) % 10
    noisy = np.clip(data.pairs.paint(x, y, 10) // 2 + 30, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(nearest_hue(noisy, 10), y)


def test_the_median_is_the_best_constant():
    x = np.random.default_rng(0).integers(0, 256, (101, 4, 4, 1), np.uint8)
    best = lambda guess: errors(np.broadcast_to(guess, x.shape), x).value
    guess = constant_of(x)
    assert best(guess) < min(best(guess + np.uint8(9)), best(x.mean(0).astype(np.uint8)))
    assert errors(x, x).value == 0


def test_another_domain_is_reached_by_its_own_images():
    """Real digits in place of translations: no distance to speak of, and their labels."""
    test = data.load("digits", "test")
    x, label = test["x"], test["y"].astype(int)
    order = np.random.default_rng(0).permutation(len(x))
    pairs = np.concatenate([255 - x, x[order]], 2)
    case = {"x": pairs, "y": label}
    good = between_domains("digits", (255 - x, x), case)
    assert good["frechet_to_the_other_domain"] < 1e-3 * good["frechet_of_the_sources"]
    assert good["label_kept"] > 0.98
    assert good["label_kept_without_looking"] < 0.12
    blind = between_domains("digits", (255 - x, x[order]), case)
    assert blind["label_kept"] < 0.25


def test_judges_of_pairs():
    assert judge_of(data.describe("digits")) is None
    test = data.load("thick:digits", "test")
    judge = judge_of(data.describe("thick:digits"))
    assert (judge(halves(test["x"])[0]) == test["y"]).mean() > 0.98


def test_networks_fit_the_size_and_the_rate_falls():
    small = networks(pix2pix.Config(), data.describe("edges:digits"))
    assert (small[0].widths, small[1].halvings) == ((32, 64), 1)
    config = cyclegan.Config(levels=2, critic_halvings=3)
    generator, critic = networks(config, data.describe("edges:faces"))
    assert isinstance(generator, gan_nets.ResNetGenerator)
    assert (generator.widths, critic.halvings) == ((16, 32, 64), 3)
    with pytest.raises(ConfigError, match="points"):
        networks(config, data.describe("moons"))
    with pytest.raises(ConfigError, match="pair"):
        networks(config, data.describe("faces"))  # 25 pixels wide
    config = pix2pix.Config(steps=10)
    optimizer = optimizer_of(config)
    state, rates = optimizer.init(0.0), []
    for _ in range(10):
        update, state = optimizer.update(1.0, state)
        rates.append(-float(update) / config.learning_rate)
    np.testing.assert_allclose(rates, [1] * 6 + [0.8, 0.6, 0.4, 0.2], rtol=1e-3)
