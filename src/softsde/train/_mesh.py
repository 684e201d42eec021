"""Shardings: a batch is split over the mesh axis `data`, the state is on every device.

Every sharding is decided here. The same code serves one device, the host devices of a
CPU, a TPU slice, and several hosts under `jax.distributed`.
"""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

T = TypeVar("T")


def make_mesh(num_devices: int | None = None) -> Mesh:
    """A mesh with one axis, `data`, over all devices or the first few.

    **Arguments:**

    - `num_devices`: how many devices to use; all of them (of all hosts) if `None`.

    **Returns:**

    A `jax.sharding.Mesh` of shape `{"data": num_devices}`.

    !!! Example

        ```python
        mesh = ss.train.make_mesh()
        step = ss.train.make_train_step(loss_fn, optimiser, mesh=mesh)
        ```
    """
    devices = jax.devices()
    n = len(devices) if num_devices is None else num_devices
    if not 1 <= n <= len(devices):
        raise ValueError(
            f"`num_devices` must be between 1 and {len(devices)}, the number of "
            f"{devices[0].platform} devices that JAX sees; got {n}. On a CPU, set "
            f"`XLA_FLAGS=--xla_force_host_platform_device_count={n}` before JAX starts."
        )
    return jax.make_mesh(
        (n,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:n]
    )


def state_sharding(mesh: Mesh) -> NamedSharding:
    """Parameters and optimiser state are replicated.

    To split them over a second axis of the mesh, change this function: nothing else in
    this room assumes that they are whole.
    """
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis is split over `data`, the rest is whole."""
    return NamedSharding(mesh, PartitionSpec("data"))


def shard_state(state: T, mesh: Mesh | None) -> T:
    """Put the arrays of `state` on every device of the mesh, if they are not there yet.

    **Arguments:**

    - `state`: a PyTree, such as a [`softsde.train.TrainState`][].
    - `mesh`: from [`softsde.train.make_mesh`][], or `None` for no change.

    **Returns:**

    The same PyTree on the devices of the mesh.
    """
    if mesh is None:
        return state
    sharding = state_sharding(mesh)
    arrays, rest = eqx.partition(state, eqx.is_array)
    # A step that finds everything in place should not pay for a transfer call per leaf.
    if all(_is_at(x, sharding) for x in jax.tree.leaves(arrays)):
        return state
    if sharding.is_fully_addressable:
        arrays = jax.device_put(arrays, sharding)
    else:
        arrays = jax.tree.map(lambda x: _on_all_hosts(x, sharding), arrays)
    return eqx.combine(arrays, rest)


def _is_at(x: Any, sharding: NamedSharding) -> bool:
    return isinstance(x, jax.Array) and x.sharding == sharding


def _on_all_hosts(x: Any, sharding: NamedSharding) -> jax.Array:
    """One array on all devices, from the copies that the hosts hold."""
    if _is_at(x, sharding):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _on_all_hosts(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    return jax.make_array_from_process_local_data(sharding, np.asarray(x))


def shard_batch(batch: PyTree, mesh: Mesh | None) -> PyTree:
    """Split a batch over the devices along its leading axis.

    On several hosts each gives its own part of the batch and gets the global one. An
    array that is sharded already stays where it is.

    **Arguments:**

    - `batch`: a PyTree of arrays with the same leading axis.
    - `mesh`: from [`softsde.train.make_mesh`][], or `None` for no change.

    **Returns:**

    The same PyTree with `jax.Array` leaves.

    **Raises:** `ValueError` if the batch cannot be split evenly.
    """
    leaves = jax.tree.leaves(batch)
    size = batch_size(batch)
    if mesh is None:
        return batch
    sharding = batch_sharding(mesh)
    if all(_is_at(x, sharding) for x in leaves):
        return batch
    devices = len(mesh.local_devices) * mesh.shape["data"] // mesh.size
    if size % devices != 0:
        below, above = size - size % devices, size - size % devices + devices
        better = f"{below} or {above}" if below else f"{above}"
        raise ValueError(
            f"A batch of {size} cannot be split evenly over the {devices} devices of "
            f"the mesh axis `data`. Choose a batch size of {better} (and drop the "
            "remainder at the end of the data), or fewer devices with "
            f"`make_mesh(num_devices=...)`."
        )

    def put(x):
        if isinstance(x, jax.Array):
            return jax.device_put(x, sharding)
        return jax.make_array_from_process_local_data(sharding, np.asarray(x))

    return jax.tree.map(put, batch)


def batch_size(batch: PyTree) -> int:
    """The common length of the leading axis of all leaves."""
    shapes = {
        jax.tree_util.keystr(path): np.shape(x)
        for path, x in jax.tree_util.tree_leaves_with_path(batch)
    }
    sizes = {shape[:1] for shape in shapes.values()}
    if len(sizes) != 1 or () in sizes:
        found = ", ".join(f"{k} of shape {v}" for k, v in shapes.items())
        raise ValueError(
            "The arrays of a batch must have the same leading axis, the batch; got "
            f"{found or 'no array at all'}."
        )
    ((size,),) = sizes
    return size
