"""Models with one callable damaged: flow matching."""

import jax

from damaged.common import ADAM, LIKE_X, MLP, PER_POINT, POINTS, Damaged
from gen_jax import conditions, flow_matching, nets


def damaged_loss(damage):
    def loss(average, path, x0, x1, t, s):
        each, metrics = flow_matching.mean_flow_loss(average, path, x0, x1, t, s)
        return damage(each), metrics

    return loss


def taught():
    model = flow_matching.flow_matching(MLP, ADAM, shape=(2,), noise_input="angle")
    return model, model.init(jax.random.key(0), POINTS)


CALLABLES = {
    "flow_matching.flow_matching/network": (
        lambda f: flow_matching.flow_matching(Damaged(MLP, f), ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "flow_matching.flow_map_model/network": (
        lambda f: flow_matching.flow_map_model(Damaged(MLP, f), "linear", ADAM, shape=(2,)),
        LIKE_X,
        POINTS,
    ),
    "flow_matching.flow_map_model/loss": (
        lambda f: flow_matching.flow_map_model(MLP, "linear", ADAM, damaged_loss(f), shape=(2,)),
        PER_POINT,
        POINTS,
    ),
    "flow_matching.flow_map_model/teacher": (
        lambda f: flow_matching.flow_map_model(
            MLP, "linear", ADAM, shape=(2,), teacher=lambda x, t, value: f(x)
        ),
        LIKE_X,
        POINTS,
    ),
    "flow_matching.distilled_flow_map/loss": (
        lambda f: flow_matching.distilled_flow_map(*taught(), ADAM, damaged_loss(f)),
        PER_POINT,
        POINTS,
    ),
    "flow_matching.coupled/network": (
        lambda f: flow_matching.coupled(
            Damaged(nets.MLP((8,), condition=conditions.image((2,))), f),
            ADAM,
            lambda key, x0: x0,
            shape=(2,),
        ),
        LIKE_X,
        POINTS,
    ),
    "flow_matching.coupled/degrade": (
        lambda f: flow_matching.coupled(MLP, ADAM, lambda key, x0: f(x0), shape=(2,)),
        LIKE_X,
        POINTS,
    ),
}
