"""Programs of an experiment, compiled ahead of time for chips that are not there."""

import dataclasses
import importlib.util
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import softsde as ss

from . import _build, _registry
from ._config import Config
from ._errors import CommandError
from ._spec import Spec


@dataclass(frozen=True)
class Chip:
    """One chip, by its maker's data sheet."""

    tflops: float
    """Peak of bfloat16 matrix products, in 1e12 a second."""
    gigabytes_a_second: float
    """Peak bandwidth of its memory."""
    gib: float
    """Memory."""
    host: tuple[int, ...]
    """Chips of one host, along the axes of the topology."""


#: https://cloud.google.com/tpu/docs/system-architecture-tpu-vm
CHIPS = {
    "v4": Chip(275, 1228, 32, (2, 2, 1)),
    "v5e": Chip(197, 819, 16, (2, 4)),
    "v5p": Chip(459, 2765, 95, (2, 2, 1)),
    "v6e": Chip(918, 1640, 32, (2, 4)),
}

#: Shapes of images whose files need not be there. Each of these has ten classes.
SHAPES = {
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}


def topology_mesh(topology: str, fsdp: int) -> Mesh:
    """The mesh of a topology that is not there.

    **Raises:** `CommandError` for a name that is none; `ImportError` without libtpu.
    """
    kind, _, shape = topology.partition(":")
    sizes = [int(n) for n in shape.split("x") if n.isdigit()]
    if kind not in CHIPS or not sizes or "x".join(map(str, sizes)) != shape:
        raise CommandError(
            f"`--topology {topology}` is no topology; expected a kind of chip "
            f"({', '.join(CHIPS)}) and the chips along each axis, such as v5e:4x4."
        )
    if importlib.util.find_spec("libtpu") is None:
        raise ImportError(
            "Compiling for TPUs needs their compiler: `pip install libtpu`."
        )
    from jax.experimental import topologies

    host = CHIPS[kind].host
    sizes += [1] * (len(host) - len(sizes))
    # A slice smaller than a host is a part of one.
    bounds = [min(a, b) for a, b in zip(sizes, host, strict=True)]
    bounds += [1] * (3 - len(bounds))
    description = topologies.get_topology_desc(
        platform="tpu",
        topology_name=f"{kind}:{'x'.join(map(str, sizes))}",
        chips_per_host_bounds=tuple(bounds),
    )
    return ss.train.make_mesh(fsdp=fsdp, devices=description.devices)


def stand_in(config: Config) -> ss.data.AbstractSource:
    """Black images of the shape of an experiment's, whose files need not be there."""
    images = config.data.images
    name = config.data.source.lower().replace("-", "_")
    if name in SHAPES:
        labels = np.arange(10)
        return ss.data.ArraySource(np.zeros((10, *SHAPES[name]), np.uint8), labels)
    if images.size is not None and not config.condition.labels:
        shape = (images.size, images.size, images.channels or 3)
        return ss.data.ArraySource(np.zeros((1, *shape), np.uint8))
    return _build.make_source(config.data)


def make_parts(config: Config) -> _build.Parts:
    """The objects of an experiment, without its data.

    A level schedule from data is replaced by the default one, which costs the same.
    """
    process = config.process
    levels = process.options.get("levels")
    levels = Spec(levels) if isinstance(levels, str) else levels
    if isinstance(levels, Spec) and _registry.knows(levels.name, ["fitted"]):
        others = {n: v for n, v in process.options.items() if n != "levels"}
        process = dataclasses.replace(process, options=others)
    config = dataclasses.replace(config, process=process)
    return _build.Parts(config, stand_in(config))


def compile_training(
    config: Config,
    mesh: Mesh,
    batch_size: int,
    accumulate: int = 1,
    level: int | None = None,
) -> ss.train.ProgramCost:
    """Compile the training step of an experiment for the devices of a mesh."""
    parts = make_parts(config)
    process = parts.process()
    loss_fn, carry = parts.loss(process)
    state = _abstract_state(
        parts, mesh, carry=carry, sigma_rel=config.optimiser.sigma_rel
    )
    step = ss.train.make_train_step(
        loss_fn,
        parts.optimiser(),
        ema_decay=config.optimiser.ema_decay,
        accumulate=accumulate,
        mesh=mesh,
    )
    entries: dict[str, Any] = {
        "image": (parts.source.shape, jnp.uint8),
        "label": ((), jnp.int32),
    }
    batch = ss.train.abstract_batch(entries, batch_size, mesh)
    return _cost(step.lower(state, batch), level)


def compile_sampling(
    config: Config, mesh: Mesh, number: int, level: int | None = None
) -> ss.train.ProgramCost:
    """Compile the sampler of an experiment for the devices of a mesh."""
    parts = make_parts(config)
    averages = _abstract_state(parts, mesh).ema
    arrays, rest = eqx.partition(averages, _is_abstract)
    options: dict[str, Any] = config.sampling.sampler.options()
    labels = config.condition.labels

    def draw(arrays, starts):
        denoiser = eqx.combine(arrays, rest)
        return ss.sample(
            denoiser,
            x1=starts["x"],
            condition=starts["label"] if labels else None,
            key=jax.random.key(0),
            **options,
        ).x

    entries: dict[str, Any] = {"x": (parts.source.shape, jnp.float32)}
    if labels:
        entries["label"] = ((), jnp.int32)
    starts = ss.train.abstract_batch(entries, number, mesh)
    return _cost(jax.jit(draw).lower(arrays, starts), level)


def compile_network(
    config: Config, mesh: Mesh, number: int, level: int | None = None
) -> ss.train.ProgramCost:
    """Compile forward and backward of the network alone, on as many images.

    What a training step takes beyond that is the process, the loss, the optimiser and
    the averages.
    """
    parts = make_parts(config)
    network = _abstract_state(parts, mesh).model.network
    weights, rest = eqx.partition(network, _is_abstract)
    labels = config.condition.labels

    def gradient(weights, batch):
        keys = jax.random.split(jax.random.key(0), number)

        def loss(weights):
            network = eqx.combine(weights, rest)
            run = lambda t, x, label, key: network(t, x, label, key=key)
            outputs = jax.vmap(run)(batch["t"], batch["x"], batch.get("label"), keys)
            return jnp.mean(outputs**2)

        return jax.grad(loss)(weights)

    entries: dict[str, Any] = {
        "t": ((), jnp.float32),
        "x": (parts.source.shape, jnp.float32),
    }
    if labels:
        entries["label"] = ((), jnp.int32)
    batch = ss.train.abstract_batch(entries, number, mesh)
    # Every gradient lies where its weight does, as in the training step.
    places = jax.tree.map(lambda leaf: leaf.sharding, weights)
    lowered = jax.jit(gradient, out_shardings=places).lower(weights, batch)
    return _cost(lowered, level)


def _abstract_state(parts: _build.Parts, mesh: Mesh, **options: Any) -> Any:
    """The state of a run, of arrays that are not there."""
    process = parts.process()
    return ss.train.abstract_state(
        lambda key: parts.denoiser(parts.network(), process),
        parts.optimiser(),
        mesh=mesh,
        **options,
    )


def _is_abstract(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)


def _cost(lowered: jax.stages.Lowered, level: int | None) -> ss.train.ProgramCost:
    """Compiles with the optimisations of a level; `None` is the compiler's default."""
    options: Any = None if level is None else {"optimization_level": level}
    return ss.train.program_cost(lowered.compile(options))
