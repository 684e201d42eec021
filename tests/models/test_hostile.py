"""Folders from strangers, and damaged ones: refused, with the file and the cure."""

import hashlib
import io
import json
import pickle
import shutil
import struct

import jax
import numpy as np
import pytest
import safetensors.numpy
from test_model import make_model

from softsde import models


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def _header(tensors, data=b""):
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + data


def _raw(content):
    """Puts `content` in place of the arrays, under its right checksum."""

    def spoil(folder, about):
        made = content(folder) if callable(content) else content
        (folder / "model.safetensors").write_bytes(made)
        about["tensors"]["sha256"] = hashlib.sha256(made).hexdigest()

    return spoil


def _arrays(change):
    def make(folder):
        tensors = safetensors.numpy.load((folder / "model.safetensors").read_bytes())
        change(tensors)
        return safetensors.numpy.save(tensors)

    return _raw(make)


def _about(change):
    """Changes the JSON."""
    return lambda folder, about: change(about)


def _text(content):
    """Puts other bytes in place of the JSON."""

    def spoil(folder, about):
        (folder / "model.json").write_bytes(content(about))
        return "keep"

    return spoil


def _npy(folder):
    file = io.BytesIO()
    trap = np.asarray([Trap(str(folder / "sprung"))])
    np.save(file, trap, allow_pickle=True)
    return file.getvalue()


def _levels(about):
    return about["process"]["arguments"]["levels"]["arguments"]


def _nested(depth):
    return (
        b'{"format": "softsde-model", "process": ' + b"[" * depth + b"]" * depth + b"}"
    )


def _deep(about):
    entry = '{"list": [' * 300 + "1.0" + "]}" * 300
    return json.dumps(about).replace('"t1": 1.0', f'"t1": {entry}').encode()


def _shared(about):
    about["process"]["arguments"]["corruption"] = {"shared": "process"}


def _prior(name, array):
    return _arrays(lambda tensors: tensors.update({f"prior.{name}": array}))


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

CASES = {
    # The JSON as a file.
    "no JSON": (lambda f, a: (f / "model.json").unlink() or "keep", "holds no model"),
    "empty JSON": (_text(lambda a: b""), "is not JSON"),
    "half of the JSON": (_text(lambda a: json.dumps(a).encode()[:300]), "is not JSON"),
    "not text": (_text(lambda a: b"\xff\xfe\x00"), "is not JSON"),
    "pickle for JSON": (_text(lambda a: pickle.dumps({"a": 1})), "is not JSON"),
    "a list": (_text(lambda a: b"[1]"), "is not a model that softsde saved"),
    "of another program": (_text(lambda a: b"{}"), "is not a model that softsde"),
    "nested without end": (_text(lambda a: _nested(200_000)), "is not JSON"),
    "NaN in a schedule": (
        _text(lambda a: json.dumps(a).replace("0.01,", "NaN,").encode()),
        "is not JSON .it holds NaN",
    ),
    "a newer version": (_about(lambda a: a.update(version=2)), "has the version 2"),
    # The arrays as a file.
    "no arrays": (
        lambda f, a: (f / "model.safetensors").unlink(),
        "model.safetensors is missing. Copy both",
    ),
    "half of the arrays": (
        lambda f, a: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-7]
        ),
        "its checksum is another",
    ),
    "one bit": (
        lambda f, a: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:-1] + b"\x01"
        ),
        "its checksum is another",
    ),
    "arrays of another model": (
        lambda f, a: make_model(2.0).save(f),
        "its checksum is another",
    ),
    "no checksum": (_about(lambda a: a.pop("tensors")), "has no checksum"),
    "a path for a checksum": (
        _about(lambda a: a.update(tensors={"sha256": "../../etc/passwd"})),
        "has no checksum",
    ),
    "pickle for arrays": (
        _raw(lambda f: pickle.dumps(Trap(str(f / "sprung")))),
        "is not a safetensors file",
    ),
    "pickled NumPy": (_raw(_npy), "is not a safetensors file"),
    "arrays cut short": (_raw(_header({"a": F32}, b"1234")), "not a safetensors file"),
    "a huge header": (_raw(struct.pack("<Q", 2**60)), "is not a safetensors file"),
    "a huge array": (
        _raw(_header({"a": F32 | {"shape": [2**40, 2**40]}}, b"12345678")),
        "is not a safetensors file",
    ),
    "overlapping arrays": (
        _raw(_header({"a": F32, "b": F32}, b"12345678")),
        "is not a safetensors file",
    ),
    "complex numbers": (
        _raw(_header({"a": F32 | {"dtype": "C64", "shape": [1]}}, b"12345678")),
        "with the dtype C64",
    ),
    # What the JSON describes.
    "an entry too few": (_about(lambda a: a.pop("card")), "it has the entries"),
    "an entry too many": (_about(lambda a: a.update(code="x")), "it has the entries"),
    "an unknown class": (
        _about(lambda a: a["process"].update(type="os.system")),
        "'os.system', which is not known",
    ),
    "an unknown network": (
        _about(lambda a: a["network"].update(type="subprocess.Popen")),
        "'subprocess.Popen', which is not known",
    ),
    "a corruption for a network": (
        _about(lambda a: a["network"].update(type="corruptions.Fade")),
        "which is not known",
    ),
    "a schedule for a process": (
        _about(lambda a: a.update(process=a["process"]["arguments"]["noise"])),
        "process is a TwoPhase; expected Process",
    ),
    "a process for a parametrisation": (
        _about(lambda a: a.update(parametrisation=a["process"])),
        "expected AbstractParametrisation",
    ),
    "a process for a prior": (
        _about(lambda a: a.update(prior=a["process"])),
        "prior is a Process; expected AbstractPrior",
    ),
    "the process inside itself": (_about(_shared), "describes nothing"),
    "nested too deep": (_text(_deep), "too deep|cannot be made"),
    "levels that turn": (
        _about(lambda a: _levels(a)["levels"]["array"].reverse()),
        "needs C_t = I at its start",
    ),
    "another number of levels": (
        _about(lambda a: _levels(a)["levels"]["array"].pop()),
        "numbers for the shape",
    ),
    "a huge shape": (
        _about(lambda a: _levels(a)["levels"].update(shape=[2**50])),
        "numbers for the shape",
    ),
    "a shape of text": (
        _about(lambda a: a["network"]["arguments"].update(shape="wide")),
        "cannot be made",
    ),
    "arguments of another network": (
        _about(lambda a: a["network"]["arguments"].update(depth=2)),
        r"network.blocks\[1\].first.weight: missing",
    ),
    "a huge network": (
        _about(lambda a: a["network"]["arguments"].update(width=10**12)),
        "width is 1000000000000, but the file holds",
    ),
    "no arguments": (
        _about(lambda a: a["network"].update(arguments=None)),
        "arguments is no dictionary",
    ),
    "a text for a truth value": (
        _about(lambda a: a.update(train_process="no")),
        "train_process is a str; expected bool",
    ),
    "a list for a card": (_about(lambda a: a.update(card=[])), "card is a list"),
    # What the arrays hold.
    "a missing array": (
        _arrays(lambda tensors: tensors.pop("network.first.bias")),
        "network.first.bias: missing",
    ),
    "a missing array of the prior": (
        _arrays(lambda tensors: tensors.pop("prior.mean")),
        "'prior.mean', which the file of arrays does not hold",
    ),
    "an array left over": (
        _arrays(lambda tensors: tensors.update(mine=np.zeros(3))),
        "holds mine that nothing asks for",
    ),
    "a prior of another shape": (
        _prior("mean", np.zeros((4, 4, 1), np.float32)),
        "the model cannot be made",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A model in a folder."""
    return make_model().save(tmp_path_factory.mktemp("good"))


@pytest.mark.parametrize("name", CASES)
def test_hostile_and_damaged_folders(name, good, tmp_path, as_a_user):
    spoil, message = CASES[name]
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / "model.json").read_text())
    if spoil(tmp_path, about) != "keep":
        (tmp_path / "model.json").write_text(json.dumps(about))
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        models.load(tmp_path)
    # The error says which file or folder it is, and something to do or to expect.
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "sprung").exists()


def test_a_good_folder_stays_good(good, tmp_path):
    """The table changes what matters: an unchanged copy of the JSON loads."""
    shutil.copytree(good, tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(about))
    models.load(tmp_path)


def test_names_that_are_no_models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("no_such_model", "no_such_model does not exist.*fashion_mnist_blur"),
        ("../fashion_mnist_blur", "does not exist"),
        ("file", "file is not a folder"),
        ("empty", "empty holds no model .model.json is missing"),
        ("", "holds no model"),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            models.load(name)
    assert not jax.config.read("jax_enable_x64")
