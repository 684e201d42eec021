"""Keeps the arguments of a network, so that a file can make it again.

A network keeps the arguments of its constructor as one static field: a tuple can be
hashed and compared, as JAX wants it of what is static, and a dictionary cannot.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import equinox as eqx

Arguments: TypeAlias = tuple[tuple[str, Any], ...]


def keep(**arguments: Any) -> Arguments:
    """The arguments as a tuple of names and values."""
    return tuple(
        (name, tuple(value) if _is_sequence(value) else value)
        for name, value in arguments.items()
    )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def show(arguments: Arguments) -> dict[str, Any]:
    """The arguments as JSON has them: a sequence is a list."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in arguments
    }


class AbstractNetwork(eqx.Module):
    """A network that can be made again from the arguments that it was made with."""

    _arguments: eqx.AbstractVar[Arguments]

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that it was made with, without the key, as JSON has them.

        `type(network)(**network.arguments, key=key)` has the same structure.
        """
        return show(self._arguments)
