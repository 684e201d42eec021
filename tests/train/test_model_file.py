"""Weights in a file: what is read is what was written, or a clear error."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import Linear, make_model

from softsde import train


class Mixed(eqx.Module):
    linear: Linear
    half: jax.Array
    count: jax.Array
    rate: float
    activation: object


def make_mixed(fill: float = 1.5) -> Mixed:
    half = jnp.full((2, 3), fill, jnp.bfloat16)
    return Mixed(make_model(), half, jnp.array([1, 2]), fill, jnp.tanh)


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "model.eqx"
    train.save_model(path, make_mixed(), metadata={"steps": 3, "config": {"a": [1]}})
    blank = jax.tree.map(lambda x: x * 0 if eqx.is_array(x) else x, make_mixed(0.25))
    for like in (blank, eqx.filter_eval_shape(make_mixed)):
        model = train.load_model(path, like)
        assert eqx.tree_equal(model, make_mixed(), typematch=True)
    assert train.read_metadata(path) == {"steps": 3, "config": {"a": [1]}}
    assert [p.name for p in path.parent.iterdir()] == ["model.eqx"]


def test_another_model(tmp_path):
    path = tmp_path / "model.eqx"
    train.save_model(path, make_model())
    other = Linear(jnp.zeros((5, 3)), jnp.zeros(2, jnp.float16))
    with pytest.raises(ValueError) as error:
        train.load_model(path, other)
    message = str(error.value)
    assert ".weight: float32[5,2] in the file, float32[5,3] in `like`" in message
    assert ".bias: float32[2] in the file, float16[2] in `like`" in message
    with pytest.raises(
        ValueError, match=r"\.half: absent in the file, bfloat16\[2,3\]"
    ):
        train.load_model(path, make_mixed())


def test_truncated_file(tmp_path):
    path = tmp_path / "model.eqx"
    train.save_model(path, make_model())
    content = path.read_bytes()
    for size in range(content.index(b"\n") + 1, len(content), 17):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="is damaged: its header is whole"):
            train.load_model(path, make_model())


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\n", b"{}\n", b"[1]\n"])
def test_another_file(tmp_path, content):
    path = tmp_path / "model.eqx"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"is not a file that `softsde.train.save_model"
    ):
        train.load_model(path, make_model())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.eqx"
    train.save_model(path, make_model())

    def fail(file, model):
        file.write(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(eqx, "tree_serialise_leaves", fail)
    with pytest.raises(OSError, match="disk full"):
        train.save_model(path, make_model())
    monkeypatch.undo()
    assert eqx.tree_equal(train.load_model(path, make_model()), make_model())
    assert [p.name for p in tmp_path.iterdir()] == ["model.eqx"]


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_files_are_not_code(tmp_path):
    """A file from a stranger cannot run anything: pickled arrays are refused."""
    path, sprung = tmp_path / "model.eqx", tmp_path / "sprung"
    train.save_model(path, make_model())
    header = path.read_bytes().split(b"\n")[0]
    with open(path, "wb") as file:
        file.write(header + b"\n")
        np.save(file, np.array([Trap(str(sprung))]), allow_pickle=True)
    with pytest.raises(ValueError, match="is damaged"):
        train.load_model(path, make_model())
    assert not sprung.exists()
