"""Shardings: a batch is split over the mesh, and the state over its axis `fsdp`.

Every sharding is decided here. The same code serves one device, the host devices of a
CPU, a TPU slice, and several hosts under `jax.distributed`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

T = TypeVar("T")

#: Regular expressions of paths of leaves, and the sharding of these leaves.
Overrides: TypeAlias = Mapping[str, PartitionSpec]

# A leaf of fewer numbers is whole on every device: a gather of it would cost more time
# than it saves memory.
_SMALL = 1024


def make_mesh(
    num_devices: int | None = None,
    *,
    fsdp: int = 1,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh with the axes `data` and `fsdp` over all devices or the first few.

    A batch is split over all devices. Parameters, their averages and the state of the
    optimiser are split over the axis `fsdp`, and copied along the axis `data`. With
    `fsdp=1` each device holds all of them, which is the fastest as long as they fit.

    **Arguments:**

    - `num_devices`: how many devices to use; all of them (of all hosts) if `None`.
    - `fsdp`: over how many devices the state is split; it divides `num_devices`. On
        several hosts, the devices of one host are neighbours.
    - `devices`: the devices to choose from, such as those of a topology that programs
        are compiled for; `jax.devices()` if `None`.

    **Returns:**

    A `jax.sharding.Mesh` of shape `{"data": num_devices // fsdp, "fsdp": fsdp}`.

    **Raises:** `ValueError` for more devices than there are, and for an `fsdp` that
    does not divide them.

    !!! Example

        ```python
        mesh = ss.train.make_mesh()
        step = ss.train.make_train_step(loss_fn, optimiser, mesh=mesh)
        ```
    """
    devices = jax.devices() if devices is None else list(devices)
    n = len(devices) if num_devices is None else num_devices
    if not 1 <= n <= len(devices):
        raise ValueError(
            f"`num_devices` must be between 1 and {len(devices)}, the number of "
            f"{devices[0].platform} devices that JAX sees; got {n}. On a CPU, set "
            f"`XLA_FLAGS=--xla_force_host_platform_device_count={n}` before JAX starts."
        )
    if fsdp < 1 or n % fsdp != 0:
        fits = ", ".join(str(k) for k in range(1, n + 1) if n % k == 0)
        raise ValueError(
            f"`fsdp` must divide the {n} devices of the mesh; got {fsdp}. It can be "
            f"one of {fits}."
        )
    return jax.make_mesh(
        (n // fsdp, fsdp),
        ("data", "fsdp"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=devices[:n],
    )


def everywhere(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, *, stacked: bool = False) -> NamedSharding:
    """The leading axis is split over all devices, the rest is whole.

    With `stacked` it is the second axis: the first one counts batches.
    """
    axes = _batch_axes(mesh)
    return NamedSharding(
        mesh, PartitionSpec(None, axes) if stacked else PartitionSpec(axes)
    )


def _batch_axes(mesh: Mesh) -> tuple[str, ...]:
    return tuple(name for name in ("data", "fsdp") if name in mesh.shape)


def state_shardings(
    tree: PyTree, mesh: Mesh, overrides: Overrides | None = None
) -> PyTree:
    """A sharding for each array of a state, and `None` in the place of other leaves.

    The first of the `overrides` whose expression is found in the path of a leaf (such
    as `.ema.network.blocks[0].weight`) decides. Otherwise a leaf of at least 1024
    numbers is split over the mesh axis `fsdp` along its longest axis that can be split
    evenly, the last one of equally long ones. It is whole on every device if there is
    none. The rule depends on the shape alone, so a parameter, its average and its
    moments are split alike.
    """
    rules = [(re.compile(k), spec) for k, spec in (overrides or {}).items()]

    def sharding(path, leaf):
        if not _is_array(leaf):
            return None
        name, shape = jax.tree_util.keystr(path), leaf.shape
        for rule, spec in rules:
            if rule.search(name):
                _check_override(rule.pattern, spec, name, shape, mesh)
                return NamedSharding(mesh, spec)
        return NamedSharding(mesh, _by_shape(shape, mesh.shape.get("fsdp", 1)))

    return jax.tree_util.tree_map_with_path(sharding, tree)


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct | np.ndarray)


def _by_shape(shape: tuple[int, ...], parts: int) -> PartitionSpec:
    if parts == 1 or np.prod(shape) < _SMALL:
        return PartitionSpec()
    fitting = [(size, i) for i, size in enumerate(shape) if size % parts == 0]
    if not fitting:
        return PartitionSpec()
    _, axis = max(fitting)
    return PartitionSpec(*([None] * axis), "fsdp")


def _check_override(rule, spec, name: str, shape: tuple[int, ...], mesh: Mesh) -> None:
    if len(spec) > len(shape):
        raise ValueError(
            f"The override {rule!r} gives {spec} to {name}, which has the shape "
            f"{shape}: the specification is longer than the shape. Make the expression "
            "match fewer leaves, or shorten the specification."
        )
    for size, entry in zip(shape, spec, strict=False):
        axes = () if entry is None else (entry,) if isinstance(entry, str) else entry
        unknown = [axis for axis in axes if axis not in mesh.shape]
        if unknown:
            raise ValueError(
                f"The override {rule!r} names the mesh axis {unknown[0]!r}; the mesh "
                f"has {list(mesh.shape)}."
            )
        parts = int(np.prod([mesh.shape[axis] for axis in axes]))
        if size % parts != 0:
            raise ValueError(
                f"The override {rule!r} splits an axis of {name} of length {size} into "
                f"{parts} parts, which is not even. Split another axis of its shape "
                f"{shape}, or give `PartitionSpec()` to keep it whole."
            )


def constrain(tree: T, shardings: PyTree) -> T:
    """Inside a compiled program: `tree` with the given sharding of each array."""

    def put(x, sharding):
        return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)

    arrays, rest = eqx.partition(tree, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    wanted = jax.tree.leaves(shardings)
    placed = [put(x, s) for x, s in zip(leaves, wanted, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, placed), rest)


def shard_state(state: T, mesh: Mesh | None, overrides: Overrides | None = None) -> T:
    """Put the arrays of `state` on the devices of the mesh, if they are not there yet.

    A large array is split over the mesh axis `fsdp`, a small one is copied to every
    device. To make a state that is too large for one device, use
    [`softsde.train.init_state`][], which makes it in parts.

    **Arguments:**

    - `state`: a PyTree, such as a [`softsde.train.TrainState`][].
    - `mesh`: from [`softsde.train.make_mesh`][], or `None` for no change.
    - `overrides`: a `PartitionSpec` for each leaf whose path a regular expression
        finds, instead of the rule for its shape.

    **Returns:**

    The same PyTree on the devices of the mesh.

    **Raises:** `ValueError` for an override that does not fit a leaf.
    """
    if mesh is None:
        return state
    arrays, rest = eqx.partition(state, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    wanted = jax.tree.leaves(state_shardings(arrays, mesh, overrides))
    placed = shard_leaves(leaves, wanted)
    if placed is leaves:
        return state
    return eqx.combine(jax.tree.unflatten(structure, placed), rest)


def shard_leaves(leaves: list[Any], wanted: list[NamedSharding]) -> list[Any]:
    """The arrays with these shardings; the very same list if they have them already."""
    # A step that finds everything in place should not pay for a transfer call per leaf.
    if all(_is_at(x, s) for x, s in zip(leaves, wanted, strict=True)):
        return leaves
    if all(s.is_fully_addressable for s in wanted):
        return jax.device_put(leaves, wanted)
    return [_on_all_hosts(x, s) for x, s in zip(leaves, wanted, strict=True)]


def _is_at(x: Any, sharding: NamedSharding) -> bool:
    # On a mesh of one device every sharding is equivalent, but a program is compiled
    # once for an array that names the mesh and once for one that does not.
    return (
        isinstance(x, jax.Array)
        and isinstance(x.sharding, NamedSharding)
        and (x.sharding == sharding or x.sharding.is_equivalent_to(sharding, x.ndim))
    )


def _on_all_hosts(x: Any, sharding: NamedSharding) -> jax.Array:
    """One array on all devices, from the whole copies that the hosts hold."""
    if _is_at(x, sharding):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _on_all_hosts(jax.random.key_data(x), everywhere(sharding.mesh))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return jax.device_put(x, sharding)
    whole = np.asarray(x)
    return jax.make_array_from_callback(whole.shape, sharding, lambda i: whole[i])


def gather(tree: T) -> T:
    """A whole copy of each array on the default device of every host.

    Use it to write or to sample with a state that is split over several devices or
    hosts. On several hosts it is a collective operation: all of them must call it.

    **Arguments:**

    - `tree`: a PyTree, such as the `ema` of a [`softsde.train.TrainState`][].

    **Returns:**

    The same PyTree. Its arrays are independent of those of `tree`.

    !!! Example

        ```python
        averaged = ss.train.gather(state.ema)
        ```
    """

    def whole(x):
        if not eqx.is_array(x):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = whole(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        if isinstance(x, jax.Array) and not x.is_fully_addressable:
            x = multihost_utils.process_allgather(x, tiled=True)
        return jnp.array(np.asarray(x))

    return jax.tree.map(whole, tree)


def shard_batch(batch: PyTree, mesh: Mesh | None, *, stacked: bool = False) -> PyTree:
    """Split a batch over the devices along its leading axis.

    On several hosts each gives its own part of the batch and gets the global one. An
    array that is sharded already stays where it is.

    **Arguments:**

    - `batch`: a PyTree of arrays with the same leading axis.
    - `mesh`: from [`softsde.train.make_mesh`][], or `None` for no change.
    - `stacked`: whether the arrays hold several batches, stacked in front.

    **Returns:**

    The same PyTree with `jax.Array` leaves.

    **Raises:** `ValueError` if the batch cannot be split evenly.
    """
    leaves = jax.tree.leaves(batch)
    size = batch_size(batch, axis=int(stacked))
    if mesh is None:
        return batch
    sharding = batch_sharding(mesh, stacked=stacked)
    if all(_is_at(x, sharding) for x in leaves):
        return batch
    devices = len(mesh.local_devices)
    if size % devices != 0:
        below, above = size - size % devices, size - size % devices + devices
        better = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"A batch of {size} cannot be split evenly over the {devices} devices of "
            f"the mesh that this process has. Choose a batch size of {better} for each "
            "process (and drop the remainder at the end of the data), or fewer devices "
            "with `make_mesh(num_devices=...)`."
        )

    def put(x):
        if isinstance(x, jax.Array):
            return jax.device_put(x, sharding)
        return jax.make_array_from_process_local_data(sharding, np.asarray(x))

    return jax.tree.map(put, batch)


def batch_size(batch: PyTree, *, axis: int = 0) -> int:
    """The common length of the leading axis (or of another one) of all leaves."""
    shapes = {
        jax.tree_util.keystr(path): np.shape(x)
        for path, x in jax.tree_util.tree_leaves_with_path(batch)
    }
    sizes = {shape[axis : axis + 1] for shape in shapes.values()}
    if len(sizes) != 1 or () in sizes:
        found = ", ".join(f"{k} of shape {v}" for k, v in shapes.items())
        raise ValueError(
            "The arrays of a batch must have the same leading axis, the batch; got "
            f"{found or 'no array at all'}."
        )
    ((size,),) = sizes
    return size
