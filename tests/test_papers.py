"""The conformance page: every name, test, command and anchor on it exists."""

import ast
import functools
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "papers.md"
COLUMNS = 5

_NAME = re.compile(r"\[`[\w.]+`\]\[(softsde[\w.]+)\]")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_SCRIPT = re.compile(r"`python ((?:docs|benchmarks)/[\w/]+\.py)[^`]*`")
_MODULE = re.compile(r"`python -m experiments\.(\w+)(?: (\w+))?[^`]*`")
_LINK = re.compile(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)")
_NUMBER = re.compile(r"^Eq\. (\d+)")


def rows() -> list[list[str]]:
    """The cells of every row of the tables, without their heads."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| ---", "| item")):
            cells = re.split(r"(?<!\\) \| ", line.strip().strip("|").strip())
            found.append([cell.strip() for cell in cells])
    return found


ROWS = rows()


def test_every_row_has_its_cells():
    assert len(ROWS) > 35
    for cells in ROWS:
        assert len(cells) == COLUMNS and all(cells), cells[0]


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: cells[0])
def test_where_it_is(cells):
    """Each item has a name of the library, or a page; and each name is public."""
    names = _NAME.findall(cells[2])
    assert names or _LINK.search(cells[2]), f"{cells[0]} is nowhere"
    for path in names:
        value = importlib.import_module("softsde")
        for part in path.split(".")[1:]:
            assert not part.startswith("_")
            value = getattr(value, part)
        # The name that is shown is that of the thing.
        assert f"[`{path.split('.')[-1]}`][{path}]" in cells[2]


@functools.cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("cells", ROWS, ids=lambda cells: cells[0])
def test_its_tests(cells):
    named = _TEST.findall(cells[3])
    assert named, f"{cells[0]} has no test"
    for file, name in named:
        assert name in functions_of(file), f"{file} has no {name}"


def test_commands_are_there(monkeypatch):
    # The experiments are no part of the installed package.
    monkeypatch.syspath_prepend(ROOT)
    from experiments._presets import PRESETS

    text = PAGE.read_text()
    scripts = _SCRIPT.findall(text)
    assert scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script
    for module, preset in _MODULE.findall(text):
        source = ROOT / "experiments" / f"{module}.py"
        assert source.is_file(), module
        if preset:
            everywhere = (ROOT / "experiments").glob("*.py")
            said = any(f'"{preset}"' in path.read_text() for path in everywhere)
            assert preset in PRESETS or said, f"no experiment is called {preset}"


def slug(heading: str) -> str:
    """The anchor of a heading, as mkdocs makes it."""
    if named := re.search(r"\{ *#([\w-]+) *\}", heading):
        return named[1]
    plain = re.sub(r"[^\w\s-]", "", heading.lower().replace("`", "")).strip()
    return re.sub(r"[-\s]+", "-", plain)


def test_links_lead_somewhere():
    for page, anchor in _LINK.findall(PAGE.read_text()):
        text = (ROOT / "docs" / page).read_text()
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not anchor or anchor in map(slug, headings), f"{page}#{anchor}"


def test_items_are_in_the_order_of_the_paper():
    """Equations of each paper rise down its table."""
    last, seen = 0, 0
    for cells in ROWS:
        if match := _NUMBER.match(cells[0]):
            number = int(match[1])
            if number < last:
                # The next paper begins.
                assert number == 1, cells[0]
            last, seen = number, seen + 1
    assert seen > 12
