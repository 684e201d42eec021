"""From the names and layouts of a published state dict to a network, one to one.

A network of a published kind lists the names of its original's state dict, in the
original's order. Each is an array of the network in another layout, or numbers that
follow from its arguments and are compared.
"""

import abc
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ._arguments import AbstractNetwork

NetworkT = TypeVar("NetworkT", bound="AbstractPublished")

Path = tuple[str | int, ...]


class Layout(NamedTuple):
    """Layout of an array in a file: PyTorch's, channels first.

    The array of the network is the file's, without trailing axes of length 1 where
    `trailing` says how many, and then transposed by `axes`.
    """

    axes: tuple[int, ...]
    trailing: int = 0

    def read(self, array: np.ndarray) -> np.ndarray:
        """An array of the file, as the network has it."""
        shape = array.shape[: array.ndim - self.trailing]
        return array.reshape(shape).transpose(self.axes)

    def write(self, array: np.ndarray) -> np.ndarray:
        """An array of the network, as the file has it."""
        return array.transpose(np.argsort(self.axes)).reshape(self.shape(array.shape))

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in the file of an array whose shape in the network is given."""
        order = np.argsort(self.axes)
        return (*(shape[axis] for axis in order), *(1,) * self.trailing)


#: A number: a gain.
SCALAR = Layout(())
#: A vector: a bias, a scale.
VECTOR = Layout((0,))
#: A matrix `(in, out)` in both.
MATRIX = Layout((0, 1))
#: A matrix that the file has as `(out, in)`.
TRANSPOSED = Layout((1, 0))
#: A kernel `(out, in, height, width)`, here `(height, width, in, out)`.
KERNEL = Layout((2, 3, 1, 0))
#: A 1x1 kernel `(out, in, 1, 1)`, here a matrix `(in, out)`.
POINTWISE = Layout((1, 0), trailing=2)


class Place(NamedTuple):
    """The place of an array of a state dict: attributes and indices, and a layout."""

    path: Path
    layout: Layout

    def find(self, tree: Any) -> Any:
        """The array of the network."""
        for step in self.path:
            tree = tree[step] if isinstance(step, int) else getattr(tree, step)
        return tree


class Constant(NamedTuple):
    """Numbers of a state dict that the arguments of the network determine."""

    value: np.ndarray
    rtol: float = 1e-5


#: Each name of a state dict, in its order, with its place.
StateNames = Mapping[str, Place | Constant]


class AbstractPublished(AbstractNetwork):
    """A network whose original is published, and whose weights can be read."""

    @abc.abstractmethod
    def state_names(self) -> StateNames:
        """The names of the original's state dict, in its order, with their places."""


def places(*entries: tuple[str, str, Layout]) -> dict[str, Place]:
    """Places from `(name in the file, path with dots, layout)`."""
    return {
        name: Place(tuple(path.split(".")), layout) for name, path, layout in entries
    }


def weight_and_bias(name: str, path: str, layout: Layout) -> dict[str, Place]:
    """The places of a layer's `weight`, in a layout, and of its `bias`."""
    return places(
        (f"{name}weight", f"{path}weight", layout),
        (f"{name}bias", f"{path}bias", VECTOR),
    )


def below(
    name: str, path: Path, inner: Mapping[str, Place]
) -> Iterator[tuple[str, Place]]:
    """The entries of a part, with the names and paths of the whole."""
    for inner_name, place in inner.items():
        yield name + inner_name, place._replace(path=path + place.path)


def load_state_dict(
    network: NetworkT, state: Mapping[str, np.ndarray], *, prefix: str = ""
) -> NetworkT:
    """A network with the weights of a published state dict.

    Every name of the state dict must have its place in the network, and every array
    of the network its name in the state dict.

    **Arguments:**

    - `network`: of the same configuration, such as
        [`softsde.nn.NCSNpp.cifar10_continuous`][].
    - `state`: arrays by the names of the original, in the layouts of the original
        (PyTorch's, channels first).
    - `prefix`: what stands in front of each name, such as `"module."`.

    **Returns:** the network, its arrays of the dtypes that they had.

    **Raises:** `TypeError` for a network that has no published original; `ValueError`
    that names what is missing, left over or of another shape.

    !!! example

        ```python
        network = ss.nn.DDPMpp.small((8, 8, 3), width=8, key=key)
        state = ss.nn.state_dict(network)
        network = ss.nn.load_state_dict(network, state)
        ```
    """
    names = _names_of(network)
    found = _without_prefix(state, prefix)
    _check_names(network, found)
    wanted = {name: p for name, p in names.items() if isinstance(p, Place)}
    arrays = []
    for name, place in wanted.items():
        old = place.find(network)
        arrays.append(jnp.asarray(place.layout.read(found[name]), old.dtype))
    where = lambda tree: [place.find(tree) for place in wanted.values()]
    return eqx.tree_at(where, network, arrays)


def state_dict(network: AbstractPublished) -> dict[str, np.ndarray]:
    """The weights of a network by the names and in the layouts of its original.

    This is the inverse of [`softsde.nn.load_state_dict`][].

    **Arguments:**

    - `network`: a network that has a published original.

    **Returns:** arrays by name, in the original's order.

    **Raises:** `TypeError` for a network that has no published original.
    """
    return {
        name: place.layout.write(np.asarray(place.find(network)))
        if isinstance(place, Place)
        else place.value
        for name, place in _names_of(network).items()
    }


def _names_of(network: Any) -> StateNames:
    if not isinstance(network, AbstractPublished):
        raise TypeError(
            f"`{type(network).__name__}` has no published original whose state dict "
            "could be read. Use a network such as `softsde.nn.NCSNpp`."
        )
    return network.state_names()


def _without_prefix(
    state: Mapping[str, np.ndarray], prefix: str
) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): np.asarray(a) for name, a in state.items()}


def _check_names(network: AbstractPublished, found: Mapping[str, np.ndarray]) -> None:
    """Refuses a state dict that is of another network, and says where they differ."""
    names = network.state_names()
    shapes = {
        name: place.layout.shape(place.find(network).shape)
        if isinstance(place, Place)
        else place.value.shape
        for name, place in names.items()
    }
    missing = [name for name in names if name not in found]
    left_over = [name for name in found if name not in names]
    misshapen = [
        f"{name} of shape {found[name].shape} where {shape} is expected"
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    problems = {"missing": missing, "left over": left_over, "misshapen": misshapen}
    if any(problems.values()):
        raise ValueError(
            f"this state dict is not of this `{type(network).__name__}`: "
            + "; ".join(f"{kind}: {_list(n)}" for kind, n in problems.items() if n)
            + ". Make the network with the options that the weights were trained with, "
            "or give the `prefix` that stands before every name."
        )
    for name, place in names.items():
        if isinstance(place, Constant) and not np.allclose(
            found[name], place.value, rtol=place.rtol, atol=0
        ):
            raise ValueError(
                f"this state dict is not of this `{type(network).__name__}`: {name} "
                f"runs from {found[name].flat[0]:.6g} to {found[name].flat[-1]:.6g}, "
                f"and the arguments of the network give {place.value.flat[0]:.6g} to "
                f"{place.value.flat[-1]:.6g}. Make the network with those of the file."
            )


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
