"""Files of PyTorch, read without PyTorch and without running anything in them."""

from ._file import read_torch as read_torch
from ._inert import (
    Inert as Inert,
    module_fields as module_fields,
    module_state as module_state,
)
