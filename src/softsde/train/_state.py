"""Everything that changes while a model trains, as one PyTree."""

from collections.abc import Sequence
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ._power_ema import make_profiles, profile_weight
from ._precision import widen

T = TypeVar("T")


class TrainState(eqx.Module):
    """The whole state of a training run: runs with equal states have equal futures.

    The key never changes. Step `n` draws its randomness from `fold_in(key, n)`, so a
    run that is stopped and resumed draws the same numbers as one that is not.

    - `model`: the PyTree that is trained.
    - `ema`: the moving average of `model`, with which to sample.
    - `opt_state`: the state of the optimiser.
    - `step`: the number of steps made.
    - `key`: the source of all randomness.
    - `carry`: what the loss keeps from one step to the next, or `None`.
    - `profiles`: power-function averages of `model` by their relative lengths, such as
        `"0.05"`, or `None`.

    !!! Example

        ```python
        optimiser = ss.train.make_optimiser(2e-4)
        state = ss.train.TrainState.create(network, optimiser, key=key)
        averaged = state.ema
        ```
    """

    model: PyTree
    ema: PyTree
    opt_state: PyTree
    step: Int[Array, ""]
    key: PRNGKeyArray
    carry: PyTree = None
    profiles: PyTree = None

    @staticmethod
    def create(
        model: PyTree,
        optimiser: optax.GradientTransformation,
        *,
        key: PRNGKeyArray,
        carry: PyTree = None,
        sigma_rel: Sequence[float] = (),
    ) -> "TrainState":
        """The state before the first step; the average starts at the model itself.

        Everything is copied, because the train step gives the memory of its input state
        to its output state: `model` and `key` remain yours to use.

        **Arguments:**

        - `model`: any PyTree. All of its floating-point arrays are trained; integers,
            Python numbers and functions are kept. A [`softsde.Denoiser`][] holds its
            process as integers, so only its network is trained.
        - `optimiser`: an optax transformation, such as from
            [`softsde.train.make_optimiser`][].
        - `key`: the source of all randomness of the run.
        - `carry`: what the loss keeps from one step to the next, such as a
            [`softsde.losses.ImportanceTimes`][]; see
            [`softsde.train.make_train_step`][]. It is not trained, and is saved with
            the rest.
        - `sigma_rel`: relative lengths of power-function averages to keep beside the
            plain one, such as `(0.05, 0.1)`. With
            [`softsde.train.Snapshots`][] of them, an average of any other length can be
            reconstructed after training. Each takes the memory of the model once more.

        **Returns:**

        A state at step 0. The average and the optimiser's state are float32 for weights
        of less than 32 bits (bfloat16, float16), and have the dtype of the weights
        otherwise.

        **Raises:** `ValueError` if there is nothing to train, or for a length that no
        average has.
        """
        model = _copy(model)
        parameters = trainable(model)
        if not jax.tree.leaves(parameters):
            raise ValueError(
                f"`model` ({type(model).__name__}) holds no floating-point array, so "
                "there is nothing to train. Python floats count as constants."
            )
        # optax multiplies integer counts by Python floats, which the strict dtype
        # promotion that a user may have switched on forbids.
        with jax.numpy_dtype_promotion("standard"):
            opt_state = optimiser.init(widen(parameters))
        return TrainState(
            model=model,
            ema=_copy(widen(model)),
            opt_state=_copy(opt_state),
            step=jnp.zeros((), jnp.int32),
            key=_copy(key),
            carry=_copy(carry),
            profiles=_copy(make_profiles(widen(model), sigma_rel)),
        )


def trainable(model: PyTree) -> PyTree:
    """The arrays that are trained, with `None` in the place of everything else."""
    return eqx.filter(model, eqx.is_inexact_array)


def _copy(tree: T) -> T:
    """A deep copy of the arrays, strongly typed so that the step is traced once."""

    def copy(x):
        if not eqx.is_array(x):
            return x
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = jnp.array(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        # An array of NumPy may have a dtype that JAX has not got without x64.
        return jnp.array(x, dtype=x.dtype if isinstance(x, jax.Array) else None)

    return jax.tree.map(copy, tree)


def ema_weight(
    decay: float, step: Int[Array, ""], *, warmup: bool = True
) -> Float[Array, ""]:
    """The weight of the new model in the moving average at 0-based update `step`.

    It is `1 - min(decay, (1 + step) / (10 + step))` with warm-up, `1 - decay` without:
    early on the average forgets its random initialisation within a few steps.
    """
    n = step.astype(jnp.result_type(float))
    # 1 - decay is computed in double precision by Python: 1 - 0.9999 in float32 is
    # wrong by 2e-4 of itself. 1 - (1 + n) / (10 + n) = 9 / (10 + n).
    weight = jnp.asarray(1.0 - decay, n.dtype)
    return jnp.maximum(weight, 9.0 / (10.0 + n)) if warmup else weight


def update_ema(ema: T, model: T, weight: Float[Array, ""]) -> T:
    """`ema + weight * (model - ema)` on floating-point arrays, in the dtypes of `ema`.

    Other leaves are those of `model`.
    """

    def average(old, new):
        if not eqx.is_inexact_array(new):
            return new
        return old + weight.astype(old.dtype) * (new.astype(old.dtype) - old)

    return jax.tree.map(average, ema, model)


def update_profiles(profiles: PyTree, model: PyTree, step: Int[Array, ""]) -> PyTree:
    """The power-function averages after the 0-based update `step`."""
    if profiles is None:
        return profiles
    return {
        name: update_ema(average, model, profile_weight(name, step))
        for name, average in profiles.items()
    }
