"""Every sampler, network and training step on one device and on all, for `test_laws.py`.

Run in a process of its own, where XLA_FLAGS asks for eight simulated devices: prints one line
`name error` each, the largest difference relative to the size of the result.
"""

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from small_networks import smallest

from gen_jax import conditions, diffusion, nets, paths
from gen_jax.randomness import sample_keys

N = 16


def difference(a, b):
    """Largest error of any leaf, over that leaf's size."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(jnp.max(jnp.abs(jax.device_get(x) - y)) / (1e-3 + jnp.max(jnp.abs(y))))
        for x, y in pairs
        if jnp.issubdtype(y.dtype, jnp.floating)
    )


def report(name, function, *arguments):
    """Compare `function` with its arguments on one device and with the leading axis split."""
    alone = jax.tree.map(jax.device_get, jax.jit(function)(*arguments))
    split = NamedSharding(Mesh(jax.devices(), "data"), PartitionSpec("data"))
    spread = jax.jit(function)(*(jax.device_put(a, split) for a in arguments))
    leaf = jax.tree.leaves(spread)[0]
    assert len(leaf.sharding.device_set) == len(jax.devices()), name
    print(name, difference(spread, alone), flush=True)


def samplers(key):
    path = paths.vp()
    mixture = jnp.array([0.4, 0.6]), jnp.array([[1.0, 0.0], [-1.0, 0.5]]), 0.1 * jnp.eye(2)[None]
    weights, means, covariance = mixture
    denoise = diffusion.mixture_denoiser(weights, means, jnp.tile(covariance, (2, 1, 1)), path)
    x = diffusion.prior(key, path, (N, 2))
    for name, make in diffusion.STEPPERS.items():
        stepper = make()
        times = diffusion.GRIDS[stepper.grid](path, 4)
        run = lambda keys, x, stepper=stepper, times=times: diffusion.sample(
            keys, denoise, path, x, times, stepper
        )
        report(f"sampler {name}", run, sample_keys(key, N), x)


def networks(key):
    x, noise = jax.random.normal(key, (N, 8, 8, 1)), jnp.linspace(-2, 2, N)
    label = jnp.arange(N) % 3
    for name in nets.NETWORKS:
        network = smallest(name, num_classes=3)
        variables = jax.jit(network.init)(key, x, noise, label)
        variables = jax.tree.map(
            lambda p: p + 0.05 * jnp.cos(jnp.arange(p.size)).reshape(p.shape), variables
        )
        run = lambda x, noise, label, network=network, v=variables: network.apply(
            v, x, noise, label
        )
        report(f"network {name}", run, x, noise, label)


def training(key):
    network = nets.MLP((8,))
    # Adam would divide rounding errors of vanishing gradients by their own size.
    model = diffusion.diffusion(
        network, "linear", optax.sgd(0.1), shape=(2,), condition=conditions.labels(3)
    )
    x, y = jax.random.normal(key, (N, 2)), jnp.arange(N) % 3
    state = model.init(key, {"x": x, "y": y})

    def steps(x, y):
        step = lambda state, key: model.step(key, state, {"x": x, "y": y})
        return jax.lax.scan(step, state, jax.random.split(key, 5))

    report("training", steps, x, y)


if __name__ == "__main__":
    assert len(jax.devices()) == 8
    samplers(jax.random.key(0))
    networks(jax.random.key(1))
    training(jax.random.key(2))
