"""Published weights by name, and an account of which of them a network takes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

#: Arrays by the names of the published file.
Arrays = Mapping[str, np.ndarray]


class Weights(Mapping[str, np.ndarray]):
    """Arrays by name, each of which is taken once by one layer.

    A missing or misshapen array is replaced by zeros until `check` names all of them.
    """

    def __init__(self, arrays: Arrays | None):
        """**Arguments:**

        - `arrays`: the content of a weight file; `None` gives zeros of any name and
            shape, and only keeps the account.
        """
        self._arrays = arrays
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._misshapen: list[str] = []

    @classmethod
    def of(cls, arrays: Arrays) -> "Weights":
        """`arrays` themselves if they keep an account already."""
        return arrays if isinstance(arrays, Weights) else cls(arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        return (self._arrays or {})[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays or {})

    def __len__(self) -> int:
        return len(self._arrays or {})

    def take(self, name: str, *shape: int) -> Float[Array | np.ndarray, "..."]:
        """The array called `name`, in float32.

        It is NumPy's, so that what a layer makes of it is not compiled; the layer moves
        the result to the device.
        """
        if name in self.shapes:
            raise ValueError(f"Two layers take the same array, {name!r}.")
        self.shapes[name] = shape
        if self._arrays is not None and name in self._arrays:
            array = self._arrays[name]
            if array.shape == shape:
                return np.asarray(array).astype(np.float32)
            self._misshapen.append(f"{name} {array.shape} (expected {shape})")
        zeros = jnp.zeros if self._arrays is None else np.zeros
        return zeros(shape, np.float32)

    def check(self, owner: str, ignore: Sequence[str] = ()) -> None:
        """Refuses arrays that do not match the network one to one.

        **Arguments:**

        - `owner`: the name of the network, for the message.
        - `ignore`: arrays that may be left over, by the beginning or the end of their
            names.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        if self._arrays is None:
            return
        missing = sorted(set(self.shapes) - set(self._arrays))
        left_over = [
            name
            for name in sorted(set(self._arrays) - set(self.shapes))
            if not (name.startswith(tuple(ignore)) or name.endswith(tuple(ignore)))
        ]
        kinds = {
            "missing": missing,
            "left over": left_over,
            "misshapen": self._misshapen,
        }
        found = [
            f"{len(names)} {kind}: {_some(names)}"
            for kind, names in kinds.items()
            if names
        ]
        if found:
            raise ValueError(
                f"These are not the weights of `{owner}`. Of {len(self._arrays)}"
                f" arrays, {'; '.join(found)}. Pass the file that its docstring names,"
                " as it was published."
            )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def shapes_of(build: Callable[[Weights], Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all arrays that a network takes, without making any."""
    weights = Weights(None)
    eqx.filter_eval_shape(lambda: build(weights))
    return dict(weights.shapes)
