"""Copies of a folder at an address of fsspec: in memory, and on a disk."""

import json
from threading import Event

import fsspec
import pytest

import softsde as ss


@pytest.fixture(params=["memory", "disk"])
def address(request, tmp_path):
    if request.param == "disk":
        yield f"file://{tmp_path}/bucket/run"
        return
    fsspec.filesystem("memory").store.clear()
    yield "memory://bucket/run"


def write(folder, name, content="content"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def content_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("mirror.json", ".lock")
    }


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    write(folder, "config.json")
    write(folder, "checkpoints/100/state/d/0", "arrays")
    return folder


def test_what_is_whole_comes_back(run, address, tmp_path):
    whole = content_of(run)
    write(run, "checkpoints/200.orbax-checkpoint-tmp-7/state/d/0", "half")
    write(run, ".lock")
    write(run, ".config.json.0a1b.tmp")
    mirror = ss.train.Mirror(run, address)
    assert not mirror.exists()
    assert mirror.push() == 2
    assert mirror.exists()
    again = ss.train.Mirror(tmp_path / "again", address)
    assert again.pull() == 2
    assert content_of(tmp_path / "again") == whole
    assert ss.train.mirrored_to(tmp_path / "again") == address


def test_only_what_is_new_is_copied_also_by_a_machine_that_fetched(
    run, address, tmp_path
):
    ss.train.Mirror(run, address).push()
    assert ss.train.Mirror(run, address).push() == 0
    again = ss.train.Mirror(tmp_path / "again", address)
    again.pull()
    assert again.push() == 0
    write(again.folder, "checkpoints/200/state/d/0", "newer")
    (again.folder / "checkpoints/100/state/d/0").unlink()
    assert again.push() == 1
    third = ss.train.Mirror(tmp_path / "third", address)
    third.pull()
    assert content_of(third.folder) == content_of(again.folder)


def test_what_another_wrote_is_not_overwritten(run, address, tmp_path):
    ss.train.Mirror(run, address).push()
    write(tmp_path / "other", "config.json")
    with pytest.raises(ValueError, match="a copy of another folder"):
        ss.train.Mirror(tmp_path / "other", address).push()
    again = ss.train.Mirror(tmp_path / "again", address)
    again.pull()
    write(again.folder, "model.json")
    again.push()
    with pytest.raises(ValueError, match="another machine went on"):
        ss.train.Mirror(run, address).push()


def test_a_copy_that_was_cut_short_leaves_the_one_before(
    run, address, tmp_path, monkeypatch
):
    mirror = ss.train.Mirror(run, address)
    mirror.push()
    before = content_of(run)
    write(run, "checkpoints/200/state/d/0", "newer")
    write(run, "checkpoints/200/state/d/1", "newest")
    put, left = mirror._files.put_file, iter([True])

    def fail(*paths, **options):
        if next(left, None) is None:
            raise OSError("the network is down")
        put(*paths, **options)

    with monkeypatch.context() as patch:
        patch.setattr(mirror._files, "put_file", fail)
        with pytest.raises(OSError, match="the network is down"):
            mirror.push()
    again = ss.train.Mirror(tmp_path / "again", address)
    again.pull()
    assert content_of(again.folder) == before
    # And the next push mends it.
    mirror.push()
    third = ss.train.Mirror(tmp_path / "third", address)
    third.pull()
    assert content_of(third.folder) == content_of(run)


def test_a_checkpoint_that_vanishes_meanwhile_is_left_out(
    run, address, tmp_path, monkeypatch
):
    write(run, "checkpoints/200/state/d/0", "newer")
    mirror = ss.train.Mirror(run, address)
    put, old = mirror._files.put_file, run / "checkpoints/100/state/d/0"

    def late(*paths, **options):
        old.unlink(missing_ok=True)
        put(*paths, **options)

    with monkeypatch.context() as patch:
        patch.setattr(mirror._files, "put_file", late)
        mirror.push()
    again = ss.train.Mirror(tmp_path / "again", address)
    again.pull()
    assert content_of(again.folder) == content_of(run)

    def missing(*paths, **options):
        raise FileNotFoundError("no such bucket")

    write(run, "model.json")
    with monkeypatch.context() as patch:
        patch.setattr(mirror._files, "put_file", missing)
        with pytest.raises(FileNotFoundError, match="no such bucket"):
            mirror.push()


def test_a_damaged_checkpoint_is_not_fetched(run, address, tmp_path):
    mirror = ss.train.Mirror(run, address)
    mirror.push()
    path = str(mirror._root / "checkpoints/100/state/d/0")
    mirror._files.pipe_file(path, b"arr")
    again = ss.train.Mirror(tmp_path / "again", address)
    with pytest.raises(OSError, match="3 bytes; expected 6"):
        again.pull()
    assert not again.folder.exists()
    assert [path.name for path in tmp_path.glob(".again*")] == []


def test_mistakes_are_named(run, address, tmp_path):
    with pytest.raises(FileNotFoundError, match="no copy of a run"):
        ss.train.Mirror(tmp_path / "again", address).pull()
    ss.train.Mirror(run, address).push()
    with pytest.raises(ValueError, match="not empty"):
        ss.train.Mirror(run, address).pull()
    with pytest.raises(ValueError, match="fsspec"):
        ss.train.Mirror(run, "nowhere://bucket/run")
    mirror = ss.train.Mirror(tmp_path / "again", address)
    with pytest.raises(ValueError, match=r"every=0\.0"):
        ss.train.Mirroring(mirror, 0.0)
    content = json.loads(mirror._files.cat_file(str(mirror._root / "mirror.json")))
    text = json.dumps({**content, "format": 99}).encode()
    mirror._files.pipe_file(str(mirror._root / "mirror.json"), text)
    with pytest.raises(ValueError, match="Another version"):
        mirror.pull()


def test_mirroring_renews_the_copy_tells_of_failures_and_goes_on(
    run, address, tmp_path, monkeypatch
):
    mirror = ss.train.Mirror(run, address)
    said, push, calls = [], mirror.push, []
    failed, renewed = Event(), Event()

    def unreliable():
        calls.append(None)
        if len(calls) == 2:
            raise OSError("the network is down")
        number = push()
        if number and len(calls) > 2:
            renewed.set()
        return number

    def say(text):
        said.append(text)
        failed.set()

    monkeypatch.setattr(mirror, "push", unreliable)
    with ss.train.Mirroring(mirror, 0.01, say):
        assert mirror.exists()
        assert failed.wait(20)
        write(run, "model.json")
        assert renewed.wait(20)
        write(run, "loss.png")
    assert len(said) == 1
    assert "the network is down" in said[0]
    again = ss.train.Mirror(tmp_path / "again", address)
    again.pull()
    assert content_of(again.folder) == content_of(run)
