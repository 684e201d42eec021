"""The loss of a batch: draws times, splits keys, maps over samples, takes the mean."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_samples
from .._types import Condition, Key, Scalar
from ..denoisers import AbstractDenoiser, unconditional
from ._base import check_denoiser
from ._times_by_name import Times, as_times


class BatchLosses(NamedTuple):
    """The losses of a batch, each with its time.

    - `losses`: loss of each sample.
    - `times`: time of each sample.
    - `weights`: factor of each loss in the mean. It is 1 unless the distribution of
        times says otherwise: for [`softsde.losses.ImportanceTimes`][] it is the inverse
        of the density at that time.
    """

    losses: Float[Array, " batch"]
    times: Float[Array, " batch"]
    weights: Float[Array, " batch"]

    @property
    def mean(self) -> Scalar:
        """The estimate of the mean loss: the mean of `weights * losses`.

        It is a mean over samples and over times, uniform ones unless the distribution
        of times says otherwise; see [`softsde.losses.AbstractTimes`][].
        """
        return jnp.mean(self.weights * self.losses)


def batch_losses(
    loss: Callable[..., Scalar],
    denoiser: AbstractDenoiser,
    x0: Float[Array | np.ndarray, "batch *shape"],
    condition: Condition = None,
    *,
    times: Times = "low_discrepancy",
    drop_condition: float = 0.0,
    key: Key,
) -> BatchLosses:
    """The losses of a batch one by one, each sample at its own time.

    **Arguments:** as [`softsde.losses.batch_loss`][], which is the `mean` of this.

    **Returns:** a [`softsde.losses.BatchLosses`][].

    **Raises:** as [`softsde.losses.batch_loss`][].
    """
    check_denoiser("batch_losses", denoiser)
    check_samples("batch_losses", x0)
    _check_condition(condition, x0.shape[0], drop_condition)
    x0, number = jnp.asarray(x0), x0.shape[0]
    time_key, sample_key, drop_key = jax.random.split(key, 3)
    t, weights = as_times(times).draw(denoiser.process, number, key=time_key)
    t = t.astype(x0.dtype)
    if drop_condition > 0:
        dropped = jax.random.bernoulli(drop_key, drop_condition, (number,))
        condition = jax.vmap(_drop)(dropped, condition)
    values = jax.vmap(
        lambda x, t, condition, key: loss(denoiser, x, t, condition, key=key)
    )(x0, t, condition, jax.random.split(sample_key, number))
    return BatchLosses(values, t, weights.astype(values.dtype))


def batch_loss(
    loss: Callable[..., Scalar],
    denoiser: AbstractDenoiser,
    x0: Float[Array | np.ndarray, "batch *shape"],
    condition: Condition = None,
    *,
    times: Times = "low_discrepancy",
    drop_condition: float = 0.0,
    key: Key,
) -> Scalar:
    """The mean of `loss` over a batch, each sample at its own time.

    !!! example

        ```python
        loss = ss.losses.SoftScoreMatching()
        value = ss.losses.batch_loss(loss, denoiser, xs, key=key)
        ```

    **Arguments:**

    - `loss`: `loss(denoiser, x0, t, condition, *, key) -> scalar`, for one sample.
    - `denoiser`: the denoiser to be trained, which knows its process.
    - `x0`: clean samples stacked in front.
    - `condition`: the conditions of the samples, stacked in front; or `None`.
    - `times`: the distribution of times: `"low_discrepancy"`, `"uniform"`,
        `"log_normal"`, or an [`softsde.losses.AbstractTimes`][].
    - `drop_condition`: the probability with which a sample's condition is replaced by
        [`softsde.denoisers.unconditional`][]. Classifier-free guidance needs a denoiser
        that was trained so, usually at 0.1.
    - `key`: for times, noise, dropout and dropped conditions.

    **Returns:** a scalar.

    **Raises:** `TypeError` for a denoiser that is none, or samples that are not
    floating-point; `ValueError` for unknown `times`, for conditions that are not one a
    sample, or for `drop_condition` without a condition or outside [0, 1].
    """
    each = batch_losses(
        loss,
        denoiser,
        x0,
        condition,
        times=times,
        drop_condition=drop_condition,
        key=key,
    )
    return each.mean


def _drop(dropped: Array, condition: Condition) -> Condition:
    """The condition of one sample, or the one that says nothing."""
    return jax.tree.map(
        lambda given, empty: jnp.where(dropped, empty, given),
        condition,
        unconditional(condition),
    )


def _check_condition(condition: Condition, number: int, drop: float) -> None:
    leaves = jax.tree.leaves(condition)
    if not 0 <= drop <= 1:
        raise ValueError(
            f"`drop_condition` is a probability in [0, 1], got {drop}. Usual is 0.1."
        )
    if drop > 0 and not leaves:
        raise ValueError(
            f"`drop_condition={drop}` needs a condition to drop, got `condition=None`. "
            "Pass the conditions of the samples, such as their labels, or leave "
            "`drop_condition` at 0."
        )
    for leaf in leaves:
        shape = np.shape(leaf)
        if not shape or shape[0] != number:
            raise ValueError(
                f"`condition` must have one entry for each of the {number} samples, "
                f"stacked in front; got an array of shape {shape}."
            )
