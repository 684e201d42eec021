"""Atomic files: whole or not at all, with the modes of any other file."""

import json
import os

import pytest

import softsde as ss
from softsde._files import atomically, write_bytes, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_contents_arrive(tmp_path):
    write_bytes(tmp_path / "a", b"\x00\xff")
    write_text(tmp_path / "b", "naïve σ")
    write_json(tmp_path / "c.json", {"levels": [0.1, 2]})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_text("utf-8") == "naïve σ"
    assert json.loads((tmp_path / "c.json").read_text()) == {"levels": [0.1, 2]}
    assert names(tmp_path) == ["a", "b", "c.json"]


def test_folders_are_made_and_files_replaced(tmp_path):
    path = tmp_path / "deep" / "down" / "x"
    write_text(path, "old")
    write_text(str(path), "new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["x"]


@pytest.mark.parametrize("address", ["gs://bucket/run", "gs:/bucket/run", "s3://a"])
def test_an_address_is_no_folder(tmp_path, monkeypatch, address):
    """A folder `gs:` of this disk would be taken for the bucket."""
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda: write_text(f"{address}/x", ""),
        lambda: ss.train.lock(address),
        lambda: ss.train.Checkpointer(address),
    ):
        with pytest.raises(ValueError, match=r"an address.*Mirror"):
            write()
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(error), atomically(path) as file:
        file.write(b"half of the new")
        file.flush()
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


def test_what_is_not_json_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert names(tmp_path) == []


def test_the_file_is_not_there_until_it_is_whole(tmp_path):
    with atomically(tmp_path / "x") as file:
        file.write(b"whole")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_bytes() == b"whole"


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_modes_are_those_of_an_ordinary_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "ours", "x")
        (tmp_path / "plain").write_text("x")
    finally:
        os.umask(before)
    mode = (tmp_path / "ours").stat().st_mode & 0o777
    assert mode == (tmp_path / "plain").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
