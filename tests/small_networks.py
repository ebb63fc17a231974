"""Networks of the registry in small; one without a row is made as it is by default."""

from gen_jax import nets

SMALLEST = {
    "mlp": {"features": (8,)},
    "unet": {"widths": (8, 8), "blocks": 1, "attention": ()},
    "dit": {"patch": 4, "width": 16, "depth": 1, "heads": 2},
}
LAYERED = {
    "mlp": {"features": (16, 24)},
    "unet": {"widths": (8, 12), "blocks": 1, "attention": (8,)},
    "dit": {"patch": 2, "width": 16, "depth": 1, "heads": 2},
}


def smallest(name, **options):
    """The network of a name at its smallest."""
    return nets.NETWORKS[name](**{**SMALLEST.get(name, {}), **options})


def layered(name, **options):
    """The network of a name with every kind of its layers."""
    return nets.NETWORKS[name](**{**LAYERED.get(name, {}), **options})
