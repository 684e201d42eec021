"""A network as its class, the arguments of its constructor, and its arrays.

Reading builds the network without computing its initial weights, and puts each array in
the place of its name.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._opaque import Opaque
from ._arrays import is_array, is_key, key_parts, make_key, to_jax, to_numpy
from ._folder import plain
from ._json import call, check_arguments, constructor
from ._registry import Classes, find, known_networks, name_of

# Arguments up to this are always accepted: the side of an image, say.
_MOST = 2**16


def write_network(
    network: Any, path: str, tensors: dict[str, np.ndarray]
) -> dict[str, Any]:
    """A network as plain data; its arrays go into `tensors`.

    **Raises:** `ValueError` for a function, for a network that does not tell its
    arguments, or for one that its arguments do not describe.
    """
    name = type(network).__name__
    if isinstance(network, Opaque) or not isinstance(network, eqx.Module):
        raise ValueError(
            f"{path} is a function, and a function cannot be written to a file. Make "
            "the network a subclass of `equinox.Module` with a property `arguments`."
        )
    arguments = getattr(network, "arguments", None)
    written_as = name_of(network, known_networks())
    if written_as is None or not isinstance(arguments, dict):
        raise ValueError(
            f"{path} is `{name}`, which does not tell the arguments of its "
            "constructor. Give it a property `arguments`, a dictionary of plain data "
            f"such that `{name}(**network.arguments, key=key)` has the same structure."
        )
    arguments = plain(arguments, f"{path}.arguments")
    keys: dict[str, str] = {}
    for leaf_name, leaf in _leaves(network, path).items():
        if not _has_numbers(leaf):
            continue
        if is_key(leaf):
            tensors[leaf_name], keys[leaf_name] = key_parts(leaf_name, leaf)
        else:
            tensors[leaf_name] = to_numpy(leaf_name, leaf)
    content: dict[str, Any] = {"type": written_as, "arguments": arguments}
    if keys:
        content["keys"] = keys
    like = _skeleton(path, written_as, type(network), arguments)
    _check_same(path, name, network, like)
    return content


def read_network(
    content: Any,
    path: str,
    tensors: Mapping[str, np.ndarray],
    classes: Classes,
) -> tuple[eqx.Module, set[str]]:
    """The network that `write_network` described, and the names of its arrays.

    **Raises:** `ValueError` for a class that is not known, arguments that it refuses,
    or arrays that do not fit, with all that are missing, left over or of another shape.
    """
    names = set(content) if isinstance(content, dict) else set()
    if names - {"keys"} != {"type", "arguments"}:
        raise ValueError(
            f"{path} has the names {sorted(names)}; expected a type and its arguments. "
            "The file is damaged."
        )
    cls = find(path, content["type"], known_networks(), classes)
    arguments, keys = content["arguments"], content.get("keys", {})
    if not isinstance(arguments, dict) or not isinstance(keys, dict):
        raise ValueError(f"{path}.arguments is no dictionary. The file is damaged.")
    if content["type"] in known_networks():
        _check_size(path, arguments, sum(array.size for array in tensors.values()))
    like = _skeleton(path, content["type"], cls, arguments)
    # Arrays of the prior stand in the same file.
    own = {
        n: a
        for n, a in tensors.items()
        if n == path or n.startswith((f"{path}.", f"{path}["))
    }
    made = {
        name: make_key(name, array, keys[name]) if name in keys else to_jax(name, array)
        for name, array in own.items()
    }
    wrong = _differences(made, _arrays(_leaves(like, path)))
    if wrong:
        raise ValueError(
            f"{path} is `{content['type']}` with these arguments, but the arrays are "
            f"those of another network:\n{wrong}\nThe two files are not of one model, "
            "or of another version of softsde."
        )
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    filled = [
        made.get(path + jax.tree_util.keystr(place), leaf) for place, leaf in leaves
    ]
    return jax.tree.unflatten(structure, filled), set(own)


def _leaves(tree: Any, path: str) -> dict[str, Any]:
    return {
        path + jax.tree_util.keystr(place): leaf
        for place, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _has_numbers(leaf: Any) -> bool:
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _arrays(leaves: Mapping[str, Any]) -> dict[str, Any]:
    return {name: leaf for name, leaf in leaves.items() if _has_numbers(leaf)}


def _skeleton(path: str, name: str, cls: type, arguments: dict[str, Any]) -> Any:
    """The network that the arguments describe, with shapes in place of its arrays."""
    parameters = constructor(cls)
    if any(p.name == "key" for p in parameters):
        arguments = {**arguments, "key": jax.random.key(0)}
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        check_arguments(path, name, arguments, parameters)
    return call(path, name, eqx.filter_eval_shape, cls, **arguments)


def _check_size(path: str, arguments: dict[str, Any], size: int) -> None:
    """Refuses arguments that ask for more than the file can hold.

    A network with a side longer than all its numbers together has lost some: building
    it could take all the memory of the machine.
    """
    most = max(size, _MOST)

    def visit(value: Any, place: str) -> None:
        if isinstance(value, list):
            for i, part in enumerate(value):
                visit(part, f"{place}[{i}]")
        elif isinstance(value, dict):
            for name, part in value.items():
                visit(part, f"{place}.{name}")
        elif isinstance(value, int | float) and abs(value) > most:
            raise ValueError(
                f"{place} is {value}, but the file holds {size} numbers in all. The "
                "file is damaged."
            )

    visit(arguments, f"{path}.arguments")


def _kind(leaf: Any) -> str:
    """The kind of numbers in an array, whatever its width: weights may be cast."""
    if is_key(leaf):
        return "keys"
    for kind in (jnp.bool_, jnp.integer, jnp.floating):
        if jnp.issubdtype(leaf.dtype, kind):
            return kind.__name__.rstrip("_")
    return str(leaf.dtype)


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """One line for each array that is missing, left over or of another shape."""
    lines = []
    for name in sorted(found.keys() | expected.keys()):
        if name not in found:
            lines.append(f"  {name}: missing; expected {_describe(expected[name])}")
        elif name not in expected:
            lines.append(f"  {name}: left over, {_describe(found[name])}")
        elif _describe(found[name]) != _describe(expected[name]):
            lines.append(
                f"  {name}: {_describe(found[name])}, expected "
                f"{_describe(expected[name])}"
            )
    if len(lines) > 20:
        lines = [*lines[:20], f"  ... and {len(lines) - 20} more"]
    return "\n".join(lines)


def _describe(leaf: Any) -> str:
    return f"{_kind(leaf)} {list(leaf.shape)}"


def _check_same(path: str, name: str, network: Any, like: Any) -> None:
    """Refuses a network with something that neither arguments nor arrays hold."""
    ours, theirs = _leaves(network, path), _leaves(like, path)
    wrong = _differences(_arrays(ours), _arrays(theirs))
    for leaf_name in ours.keys() & theirs.keys():
        mine, other = ours[leaf_name], theirs[leaf_name]
        if not (_has_numbers(mine) or _has_numbers(other)) and mine != other:
            wrong += f"\n  {leaf_name}: {mine!r}, but {other!r} by its arguments"
    if not wrong and jax.tree.structure(network) != jax.tree.structure(like):
        wrong = "  a field that is not an array (`eqx.field(static=True)`, say)"
    if wrong:
        raise ValueError(
            f"{path} is not what `{name}(**network.arguments, key=key)` makes, so it "
            f"could not be read again:\n{wrong}\nIt was changed after it was made, or "
            "`arguments` leaves something out."
        )
