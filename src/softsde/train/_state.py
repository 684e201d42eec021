"""Everything that changes while a model trains, as one PyTree."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

T = TypeVar("T")


class TrainState(eqx.Module):
    """The whole state of a training run: two runs with equal states have equal futures.

    The key never changes. Step `n` draws its randomness from `fold_in(key, n)`, so that
    a run that is stopped and resumed sees the numbers it would have seen.

    !!! Example

        ```python
        optimiser = ss.train.make_optimiser(2e-4)
        state = ss.train.TrainState.create(network, optimiser, key=key)
        state.ema  # the averaged network, with which to sample
        ```
    """

    model: PyTree
    ema: PyTree
    opt_state: PyTree
    step: Int[Array, ""]
    key: PRNGKeyArray
    #: What the loss keeps from one step to the next, `None` if nothing.
    carry: PyTree = None

    @staticmethod
    def create(
        model: PyTree,
        optimiser: optax.GradientTransformation,
        *,
        key: PRNGKeyArray,
        carry: PyTree = None,
    ) -> "TrainState":
        """The state before the first step; the average starts at the model itself.

        Everything is copied, for the train step gives the memory of the state it gets
        to the state it returns: `model` and `key` remain yours to use.

        **Arguments:**

        - `model`: any PyTree; its floating-point arrays are trained, all of them. What
            is fixed belongs into a static field or behind `jax.lax.stop_gradient`.
        - `optimiser`: an optax transformation, such as from
            [`softsde.train.make_optimiser`][].
        - `key`: the source of all randomness of the run.
        - `carry`: what the loss keeps from one step to the next, such as a
            [`softsde.losses.ImportanceTimes`][]; see
            [`softsde.train.make_train_step`][]. It is not trained, and is saved with
            the rest.

        **Returns:**

        A state at step 0.
        """
        model = _copy(model)
        parameters = eqx.filter(model, eqx.is_inexact_array)
        if not jax.tree.leaves(parameters):
            raise ValueError(
                f"`model` ({type(model).__name__}) holds no floating-point array, so "
                "there is nothing to train. Python floats count as constants."
            )
        # optax multiplies integer counts by Python floats, which the strict dtype
        # promotion that a user may have switched on forbids.
        with jax.numpy_dtype_promotion("standard"):
            opt_state = optimiser.init(parameters)
        return TrainState(
            model=model,
            ema=_copy(model),
            opt_state=_copy(opt_state),
            step=jnp.zeros((), jnp.int32),
            key=_copy(key),
            carry=_copy(carry),
        )


def _copy(tree: T) -> T:
    """A deep copy of the arrays, strongly typed so that the step is traced once."""

    def copy(x):
        if not eqx.is_array(x):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = jnp.array(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        return jnp.array(x, dtype=x.dtype if isinstance(x, jax.Array) else None)

    return jax.tree.map(copy, tree)


def ema_rate(
    decay: float, step: Int[Array, ""], *, warmup: bool = True
) -> Float[Array, ""]:
    """The weight of the past in the moving average at 0-based update `step`.

    With warm-up it is `min(decay, (1 + step) / (10 + step))`: early on the average
    forgets its random initialisation within a few steps, later it is `decay`.
    """
    n = step.astype(jnp.result_type(float))
    rate = jnp.asarray(decay, n.dtype)
    return jnp.minimum(rate, (1.0 + n) / (10.0 + n)) if warmup else rate


def update_ema(ema: T, model: T, rate: Float[Array, ""]) -> T:
    """`rate * ema + (1 - rate) * model` on floating-point arrays; others are copied."""

    def average(old, new):
        if not eqx.is_inexact_array(new):
            return new
        r = rate.astype(new.real.dtype)
        return r * old + (1.0 - r) * new

    return jax.tree.map(average, ema, model)
