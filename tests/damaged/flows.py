"""Models with one callable damaged: flows."""

from damaged.common import ADAM, PER_POINT, POINTS
from gen_jax import flows
from gen_jax.flows import Bijector, Layer


def bent(damage):
    """A flow whose log-determinant is damaged."""
    layer = flows.actnorm()

    def bijector(params, condition=None):
        inner = layer.bijector(params, condition)
        change = lambda f: lambda x: (f(x)[0], damage(f(x)[1]))
        return Bijector(change(inner.forward), change(inner.inverse))

    return Layer(layer.init, bijector, layer.base_shape, layer.start)


CALLABLES = {
    "flows.flow/layer": (
        lambda f: flows.flow(bent(f), ADAM, shape=(2,)),
        PER_POINT,
        POINTS,
    ),
    "flows.manifold_flow/layer": (
        lambda f: flows.manifold_flow(bent(f), flows.actnorm(), ADAM, shape=(2,), latent=1),
        PER_POINT,
        POINTS,
    ),
}
