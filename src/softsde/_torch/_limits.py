"""Limits the work and memory that reading a file may take."""

from typing import Any

# A checkpoint of a thousand tensors with its optimiser takes a hundred thousand.
_OPERATIONS = 2_000_000
_FREE_BYTES = 2**26


class Limits:
    """Counts what the reading of one file takes, nested pickles included."""

    def __init__(self, size: int):
        self._operations = _OPERATIONS
        # Beside the tensors themselves, of which each is held once.
        self._bytes = 4 * size + _FREE_BYTES

    def operation(self) -> None:
        self._operations -= 1
        if self._operations < 0:
            raise ValueError(
                f"it takes more than {_OPERATIONS:,} steps to read. No checkpoint of "
                "a network does: the file is damaged or hostile."
            )

    def copy(self, size: int) -> None:
        """Called before `size` bytes are copied within memory."""
        self._bytes -= size
        if self._bytes < 0:
            raise ValueError(
                "it asks for many times its own size in memory. The file is damaged "
                "or hostile."
            )


def short(value: Any) -> str:
    """A value as an error shows it.

    A container is shown by its kind only: it may hold itself a million times over.
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str | bytes):
        return repr(value[:60])
    return f"a {type(value).__name__}"
