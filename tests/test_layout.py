"""The shape of the package: which room imports which, and what a class may be."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import subprocess
import sys

import equinox as eqx
import pytest

import softsde

SOURCE = pathlib.Path(softsde.__file__).parent

# Imports point one way: a room may import the rooms to its left, and no other.
CORE = (
    "corruptions",
    "schedules",
    "processes",
    "parametrisations",
    "denoisers",
    "oracles",
    "losses",
    "clocks",
    "terms",
    "solvers",
    "sampling",
    "fitting",
    "likelihood",
    "guidance",
    "models",
)
# These know nothing of processes: they could serve any other project.
APART = ("nn", "data", "metrics", "train", "plotting")
# A model is built from a network by its name; a schedule can draw itself.
BESIDE = {"models": {"nn"}, "fitting": {"plotting"}}
# And these serve every room, so they import none.
HELPERS = (
    "_callables",
    "_checks",
    "_choose",
    "_files",
    "_fixed",
    "_linalg",
    "_opaque",
    "_torch",
    "_types",
)

# What `import softsde` must not bring in: they are slow, or not core dependencies.
LAZY = {"grain", "orbax", "ott", "matplotlib", "scipy", "sklearn", "tyro", "PIL"}


def _rooms() -> list[str]:
    """The packages and modules directly below `softsde`."""
    return sorted(info.name for info in pkgutil.iter_modules([str(SOURCE)]))


def _files(room: str) -> list[pathlib.Path]:
    folder = SOURCE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [SOURCE / f"{room}.py"]


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(file: pathlib.Path) -> list[tuple[str, ...]]:
    """Full paths of all names that `file` imports, other than for types."""
    package = ("softsde", *file.relative_to(SOURCE).parent.parts)
    targets: list[tuple[str, ...]] = []
    agenda: list[ast.AST] = [ast.parse(file.read_text(), str(file))]
    while agenda:
        node = agenda.pop()
        if isinstance(node, ast.Import):
            targets += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple((node.module or "").split(".")) if node.module else ()
            targets += [(*base, alias.name) for alias in node.names]
        elif not _is_for_types(node):
            agenda += ast.iter_child_nodes(node)
    return targets


def _imported_rooms(file: pathlib.Path) -> set[str]:
    """Names directly below `softsde` that `file` imports, other than for types."""
    paths = _imports(file)
    return {path[1] for path in paths if path[0] == "softsde" and len(path) > 1}


def test_every_room_has_its_place():
    assert set(_rooms()) == {*CORE, *APART, *HELPERS}, "say what a new room may import"


@pytest.mark.parametrize("room", _rooms())
def test_imports_point_one_way(room):
    left = CORE[: CORE.index(room)] if room in CORE else ()
    allowed = {room, *left, *HELPERS, *BESIDE.get(room, set())}
    for file in _files(room):
        rooms = _imported_rooms(file)
        assert rooms <= allowed, (
            f"{file.relative_to(SOURCE)} imports softsde.{rooms - allowed}"
        )


@pytest.mark.parametrize("room", _rooms())
def test_private_modules_are_private_to_their_room(room):
    """A room is used by its public names; only the helpers are open to all."""
    for file in _files(room):
        for path in _imports(file):
            inside = path[0] == "softsde" and len(path) > 2 and path[1] != room
            private = [part for part in path[2:] if part.startswith("_")]
            assert not (inside and path[1] not in HELPERS and private), (
                f"{file.relative_to(SOURCE)} imports {'.'.join(path)}"
            )


def _module_classes() -> list[type[eqx.Module]]:
    """Every Equinox module class that is written somewhere in softsde."""
    classes = set()
    for info in pkgutil.walk_packages([str(SOURCE)], "softsde."):
        module = importlib.import_module(info.name)
        classes |= {
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, eqx.Module)
            and value.__module__ == info.name
        }
    return sorted(classes, key=lambda cls: (cls.__module__, cls.__name__))


def _is_abstract(cls: type) -> bool:
    return cls.__name__.lstrip("_").startswith("Abstract")


def test_modules_are_abstract_or_final():
    """Whatever has a subclass is called `Abstract...`, wherever it comes from."""
    classes = _module_classes()
    assert len(classes) > 10
    for cls in classes:
        for base in cls.__bases__:
            is_module = issubclass(base, eqx.Module) and base is not eqx.Module
            assert not is_module or _is_abstract(base), (
                f"{cls.__module__}.{cls.__name__} subclasses the concrete {base}"
            )


def test_only_abstract_modules_have_something_left_to_write():
    for cls in _module_classes():
        unfinished = inspect.isabstract(cls) or cls.__abstractvars__  # pyright: ignore
        if not _is_abstract(cls):
            assert not unfinished, f"{cls} has abstract parts but not the name"


def test_import_is_light():
    """Beyond jax and diffrax, importing softsde loads no slow or optional package."""
    program = """
import sys
import jax, diffrax
before = set(sys.modules)
import softsde
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert "softsde" in loaded
    assert not loaded & LAZY


def test_lazy_rooms_are_there_on_demand():
    """`softsde.data` and its like load at first use, and `dir` knows them before."""
    program = """
import sys
import softsde as ss
for room in ("data", "train", "metrics", "plotting"):
    assert "softsde." + room not in sys.modules, room
    assert room in dir(ss), room
    assert getattr(ss, room) is sys.modules["softsde." + room], room
try:
    ss.no_such_room
except AttributeError as error:
    assert "no_such_room" in str(error)
else:
    raise AssertionError("an unknown name must raise")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
