"""The small UNet against the same network in `equinox.nn.Conv2d`, and small networks.

    python benchmarks/small_networks.py --rounds 7

The first table is the UNet, channels-last, against the same network channels-first:
`equinox.nn.Conv2d` and `equinox.nn.GroupNorm` under `vmap`, the same operations in the
same order with the same parameters. Before any timing, outputs and gradients of the two
are compared. The second table is a training step of small networks for 28x28 garments,
against the network of the shipped model.

Each row runs twice: on a host device per core, each single-threaded with its part of
the batch, which is how the experiments train on a CPU; and on one device with XLA's own
threads. XLA reads both settings when it starts, so each has a process of its own. All
rows take turns, and the best of the rounds counts, so that other work on the machine
slows them alike.
"""

import argparse
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _settings import CORES, MANY, ONE, measure, serve_times
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import softsde as ss
from softsde.nn import Conv, FiLM, GroupNorm, Linear, ResidualBlock, SelfAttention, UNet

FLAGS = {f"{CORES} devices": MANY, "1 device": ONE}
SHAPE = (28, 28, 1)

SHIPPED: dict[str, Any] = dict(
    base_channels=48,
    channel_multipliers=(1, 2),
    attention_levels=(1,),
    patch_size=2,
    refine_channels=16,
)
SMALL: dict[str, dict[str, Any]] = {
    "default UNet": {},
    "shipped UNet": SHIPPED,
}
#: What is changed of the shipped one.
SMALLER: dict[str, dict[str, Any]] = {
    "positions": {"positions": True},
    "refine 8": {"refine_channels": 8},
    "refine 8, base 32": {"refine_channels": 8, "base_channels": 32},
    "refine 8, no attention": {"refine_channels": 8, "attention_levels": ()},
    "multipliers (1, 1), refine 8": {
        "channel_multipliers": (1, 1),
        "refine_channels": 8,
    },
}
MIDDLE = {"attention_levels": (), "middle_attention": True}
for name in ("refine 8", "multipliers (1, 1), refine 8"):
    told = SMALLER[name] | {"positions": True}
    SMALLER[f"{name}, positions"] = told
    SMALLER[f"{name}, positions, attention in the middle"] = told | MIDDLE


def shipped(**options: Any) -> Callable:
    return lambda key: UNet(SHAPE, **SHIPPED | options, key=key)


NETWORKS: dict[str, Callable] = {
    "shipped UNet": shipped(),
    **{name: shipped(**options) for name, options in SMALLER.items()},
    "default UNet": lambda key: UNet(SHAPE, key=key),
    "DiT, 4x4 patches, 128 x 6": lambda key: ss.nn.DiT(
        SHAPE, patch_size=4, width=128, depth=6, key=key
    ),
    "DiT, 2x2 patches, 96 x 4": lambda key: ss.nn.DiT(
        SHAPE, patch_size=2, width=96, depth=4, key=key
    ),
}


# The baseline: the UNet as one writes it with Equinox's own layers.


def _conv(layer: Conv | Linear) -> eqx.nn.Conv2d:
    weight, bias = layer.weight, layer.bias
    stride = 1
    if isinstance(layer, Conv):
        stride = layer.stride
    else:
        weight = weight[None, None]
    assert bias is not None
    size, _, fan, out = weight.shape
    new = eqx.nn.Conv2d(
        fan, out, size, stride=stride, padding=size // 2, key=jax.random.key(0)
    )
    return eqx.tree_at(
        lambda c: (c.weight, c.bias),
        new,
        (weight.transpose(3, 2, 0, 1), bias[:, None, None]),
    )


def _norm(layer: GroupNorm, channels: int) -> eqx.nn.GroupNorm:
    affine = layer.weight is not None
    new = eqx.nn.GroupNorm(
        layer.groups, channels, eps=layer.eps, channelwise_affine=affine
    )
    if not affine:
        return new
    return eqx.tree_at(lambda n: (n.weight, n.bias), new, (layer.weight, layer.bias))


class PlainFiLM(eqx.Module):
    """`softsde.nn.FiLM`, from `equinox.nn.Linear`."""

    linear: eqx.nn.Linear

    def __init__(self, film: FiLM):
        fan, out = film.weight.shape
        self.linear = eqx.tree_at(
            lambda linear: (linear.weight, linear.bias),
            eqx.nn.Linear(fan, out, key=jax.random.key(0)),
            (film.weight.T, film.bias),
        )

    def __call__(self, embedding):
        scale, shift = jnp.split(self.linear(embedding), 2)
        return 1 + scale, shift


class PlainBlock(eqx.Module):
    """`softsde.nn.ResidualBlock`, channels-first."""

    norm1: eqx.nn.GroupNorm
    conv1: eqx.nn.Conv2d
    film: PlainFiLM
    norm2: eqx.nn.GroupNorm
    conv2: eqx.nn.Conv2d

    def __init__(self, block: ResidualBlock):
        _, _, fan, out = block.conv1.weight.shape
        assert block.shortcut is None and fan == out
        self.norm1, self.conv1 = _norm(block.norm1, fan), _conv(block.conv1)
        self.film = PlainFiLM(block.film)
        self.norm2, self.conv2 = _norm(block.norm2, out), _conv(block.conv2)

    def __call__(self, embedding, x):
        scale, shift = self.film(embedding)
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        h = self.norm2(h) * scale[:, None, None] + shift[:, None, None]
        return (x + self.conv2(jax.nn.silu(h))) / 2**0.5


class PlainAttention(eqx.Module):
    """`softsde.nn.SelfAttention`, channels-first."""

    norm: eqx.nn.GroupNorm
    qkv: eqx.nn.Conv2d
    out: eqx.nn.Conv2d
    num_heads: int = eqx.field(static=True)

    def __init__(self, layer: SelfAttention):
        channels = layer.out.weight.shape[0]
        self.norm = _norm(layer.norm, channels)
        self.qkv, self.out = _conv(layer.qkv), _conv(layer.out)
        self.num_heads = layer.num_heads

    def __call__(self, x):
        channels, height, width = x.shape
        qkv = self.qkv(self.norm(x))
        q, k, v = qkv.reshape(3, self.num_heads, -1, height * width)
        logits = jnp.einsum("hdq,hdk->hqk", q, k) / (channels // self.num_heads) ** 0.5
        y = jnp.einsum("hqk,hdk->hdq", jax.nn.softmax(logits, axis=-1), v)
        return (x + self.out(y.reshape(x.shape))) / 2**0.5


class PlainUNet(eqx.Module):
    """`softsde.nn.UNet`, channels-first, from Equinox's layers, with its parameters."""

    embedding: ss.nn.TimeEmbedding
    stem: eqx.nn.Conv2d
    full: tuple | None
    encoder: list
    downsamplers: list
    middle: tuple
    merges: list
    decoder: list
    norm: eqx.nn.GroupNorm
    out: eqx.nn.Conv2d
    patch_size: int = eqx.field(static=True)

    def __init__(self, net: UNet):
        def stage(s):
            attention = None if s.attention is None else PlainAttention(s.attention)
            return PlainBlock(s.block), attention

        def merge(m):
            return _conv(m.from_decoder), _conv(m.from_encoder)

        self.embedding, self.patch_size = net.embedding, net.patch_size
        self.stem, self.out = _conv(net.stem), _conv(net.out)
        self.norm = _norm(net.norm, net.out.weight.shape[2])
        full = net.full_resolution
        self.full = full and (
            _conv(full.embed),
            _conv(full.unembed),
            merge(full.merge),
            PlainBlock(full.refine),
        )
        self.encoder = [[stage(s) for s in level] for level in net.encoder]
        self.downsamplers = [_conv(d) for d in net.downsamplers]
        self.middle = stage(net.middle)
        self.merges = [[merge(m) for m in level] for level in net.merges]
        self.decoder = [[stage(s) for s in level] for level in net.decoder]

    def __call__(self, t, x):
        embedding = self.embedding(t)
        size = self.patch_size

        def run(stage, h):
            block, attention = stage
            h = block(embedding, h)
            return h if attention is None else attention(h)

        def merged(convs, h, skip):
            h, factor = convs[0](h), skip.shape[1] // h.shape[1]
            h = jnp.repeat(jnp.repeat(h, factor, axis=1), factor, axis=2)
            return (h + convs[1](skip)) / 2**0.5

        h = image = self.stem(x.transpose(2, 0, 1))
        if self.full is not None:
            c, height, width = h.shape
            h = h.reshape(c, height // size, size, width // size, size)
            h = h.transpose(2, 4, 0, 1, 3).reshape(-1, height // size, width // size)
            h = self.full[0](h)
        skips = []
        for level, stages in enumerate(self.encoder):
            if level > 0:
                h = self.downsamplers[level - 1](h)
            for stage in stages:
                h = run(stage, h)
                skips.append(h)
        h = run(self.middle, h)
        for merges, stages in zip(
            reversed(self.merges), reversed(self.decoder), strict=True
        ):
            for convs, stage in zip(merges, stages, strict=True):
                h = run(stage, merged(convs, h, skips.pop()))
        if self.full is not None:
            _, unembed, convs, refine = self.full
            h = unembed(h)
            _, rows, columns = h.shape
            h = h.reshape(size, size, -1, rows, columns).transpose(2, 3, 0, 4, 1)
            h = merged(convs, h.reshape(-1, rows * size, columns * size), image)
            h = refine(embedding, h)
        return self.out(jax.nn.silu(self.norm(h))).transpose(1, 2, 0)


# Compared and timed.


def perturbed(network):
    """Every parameter moved, so that no branch is zero."""
    rng = np.random.default_rng(0)
    arrays, rest = eqx.partition(network, eqx.is_array)
    move = lambda p: p + jnp.asarray(0.05 * rng.standard_normal(p.shape), p.dtype)
    return eqx.combine(jax.tree.map(move, arrays), rest)


def data(batch: int):
    rng = np.random.default_rng(1)
    t = rng.random(batch, np.float32)
    return jnp.asarray(t), jnp.asarray(
        rng.standard_normal((batch, *SHAPE)), jnp.float32
    )


def mean_square(network, t, x):
    return jnp.mean((jax.vmap(lambda t, x: network(t, x))(t, x) - x) ** 2)


def compare(network: UNet) -> tuple[float, float]:
    """The largest relative differences of outputs and of gradients in `t` and `x`."""
    t, x = data(4)

    @eqx.filter_jit
    def run(network):
        output = jax.vmap(lambda t, x: network(t, x))(t, x)
        return output, jax.grad(mean_square, argnums=(1, 2))(network, t, x)

    pairs = zip(
        jax.tree.leaves(run(network)),
        jax.tree.leaves(run(PlainUNet(network))),
        strict=True,
    )
    output, *gradients = (
        float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(a))) for a, b in pairs
    )
    return output, max(gradients)


def make_runs(network, batch: int) -> dict[str, Callable[[], None]]:
    """Compiled forward and training step, each as a thunk that runs it once."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    replicated = NamedSharding(mesh, PartitionSpec())
    optimiser = optax.adam(2e-4)
    params, static = eqx.partition(network, eqx.is_inexact_array)
    batch_data = jax.device_put(data(batch), NamedSharding(mesh, PartitionSpec("data")))
    state = jax.device_put((params, optimiser.init(params)), replicated)
    loss = lambda params, t, x: mean_square(eqx.combine(params, static), t, x)

    @jax.jit
    def step(params, opt_state, t, x):
        gradients = jax.grad(loss)(params, t, x)
        updates, opt_state = optimiser.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    @jax.jit
    def forward(params, t, x):
        return jax.vmap(lambda t, x: eqx.combine(params, static)(t, x))(t, x)

    runs = {
        "forward": lambda: jax.block_until_ready(forward(state[0], *batch_data)),
        "step": lambda: jax.block_until_ready(step(*state, *batch_data)),
    }
    for run in runs.values():
        run()
    return runs


def serve(batch: int) -> None:
    """Time every row once for each line of input."""
    runs = {}
    for name, options in SMALL.items():
        network = UNet(SHAPE, **options, key=jax.random.key(0))
        for kind, candidate in (("ours", network), ("plain", PlainUNet(network))):
            for what, run in make_runs(candidate, batch).items():
                runs[f"{name}|{kind}|{what}"] = run
    for name, make in NETWORKS.items():
        if name not in SMALL:
            run = make_runs(make(jax.random.key(0)), batch)["step"]
            runs[f"{name}|ours|step"] = run
    serve_times(runs)


def describe(network) -> tuple[float, float]:
    """Millions of parameters, and GFLOP of one forward pass of one image."""
    size = sum(p.size for p in jax.tree.leaves(eqx.filter(network, eqx.is_array)))
    # The count before compilation: a compiled CPU program hides its convolutions in
    # calls to a library.
    lowered = jax.jit(lambda t, x: network(t, x)).lower(jnp.zeros(()), jnp.zeros(SHAPE))
    flops = (lowered.cost_analysis() or {}).get("flops", float("nan"))
    return size / 1e6, flops / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.batch)

    for name, options in SMALL.items():
        output, gradient = compare(
            perturbed(UNet(SHAPE, **options, key=jax.random.key(0)))
        )
        print(
            f"{name}: outputs differ by {output:.1e} of the largest, gradients by "
            f"{gradient:.1e}"
        )
        if max(output, gradient) > 1e-5:
            raise SystemExit("these are two functions: their times say nothing.")
    best = measure(__file__, FLAGS, arguments.batch, arguments.rounds)
    print(f"\n{'against equinox.nn.Conv2d':28} {'setting':>10} {'ours':>9} "
          f"{'Conv2d':>9} {'ratio':>6}")  # fmt: skip
    for name in SMALL:
        for what in ("forward", "step"):
            for setting, seconds in best.items():
                ours, plain = (
                    seconds[f"{name}|{kind}|{what}"] for kind in ("ours", "plain")
                )
                print(
                    f"{f'{name}, {what}':28} {setting:>10} "
                    f"{arguments.batch / ours:7.0f}/s {arguments.batch / plain:7.0f}/s "
                    f"{plain / ours:6.2f}"
                )
    print(f"\n{'training step':64} {'M params':>8} {'GFLOP':>7} "
          + " ".join(f"{setting:>10} {'ratio':>6}" for setting in FLAGS))  # fmt: skip
    for name, make in NETWORKS.items():
        size, gflop = describe(make(jax.random.key(0)))
        row = f"{name:64} {size:8.2f} {gflop:7.3f} "
        for seconds in best.values():
            own, shipped = (seconds[f"{n}|ours|step"] for n in (name, "shipped UNet"))
            row += f" {arguments.batch / own:8.0f}/s {shipped / own:6.2f}"
        print(row)


if __name__ == "__main__":
    main()
