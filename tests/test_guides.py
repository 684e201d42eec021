"""The tables of the guides are true, and leave nothing out."""

import pathlib

import jax
import pytest

import softsde as ss
from softsde import corruptions as c

DOCS = pathlib.Path(__file__).parents[1] / "docs"
SHAPE = (8, 8, 3)


def promises() -> dict[str, dict[str, str]]:
    """Name to cells by column, of the table in the guide to corruptions."""
    text = (
        (DOCS / "corruptions.md").read_text().split("## What each family promises\n")[1]
    )
    section = text.split("\n## ")[0]  # other tables follow in other sections
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = [
        [cell.strip() for cell in line[1:-1].split("|")] for line in lines
    ]
    return {row[0].strip("`"): dict(zip(head, row, strict=True)) for row in rows}


# One of each as it comes, and where the table says "with", one without.
AS_IT_COMES = {
    "GaussianBlur": c.GaussianBlur(SHAPE),
    "HeatBlur": c.HeatBlur(SHAPE),
    "MotionBlur": c.MotionBlur(SHAPE),
    "CenterMask": c.CenterMask(SHAPE),
    "RandomMask": c.RandomMask(SHAPE, key=jax.random.key(0)),
    "SoftMask": c.SoftMask(SHAPE),
    "Downsample": c.Downsample(SHAPE),
    "Desaturate": c.Desaturate(),
    "Fade": c.Fade(),
    "Scale": c.Scale(),
    "Identity": c.Identity(),
}
BASES = {"": None, "pixels": "pixel", "every basis": "every", "Fourier": "fourier"}


@pytest.mark.parametrize("name", AS_IT_COMES)
def test_the_table_says_what_the_structure_does(name):
    row, structure = promises()[name], AS_IT_COMES[name].structure
    basis = row["diagonal in"].removesuffix(" (Fourier)").replace("DCT", "dct")
    assert structure.basis == BASES.get(basis, basis)
    assert structure.symmetric == bool(row["symmetric"])
    assert structure.positive_semidefinite == bool(row["positive"])
    # The table names the paddings with which a Gaussian blur commutes: not the default.
    commutes = row["levels commute"]
    assert structure.commuting == (commutes != "" and not commutes.startswith('`"'))
    assert structure.differentiable == (row["derivative"] != "jumps")
    clean = {"any": None}.get(row["clean at"], row["clean at"])
    assert structure.identity_level == (None if clean is None else float(clean))


def test_what_the_table_says_with_a_condition():
    blur = lambda padding: c.GaussianBlur(SHAPE, padding=padding).structure
    assert not blur("reflect").symmetric
    assert blur("symmetric").commuting and blur("periodic").commuting
    assert not c.Downsample((6, 6), factors=(1, 2, 3)).structure.commuting
    assert not c.Desaturate("luma").structure.symmetric
    heat = c.HeatBlur(SHAPE, "fourier").structure
    assert heat.basis == "fourier" and heat.positive_semidefinite


def test_the_table_leaves_out_only_what_depends_on_its_members():
    assert set(promises()) == {*AS_IT_COMES, "SpectralFilter"}


@pytest.mark.parametrize("noun", ["corruptions", "schedules", "losses"])
def test_the_guide_shows_everything(noun):
    text = (DOCS / f"{noun}.md").read_text()
    room = getattr(ss, noun)
    # What is told elsewhere: bases for one's own, helpers of what is shown.
    helpers = {"Structure", "AtNoiseLevels", "SumOfLosses", "from_dict"}
    helpers |= {"weight_function", "draw_times", "check_linear", "Finding", "Report"}
    missing = [
        name
        for name, value in vars(room).items()
        if callable(value)
        and not name.startswith(("_", "Abstract"))
        and name not in helpers
        and f"{noun}.{name}" not in text
    ]
    assert not missing, f"docs/{noun}.md does not mention {missing}"


def test_the_guide_names_every_process():
    text = (DOCS / "processes.md").read_text()
    rooms = vars(ss.processes)
    missing = [
        name
        for name, value in rooms.items()
        if callable(value) and f"softsde.{name}]" not in text
        if name not in ("Process", "same_process")
        if f"softsde.processes.{name}]" not in text
    ]
    assert not missing, f"docs/processes.md does not mention {missing}"
