"""Training: one jitted, sharded step, and a loop around it that survives being killed.

Nothing here knows what a diffusion process is. A loss is any function
`loss_fn(model, batch, *, key) -> (scalar, metrics)`, a model is any PyTree, and data
come from any iterator with `get_state()` and `set_state()`. The same trainer fits
diffusion models and classifiers.
"""

from ._checkpoint import Checkpointer as Checkpointer
from ._fit import FitResult as FitResult, fit as fit
from ._lock import lock as lock
from ._mesh import (
    make_mesh as make_mesh,
    shard_batch as shard_batch,
    shard_state as shard_state,
)
from ._meter import NonFiniteError as NonFiniteError
from ._metrics import MetricsLog as MetricsLog, read_metrics as read_metrics
from ._optimiser import (
    learning_rate_schedule as learning_rate_schedule,
    make_optimiser as make_optimiser,
)
from ._position import CheckpointableIterator as CheckpointableIterator
from ._power_ema import (
    posthoc_coefficients as posthoc_coefficients,
    power_exponent as power_exponent,
)
from ._signals import Interrupted as Interrupted
from ._snapshots import Snapshots as Snapshots
from ._state import TrainState as TrainState
from ._step import make_train_step as make_train_step
