"""A loss as the train step wants it: a function of a denoiser and a batch."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from .._types import Key, Scalar
from ..denoisers import AbstractDenoiser
from ..processes import Process
from ._batch import BatchLosses, batch_losses
from ._importance import ImportanceTimes
from ._times_by_name import Times, as_times


def on_batches(
    loss: Callable[..., Scalar],
    *,
    times: Times = "low_discrepancy",
    drop_condition: float = 0.0,
    image: str = "image",
    condition: str | None = None,
    time_bins: int = 0,
) -> Callable[..., Any]:
    """`loss` as a function of a denoiser and a batch, for the train step.

    !!! example

        ```python
        loss_fn = ss.losses.on_batches(ss.losses.SoftScoreMatching())
        step = ss.train.make_train_step(loss_fn, optimiser)
        state = ss.train.TrainState.create(denoiser, optimiser, key=key)
        state, metrics = step(state, batch)
        ```

    **Arguments:**

    - `loss`, `times`, `drop_condition`: as in [`softsde.losses.batch_loss`][].
    - `image`: the key of the clean samples in a batch. Bytes (`uint8`) are divided by
        255 here, on the device.
    - `condition`: the key of the conditions, such as `"label"`; `None` trains without
        any.
    - `time_bins`: also return the mean loss in so many equal parts of the time of the
        process, as the metrics `loss_0` (around `t0`), `loss_1`, ... A part without a
        sample in this batch counts as 0, so use batches of many more samples.

    **Returns:** `loss_fn(denoiser, batch, *, key) -> (loss, metrics)`.

    With an [`softsde.losses.ImportanceTimes`][] it is `loss_fn(denoiser, batch, carry,
    *, key) -> (loss, (metrics, carry))`. The train step keeps the times as its carry:
    create the state with `TrainState.create(..., carry=times)`.

    **Raises:** `ValueError` for unknown `times`, or `drop_condition` without a
    `condition`. When called, `KeyError` for a batch without one of the keys.
    """
    times = as_times(times)
    if time_bins < 0:
        raise ValueError(f"`time_bins` must be at least 0, got {time_bins}.")
    if not 0 <= drop_condition <= 1 or (drop_condition > 0 and condition is None):
        raise ValueError(
            f"`on_batches` got `drop_condition={drop_condition}` and "
            f"`condition={condition!r}`; expected a probability, and the key of the "
            "conditions that are to be dropped, such as `condition='label'`."
        )

    def losses(
        denoiser: AbstractDenoiser, batch: Any, times: Times, key: Key
    ) -> BatchLosses:
        return batch_losses(
            loss,
            denoiser,
            _as_float(_entry(batch, "image", image)),
            None if condition is None else _entry(batch, "condition", condition),
            times=times,
            drop_condition=drop_condition,
            key=key,
        )

    def loss_fn(denoiser: AbstractDenoiser, batch: Any, *, key: Key):
        each = losses(denoiser, batch, times, key)
        return each.mean, _by_time(each, denoiser.process, time_bins)

    def learning_loss_fn(
        denoiser: AbstractDenoiser,
        batch: Any,
        carry: ImportanceTimes | None = None,
        *,
        key: Key,
    ):
        if carry is None:
            raise ValueError(
                "`ImportanceTimes` learn from step to step, but the state of the "
                "training has no `carry`. Create it with `softsde.train.TrainState."
                "create(denoiser, optimiser, key=key, carry=times)`."
            )
        each = losses(denoiser, batch, carry, key)
        metrics = _by_time(each, denoiser.process, time_bins)
        return each.mean, (metrics, carry.update(denoiser.process, each))

    return learning_loss_fn if isinstance(times, ImportanceTimes) else loss_fn


def _as_float(images: Any) -> Any:
    if images.dtype == jnp.uint8:
        return jnp.asarray(images).astype(jnp.float32) / 255.0
    return images


def _by_time(each: BatchLosses, process: Process, bins: int) -> dict[str, Any]:
    """Mean loss of the samples in each of `bins` equal parts of `[t0, t1]`."""
    if bins == 0:
        return {}
    share = (each.times - process.t0) / (process.t1 - process.t0)
    part = jnp.clip(jnp.floor(share * bins), 0, bins - 1)
    metrics = {}
    for i in range(bins):
        inside = jnp.where(part == i, each.weights, 0.0)
        total = jnp.sum(inside)
        mean = jnp.sum(inside * each.losses) / jnp.where(total > 0, total, 1.0)
        metrics[f"loss_{i}"] = mean
    return metrics


def _entry(batch: Any, argument: str, name: str) -> Any:
    if not isinstance(batch, Mapping):
        raise TypeError(
            f"`on_batches` got a batch of type {type(batch).__name__}; expected a "
            f"dictionary with the key {name!r}."
        )
    if name not in batch:
        raise KeyError(
            f"`on_batches` found no {name!r} in the batch, which has "
            f"{sorted(batch)}. Name the key with `{argument}=`."
        )
    return batch[name]
