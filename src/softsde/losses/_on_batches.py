"""A loss as the train step wants it: a function of a denoiser and a batch."""

from collections.abc import Callable, Mapping
from typing import Any

from .._types import Key, Scalar
from ..denoisers import AbstractDenoiser
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
    - `image`: the key of the clean samples in a batch.
    - `condition`: the key of the conditions, such as `"label"`; `None` trains without
        any.

    **Returns:** `loss_fn(denoiser, batch, *, key) -> (loss, {})`.

    With an [`softsde.losses.ImportanceTimes`][] it is `loss_fn(denoiser, batch, carry,
    *, key) -> (loss, ({}, carry))`. The train step keeps the times as its carry: create
    the state with `TrainState.create(..., carry=times)`.

    **Raises:** `ValueError` for unknown `times`, or `drop_condition` without a
    `condition`. When called, `KeyError` for a batch without one of the keys.
    """
    times = as_times(times)
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
            _entry(batch, "image", image),
            None if condition is None else _entry(batch, "condition", condition),
            times=times,
            drop_condition=drop_condition,
            key=key,
        )

    def loss_fn(denoiser: AbstractDenoiser, batch: Any, *, key: Key):
        return losses(denoiser, batch, times, key).mean, {}

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
        return each.mean, ({}, carry.update(denoiser.process, each))

    return learning_loss_fn if isinstance(times, ImportanceTimes) else loss_fn


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
