"""What a newcomer's data and networks do wrong without an error: their scale, the null label."""

import warnings

import jax
import numpy as np
import optax
import pytest
from flax import linen as nn

from gen_jax import (
    conditions,
    data,
    diffusion,
    discrete_diffusion,
    energy,
    flow_matching,
    nets,
    paths,
)
from gen_jax.errors import ConfigError

KEY = jax.random.key(0)
POINTS = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
ADAM, SMALL = optax.adam(1e-3), nets.MLP((4,))

SCALED = {
    "diffusion": lambda **o: diffusion.diffusion(SMALL, "cosine", ADAM, shape=(2,), **o),
    "flow_matching": lambda **o: flow_matching.flow_matching(SMALL, ADAM, shape=(2,), **o),
    "flow_map": lambda **o: flow_matching.flow_map_model(SMALL, "linear", ADAM, shape=(2,), **o),
    "score_model": lambda **o: energy.score_model(EnergyNetwork(), ADAM, shape=(2,), **o),
}


class EnergyNetwork(nn.Module):
    """x [B, 2] -> [B]."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x)[:, 0]


@pytest.mark.parametrize("name", SCALED)
def test_data_of_another_scale_are_a_warning_and_whole_numbers_an_error(name):
    model, option = SCALED[name](), "base_std" if name == "score_model" else "data_std"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for scale in (1.0, 4.0, 0.3):
            model.init(KEY, {"x": scale * POINTS})
        model.init(KEY, {"x": np.zeros((32, 2), np.float32)})  # no scale to be seen
        model.init(KEY, {"x": 100 * POINTS[:4]})  # too few
    with pytest.warns(UserWarning, match=rf"standard deviation of 9\d.*{option}=1"):
        model.init(KEY, {"x": 100 * POINTS})
    if name != "score_model":  # whose base may be wider than the data
        with pytest.warns(UserWarning, match=f"{option}=1"):
            model.init(KEY, {"x": 0.1 * POINTS})
    with pytest.raises(ConfigError, match="x is uint8 and there is no transform"):
        model.init(KEY, {"x": np.zeros((32, 2), np.uint8)})
    scaled = SCALED[name](transform=data.symmetric_images())
    scaled.init(KEY, {"x": np.arange(64, dtype=np.uint8).reshape(32, 2) * 4})


def test_a_path_that_ends_with_data_is_a_warning():
    """Every path of the registry hides data of deviation 1 at t = 1; those without alpha(1) = 0
    hide none of 1,000, nor does one that stops half-way."""
    build = lambda path, **o: diffusion.diffusion(SMALL, path, ADAM, shape=(2,), **o)
    halfway = paths.from_gamma(lambda t: -6.0 + 4.0 * t)  # log-SNR 2 at the end
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in paths.PATHS:
            build(name)
        for name in ("linear", "cosine"):
            build(name, data_std=1e3)
        build(halfway, source=lambda key: jax.random.normal(key, (2,)))
    for path, options in (("vp", {"data_std": 1e3}), ("ve", {"data_std": 1e3}), (halfway, {})):
        with pytest.warns(UserWarning, match="path ends with data of deviation"):
            build(path, **options)


class Embedded(nn.Module):
    """A user's own network of a label, with as many rows as it says."""

    rows: int
    outputs: int = 2

    @nn.compact
    def __call__(self, x, noise, condition):
        h = nn.Dense(4)(x.astype(noise.dtype)) + nn.Embed(self.rows, 4)(condition)
        h = nn.Dense(self.outputs)(h + noise[:, None])
        return h if self.outputs == 2 else h.reshape(-1, 2, self.outputs // 2)


LABELLED = {
    "diffusion": lambda rows: diffusion.diffusion(
        Embedded(rows), "cosine", ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "joint": lambda rows: diffusion.diffusion(
        nets.from_functions(
            lambda key, x, noise, c: Embedded(rows).init(key, x, noise, c["label"]),
            lambda params, x, noise, c: Embedded(rows).apply(params, x, noise, c["label"]),
        ),
        "cosine",
        ADAM,
        shape=(2,),
        condition=conditions.joint(label=conditions.labels(3)),
    ),
    "discrete_diffusion": lambda rows: discrete_diffusion.discrete_diffusion(
        Embedded(rows, 10), ADAM, shape=(2,), size=5, condition=conditions.labels(3)
    ),
}


@pytest.mark.parametrize("name", LABELLED)
def test_an_embedding_without_a_row_for_no_label_is_refused(name):
    x = np.zeros((8, 2), np.int32) if name == "discrete_diffusion" else POINTS[:8]
    batch = {"x": x, "y": np.arange(8) % 3}
    LABELLED[name](4).init(KEY, batch)
    model = LABELLED[name](3)
    known = lambda key: model.init(key, batch)
    for init in (known, jax.jit(known)):
        with pytest.raises(ConfigError, match=r"null condition \(label K=3\).* K \+ 1 = 4 rows"):
            init(KEY)
    jax.eval_shape(model.init, KEY, batch)  # nothing is known of a traced batch
