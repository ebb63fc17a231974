"""The data that a run is measured on: a random part of them, and still those of its training."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments.shared.measures import load_both
from experiments.shared.provenance import compare, digests_of
from experiments.shared.registry import find
from experiments.shared.runner import rebuild, start
from experiments.shared.set_measures import compare_pairs, compare_with_training, pair_scores
from gen_jax import data, metrics
from gen_jax.errors import DataError

EACH = 220


def write(root, seed=0):
    """Two classes of grey pictures, dark and bright, one after the other."""
    rng = np.random.default_rng(seed)
    for label, level in (("dark", 40), ("light", 200)):
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(EACH):
            x = np.clip(rng.normal(level, 20, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(x).save(root / label / f"{i:03d}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sorted")
    write(root)
    return root


@pytest.fixture(scope="module")
def run(command, folder, tmp_path_factory):
    """Probabilistic PCA of it."""
    directory = tmp_path_factory.mktemp("runs") / "pca"
    words = ("--dataset", f"folder:{folder}", "--batch-size", 32, "--steps", 20, "--rank", 4)
    ended = command("pca", *words, "--directory", directory)
    assert ended.code == 0, ended.err
    return directory


def report_of(run):
    return json.loads((run / "evaluation.json").read_text())


def test_a_sorted_set_is_measured_on_a_random_part(command, folder, run):
    """Real against real is what random subsets of its size have, not two classes against one."""
    ended = command("evaluate", run, "--num", 40, "--likelihood", 10)
    assert ended.code == 0, ended.err
    report = report_of(run)
    train, test = (data.load(f"folder:{folder}", s)["x"] for s in ("train", "test"))
    features = metrics.FEATURES["pixels"]("").features
    rng = np.random.default_rng(1)
    part = lambda x: features(rng.permutation(x)[:40])
    usual = [metrics.frechet_from_features(part(test), part(train)) for _ in range(20)]
    ordered = metrics.frechet_from_features(features(test[:40]), features(train[:40]))
    assert report["frechet_real_train_test"] < 2 * max(usual) < ordered / 2
    for name in ("kernel", "precision", "recall", "density", "coverage"):
        assert report[name]["standard_error"] > 0
        assert isinstance(report[f"{name}_real_train_test"], float)
    assert report["recall_real_train_test"] > 0.5
    assert "data_changed_since_training" not in report


def test_every_cut_has_both_classes(folder):
    name = f"folder:{folder}"
    for part in load_both(name):
        assert 2 <= part["y"][:10].sum() <= 8
    for split in ("train", "test"):
        some = data.examples(name, split, 10)
        assert 2 <= some["y"].sum() <= 8
        again = data.examples(name, split)
        np.testing.assert_array_equal(again["x"][:10], some["x"])
        assert np.bincount(again["y"]).tolist() == np.bincount(data.load(name, split)["y"]).tolist()


def test_changed_pictures_are_refused(command, folder, run):
    path = folder / "light" / "009.png"  # of the test set
    kept = path.read_bytes()
    Image.fromarray(np.full((8, 8), 3, np.uint8)).save(path)
    few = ("--num", 20, "--likelihood", 0)
    try:
        for words in (("evaluate", run, *few), ("sample", run, "--num", 4)):
            ended = command(*words)
            assert ended.code == 3
            assert ended.err.count("\n") == 1
            assert "test_x: uint8[44x8x8x1]-" in ended.err
            assert "train" not in ended.err.split("trained on: ")[1].split(" (")[0]
        assert command("evaluate", run, *few, "--allow-changed-data").code == 0
        (line,) = report_of(run)["data_changed_since_training"]
        assert line.startswith("test_x")
        assert command("sample", run, "--num", 4, "--allow-changed-data").code == 0
    finally:
        path.write_bytes(kept)
    assert command("sample", run, "--num", 4).code == 0


def test_a_run_on_a_base_of_other_pictures_is_refused(folder, run, tmp_path):
    """Whatever experiment freezes it."""
    above = find("pca")._replace(bases=("pca",))
    path = folder / "dark" / "003.png"
    kept, dataset = path.read_bytes(), f"folder:{folder}"
    config = above.config(
        dataset=dataset, initial_run=str(run), directory=str(tmp_path / "new"), batch_size=32
    )
    assert start(above, config).base is not None
    Image.fromarray(np.full((8, 8), 3, np.uint8)).save(path)
    try:
        with pytest.raises(DataError, match="is not what .* was trained on: train_x"):
            start(above, config)
    finally:
        path.write_bytes(kept)


def test_sampling_needs_no_data(command, folder, run):
    away = folder.with_name("away")
    folder.rename(away)
    try:
        ended = command("sample", run, "--num", 4)
        assert ended.code == 0
        assert "not compared" in ended.err
        assert command("evaluate", run).code == 3
    finally:
        away.rename(folder)


def test_digests_tell_sets_apart(folder):
    name = f"folder:{folder}"
    assert data.digests(name).keys() == {"train_x", "train_y", "test_x", "test_y"}
    assert data.digests(name) == data.digests(name)
    assert data.digests("8gaussians") == {}
    with pytest.raises(DataError, match="does not exist"):
        data.digests("folder:nowhere")


def test_errors_are_the_spread_of_fresh_sets():
    """Against the standard deviation over 60 independent sets of the same laws, within a factor of
    two (the spread has a relative error of 9 %, the root mean square of four errors one of 8 %)."""
    rng = np.random.default_rng(3)
    sets = lambda: [rng.normal(shift, 1, (150, 3)) for shift in (0.0, 0.7)]
    drawn = [pair_scores(*sets(), scale=6**0.5) for _ in range(60)]
    reports = [compare_pairs(*sets(), sets()[0]) for _ in range(4)]
    for name in drawn[0]:
        spread = np.std([scores[name] for scores in drawn], ddof=1)
        stated = np.sqrt(np.mean([report[name].error ** 2 for report in reports]))
        assert 0.5 < stated / spread < 2


def test_a_command_without_the_option_does_not_name_it(folder, run):
    """A base of other data: it is refused, and the way on is not an option that there is not."""
    saved = rebuild(run)
    changed = saved._replace(digests={**saved.digests, "train_x": "other"})
    with pytest.raises(DataError, match=r"\(restore it or train again\)$"):
        compare(changed)
    with pytest.raises(DataError, match="train again or go on with --allow-changed-data"):
        compare(changed, False)


def test_what_an_experiment_reads_besides_has_a_digest(folder, run):
    """The images of an instance: exchanged after the training they are seen; of older runs that did
    not record them they are not asked for."""
    experiment = find("personalise")
    config = experiment.config(dataset="digits", instances=f"folder:{folder}", num_instances=2)
    words = digests_of(experiment, config, "digits")
    assert words == data.digests("digits") | {
        "instances": data.digest.digest(data.load(f"folder:{folder}", "train")["x"][:2])
    }
    saved = rebuild(run)._replace(
        name="personalise", config=config, spec=data.describe("digits"), digests=words
    )
    assert compare(saved) == []
    (line,) = compare(saved._replace(digests=words | {"instances": "other"}), True)
    assert line.startswith("instances: other -> uint8[2x8x8x1]-")
    assert compare(saved._replace(digests=data.digests("digits"))) == []
    assert digests_of(experiment, experiment.config(dataset="digits"), "digits").keys() == (
        data.digests("digits").keys()
    )


def test_a_test_set_within_the_training_set_is_said_and_the_rest_measured():
    training, new = np.random.default_rng(0).uniform(size=(2, 40, 2))
    found = compare_with_training(new, training, training[:20])
    assert found.keys() == {
        "memorisation_ratio_left_out",
        "authenticity",
        "authenticity_real_train_test",
    }
    assert found["authenticity_real_train_test"] == 0
    assert "memorisation_ratio" in compare_with_training(new, training, new[::-1])
