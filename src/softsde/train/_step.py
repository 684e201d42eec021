"""One optimisation step, compiled once, on one device or many."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from ._accumulate import accumulated
from ._mesh import (
    Overrides,
    batch_sharding,
    constrain,
    everywhere,
    shard_batch,
    shard_leaves,
    state_shardings,
)
from ._precision import add_updates, cast_like, widen
from ._state import TrainState, ema_weight, trainable, update_ema, update_profiles

_RESERVED = ("loss", "grad_norm", "learning_rate")


class TrainStep:
    """A compiled step `(state, batch) -> (state, metrics)`; `make_train_step` makes it.

    - `mesh`: the devices that it runs on, or `None` for the default device.
    """

    def __init__(
        self,
        update: Callable[[TrainState, Any], tuple[TrainState, dict]],
        mesh: Mesh | None,
        overrides: Overrides | None,
    ):
        self.mesh = mesh
        self._update = update
        self._overrides = overrides
        # The shardings of a state, for states of the structure and shapes of the last
        # one: finding them from the paths of all leaves takes milliseconds.
        self._shardings: tuple[Any, Any] = (None, None)

        # `all-except-first` donates: the batch goes first so the state is consumed.
        @eqx.filter_jit(donate="all-except-first")
        def one(batch, state):
            return update(state, batch)

        @eqx.filter_jit(donate="all-except-first")
        def many(batches, state):
            return _scanned(update, state, batches)

        self._one, self._many = one, many

    def __call__(self, state: TrainState, batch: Any) -> tuple[TrainState, dict]:
        """Make one step. The state is consumed; the metrics stay on the device."""
        return self._one(shard_batch(batch, self.mesh), self._placed(state))

    def many(self, state: TrainState, batches: Any) -> tuple[TrainState, dict]:
        """Make one step for each of several batches in one program, by `lax.scan`.

        It saves the cost of starting a program for each step, which counts where a step
        takes less than a few milliseconds. It compiles once for each number of batches.

        **Arguments:**

        - `state`: the state, which is consumed.
        - `batches`: batches of one size, stacked along a new leading axis.

        **Returns:**

        The state after the last step, and the metrics of all steps, stacked.
        """
        batches = shard_batch(batches, self.mesh, stacked=True)
        return self._many(batches, self._placed(state))

    def lower(
        self, state: TrainState, batch: Any, *, many: bool = False
    ) -> jax.stages.Lowered:
        """The program of a step for XLA, from arrays or from their shapes.

        With `jax.ShapeDtypeStruct` leaves, as [`softsde.train.abstract_state`][] gives
        them, it compiles for devices that are described but absent.

        **Arguments:**

        - `state`: a state, or its shapes.
        - `batch`: a batch, or its shapes.
        - `many`: whether `batch` holds several batches, for the program of `many`.

        **Returns:**

        A `jax.stages.Lowered`; its `compile()` tells flops, memory and the text.
        """
        arrays, rest = eqx.partition(state, _is_array_or_shape)

        def program(arrays, batch):
            state = eqx.combine(arrays, rest)
            run = _scanned if many else _called
            new, metrics = run(self._update, state, batch)
            return eqx.filter(new, eqx.is_array), metrics

        return jax.jit(program, donate_argnums=0).lower(arrays, batch)

    def _placed(self, state: TrainState) -> TrainState:
        if self.mesh is None:
            return state
        arrays, rest = eqx.partition(state, eqx.is_array)
        leaves, structure = jax.tree.flatten(arrays)
        kind = (structure, [x.shape for x in leaves])
        if self._shardings[0] != kind:
            wanted = state_shardings(arrays, self.mesh, self._overrides)
            self._shardings = (kind, jax.tree.leaves(wanted))
        leaves = shard_leaves(leaves, self._shardings[1])
        return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


def make_train_step(
    loss_fn: Callable[..., Any],
    optimiser: optax.GradientTransformation,
    *,
    ema_decay: float = 0.999,
    ema_warmup: bool = True,
    accumulate: int = 1,
    mesh: Mesh | None = None,
    overrides: Overrides | None = None,
) -> TrainStep:
    r"""Compile `(state, batch) -> (state, metrics)`.

    Gradient, optimiser, and the moving average of the parameters

    $$\bar\theta \leftarrow d_n \bar\theta + (1 - d_n) \theta, \qquad
    d_n = \min\Big(d, \frac{1 + n}{10 + n}\Big)$$

    in one program. The step *consumes* the state: its memory is given to the new state,
    and the old one may not be used again. The metrics are arrays on the device; read
    them a step or two late, as [`softsde.train.fit`][] does, and the device never
    waits.

    A step changes no dtype. The optimiser works in float32 on weights of less than 32
    bits (bfloat16, float16); the new weights are then rounded to their own dtype.

    **Arguments:**

    - `loss_fn`: `loss_fn(model, batch, *, key) -> (loss, metrics)`, with a scalar loss
        and a dictionary of scalar metrics, such as
        [`softsde.losses.on_batches`][] makes. It sees the whole batch, whatever the
        number of devices. If the state has a `carry`, it is `loss_fn(model, batch,
        carry, *, key) -> (loss, (metrics, carry))`; the carry that it returns is
        passed to it in the next step.
    - `optimiser`: the one that the state was created with.
    - `ema_decay`: `d`, in [0, 1).
    - `ema_warmup`: whether to use the smaller `d_n` at first; else `d_n = d`.
    - `accumulate`: compute the gradient in this many parts of the batch, one after
        another, and use their mean. It divides the memory of the activations. Part `i`
        of `k` holds the samples `i, i + k, ...` of the batch and has the key
        `fold_in(key, i)`; metrics are means over the parts.
    - `mesh`: from [`softsde.train.make_mesh`][]. The batch is split over all of its
        devices. Large arrays of the state are split over its axis `fsdp`; the weights
        are gathered where they are used, and each device updates its share. `None` is
        the default device.
    - `overrides`: see [`softsde.train.shard_state`][].

    **Returns:**

    A [`softsde.train.TrainStep`][], which is a function of a
    [`softsde.train.TrainState`][] and a batch (NumPy or JAX arrays; on several hosts
    each passes its part). Its metrics are those of `loss_fn`, `loss`,
    `grad_norm` (before clipping) and, if the optimiser's state holds it,
    `learning_rate`.

    !!! Example

        ```python
        denoiser = ss.Denoiser(network, process)
        loss_fn = ss.losses.on_batches(ss.losses.SoftScoreMatching())
        step = ss.train.make_train_step(loss_fn, optimiser, ema_decay=0.9999)
        state = ss.train.TrainState.create(denoiser, optimiser, key=key)
        state, metrics = step(state, batch)
        ```
    """
    if not 0 <= ema_decay < 1:
        raise ValueError(
            f"`ema_decay` must lie in [0, 1), got {ema_decay}; 0 means no averaging."
        )
    if accumulate < 1:
        raise ValueError(f"`accumulate` must be at least 1, got {accumulate}.")
    value_and_grad = eqx.filter_value_and_grad(_whole(loss_fn, mesh), has_aux=True)

    def loss_and_gradient(state, batch, carry, key, split):
        """`(loss, metrics, carry, gradient)` of a batch or of a part of one."""
        if carry is None:
            (loss, aux), gradient = value_and_grad(
                state.model, batch, split=split, key=key
            )
        else:
            (loss, pair), gradient = value_and_grad(
                state.model, batch, carry, split=split, key=key
            )
            aux, carry = _unpaired(pair, carry)
        return loss, _checked(aux), carry, gradient

    def update(state, batch):
        placed = split = None
        if mesh is not None:
            batch = eqx.filter_shard(batch, batch_sharding(mesh))
            placed = state_shardings(eqx.filter(state, eqx.is_array), mesh, overrides)
            state = constrain(state, placed)
            split = placed.model
        key = jax.random.fold_in(state.key, state.step)
        if accumulate == 1:
            loss, aux, carry, gradient = loss_and_gradient(
                state, batch, state.carry, key, split
            )
        else:
            loss, aux, carry, gradient = accumulated(
                lambda part, carry, key: loss_and_gradient(
                    state, part, carry, key, split
                ),
                batch,
                state.carry,
                key,
                accumulate,
                mesh,
            )
        parameters = trainable(state.model)
        # See `TrainState.create` for why.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimiser.update(
                widen(gradient), state.opt_state, widen(parameters)
            )
        # With x64 on, a schedule of the learning rate is float64, and optax passes that
        # on to the updates and to parts of its state.
        opt_state = cast_like(opt_state, state.opt_state)
        model = add_updates(state.model, updates)
        weight = ema_weight(ema_decay, state.step, warmup=ema_warmup)
        new_state = TrainState(
            model=model,
            ema=update_ema(state.ema, model, weight),
            opt_state=opt_state,
            step=state.step + 1,
            key=state.key,
            carry=carry,
            profiles=update_profiles(state.profiles, model, state.step),
        )
        metrics = {"loss": loss, "grad_norm": _norm(gradient)}
        metrics |= _learning_rate(opt_state) | aux
        if mesh is not None:
            new_state = constrain(new_state, placed)
            metrics = eqx.filter_shard(metrics, everywhere(mesh))
        return new_state, metrics

    return TrainStep(update, mesh, overrides)


def _whole(loss_fn: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
    """`loss_fn` of the whole parameters, from the parts that the devices hold."""

    def loss(model, *args, split, key):
        if mesh is not None and mesh.shape.get("fsdp", 1) > 1:
            model = _gathered(model, split)
        return loss_fn(model, *args, key=key)

    return loss


def _gathered(model, split):
    """Each parameter gathered where it is used, and its gradient split again.

    Left to itself the compiler may move the activations instead of the weights.
    """
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    wanted = jax.tree.leaves(
        jax.tree.map(
            lambda x, s: s if eqx.is_inexact_array(x) else None,
            eqx.filter(model, eqx.is_array),
            split,
        )
    )
    whole = [_gather(x, s) for x, s in zip(leaves, wanted, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, whole), rest)


def _gather(x: jax.Array, split: NamedSharding) -> jax.Array:
    if split.is_fully_replicated:
        return x

    @jax.custom_vjp
    def gather(x):
        return jax.lax.with_sharding_constraint(x, everywhere(split.mesh))

    gather.defvjp(
        lambda x: (gather(x), None),
        lambda _, g: (jax.lax.with_sharding_constraint(g, split),),
    )
    return gather(x)


def _called(update, state, batch):
    return update(state, batch)


def _scanned(update, state, batches):
    """The steps of several batches, one after another."""
    arrays, rest = eqx.partition(state, eqx.is_array)

    def one(arrays, batch):
        new, metrics = update(eqx.combine(arrays, rest), batch)
        return eqx.filter(new, eqx.is_array), metrics

    arrays, metrics = jax.lax.scan(one, arrays, batches)
    return eqx.combine(arrays, rest), metrics


def _is_array_or_shape(x: Any) -> bool:
    return eqx.is_array(x) or isinstance(x, jax.ShapeDtypeStruct)


def _norm(tree):
    """The Euclidean norm of all arrays together, not summed in half precision."""
    leaves = (jnp.abs(x).astype(jnp.result_type(float)) for x in jax.tree.leaves(tree))
    return jnp.sqrt(sum(jnp.sum(x**2) for x in leaves))


def _learning_rate(opt_state) -> dict:
    """The rate that `optax.inject_hyperparams` keeps in the state, if there is one."""
    found = [
        value
        for _, value in optax.tree_utils.tree_get_all_with_path(
            opt_state, "learning_rate"
        )
        if eqx.is_array(value) and value.shape == ()
    ]
    return {"learning_rate": found[0]} if len(found) == 1 else {}


def _unpaired(pair, before) -> tuple[Any, Any]:
    """The metrics, and the carry with the dtypes that it had before."""
    if not (isinstance(pair, tuple) and len(pair) == 2):
        raise TypeError(
            "With a `carry` in the state, `loss_fn` must return `(loss, (metrics, "
            f"carry))`; got {type(pair).__name__} in the place of the pair."
        )
    aux, carry = pair[0], cast_like(pair[1], before)
    if _kind(carry) != _kind(before):
        raise ValueError(
            "`loss_fn` must return a `carry` of the structure, shapes and dtypes of "
            f"the one it was given, {before}; got {carry}."
        )
    return aux, carry


def _kind(tree) -> tuple[Any, list]:
    arrays = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    return jax.tree.structure(tree), [(x.shape, x.dtype) for x in arrays]


def _checked(aux) -> dict:
    if not isinstance(aux, dict):
        raise TypeError(
            "`loss_fn` must return `(loss, metrics)` with a dictionary of scalars "
            f"(`{{}}` for none); got metrics of type {type(aux).__name__}."
        )
    for name, value in aux.items():
        if name in _RESERVED:
            raise ValueError(
                f"`loss_fn` returns a metric called {name!r}, which the train step "
                "reports itself. Give it another name."
            )
        if jnp.shape(value) != ():
            raise ValueError(
                f"Metrics must be scalars, but `loss_fn` returns {name!r} with shape "
                f"{jnp.shape(value)}. Take its mean over the batch."
            )
    return {name: jnp.asarray(value) for name, value in aux.items()}
