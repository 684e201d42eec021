"""The docs say everything, name nothing that is not there, and their examples run."""

import ast
import collections
import functools
import importlib
import inspect
import pathlib
import pkgutil
import re
import textwrap
import types
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

DOCS = pathlib.Path(__file__).parents[1] / "docs"
SOURCE = pathlib.Path(ss.__file__).parent

_ENTRY = re.compile(r"^\s*::: *([\w.]+) *$", re.MULTILINE)
# A fenced block: its indentation, the words after the fence, the body.
_FENCE = re.compile(r"^([ \t]*)```(.*)\n((?:.*\n)*?)\1```[ \t]*$", re.MULTILINE)


def _public_modules() -> dict[str, types.ModuleType]:
    """`softsde` and each room of it that no part of the path calls private."""
    names = ["softsde"] + [
        info.name
        for info in pkgutil.walk_packages([str(SOURCE)], "softsde.")
        if not any(part.startswith("_") for part in info.name.split("."))
    ]
    return {name: importlib.import_module(name) for name in names}


def _names_of(module: types.ModuleType) -> set[str]:
    """Lists what a package re-exports as `X as X`, or what a plain module defines."""
    tree = ast.parse(inspect.getsource(module))
    if "__path__" in vars(module):
        return {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level
            for alias in node.names
            if alias.asname == alias.name
        }
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _public_names() -> dict[str, Any]:
    """Full path to object, for everything a public room offers but other rooms."""
    return {
        f"{room}.{name}": value
        for room, module in _public_modules().items()
        for name in sorted(_names_of(module))
        if not name.startswith("_")
        if not isinstance(value := getattr(module, name), types.ModuleType)
    }


def _resolve(path: str) -> Any:
    """The object at a dotted path, importing as much of it as are modules."""
    value: Any = importlib.import_module("softsde")
    for name in path.split(".")[1:]:
        value = getattr(value, name)
    return value


def _entries() -> list[tuple[str, str]]:
    """Every mkdocstrings entry: the page it stands on, and what it names."""
    return [
        (str(page.relative_to(DOCS)), path)
        for page in sorted((DOCS / "api").rglob("*.md"))
        for path in _ENTRY.findall(page.read_text())
    ]


def test_every_name_has_one_entry():
    pages = sorted((DOCS / "api").rglob("*.md"))
    found = [name for page in pages for name in _ENTRY.findall(page.read_text())]
    assert [name for name, n in collections.Counter(found).items() if n > 1] == []


def test_every_public_name_has_an_entry():
    documented = {id(_resolve(path)) for _, path in _entries()}
    missing = sorted(
        path for path, value in _public_names().items() if id(value) not in documented
    )
    assert not missing, f"docs/api has no entry for {missing}"


@pytest.mark.parametrize("page, path", _entries())
def test_every_entry_names_something_public(page, path):
    assert path in _public_names(), f"{page} names {path}, which is not public"


def test_nothing_is_documented_twice():
    seen: dict[int, str] = {}
    for page, path in _entries():
        other = seen.setdefault(id(_resolve(path)), f"{path} ({page})")
        assert other == f"{path} ({page})", f"{path} on {page} is {other}"


def _own_doc(value: Any) -> str:
    """The docstring that somebody wrote: dataclasses make up one of their own."""
    if not inspect.isclass(value):
        return inspect.getdoc(value) or ""
    doc = vars(value).get("__doc__") or ""
    return "" if doc.startswith(f"{value.__name__}(") else inspect.cleandoc(doc)


def _callables() -> dict[str, Any]:
    """Public functions and classes, and the public methods that those classes write."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for path, value in _public_names().items():
        if not callable(value) or id(value) in seen:
            continue
        seen.add(id(value))
        found[path] = value
        if inspect.isclass(value):
            for name, member in vars(value).items():
                # What `__call__` does, the docstring of its class has said.
                if not name.startswith("_"):
                    member = getattr(value, name)
                    if callable(member) and not inspect.isclass(member):
                        found[f"{path}.{name}"] = member
    return found


def _inherited_doc(path: str, value: Any) -> str:
    """A method may leave its words to the abstract method it implements."""
    owner, _, name = path.rpartition(".")
    if inspect.isclass(cls := _resolve(owner)):
        return inspect.getdoc(getattr(cls, name)) or ""
    return _own_doc(value)


def test_every_public_callable_has_a_docstring():
    missing = [
        path for path, value in _callables().items() if not _inherited_doc(path, value)
    ]
    assert not missing, f"no docstring: {missing}"


def _python_blocks(text: str) -> list[str]:
    """Bodies of the python fences of `text` that are meant to run.

    Everything that is python runs, unless its fence says `{ .python .no-run }`.
    """
    return [
        textwrap.dedent(body)
        for _, words, body in _FENCE.findall(text)
        if "python" in words and "no-run" not in words
    ]


def _docstring_examples() -> list[Any]:
    texts = {path: _own_doc(value) for path, value in _callables().items()}
    texts |= {
        path: inspect.getdoc(module) or "" for path, module in _public_modules().items()
    }
    return [
        pytest.param(block, id=f"{path}-{i}")
        for path, text in texts.items()
        for i, block in enumerate(_python_blocks(text))
    ]


@functools.cache
def _world() -> dict[str, Any]:
    """Makes what an example may take for granted, as far as nothing consumes it."""
    shape = (28, 28, 1)
    key = jax.random.key(0)
    images = jax.random.uniform(key, (16, *shape))
    process = ss.soft_blur(shape)
    network = ss.nn.UNet(
        shape, base_channels=8, channel_multipliers=(1,), patch_size=2, key=key
    )
    classifier = ss.nn.Classifier(shape, num_classes=10, key=key)
    loss = ss.losses.SoftScoreMatching()

    return {
        "classifier": classifier,
        "config": {"batch_size": 8},
        "denoiser": ss.oracles.EmpiricalOracle(images).denoiser(process),
        "diffrax": diffrax,
        "eqx": eqx,
        "features": np.random.default_rng(0).normal(size=(64, 3)),
        "image": images[0],
        "images": np.asarray(images),
        "jax": jax,
        "jnp": jnp,
        "key": key,
        "keys": jax.random.split(key, 4),
        "loss": loss,
        "loss_fn": ss.losses.on_batches(loss),
        "model": ss.Model(ss.Denoiser(network, process), None, {}),
        "oracle": ss.oracles.EmpiricalOracle(images),
        "prior": ss.EmpiricalPrior.fit(process, images),
        "network": network,
        "np": np,
        "optimiser": ss.train.make_optimiser(2e-4),
        "parametrisation": ss.parametrisations.Residual(),
        "process": process,
        "reference": np.random.default_rng(1).normal(size=(64, 3)),
        "samples": np.asarray(images[:8]),
        "shape": shape,
        "ss": ss,
        "test_images": np.asarray(images[8:]),
        "train_images": np.asarray(images[8:]),
        "t": jnp.asarray(0.5),
        "ts": jnp.linspace(0.1, 0.9, 4),
        "x": images[0],
        "x0": images[0],
        "x1": images[0],
        "x_t": images[0],
        "xs": images[:4],
    }


def _given() -> dict[str, Any]:
    """The world, with a training run of its own: a train step consumes its state."""
    world = dict(_world())
    world["state"] = ss.train.TrainState.create(
        ss.Denoiser(world["network"], world["process"]),
        world["optimiser"],
        key=world["key"],
    )
    source = ss.data.ArraySource(world["images"])
    world["source"] = source
    world["loader"] = iter(ss.data.make_loader(source, 8))
    world["iterator"] = world["loader"]
    world["batch"] = {"image": world["images"][:8], "label": np.zeros(8, np.int32)}
    return world


# Examples compile much: they are in the slow lane, which `.ci/run` runs for this file.
@pytest.mark.slow
@pytest.mark.parametrize("example", _docstring_examples())
def test_docstring_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "<docstring>", "exec"), _given())


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=str(page.relative_to(DOCS)))
        for page in sorted(DOCS.rglob("*.md"))
        if _python_blocks(page.read_text())
    ],
)
def test_page_examples_run(page, tmp_path, monkeypatch):
    """The blocks of one page, one after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    for i, block in enumerate(_python_blocks(page.read_text())):
        exec(compile(block, f"{page.name}, block {i + 1}", "exec"), namespace)
