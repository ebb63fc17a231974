"""Feature networks: what is stored is what is loaded, whatever the batch; damage is noticed."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gen_jax.errors import CheckpointError, ConfigError
from gen_jax.metrics import FEATURES, load_classifier, save_classifier
from gen_jax.metrics import features as module
from gen_jax.nets.classifier import Classifier

ARGUMENTS = {"num_classes": 3, "widths": (4, 4), "features": 5}
METADATA = {
    "architecture": "Classifier",
    "arguments": ARGUMENTS,
    "dataset": "tiny",
    "image_shape": (8, 8, 1),
    "accuracy": 0.5,
}
IMAGES = np.random.default_rng(0).integers(0, 256, size=(11, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def variables():
    return Classifier(**ARGUMENTS).init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


@pytest.fixture
def tiny(tmp_path, variables):
    save_classifier(tmp_path / "tiny.npz", variables, METADATA, dtype="float32")
    return load_classifier("tiny", tmp_path)


def test_gives_what_the_network_gives(tiny, variables):
    logits, features = Classifier(**ARGUMENTS).apply(variables, jnp.asarray(IMAGES) / 127.5 - 1)
    np.testing.assert_allclose(tiny.features(IMAGES), features, atol=1e-6)
    np.testing.assert_allclose(tiny.logits(IMAGES), logits, atol=1e-6)
    np.testing.assert_array_equal(tiny.predict(IMAGES), np.argmax(logits, 1))
    np.testing.assert_allclose(tiny.probabilities(IMAGES).sum(1), 1, rtol=1e-6)


def test_does_not_depend_on_the_batch(tiny, monkeypatch):
    features = tiny.features(IMAGES)
    np.testing.assert_allclose(features[3:4], tiny.features(IMAGES[3:4]), atol=1e-6)
    monkeypatch.setattr(module, "BATCH_SIZE", 4)
    np.testing.assert_allclose(features, tiny.features(IMAGES), atol=1e-6)


def test_same_weights_give_the_same_file_and_its_hash(tmp_path, variables):
    hashes = [save_classifier(tmp_path / name, variables, METADATA) for name in ("a.npz", "b.npz")]
    assert hashes[0] == hashes[1]
    loaded = load_classifier("a", tmp_path)
    data = (tmp_path / "a.npz").read_bytes()
    assert loaded.sha256 == hashes[0] == hashlib.sha256(data).hexdigest()[:12]
    assert hashes[0] in loaded.label
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_other_sizes_of_a_set_are_brought_to_the_classifier_s_own(tmp_path, tiny):
    """By Pillow's bicubic resizing, which rounds to bytes, the answers are the same."""
    from PIL import Image

    scaled = load_classifier("tfds:tiny@16", tmp_path)
    large = np.random.default_rng(1).integers(0, 256, size=(5, 16, 16, 1), dtype=np.uint8)
    pillow = [Image.fromarray(x[..., 0]).resize((8, 8), Image.Resampling.BICUBIC) for x in large]
    small = np.stack([np.asarray(picture)[..., None] for picture in pillow])
    error = lambda images: np.abs(scaled.features(large) - tiny.features(images)).max()
    assert error(small) < 0.1 * error(large[:, ::2, ::2])  # a grey level beside some fifty
    assert "at 8 x 8" in scaled.label
    assert load_classifier("tfds:tiny", tmp_path).label == tiny.label
    with pytest.raises(ConfigError, match="uint8"):
        scaled.features(IMAGES)


@pytest.mark.parametrize("name", ["nothing_here", "../tiny", "folder:/tmp"])
def test_missing_weights_name_the_command(name):
    with pytest.raises(ConfigError, match=r"python -m experiments.classifier --dataset"):
        load_classifier(name)


def test_damage_is_noticed(tmp_path, variables):
    save_classifier(tmp_path / "tiny.npz", variables, METADATA)
    data = (tmp_path / "tiny.npz").read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0x10
    for damaged in (data[: len(data) // 2], b"", bytes(flipped)):
        (tmp_path / "tiny.npz").write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load_classifier("tiny", tmp_path)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "tiny.npz", metadata=np.array([{"architecture": print}], dtype=object))
    with pytest.raises(CheckpointError, match="damaged"):
        load_classifier("tiny", tmp_path)


@pytest.mark.parametrize(
    "change", [{"arguments": {**ARGUMENTS, "features": 6}}, {"architecture": "x"}]
)
def test_metadata_that_does_not_fit_the_weights(tmp_path, variables, change):
    save_classifier(tmp_path / "tiny.npz", variables, METADATA | change)
    with pytest.raises(CheckpointError, match="damaged"):
        load_classifier("tiny", tmp_path)


def test_mistakes_are_named(tmp_path, tiny, variables):
    with pytest.raises(ConfigError, match="accuracy"):
        save_classifier(tmp_path / "x.npz", variables, {"dataset": "x"})
    huge = jax.tree.map(lambda leaf: leaf + 1e6, variables)
    with pytest.raises(ConfigError, match="finite"):
        save_classifier(tmp_path / "x.npz", huge, METADATA)
    with pytest.raises(ConfigError, match="uint8"):
        tiny.features(IMAGES[:, :4])


def test_pixels_are_scaled_and_flattened():
    pixels = FEATURES["pixels"]("any")
    np.testing.assert_allclose(pixels.features(IMAGES), IMAGES.reshape(11, 64) / 255, rtol=1e-6)
    assert pixels.label == "pixels"


def test_committed_weights_keep_their_promises():
    """The accuracy stated in each file, and two megabytes for all of them together."""
    required = {"digits": 0.97, "mnist": 0.99, "fashion_mnist": 0.91}
    files = sorted(module.WEIGHTS.glob("*.npz"))
    assert {path.stem for path in files} == required.keys()
    assert sum(path.stat().st_size for path in files) < 2e6
    for path in files:
        network = load_classifier(path.stem)
        assert network.accuracy >= required[path.stem]
        assert network.features(np.zeros((1, *network.image_shape), np.uint8)).shape[0] == 1
