"""A run whose machine is lost goes on from its copy elsewhere."""

import shutil

import pytest
from tiny_run import steps, tiny

import softsde as ss
from experiments import _scale, fetch, train
from experiments._errors import CommandError, FolderError


@pytest.mark.slow
def test_a_lost_machine_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = f"file://{tmp_path}/bucket/run"
    scale = _scale.ScaleConfig(mirror=address)
    first = tiny().training.steps
    folder = tmp_path / "runs" / "run"
    train.train(tiny(), folder, scale)
    shutil.rmtree(folder)
    # The same command fetches the run, and goes on.
    result = train.train(steps(tiny(), 2 * first), folder, scale)
    assert result.step == 2 * first
    rows = ss.train.read_metrics(folder / "metrics.jsonl")
    assert rows[0]["step"] <= first < rows[-1]["step"]
    # A resumed run remembers where its copy is.
    train.train(steps(tiny(), 3 * first), folder)
    found = fetch.fetch(fetch.Fetch(address, tmp_path / "again"))
    assert ss.load(found).card["steps"] == 3 * first
    assert ss.load(address).card["steps"] == 3 * first
    # And its folder is a run, which goes on where the copy was made.
    assert train.train(steps(tiny(), 4 * first), found).step == 4 * first
    with pytest.raises(FolderError, match="another machine went on"):
        train.train(steps(tiny(), 5 * first), folder)


def test_mistakes_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    with pytest.raises(CommandError, match="fsspec"):
        train.train(tiny(), folder, _scale.ScaleConfig(mirror="nowhere://a/b"))
    assert not folder.exists()
    with pytest.raises(FolderError, match="There is no copy"):
        fetch.fetch(fetch.Fetch(f"file://{tmp_path}/bucket/run"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(FolderError, match="The copy at"):
        train.train(tiny(), folder, _scale.ScaleConfig(mirror=f"{tmp_path}/file/run"))
    assert not folder.exists()
    with pytest.raises(CommandError, match=r"experiments.fetch gs://bucket/run"):
        train.read(["--resume", "gs://bucket/run"])
