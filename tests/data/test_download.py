"""Downloads, from files and from a server on this machine: never the network."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest

import softsde as ss
from softsde.data import download as module
from softsde.data._named import CIFAR10, FASHION_MNIST, MNIST


def _digests(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }


@pytest.fixture
def published(isolated, mnist_layout, monkeypatch):
    """A folder of small files as if they were MNIST's, and their arrays."""
    arrays = mnist_layout("published")
    folder = isolated / "published"
    recipe = module._Recipe(MNIST, (folder.as_uri(),), _digests(folder))
    monkeypatch.setitem(module._RECIPES, "mnist", recipe)
    return folder, arrays


@pytest.fixture
def server(isolated):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Quiet, directory=str(isolated))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_what_is_fetched_is_found(published, isolated):
    source, arrays = published
    with pytest.raises(FileNotFoundError):
        ss.data.mnist()
    folder = module.download("mnist", progress=False)
    assert folder == isolated / "home/.cache/softsde/mnist"
    np.testing.assert_array_equal(ss.data.mnist().labels, arrays["train"][1])
    # Nothing but the files is left, and others may read them.
    assert _digests(folder) == _digests(source)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_over_http_with_a_dead_mirror_first(published, server, isolated, monkeypatch):
    source, _ = published
    mirrors = (f"{server}/nowhere/", f"{server}/published/")
    recipe = module._Recipe(MNIST, mirrors, _digests(source))
    monkeypatch.setitem(module._RECIPES, "mnist", recipe)
    folder = module.download("mnist", isolated / "out", progress=False)
    assert _digests(folder) == _digests(source)


def test_what_is_there_is_not_fetched_again(published, isolated):
    source, _ = published
    folder = module.download("mnist", isolated / "out", progress=False)
    for path in source.iterdir():
        path.unlink()
    module.download("mnist", isolated / "out", progress=False)
    # A damaged one is, and here it cannot be.
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    with pytest.raises(OSError, match="Could not fetch t10k-labels"):
        module.download("mnist", isolated / "out", progress=False)


def test_a_wrong_digest_leaves_nothing_behind(published, isolated):
    source, _ = published
    names = {path.name for path in source.iterdir()}
    path = source / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(OSError, match=r"train-images.*SHA-256 is .*, expected") as info:
        module.download("mnist", isolated / "out", progress=False)
    assert path.as_uri() in str(info.value)
    left = {path.name for path in (isolated / "out/mnist").iterdir()}
    assert path.name not in left
    assert left <= names


def test_unknown_name():
    with pytest.raises(ValueError, match=r"must be one of .*'mnist'.*got 'mnits'"):
        module.download("mnits")


def _tar(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.SYMTYPE
                info.linkname = "/etc/passwd"
            else:
                info.size = len(content)
            tar.addfile(info, None if content is None else io.BytesIO(content))


def _publish_cifar(folder, members, monkeypatch):
    folder.mkdir()
    path = folder / "cifar-10-binary.tar.gz"
    _tar(path, members)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    recipe = module._Recipe(CIFAR10, (folder.as_uri(),), {path.name: digest})
    monkeypatch.setitem(module._RECIPES, "cifar10", recipe)
    return path


def test_an_archive_is_unpacked_by_base_name(isolated, cifar_records, monkeypatch):
    records = {
        name: cifar_records(2, seed=i)
        for i, name in enumerate([*CIFAR10.files["train"], *CIFAR10.files["test"]])
    }
    archive = _publish_cifar(
        isolated / "published",
        [
            ("cifar-10-batches-bin/readme.html", b"hello"),
            ("../../escaped.bin", b"out of the folder"),
            ("cifar-10-batches-bin/test_batch.bin", None),  # a link: passed over
            *((f"cifar-10-batches-bin/{n}", r[2]) for n, r in records.items()),
        ],
        monkeypatch,
    )
    folder = module.download("cifar10", isolated / "data", progress=False)
    assert {path.name for path in folder.iterdir()} == set(records)
    np.testing.assert_array_equal(
        ss.data.cifar10("test").images, records["test_batch.bin"][1]
    )
    assert not list(isolated.rglob("escaped.bin"))
    # Once the files are there the archive is not wanted again.
    archive.unlink()
    module.download("cifar10", isolated / "data", progress=False)


def test_an_archive_that_lacks_a_file(isolated, monkeypatch):
    members = [("a/test_batch.bin", b"x")]
    _publish_cifar(isolated / "published", members, monkeypatch)
    with pytest.raises(OSError, match="holds no data_batch_1"):
        module.download("cifar10", isolated / "data", progress=False)


def test_command(published, isolated, capsys):
    source, arrays = published
    arguments = ["mnist", "--quiet", "--mirror", source.as_uri()]
    assert module._main(arguments) == 0
    output = capsys.readouterr().out
    assert 'softsde.data.load("mnist")' in output
    assert "export" not in output
    np.testing.assert_array_equal(ss.data.load("mnist").labels, arrays["train"][1])

    assert module._main([*arguments, "--folder", "elsewhere"]) == 0
    assert f"export SOFTSDE_DATA={isolated}/elsewhere" in capsys.readouterr().out


def test_command_fails_with_a_way_out(isolated, capsys):
    mirror = (isolated / "nowhere").as_uri()
    assert module._main(["fashion_mnist", "--quiet", "--mirror", mirror]) == 1
    errors = capsys.readouterr().err
    assert "Could not fetch train-images-idx3-ubyte.gz" in errors
    assert "apt-get install dataset-fashion-mnist" in errors


def test_every_recipe_makes_a_whole_data_set():
    assert set(module._RECIPES) == {"mnist", "fashion_mnist", "cifar10"}
    for name, recipe in module._RECIPES.items():
        assert recipe.data_set.name == name
        for digest in recipe.sha256.values():
            assert len(digest) == 64
            assert set(digest) <= set("0123456789abcdef")
    for data_set in (MNIST, FASHION_MNIST):
        wanted = {f"{file}.gz" for files in data_set.files.values() for file in files}
        assert set(module._RECIPES[data_set.name].sha256) == wanted
