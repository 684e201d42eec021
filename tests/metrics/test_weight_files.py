"""PyTorch's files against what PyTorch wrote into them; and hostile ones."""

import io
import os
import pathlib
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from softsde.metrics._networks._files import read_arrays

# Written by torch 2.14, see the values in `expected`.
DATA = pathlib.Path(__file__).parent / "data"


def expected():
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    return {
        "ema.whole": base,
        "ema.transposed": base.T,
        "ema.corner": base[1:3, 2:5],
        "ema.parameter": np.arange(3) / 7,
        "ema.half": np.arange(4, dtype=np.float16) / 8,
        "ema.bfloat": np.array([0, 0.25, 0.5, 0.75]).astype(jnp.bfloat16),
        "ema.count": np.array(12345678901),
        "ema.empty": np.zeros((0, 3), np.float32),
        "ema.flags": np.array([True, False, True]),
        "plain.b": np.ones(2, np.float32),
    }


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_stream.pth"])
def test_files_of_torch(name):
    arrays = read_arrays(DATA / name)
    truth = expected()
    assert list(arrays) == list(truth)
    for key, array in truth.items():
        assert arrays[key].dtype == array.dtype, key
        np.testing.assert_array_equal(arrays[key], array)


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_stream.pth"])
def test_a_file_cut_short_is_refused(name, tmp_path):
    content = (DATA / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=name):
            read_arrays(path)


class _Runs:
    """Unpickled by Python, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def _stream(path, tree):
    """The format from before PyTorch 1.6, with `tree` in the place of the tensors."""
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, tree, [])
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))


def _archive(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)


def test_nothing_in_a_file_is_run(tmp_path):
    made = tmp_path / "made"
    _stream(tmp_path / "old.pth", {"a": _Runs(made)})
    _archive(tmp_path / "new.pth", pickle.dumps({"a": _Runs(made)}, protocol=2))
    # Before everything else in the stream, too.
    (tmp_path / "first.pth").write_bytes(pickle.dumps(_Runs(made), protocol=2))
    for name in ("old.pth", "new.pth", "first.pth"):
        with pytest.raises(ValueError, match=r"names `(posix|nt)\.mkdir`"):
            read_arrays(tmp_path / name)
    assert not made.exists()


def test_a_file_cannot_change_the_reader(tmp_path):
    """BUILD on a name that is on the list: it would set attributes of it."""
    hostile = (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\n}X\x08\x00\x00\x00__dict__K\x01sb."
    )
    _archive(tmp_path / "a.pth", hostile)
    with pytest.raises(ValueError, match="sets the state of a Inert, which is data"):
        read_arrays(tmp_path / "a.pth")
    # And by the state of slots, which sets attributes one by one.
    hostile = (
        b"\x80\x02ctorch._utils\n_rebuild_parameter\nN}X\x05\x00\x00\x00_callNs\x86b."
    )
    _archive(tmp_path / "b.pth", hostile)
    with pytest.raises(ValueError, match="sets the state of a Inert, which is data"):
        read_arrays(tmp_path / "b.pth")
    assert len(read_arrays(DATA / "torch_zip.pth")) == len(expected())


@pytest.mark.parametrize(
    "tree, kind", [([1, 2], "list"), ({"a": 3.0}, "float"), ({"a": "b"}, "str")]
)
def test_anything_but_tensors_is_named(tree, kind, tmp_path):
    _stream(tmp_path / "a.pth", tree)
    with pytest.raises(ValueError, match=f"is a {kind}"):
        read_arrays(tmp_path / "a.pth")


def _tensor(path, shape, strides, *, offset=0, count=4, stored=4):
    """An archive with one tensor, written operation by operation."""
    out = io.BytesIO()
    text = lambda s: b"X" + len(s).to_bytes(4, "little") + s.encode()
    number = lambda n: b"\x8a\x08" + n.to_bytes(8, "little", signed=True)
    numbers = lambda row: b"(" + b"".join(number(n) for n in row) + b"t"
    out.write(b"\x80\x02}" + text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n(")
    out.write(b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0"))
    out.write(text("cpu") + number(count) + b"tQ")
    out.write(number(offset) + numbers(shape) + numbers(strides) + b"\x89}tRs.")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", out.getvalue())
        archive.writestr("archive/data/0", np.arange(stored, dtype="<f4").tobytes())


def test_views_stay_inside_their_storage(tmp_path):
    path = tmp_path / "a.pth"
    _tensor(path, (2, 2), (1, 2))
    np.testing.assert_array_equal(read_arrays(path)["a"], [[0, 2], [1, 3]])
    for options, message in (
        (dict(shape=(2, 2), strides=(1, 3)), "beyond its storage"),
        (dict(shape=(2,), strides=(1,), offset=3), "beyond its storage"),
        (
            dict(shape=(2,), strides=(-1,), offset=3),
            r"\(-1\) are not all whole numbers",
        ),
        (dict(shape=(10**9,), strides=(0,)), "repeats the 4 numbers of its storage"),
        (dict(shape=(4,), strides=(1,), stored=3), "takes 16 bytes, and has 12"),
        (dict(shape=(4,), strides=(1,), count=10**15), f"the size {10**15}"),
    ):
        _tensor(path, **options)
        with pytest.raises(ValueError, match=message):
            read_arrays(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.pth")
