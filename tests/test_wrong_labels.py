"""Wrong labels are refused by `fit` and by a step, in every family with a condition."""

import jax
import numpy as np
import pytest
from damaged.common import ADAM, POINTS, B, fit
from damaged.energy import CHAINS, ENERGY
from damaged.gan import POINT_GAN
from damaged.vae import CODER
from flax import linen as nn

from gen_jax import (
    autoregressive,
    conditions,
    diffusion,
    energy,
    flow_matching,
    flows,
    gan,
    gan_nets,
    nets,
    vae,
)
from gen_jax.errors import ConfigError, DataError

LABELS = np.arange(B) % 3
CODER_OF = {**CODER, "condition": conditions.labels(3)}
CONDITIONAL = {
    "diffusion": lambda: diffusion.diffusion(
        nets.MLP((8, 8)), "linear", ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "flow_matching": lambda: flow_matching.flow_matching(
        nets.MLP((8, 8)), ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "ncsn": lambda: energy.ncsn(
        nets.MLP((8, 8)), ADAM, shape=(2,), condition=conditions.labels(3), levels=4
    ),
    "jem": lambda: energy.jem(
        nn.Dense(3), ADAM, chains=CHAINS, condition=conditions.labels(3), **ENERGY
    ),
    "flow": lambda: flows.flow(
        flows.make_flow("nice", 2, (8,)), ADAM, shape=(2,), condition=conditions.labels(3)
    ),
    "ffjord": lambda: flows.ffjord(
        ADAM, shape=(2,), hidden=(8,), num_steps=1, condition=conditions.labels(3)
    ),
    "vae": lambda: vae.vae(vae.mlp((8,)), vae.mlp((8,)), ADAM, **CODER_OF),
    "hierarchical_vae": lambda: vae.hierarchical_vae(
        ADAM,
        shape=(2,),
        latents=(1, 1),
        width=8,
        likelihood="gaussian_diagonal",
        condition=conditions.labels(3),
    ),
    "semi_supervised": lambda: vae.semi_supervised(
        vae.mlp((8,)), vae.mlp((8,)), vae.mlp((8,)), ADAM, **CODER_OF
    ),
    "made": lambda: autoregressive.made(
        ADAM, shape=(2,), likelihood="gaussian", hidden=(8,), condition=conditions.labels(3)
    ),
    "gan": lambda: gan.gan(
        gan_nets.MLPGenerator((2,), (4,)),
        gan_nets.MLPCritic((4,), "projection"),
        ADAM,
        ADAM,
        conditional="projection",
        condition=conditions.labels(3),
        **POINT_GAN,
    ),
}
WRONG_LABELS = {
    "from 1": LABELS + 1,
    "below 0": LABELS - 1,
    "far out": LABELS + 2**31,
    "numbers": LABELS.astype(np.float32),
    "a column": LABELS[:, None],
    "missing": None,
}


def labelled(labels):
    return POINTS if labels is None else {**POINTS, "y": labels}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_wrong_labels_are_refused_by_fit_and_by_a_step(name):
    """Also where the last example alone is wrong, and in a step that is called by hand."""
    model, key, more = CONDITIONAL[name](), jax.random.key(0), name == "semi_supervised"
    wrong = {what: y + more if what == "from 1" else y for what, y in WRONG_LABELS.items()}
    right = labelled(LABELS + more)
    state = jax.eval_shape(lambda key: model.init(key, right), key)
    jax.eval_shape(lambda key, state: model.step(key, state, right), key, state)
    for labels in wrong.values():
        with pytest.raises((ConfigError, DataError), match="label|'y'"):
            fit(model, labelled(labels))
        with pytest.raises((ConfigError, DataError), match="label|'y'"):
            jax.eval_shape(lambda key, s, y=labels: model.step(key, s, labelled(y)), key, state)
    last = {"x": np.tile(POINTS["x"], (4, 1)), "y": np.append(np.zeros(23, int), 3 + more)}
    with pytest.raises(DataError, match="'y'"):
        fit(model, last)


TRACED = np.array([1, 3, -1, 4, -(2**31), 2], np.int32)
"""Labels that jax traces, of which the first and the last are classes; 3 stands for "no label"."""


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_traced_label_out_of_range_gives_nan(name):
    """Under jit labels are not seen: no such one has the numbers of a class, or of no label."""
    model, key, right = CONDITIONAL[name](), jax.random.key(0), np.isin(TRACED, range(3))
    state = jax.jit(model.init)(key, labelled(LABELS))
    n, usual = len(TRACED), np.where(right, TRACED, 0)
    draw = jax.jit(lambda label: model.sample(key, state, n, label=label))
    found = np.asarray(draw(TRACED))
    assert np.isnan(found[~right]).all()
    np.testing.assert_array_equal(found[right], np.asarray(draw(usual))[right])
    assert np.isfinite(found[right]).all()
    if model.log_prob is None:
        return
    x = POINTS["x"][:n]
    density = jax.jit(lambda label: model.log_prob(key, state, x, label=label))
    found = np.asarray(density(TRACED))
    np.testing.assert_array_equal(np.isnan(found), ~right)
    np.testing.assert_array_equal(found[right], np.asarray(density(usual))[right])


@pytest.mark.parametrize("classes", [2, 5])
def test_one_number_of_classes(classes):
    network = nets.MLP((8, 8), num_classes=classes)
    with pytest.raises(ConfigError, match=rf"labels\(3\).*network.*num_classes={classes}"):
        diffusion.diffusion(network, "linear", ADAM, shape=(2,), condition=conditions.labels(3))
    sizes = {"num_classes": classes}
    with pytest.raises(ConfigError, match=rf"labels\(3\).*num_classes={classes}"):
        autoregressive.pixel_model(
            ADAM, shape=(8, 8, 1), condition=conditions.labels(3), sizes=sizes
        )
    with pytest.raises(ConfigError, match=r"labels\(3\).*generator"):
        gan.gan(
            gan_nets.MLPGenerator((2,), (4,), classes),
            gan_nets.MLPCritic((4,), "projection"),
            ADAM,
            ADAM,
            conditional="projection",
            condition=conditions.labels(3),
            **POINT_GAN,
        )


def test_a_later_batch_of_a_stream_is_refused():
    model = CONDITIONAL["made"]()
    batches = [labelled(LABELS), labelled(LABELS[::-1]), labelled(LABELS + 1)]
    with pytest.raises(DataError, match=r"'y'.* 1 to 3, must be integers in \[0, 2\]"):
        fit(model, lambda start: iter(batches[start:]), steps=3)
