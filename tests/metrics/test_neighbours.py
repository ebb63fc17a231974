"""Precision, recall, density, coverage and novelty against double loops."""

import numpy as np
import pytest

from gen_jax.errors import ConfigError, DataError
from gen_jax.metrics import (
    authenticity,
    density_coverage,
    memorisation_ratio,
    nearest_neighbour_distances,
    neighbour_scores,
    neighbours,
    novelty_report,
    pairwise,
    precision_recall,
)

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(25, 2)), RNG.normal(size=(20, 2)) + 0.7


def balls(points, k):
    """inside(x): for each point, whether x lies no further than its k-th nearest other point."""
    radii = []
    for i, p in enumerate(points):
        radii.append(sorted(np.linalg.norm(p - q) for j, q in enumerate(points) if j != i)[k - 1])
    return lambda x: [np.linalg.norm(x - p) <= r for p, r in zip(points, radii)]


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_recall_by_definition(k):
    in_real, in_fake = balls(REAL, k), balls(FAKE, k)
    precision, recall = precision_recall(REAL, FAKE, k)
    assert precision == np.mean([any(in_real(x)) for x in FAKE])
    assert recall == np.mean([any(in_fake(x)) for x in REAL])
    assert 0 < precision < 1


@pytest.mark.parametrize("k", [1, 5])
def test_density_coverage_by_definition(k):
    hits = np.array([balls(REAL, k)(x) for x in FAKE])
    density, coverage = density_coverage(REAL, FAKE, k)
    np.testing.assert_allclose(density, hits.sum() / (k * len(FAKE)), rtol=1e-12)
    assert coverage == hits.any(0).mean()


@pytest.mark.parametrize(("k", "density_k"), [(3, 5), (5, 1), (2, 2)])
def test_all_four_from_one_search_by_definition(k, density_k):
    in_real, in_fake = balls(REAL, k), balls(FAKE, k)
    hits = np.array([balls(REAL, density_k)(x) for x in FAKE])
    found = neighbour_scores(REAL, FAKE, k, density_k)
    assert found.precision == np.mean([any(in_real(x)) for x in FAKE])
    assert found.recall == np.mean([any(in_fake(x)) for x in REAL])
    assert found.density == pytest.approx(hits.sum() / (density_k * len(FAKE)), rel=1e-12)
    assert found.coverage == hits.any(0).mean()


def test_a_collapsed_model_is_precise_but_covers_little():
    real = RNG.normal(size=(300, 2))
    fake = RNG.normal(size=(300, 2)) * 0.05
    assert precision_recall(real, fake).precision > 0.95
    assert precision_recall(real, fake).recall < 0.05
    assert density_coverage(real, fake).coverage < 0.1


def test_copies_in_many_dimensions_are_copies():
    """Every point four times: its third neighbour is at 0, and so is its copy in the other set.

    By products of uncentred rows the precision is 0.90.
    """
    real = np.repeat(RNG.normal(size=(40, 64)) + 5, 4, 0)
    assert precision_recall(real, RNG.permutation(real)) == (1, 1)
    assert density_coverage(real, real, 3).coverage == 1
    assert np.all(nearest_neighbour_distances(real[::-1] + 1e8, real + 1e8) == 0)


@pytest.mark.parametrize("shift", [1e8, np.repeat([1e8, -1e6], [1, 1])])
def test_a_common_shift_changes_nothing(shift):
    """Grid points, whose differences a shift of 1e8 keeps exactly: equal distances stay equal."""
    real, fake = np.round(8 * REAL), np.round(8 * FAKE)
    assert precision_recall(real + shift, fake + shift) == precision_recall(real, fake)
    assert density_coverage(real + shift, fake + shift) == density_coverage(real, fake)
    for x, y in ((real, fake), (real, real)):
        plain = nearest_neighbour_distances(x, y)
        np.testing.assert_array_equal(nearest_neighbour_distances(x + shift, y + shift), plain)


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(("dimensions", "shift"), [(1, 0), (1, 3), (1, 1e4), (3, 3)])
def test_a_copy_of_the_neighbour_that_sets_the_radius_lies_on_the_ball(dimensions, shift):
    """Points two by two: the ball of each reaches to the other one. Copies of one of a pair lie in
    its own ball and on that of the other."""
    places = 10 * np.arange(40.0)[:, None] + RNG.normal(size=(40, dimensions))
    other = places + RNG.uniform(0.5, 1, (40, dimensions))
    real, copies = np.concatenate([places, other]) + shift, other + shift
    fake = np.concatenate([copies, copies + 5000])
    assert density_coverage(real, fake, 1) == (1, 1)
    assert precision_recall(real, fake, 1).precision == 0.5
    found = neighbour_scores(real, fake, 1, 1)
    assert (found.precision, found.density, found.coverage) == (0.5, 1, 1)


@pytest.mark.parametrize("k", [0, 20])
def test_k_out_of_range(k):
    with pytest.raises(ConfigError, match=f"k={k}"):
        precision_recall(REAL, FAKE, k)


def test_nearest_neighbour_distances_by_definition():
    images = RNG.integers(0, 256, size=(30, 3, 3, 1), dtype=np.uint8)
    scaled = images.reshape(30, 9) / 255
    truth = [min(np.sum((x - y) ** 2) for y in scaled[:20]) for x in scaled[20:]]
    np.testing.assert_allclose(nearest_neighbour_distances(images[20:], images[:20]), truth)


def test_memorisation_ratio_is_zero_for_copies_and_one_for_new_data():
    """Medians over 400 points with a relative spread of about 2 (squared distance in 2-D): the
    ratio's standard error is about 0.15, so [0.4, 2.5] is 5 of them in the logarithm; copies give
    rounding only."""
    training, heldout, new = RNG.uniform(size=(3, 400, 2))
    copies = training[RNG.integers(0, 400, 400)]
    assert memorisation_ratio(copies, training, heldout) < 1e-6
    assert 0.4 < memorisation_ratio(new, training, heldout) < 2.5
    np.testing.assert_allclose(memorisation_ratio(heldout, training, heldout), 1)
    with pytest.raises(ConfigError, match="heldout"):
        memorisation_ratio(new, training, training)


def test_authenticity_by_definition():
    """A double loop; and its share of planted near copies."""
    rng = np.random.default_rng(4)
    training, samples = rng.normal(size=(30, 2)), rng.normal(size=(25, 2))
    new = []
    for x in samples:
        near = min(range(30), key=lambda i: np.linalg.norm(x - training[i]))
        others = [np.linalg.norm(training[near] - training[i]) for i in range(30) if i != near]
        new.append(np.linalg.norm(x - training[near]) > min(others))
    assert authenticity(samples, training).value == np.mean(new)
    planted = np.concatenate([samples[new], training[:5] + 1e-9])
    found = authenticity(planted, training)
    share = sum(new) / (sum(new) + 5)
    assert found == pytest.approx((share, np.sqrt(share * (1 - share) / len(planted))))
    assert authenticity(training[:1], training) == (0, 0)


def test_new_data_are_as_authentic_as_held_out_data_and_copies_are_not():
    """Shares of 400: a standard error of 0.025 each, 5 of their difference are 0.18."""
    rng = np.random.default_rng(5)
    training, heldout, new = rng.uniform(size=(3, 400, 2))
    found = novelty_report(new, training, heldout)
    assert abs(found.authenticity.value - found.heldout_authenticity.value) < 0.18
    ratio = memorisation_ratio(new, training, heldout)
    assert found.memorisation_ratio.value == pytest.approx(ratio, rel=1e-12)
    assert found.memorisation_ratio.error > 0
    copies = training[:100] + 1e-6 * rng.normal(size=(100, 2))
    found = novelty_report(copies, training, heldout)
    assert (found.authenticity.value, found.memorisation_ratio.value < 1e-6) == (0, True)


def test_no_ratio_where_exactly_half_of_the_held_out_data_were_trained_on():
    """The median of an even number would lie between 0 and the nearest of the new data."""
    training, new = RNG.uniform(size=(2, 40, 2))
    heldout = np.concatenate([training[:6], new[:6]])
    assert np.isnan(novelty_report(new, training, heldout).memorisation_ratio).all()
    with pytest.raises(ConfigError, match="half of heldout"):
        memorisation_ratio(new, training, heldout)


def test_the_rest_is_measured_where_half_of_the_held_out_data_were_trained_on():
    training, new = RNG.uniform(size=(2, 40, 2))
    found = novelty_report(new, training, np.concatenate([training[:6], new[:5]]))
    assert np.isnan(found.memorisation_ratio).all()
    assert found.authenticity == authenticity(new, training)
    found = novelty_report(new, training, np.concatenate([training[:5], new[:6]]))
    assert found.memorisation_ratio.value > 0
    assert np.isnan(found.memorisation_ratio.error)


@pytest.mark.parametrize("rows", [1, 7, 512])
def test_nearest_neighbours_by_sorting(rows, monkeypatch):
    """Of equal distances the first row counts first, whatever the blocks; k is as many as all."""
    monkeypatch.setattr(pairwise, "ROWS", rows)
    x, y = RNG.integers(0, 4, (20, 3)).astype(float), RNG.integers(0, 4, (23, 3)).astype(float)
    squares = ((x[:, None] - y) ** 2).sum(-1)
    order = np.argsort(squares, 1, kind="stable")
    for k in (1, 4, 23):
        found, index = neighbours.nearest_neighbours(x, y, k)
        np.testing.assert_array_equal(index, order[:, :k])
        np.testing.assert_allclose(found, np.take_along_axis(squares, order[:, :k], 1), atol=1e-12)


@pytest.mark.parametrize(("real", "copies"), [(20, 3), (9, 4), (40, 1), (300, 3)])
def test_a_copy_of_the_kth_neighbour_lies_in_the_ball_whatever_the_sizes(real, copies):
    """Each ball holds its centre and k neighbours, so copies of all lie in k + 1 balls."""
    points = RNG.normal(size=(real, 64))
    far = [points + 100 * i for i in range(1, 4)]
    fake = np.concatenate([*[points] * copies, *far])
    found = density_coverage(points, fake, 3)
    np.testing.assert_allclose(found.density, 4 / 3 * copies / (copies + 3), rtol=1e-9)


@pytest.mark.parametrize("unit", [2.0**140, 2.0**450])
def test_novelty_beyond_float32(unit):
    """In units of a power of two all stays; what float64 has no squares of is refused by name."""
    sets = FAKE, REAL, -FAKE
    plain, found = novelty_report(*sets), novelty_report(*(x * unit for x in sets))
    np.testing.assert_allclose(found, plain, rtol=1e-9)
    ratio = memorisation_ratio(*(x * unit for x in sets))
    assert ratio == pytest.approx(memorisation_ratio(*sets), rel=1e-9)
    with pytest.raises(DataError, match="^samples holds values of size"):
        nearest_neighbour_distances(FAKE * 1e155, REAL)
