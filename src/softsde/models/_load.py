"""From a name or a folder to a model or a network."""

import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .._files import PathLike, is_address, open_address
from ..denoisers import Denoiser
from ..parametrisations import AbstractParametrisation
from ..processes import Process
from ..sampling import AbstractPrior
from ._folder import has, plain, read, read_content, write
from ._json import Reader, call
from ._model import Model
from ._network import read_network, write_network
from ._registry import by_name

_SHIPPED = pathlib.Path(__file__).parent / "shipped"
_MODEL, _NETWORK = "model", "network"


def names() -> list[str]:
    """The models that come with the package."""
    return _names(_MODEL)


def network_names() -> list[str]:
    """The bare networks that come with the package."""
    return _names(_NETWORK)


def _names(stem: str) -> list[str]:
    return sorted(path.parent.name for path in _SHIPPED.glob(f"*/{stem}.json"))


def load(name: PathLike, *, classes: Sequence[type] = ()) -> Model:
    """A model that comes with the package, or one that was saved.

    The files are data: nothing in them is run, and only classes of the library and of
    `classes` are made.

    **Arguments:**

    - `name`: one of [`softsde.models.names`][], a folder that
        [`softsde.Model.save`][] wrote, or the address of one for fsspec, such as
        `gs://bucket/run`.
    - `classes`: classes of your own that the model is made of: corruptions, schedules,
        networks. A file knows them by their names.

    **Returns:** the model.

    **Raises:** `FileNotFoundError` where there is no model; `ValueError` for files that
    are damaged, or name a class that is not known.

    !!! example

        ```python
        model = ss.load("fashion_mnist_blur")
        x0_hat = model.denoiser(0.5, image)
        ```
    """
    if is_address(name):
        return _load_from(os.fspath(name), classes)
    folder = _locate(name, _MODEL)
    return _named(folder, _MODEL, lambda: _read_model(folder, classes))


def _load_from(address: str, classes: Sequence[type]) -> Model:
    """The model in a bucket, by way of a folder that is then removed."""
    files, root = open_address("load", address)
    with tempfile.TemporaryDirectory() as name:
        for file in (f"{_MODEL}.json", f"{_MODEL}.safetensors"):
            source = f"{root.rstrip('/')}/{file}"
            if files.exists(source):
                files.get_file(source, os.path.join(name, file))
        if not has(name, _MODEL):
            raise FileNotFoundError(
                f"{address} holds no model ({_MODEL}.json is missing). Give the "
                "address of a run, or of a folder that was saved."
            )
        return load(pathlib.Path(name), classes=classes)


def read_card(name: PathLike) -> dict[str, Any]:
    """The card of a model or a network, without its arrays.

    **Arguments:**

    - `name`: as for [`softsde.load`][] or [`softsde.models.load_network`][].

    **Returns:** the card, as plain data.

    **Raises:** as there.
    """
    is_network = str(name) in network_names() or has(name, _NETWORK)
    stem = _NETWORK if is_network and not has(name, _MODEL) else _MODEL
    folder = _locate(name, stem)
    return _card(folder, stem, read_content(folder, stem))


def save_network(
    folder: PathLike, network: Any, card: dict[str, Any] | None = None
) -> pathlib.Path:
    """Writes a bare network, such as a classifier, to `network.json` and
    `network.safetensors` in a folder.

    **Arguments:**

    - `folder`: made if absent; replaced as [`softsde.Model.save`][] does it.
    - `network`: of [`softsde.nn`](nn.md), or of a class of your own with a property
        `arguments`: plain data such that `type(network)(**network.arguments, key=key)`
        has the same structure.
    - `card`: whatever is worth knowing, as plain data.

    **Returns:** the folder.

    **Raises:** `ValueError` for a network that cannot be made again from its arguments.

    !!! example

        ```python
        ss.models.save_network("classifier", classifier, {"accuracy": 0.92})
        classifier = ss.models.load_network("classifier")
        ```
    """
    tensors: dict[str, np.ndarray] = {}
    content = {
        "network": write_network(network, "network", tensors),
        "card": plain(card or {}, "card"),
    }
    if jax.process_index() != 0:
        return pathlib.Path(folder)
    return write(folder, _NETWORK, content, tensors)


def load_network(name: PathLike, *, classes: Sequence[type] = ()) -> Any:
    """A network that comes with the package, or one that was saved.

    **Arguments:**

    - `name`: one of [`softsde.models.network_names`][], or a folder that
        [`softsde.models.save_network`][] wrote.
    - `classes`: as for [`softsde.load`][].

    **Returns:** the network.

    **Raises:** as [`softsde.load`][].
    """
    folder = _locate(name, _NETWORK)

    def read_it() -> Any:
        content, tensors = read(folder, _NETWORK)
        _check_entries(content, {"network", "card"})
        table = by_name(classes)
        network, used = read_network(content["network"], "network", tensors, table)
        _check_used(tensors, used)
        return network

    return _named(folder, _NETWORK, read_it)


def _read_model(folder: pathlib.Path, classes: Sequence[type]) -> Model:
    content, tensors = read(folder, _MODEL)
    entries = {
        "process",
        "parametrisation",
        "train_process",
        "network",
        "prior",
        "card",
    }
    _check_entries(content, entries)
    table = by_name(classes)

    alone = Reader(table, tensors=tensors)
    process = alone.read(content["process"], "process")
    _check_is("process", process, Process)
    parametrisation = alone.read(content["parametrisation"], "parametrisation")
    _check_is("parametrisation", parametrisation, AbstractParametrisation)
    train_process = content["train_process"]
    _check_is("train_process", train_process, bool)
    network, of_network = read_network(content["network"], "network", tensors, table)
    denoiser = call(
        "the denoiser",
        "Denoiser",
        Denoiser,
        network,
        process,
        parametrisation,
        train_process=train_process,
    )

    beside = Reader(table, process, tensors)
    prior = beside.read(content["prior"], "prior")
    if prior is not None:
        _check_is("prior", prior, AbstractPrior)
    _check_used(tensors, alone.used | of_network | beside.used)
    _check_is("card", content["card"], dict)
    return call("the model", "Model", Model, denoiser, prior, content["card"])


def _locate(name: PathLike, stem: str) -> pathlib.Path:
    """The folder of a name."""
    shipped = _names(stem)
    folder = pathlib.Path(name)
    if isinstance(name, str) and name in shipped:
        if has(folder, stem):
            raise ValueError(
                f"{name!r} is a {stem} that comes with the package, and also a folder "
                f"here. For the folder, write {os.path.join('.', name)!r} or "
                f"`pathlib.Path({name!r})`. For the package's, rename the folder."
            )
        return _SHIPPED / name
    if has(folder, stem):
        return folder
    if not folder.is_dir():
        state = "does not exist" if not folder.exists() else "is not a folder"
    elif has(folder, _NETWORK):
        state = "holds a bare network: use `ss.models.load_network`"
    elif has(folder, _MODEL):
        state = "holds a whole model: use `ss.load`, and its `denoiser.network`"
    else:
        state = f"holds no {stem} ({stem}.json is missing)"
    raise FileNotFoundError(
        f"{os.fspath(name)} {state}. Give a folder that was saved, or the name of one "
        f"that comes with the package: {', '.join(shipped)}."
    )


def _named(folder: pathlib.Path, stem: str, read_it: Any) -> Any:
    """The result of `read_it`, with the file named in its errors."""
    try:
        return read_it()
    except ValueError as error:
        if str(folder) in str(error):
            raise
        raise ValueError(f"{folder / stem}.json: {error}") from error
    # The file nests its entries deeper than Python calls functions.
    except RecursionError as error:
        raise ValueError(
            f"{folder / stem}.json nests its entries too deep. The file is damaged."
        ) from error


def _check_entries(content: dict[str, Any], expected: set[str]) -> None:
    if set(content) != expected:
        raise ValueError(
            f"it has the entries {sorted(content)}; expected {sorted(expected)}. The "
            "file is damaged: fetch or save the model again."
        )


def _check_is(path: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise ValueError(
            f"{path} is a {type(value).__name__}; expected {kind.__name__}. The file "
            "is damaged: fetch or save the model again."
        )


def _check_used(tensors: dict[str, np.ndarray], used: set[str]) -> None:
    left = sorted(set(tensors) - used)
    if left:
        raise ValueError(
            f"the file of arrays holds {', '.join(left[:5])} that nothing asks for. "
            "The two files are not of one model: fetch or save it again."
        )


def _card(folder: pathlib.Path, stem: str, content: dict[str, Any]) -> dict[str, Any]:
    card = content.get("card")
    if not isinstance(card, dict):
        raise ValueError(f"{folder / stem}.json has no card. The file is damaged.")
    return card
