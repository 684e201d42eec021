"""One tiny run on the digits, shared by the tests that read a run."""

import sys
from pathlib import Path

import pytest

# The experiments are commands of the checkout, not a part of the installed package.
sys.path.append(str(Path(__file__).parents[2]))

from tiny_run import tiny

from experiments import _cli, _evaluation, train


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    """Tests compute for themselves: nothing is kept in the user's folders."""
    monkeypatch.setattr(_cli, "use_cache", lambda: None)
    monkeypatch.setattr(_evaluation, "CACHE", tmp_path / "statistics")


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train.train(tiny(), folder)
    return folder
