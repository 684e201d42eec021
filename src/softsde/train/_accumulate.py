"""The gradient of a batch, computed in parts."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ._mesh import batch_sharding, batch_size


def accumulated(
    part_of: Callable[[Any, Any, Any], tuple[Any, dict, Any, Any]],
    batch: Any,
    carry: Any,
    key: jax.Array,
    parts: int,
    mesh: Mesh | None,
) -> tuple[Any, dict, Any, Any]:
    r"""The means of loss, metrics and gradient over `parts` parts of a batch.

    $$g = \frac1k \sum_{i<k} g_i$$

    with `g_i` the gradient on the samples `i, i + k, i + 2 k, ...`. These lie on all
    devices, so that each device works on its own samples in every part.

    **Arguments:**

    - `part_of`: `(part, carry, key) -> (loss, metrics, carry, gradient)`.
    - `batch`: the whole batch.
    - `carry`: handed from each part to the next.
    - `key`: part `i` gets `fold_in(key, i)`.
    - `parts`: the number of parts, `k`.
    - `mesh`: over whose devices the batch is split, or `None`.

    **Returns:**

    Loss, metrics, carry and gradient.

    **Raises:** `ValueError` if the batch cannot be divided into so many parts.
    """
    size = batch_size(batch)
    devices = 1 if mesh is None else mesh.size
    if size % (parts * devices) != 0:
        unit = parts * devices
        raise ValueError(
            f"A batch of {size} cannot be divided into {parts} parts on {devices} "
            f"device(s). Choose a batch size that is a multiple of {unit}, such as "
            f"{max(unit, size - size % unit)}, or another `accumulate`."
        )

    def stack(x):
        # Each device holds a run of samples; its share of a part comes from that run.
        x = jnp.moveaxis(x.reshape(size // parts, parts, *x.shape[1:]), 1, 0)
        if mesh is None:
            return x
        return jax.lax.with_sharding_constraint(x, batch_sharding(mesh, stacked=True))

    stacked = jax.tree.map(stack, batch)
    moving, fixed = eqx.partition(carry, eqx.is_array)

    def body(so_far, given):
        total, moving = so_far
        i, part = given
        loss, metrics, new, gradient = part_of(
            part, eqx.combine(moving, fixed), jax.random.fold_in(key, i)
        )
        total = jax.tree.map(jnp.add, total, (loss, metrics, gradient))
        return (total, eqx.filter(new, eqx.is_array)), None

    first = jax.tree.map(lambda x: x[0], stacked)
    loss, metrics, _, gradient = eqx.filter_eval_shape(part_of, first, carry, key)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), (loss, metrics, gradient)
    )
    numbers = jnp.arange(parts, dtype=jnp.uint32)
    (total, moving), _ = jax.lax.scan(body, (zeros, moving), (numbers, stacked))
    loss, metrics, gradient = jax.tree.map(lambda x: x / parts, total)
    return loss, metrics, eqx.combine(moving, fixed), gradient
