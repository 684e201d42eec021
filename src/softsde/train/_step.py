"""One optimisation step, compiled once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from ._mesh import batch_sharding, shard_batch, shard_state, state_sharding
from ._state import TrainState, ema_rate, update_ema

_RESERVED = ("loss", "grad_norm", "learning_rate")


def make_train_step(
    loss_fn: Callable[..., Any],
    optimiser: optax.GradientTransformation,
    *,
    ema_decay: float = 0.999,
    ema_warmup: bool = True,
    mesh: Mesh | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, dict]]:
    r"""Compile `(state, batch) -> (state, metrics)`.

    Gradient, optimiser, and the moving average of the parameters

    $$\bar\theta \leftarrow d_n \bar\theta + (1 - d_n) \theta, \qquad
    d_n = \min\Big(d, \frac{1 + n}{10 + n}\Big)$$

    in one program. The step *consumes* the state: its memory is given to the new state,
    and the old one may not be used again. The metrics are arrays on the device; read
    them a step or two late, as [`softsde.train.fit`][] does, and the device never
    waits.

    **Arguments:**

    - `loss_fn`: `loss_fn(model, batch, *, key) -> (loss, metrics)`, with a scalar loss
        and a dictionary of scalar metrics. It sees the whole batch, whatever the number
        of devices. If the state has a `carry`, it is `loss_fn(model, batch, carry, *,
        key) -> (loss, (metrics, carry))`, and what it returns is carried on.
    - `optimiser`: the one that the state was created with.
    - `ema_decay`: `d`, in [0, 1).
    - `ema_warmup`: whether to use the smaller `d_n` at first; else `d_n = d`.
    - `mesh`: from [`softsde.train.make_mesh`][]. The batch is split along its axis
        `data`, the state is copied to all its devices. `None` is the default device.

    **Returns:**

    A function of a [`softsde.train.TrainState`][] and a batch (NumPy or JAX arrays; on
    several hosts each passes its part). Its metrics are those of `loss_fn` and `loss`,
    `grad_norm` (before clipping) and, if the optimiser's state tells, `learning_rate`.

    !!! Example

        ```python
        def loss_fn(model, batch, *, key):
            denoiser = ss.Denoiser(model, process, parametrisation)
            x0 = batch["image"]
            return ss.losses.batch_loss(loss, denoiser, process, x0, key=key), {}

        step = ss.train.make_train_step(loss_fn, optimiser, ema_decay=0.9999)
        state, metrics = step(state, batch)
        ```
    """
    if not 0 <= ema_decay < 1:
        raise ValueError(
            f"`ema_decay` must lie in [0, 1), got {ema_decay}; 0 means no averaging."
        )
    value_and_grad = eqx.filter_value_and_grad(loss_fn, has_aux=True)

    # `all-except-first` donates: the batch goes first so that the state is consumed.
    @eqx.filter_jit(donate="all-except-first")
    def update(batch, state):
        if mesh is not None:
            batch = eqx.filter_shard(batch, batch_sharding(mesh))
            state = eqx.filter_shard(state, state_sharding(mesh))
        key = jax.random.fold_in(state.key, state.step)
        if state.carry is None:
            (loss, aux), gradient = value_and_grad(state.model, batch, key=key)
            carry = None
        else:
            (loss, pair), gradient = value_and_grad(
                state.model, batch, state.carry, key=key
            )
            aux, carry = _unpaired(pair, state.carry)
        parameters = eqx.filter(state.model, eqx.is_inexact_array)
        # See `TrainState.create` for why.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt_state = optimiser.update(gradient, state.opt_state, parameters)
        model = eqx.apply_updates(state.model, updates)
        rate = ema_rate(ema_decay, state.step, warmup=ema_warmup)
        new_state = TrainState(
            model=model,
            ema=update_ema(state.ema, model, rate),
            opt_state=opt_state,
            step=state.step + 1,
            key=state.key,
            carry=carry,
        )
        metrics = {"loss": loss, "grad_norm": _norm(gradient)}
        metrics |= _learning_rate(opt_state) | _checked(aux)
        if mesh is not None:
            new_state = eqx.filter_shard(new_state, state_sharding(mesh))
            metrics = eqx.filter_shard(metrics, state_sharding(mesh))
        return new_state, metrics

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict]:
        return update(shard_batch(batch, mesh), shard_state(state, mesh))

    return step


def _norm(tree):
    """The Euclidean norm of all arrays together, not summed in half precision."""
    leaves = (jnp.abs(x).astype(jnp.result_type(float)) for x in jax.tree.leaves(tree))
    return jnp.sqrt(sum(jnp.sum(x**2) for x in leaves))


def _learning_rate(opt_state) -> dict:
    """What `optax.inject_hyperparams` has put into the state, if it was used once."""
    found = [
        value
        for _, value in optax.tree_utils.tree_get_all_with_path(
            opt_state, "learning_rate"
        )
        if eqx.is_array(value) and value.shape == ()
    ]
    return {"learning_rate": found[0]} if len(found) == 1 else {}


def _unpaired(pair, before) -> tuple[Any, Any]:
    """Metrics and carry, which must be of the same kind as before."""
    if not (isinstance(pair, tuple) and len(pair) == 2):
        raise TypeError(
            "With a `carry` in the state, `loss_fn` must return `(loss, (metrics, "
            f"carry))`; got {type(pair).__name__} in the place of the pair."
        )
    aux, carry = pair
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
