"""Whether a multi-view GAN keeps content apart from view: counted, and as a picture."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.shared.registry import Saved
from gen_jax import gan, metrics, plotting
from gen_jax.data import DatasetSpec
from gen_jax.data.views import random_view
from gen_jax.errors import ConfigError
from gen_jax.frozen import parts_of
from gen_jax.gan.multi_view import View
from gen_jax.model import GenerativeModel
from gen_jax.randomness import sample_keys
from gen_jax.types import State


def views_of(config: Any) -> View:
    """How the data are looked at anew."""
    look = config.degrees, config.shift, config.contrast
    return lambda key, x: random_view(key, x, *look)


def table(model: GenerativeModel, state: State, contents: int, views: int) -> np.ndarray:
    """Images [contents, views, H, W, C] of every content in every view."""
    one, two = (sample_keys(jax.random.key(i), n) for i, n in ((1, contents), (2, views)))
    grid = jnp.indices((contents, views)).reshape(2, -1)
    draw = jax.jit(lambda a, b: model.sample(a, state, len(a), content_keys=a, view_keys=b))
    x = np.asarray(draw(one[grid[0]], two[grid[1]]))
    return x.reshape(contents, views, *x.shape[1:])


def measure_test(saved: Saved, test: dict[str, np.ndarray], num: int) -> dict[str, Any]:
    """Share of pairs of one content, and of one view, that a classifier finds the same digit; and
    of two views of one test image, which cannot be beaten."""
    try:
        classifier = metrics.load_classifier(saved.spec.name)
    except ConfigError:
        return {}
    x = table(saved.model, saved.state, max(num // 10, 20), 10)
    found = classifier.predict(x.reshape(-1, *saved.spec.shape)).reshape(x.shape[:2])
    same = lambda a, b: float((a == b).mean())
    pairs = parts_of(saved.model, saved.state, gan.Parts)[0].options.transform
    u = pairs.encode(jax.random.key(3), jnp.asarray(test["x"][:1000]))
    swapped = jnp.concatenate(jnp.split(u, 2, -1)[::-1], -1)
    real = [classifier.predict(np.asarray(pairs.decode(pair))) for pair in (u, swapped)]
    return {
        "same_label_of_two_real_views": same(*real),
        "same_label_of_one_content": same(found[:, 1:], found[:, :-1]),
        "same_label_of_one_view": same(found[1:].T, found[:-1].T),
    }


def comparison(directory: Path, model: GenerativeModel, spec: DatasetSpec, state: State) -> Path:
    """A content per row, a view per column."""
    x = table(model, state, 10, 10)
    grid = plotting.image_grid(x.reshape(-1, *spec.shape), 10)
    return plotting.save_image(directory / "samples" / "contents.png", grid)
