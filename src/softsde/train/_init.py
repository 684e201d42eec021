"""A new state, made in parts: no device ever holds the whole of a split array."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import optax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray, PyTree

from ._mesh import Overrides, batch_sharding, state_shardings
from ._state import TrainState


def init_state(
    make_model: Callable[[PRNGKeyArray], PyTree],
    optimiser: optax.GradientTransformation,
    *,
    key: PRNGKeyArray,
    model_key: PRNGKeyArray | None = None,
    carry: PyTree = None,
    sigma_rel: Sequence[float] = (),
    mesh: Mesh | None = None,
    overrides: Overrides | None = None,
) -> TrainState:
    """Make a state in one compiled program, each part of it on its own device.

    [`softsde.train.TrainState.create`][] takes a model that some device holds already.
    Here the initial weights are drawn where they stay, so the state may be as large as
    the memory of all devices of the mesh together. The values do not depend on the
    mesh.

    **Arguments:**

    - `make_model`: a function of a key that returns the model.
    - `optimiser`, `key`, `carry`, `sigma_rel`: see
        [`softsde.train.TrainState.create`][].
    - `model_key`: what `make_model` gets; `key` if `None`.
    - `mesh`: from [`softsde.train.make_mesh`][]; `None` is the default device.
    - `overrides`: see [`softsde.train.shard_state`][].

    **Returns:**

    A state at step 0.

    **Raises:** `ValueError` if there is nothing to train, or for an override that does
    not fit a leaf.

    !!! Example

        ```python
        state = ss.train.init_state(
            lambda key: eqx.nn.Linear(64, 64, key=key),
            optimiser,
            key=key,
            mesh=ss.train.make_mesh(),
        )
        ```
    """
    model_key = key if model_key is None else model_key

    def make(model_key, key, carry):
        model = make_model(model_key)
        return TrainState.create(
            model, optimiser, key=key, carry=carry, sigma_rel=sigma_rel
        )

    like = eqx.filter_eval_shape(make, model_key, key, carry)
    arrays, rest = eqx.partition(like, _is_struct)
    shardings = None
    if mesh is not None:
        shardings = state_shardings(arrays, mesh, overrides)
    carried, fixed = eqx.partition(carry, eqx.is_array)

    def make_arrays(model_key, key, carried):
        state = make(model_key, key, eqx.combine(carried, fixed))
        return eqx.filter(state, eqx.is_array)

    made = jax.jit(make_arrays, out_shardings=shardings)(model_key, key, carried)
    return eqx.combine(made, rest)


def abstract_state(
    make_model: Callable[[PRNGKeyArray], PyTree],
    optimiser: optax.GradientTransformation,
    *,
    carry: PyTree = None,
    sigma_rel: Sequence[float] = (),
    mesh: Mesh | None = None,
    overrides: Overrides | None = None,
) -> TrainState:
    """The shapes, dtypes and shardings of a state, without its numbers.

    It is what [`softsde.train.TrainStep.lower`][] needs to compile a step for devices
    that this machine does not have, and what a checkpoint is restored into.

    **Arguments:** as [`softsde.train.init_state`][].

    **Returns:**

    A state with `jax.ShapeDtypeStruct` in the place of its arrays.
    """

    def make(carry: PyTree) -> Any:
        key = jax.random.key(0)
        return TrainState.create(
            make_model(key), optimiser, key=key, carry=carry, sigma_rel=sigma_rel
        )

    like = eqx.filter_eval_shape(make, carry)
    if mesh is None:
        return like
    arrays, rest = eqx.partition(like, _is_struct)
    leaves, structure = jax.tree.flatten(arrays)
    wanted = jax.tree.leaves(state_shardings(arrays, mesh, overrides))
    placed = [
        jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
        for x, s in zip(leaves, wanted, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(structure, placed), rest)


def abstract_batch(
    entries: Mapping[str, tuple[tuple[int, ...], Any]],
    batch_size: int,
    mesh: Mesh | None = None,
) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a batch, without its numbers.

    **Arguments:**

    - `entries`: for each entry the shape and the dtype of one sample.
    - `batch_size`: the number of samples, over all devices together.
    - `mesh`: over whose devices it is split, or `None`.

    **Returns:**

    A dictionary of `jax.ShapeDtypeStruct`, for [`softsde.train.TrainStep`][]`.lower`.

    **Raises:** `ValueError` if the batch cannot be split evenly.

    !!! Example

        ```python
        batch = ss.train.abstract_batch({"image": ((32, 32, 3), jnp.uint8)}, 128)
        ```
    """
    sharding = None
    if mesh is not None:
        sharding = batch_sharding(mesh)
        if batch_size % mesh.size != 0:
            raise ValueError(
                f"A batch of {batch_size} cannot be split evenly over {mesh.size} "
                f"devices. Choose a multiple of {mesh.size}."
            )
    return {
        name: jax.ShapeDtypeStruct((batch_size, *shape), dtype, sharding=sharding)
        for name, (shape, dtype) in entries.items()
    }


def _is_struct(x: Any) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct)
