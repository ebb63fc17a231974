"""Models with one callable damaged: autoregressive."""

from damaged.common import ADAM, IMAGES, LIKE_X
from gen_jax import autoregressive, data, nets
from gen_jax.autoregressive.pixels import factorise


def made_of_pixels(damage):
    likelihood = autoregressive.LIKELIHOODS["categorical"](256)
    net = nets.PixelCNN(outputs=256, units=1, width=4, depth=1)
    good = factorise(net, likelihood, (8, 8, 1))
    raw = lambda *arguments, **options: damage(good.raw(*arguments, **options))
    options = {"shape": (8, 8, 1), "transform": data.integers()}
    return autoregressive.autoregressive(good._replace(raw=raw), likelihood, ADAM, **options)


CALLABLES = {
    "autoregressive.autoregressive/network": (
        made_of_pixels,
        {name: LIKE_X[name] for name in ("one column", "a further axis", "a sum")},
        IMAGES,
    ),
}
