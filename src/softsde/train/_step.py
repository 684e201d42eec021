"""One optimisation step, compiled once."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from ._mesh import batch_sharding, shard_batch, shard_state, state_sharding
from ._precision import add_updates, cast_like, widen
from ._state import TrainState, ema_weight, trainable, update_ema, update_profiles

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
    - `mesh`: from [`softsde.train.make_mesh`][]. The batch is split along its axis
        `data`, and the state is copied to all of its devices. `None` is the default
        device.

    **Returns:**

    A function of a [`softsde.train.TrainState`][] and a batch (NumPy or JAX arrays; on
    several hosts each passes its part). Its metrics are those of `loss_fn`, `loss`,
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
