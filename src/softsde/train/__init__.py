"""Training: one jitted, sharded step, and a loop around it that survives being killed.

Nothing here knows what a diffusion process is. A loss is any function
`loss_fn(model, batch, *, key) -> (scalar, metrics)`, a model any Equinox module,
the data any iterator with `get_state()` and `set_state()`. The same trainer fits the
diffusion models and the classifier whose features measure them.
"""

from ._checkpoint import (
    CheckpointableIterator as CheckpointableIterator,
    Checkpointer as Checkpointer,
)
from ._fit import (
    FitResult as FitResult,
    Interrupted as Interrupted,
    NonFiniteError as NonFiniteError,
    fit as fit,
)
from ._mesh import (
    make_mesh as make_mesh,
    shard_batch as shard_batch,
    shard_state as shard_state,
)
from ._metrics import MetricsLog as MetricsLog, read_metrics as read_metrics
from ._model_file import (
    load_model as load_model,
    read_metadata as read_metadata,
    save_model as save_model,
)
from ._optimiser import (
    learning_rate_schedule as learning_rate_schedule,
    make_optimiser as make_optimiser,
)
from ._state import TrainState as TrainState
from ._step import make_train_step as make_train_step
