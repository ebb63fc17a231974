"""Models with one callable damaged: flow matching."""

from damaged.common import ADAM, LIKE_X, MLP, POINTS, Damaged
from gen_jax import conditions, flow_matching, nets

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
