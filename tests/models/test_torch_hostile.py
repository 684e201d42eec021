"""Files of torch from strangers, and damaged ones: refused, and nothing runs."""

import io
import os
import pickle
import struct
import sys
import warnings
import zipfile

import numpy as np
import pytest
from torch_writer import (
    Call,
    Name,
    Persistent,
    Raw,
    Storage,
    Tensor,
    archive,
    encode,
    header,
    old,
    pickled,
    plain,
    tensor,
    text,
)

import softsde as ss

CANARY = "sprung"
ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)
GOOD = {"w": tensor(ARRAY)}


class Trap:
    """Python's unpickler would call this, and it would leave a file."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _opens():
    return pickle.dumps({"w": Trap(open, CANARY, "w")}, protocol=2)


def _view(size, stride, offset=0, storage=None):
    return Tensor(storage or Storage(np.zeros(4, np.float32)), size, stride, offset)


def _array(shape, name="f4", content=b"", order="<"):
    dtype = Call("numpy.dtype", (name, False, True), (3, order, None, None, None))
    first = (Name("numpy.ndarray"), (0,), b"b")
    state = (1, shape, dtype, False, content)
    return Call("numpy.core.multiarray._reconstruct", first, state)


def _entry(name, content):
    return archive(GOOD, change=lambda entries: entries.update({name: content}))


def _without(name):
    return archive(GOOD, change=lambda entries: entries.pop(name))


def _doubled():
    """A billion lists: ten lists, each holding the one before ten times."""
    made = b"]" + b"q\x00"
    for i in range(1, 10):
        made += b"]" + b"(" + b"h" + bytes([i - 1])
        made += (b"h" + bytes([i - 1])) * 9 + b"e" + b"q" + bytes([i])
    return b"\x80\x02(" + made + b"l."


def _chain():
    """A list of three hundred lists, each of which holds the one before."""
    made = b"]" + b"".join(
        b"r" + struct.pack("<I", i) + b"]j" + struct.pack("<I", i) + b"a"
        for i in range(300)
    )
    return b"\x80\x02(" + made + b"l."


def _copied():
    """One text of a megabyte, made into bytes a thousand times."""
    once = Call("_codecs.encode", (Raw(text("x" * 2**20) + b"q\x01"), "latin1"))
    again = Call("_codecs.encode", (Raw(b"h\x01"), "latin1"))
    return pickled([once] + [again] * 1000)


def _two_entries():
    file = io.BytesIO(archive(GOOD))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(file, "a") as made:
            made.writestr("net/data/0", ARRAY.tobytes())
    return file.getvalue()


def _flipped():
    """One bit of the numbers is not what it was."""
    content = archive(GOOD)
    at = content.index(ARRAY.tobytes()) + 9
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def _other_count():
    content = old(GOOD)
    at = len(content) - ARRAY.nbytes - 8
    return content[:at] + struct.pack("<q", 11) + content[at + 8 :]


CASES = {
    # Code that would run.
    "open": (_opens, r"names `(io|builtins|_io)\.open`"),
    "os.system": (
        lambda: pickle.dumps(Trap(os.system, f"echo > {CANARY}")),
        r"names `(posix|nt)\.system`",
    ),
    "eval": (
        lambda: pickle.dumps(Trap(eval, f"open('{CANARY}', 'w')"), protocol=0),
        r"names `builtins\.eval`",
    ),
    "exec in an archive": (
        lambda: archive([Call("builtins.exec", (f"open('{CANARY}', 'w')",))]),
        r"names `builtins\.exec`",
    ),
    "exec in an old file": (
        lambda: old([Call("builtins.exec", (f"open('{CANARY}', 'w')",))]),
        r"names `builtins\.exec`",
    ),
    "exec in the head of an old file": (
        lambda: header() + pickle.dumps(Trap(exec, f"open('{CANARY}', 'w')")),
        r"names `builtins\.exec`",
    ),
    "exec in place of the keys": (
        lambda: (
            header()
            + pickled([])
            + pickled([Call("builtins.exec", (f"open('{CANARY}', 'w')",))])
        ),
        r"names `builtins\.exec`",
    ),
    "a storage that is a trap": (
        lambda: pickled(
            Call("torch.storage._load_from_bytes", (_opens(),)), protocol=3
        ),
        "a storage within it is no file of torch",
    ),
    "a trap within a storage": (
        lambda: pickled(
            Call(
                "torch.storage._load_from_bytes",
                (old(Call("builtins.eval", (f"open('{CANARY}', 'w')",))),),
            ),
            protocol=3,
        ),
        r"names `builtins\.eval`",
    ),
    "an attribute of a name": (
        lambda: b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93.",
        r"names `builtins\.eval\.__call__`",
    ),
    "the old way to make an object": (
        lambda: b"(S'1'\nibuiltins\neval\n.",
        r"names `builtins\.eval`",
    ),
    "the other old way": (
        lambda: b"(cbuiltins\neval\nS'1'\no.",
        r"names `builtins\.eval`",
    ),
    "a name from the registry of extensions": (
        lambda: b"\x80\x02\x82\x01.",
        "no operat",
    ),
    "getattr": (
        lambda: pickled([Name("builtins.getattr")]),
        "names `builtins.getattr`",
    ),
    "a network": (
        lambda: archive(
            Call("torch.nn.modules.linear.Linear", (), {"_parameters": {}})
        ),
        r"names `torch\.nn\.modules\.linear\.Linear`.*inert=True",
    ),
    "a state for a name": (
        lambda: pickled(Raw(encode(Name("torch.Size")) + encode({"a": 1}) + b"b")),
        "sets the state of a Inert",
    ),
    "a state for an array": (
        lambda: archive([Raw(b"Nq\x05"), Raw(b"h\x05" + encode({"a": 1}) + b"b")]),
        "sets the state of a NoneType",
    ),
    "a call of a text": (lambda: b"\x80\x02X\x01\x00\x00\x00a)R.", "calls a str"),
    # Tensors that are not what they say.
    "beyond its storage": (lambda: archive(_view((5,), (1,))), "reaches beyond its st"),
    "beyond by its offset": (
        lambda: old(_view((2,), (1,), 3)),
        "reaches beyond its st",
    ),
    "a negative offset": (
        lambda: archive(_view((2,), (1,), -1)),
        "offset -1, which do",
    ),
    "a negative stride": (lambda: archive(_view((2,), (-1,), 3)), "not all whole numb"),
    "a negative size": (lambda: archive(_view((-2,), (1,))), "not all whole numbers"),
    "a size beyond counting": (
        lambda: archive(_view((2**62, 8), (1, 1))),
        "not all wh",
    ),
    "sizes without strides": (lambda: archive(_view((2, 2), (1,))), "which do not fit"),
    "repeated": (lambda: archive(_view((1000, 1000), (0, 0))), "repeats the 4 numbers"),
    "a view of a text": (
        lambda: archive(
            Call("torch._utils._rebuild_tensor_v2", ("x", 0, (1,), (1,), False, {}))
        ),
        "is a view of a str",
    ),
    "too few arguments": (
        lambda: archive(Call("torch._utils._rebuild_tensor_v2", ())),
        "has arguments that do not fit",
    ),
    "a storage of another kind": (
        lambda: archive(Persistent(("storage", Name("torch.Size"), "0", "cpu", 4))),
        r"storage of the kind `torch\.Size`",
    ),
    "a storage that lies about its size": (
        lambda: _entry("net/data/0", b"\0" * 44),
        "takes 48 bytes, and has 44",
    ),
    "one storage of two sizes": (
        lambda: archive(
            [
                tensor(ARRAY),
                Persistent(("storage", Name("torch.FloatStorage"), "0", "cpu", 2)),
            ]
        ),
        "two kinds or two sizes",
    ),
    "a conjugated view": (
        lambda: archive(
            Call(
                "torch._utils._rebuild_tensor_v2",
                (Storage(ARRAY[0]), 0, (4,), (1,), False, {}, {"conj": True}),
            )
        ),
        "conjugates or negates",
    ),
    "a bare storage": (lambda: archive([Storage(ARRAY)]), "holds a Storage"),
    "a bare name": (
        lambda: archive([Name("torch.Size")]),
        "holds the name `torch.Size`",
    ),
    "a truth value of 2": (
        lambda: archive(
            Raw(encode(tensor(np.zeros(2, bool)), _two)),
            change=lambda entries: entries.update({"net/data/0": b"\1\2"}),
        ),
        "others than 0 and 1",
    ),
    # Arrays of NumPy.
    "objects": (
        lambda: pickled(_array((1,), "O"), protocol=3),
        "array of 'O'; expected",
    ),
    "too few numbers": (
        lambda: pickled(_array((2**40,)), protocol=3),
        "others are there",
    ),
    "no numbers": (
        lambda: pickled(
            Call(
                "numpy.core.multiarray._reconstruct",
                (Name("numpy.ndarray"), (2**40,), b"b"),
            ),
            protocol=3,
        ),
        "without its numbers",
    ),
    # Memory and time.
    "a list within itself": (lambda: b"\x80\x02]q\x00h\x00a.", "within itself"),
    "a billion lists": (_doubled, "again and again"),
    "a text copied a thousand times": (_copied, "many times its own size"),
    "nested without end": (
        lambda: b"\x80\x02" + b"]" * 3000 + b"a" * 2999 + b".",
        "deeper than 200",
    ),
    "nested without end, step by step": (_chain, "deeper than 200"),
    "a key without end": (
        lambda: b"\x80\x02}N" + b"\x85" * 3000 + b"Ns.",
        "a tuple as the key",
    ),
    "an identifier without end": (
        lambda: b"\x80\x02N" + b"\x85" * 3000 + b"Q.",
        "refers to a tuple",
    ),
    # The limit of two million is lowered for the test.
    "too many operations": (lambda: b"\x80\x02" + b"N0" * 8000 + b"N.", "15,000"),
    "an integer of a megabyte": (
        lambda: b"\x80\x02\x8b" + struct.pack("<i", 2**20) + b"\1" * 2**20 + b".",
        "integer of 1,048,576 bytes",
    ),
    "a text of an exabyte": (
        lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"x.",
        "ends too early",
    ),
    "a compressed archive": (
        lambda: archive(GOOD, compression=zipfile.ZIP_DEFLATED),
        "is compressed",
    ),
    # Files that are something else.
    "empty": (lambda: b"", "it is empty"),
    "a text": (lambda: b"# weights", "no operation of a pickle"),
    "a zip of something else": (
        lambda: _without("net/data.pkl"),
        "without a `data.pkl`",
    ),
    "a program": (lambda: _entry("net/constants.pkl", b""), "TorchScript"),
    "an archive of another order": (
        lambda: _entry("net/byteorder", b"big"),
        "little-end",
    ),
    "an old file of another order": (
        lambda: old(GOOD, first=header(little=False)),
        "little-endian",
    ),
    "an old file of another protocol": (
        lambda: old(GOOD, first=header(1002)),
        "protocol 1002",
    ),
    "a newer protocol": (lambda: b"\x80\x09N.", "protocol 9; known is 5"),
    "a tar archive": (lambda: b"x" * 257 + b"ustar" + b"x" * 200, "a tar archive"),
    # Damaged files.
    "numbers missing": (lambda: _without("net/data/0"), "net/data/0, are missing"),
    "two entries of a name": (_two_entries, "two entries named"),
    "one bit flipped": (_flipped, "damaged or cut short"),
    "another count": (_other_count, "announces 12 numbers .* and 11"),
    "more after the end": (lambda: old(GOOD) + b"x", "1 bytes come after"),
    "more after a pickle": (lambda: plain(GOOD) + b"x", "1 bytes come after"),
    "an empty stack": (lambda: b"\x80\x02.", "takes a value where there is none"),
    "an empty place": (lambda: b"\x80\x02h\x07.", "reads the place 7, which is empty"),
    "values left over": (lambda: b"\x80\x02NN.", "values left over"),
    "a group that was not opened": (lambda: b"\x80\x02t.", "was not opened"),
    "a key without a value": (lambda: b"\x80\x02(Nd.", "a key without a value"),
}


def _two(storage):
    return Persistent(("storage", storage.kind, "0", "cpu", storage.numbers.size))


@pytest.mark.parametrize("inert", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_and_nothing_runs(tmp_path, monkeypatch, case, inert):
    make, message = CASES[case]
    content = make()
    monkeypatch.setattr("softsde._torch._limits._OPERATIONS", 15_000)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "stranger.pth"
    path.write_bytes(content)
    before = set(sys.modules)
    if inert and ("names `" in message or "holds the name" in message):
        # What strict reading refuses by its name is a record here, and no more.
        try:
            ss.models.read_torch(path, inert=True)
        except ValueError as error:
            assert str(path) in str(error)
    else:
        with pytest.raises(ValueError, match=message) as caught:
            ss.models.read_torch(path, inert=inert)
        assert str(path) in str(caught.value)
        assert len(str(caught.value)) < 1000
    assert {p.name for p in tmp_path.iterdir()} == {"stranger.pth"}
    # Python imports its own text encodings when they are first used.
    new = {m for m in set(sys.modules) - before if not m.startswith("encodings.")}
    assert not new


@pytest.mark.parametrize("make", [archive, old, plain])
def test_every_file_that_is_cut_short_is_refused(tmp_path, make):
    content = make({"w": tensor(ARRAY), "n": [1, 2.5, "text"]})
    path = tmp_path / "cut.pth"
    for end in range(0, len(content), 3):
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"cut\.pth"):
            ss.models.read_torch(path)


@pytest.mark.parametrize("make", [archive, old, plain])
def test_damage_is_refused_or_read_as_data(tmp_path, monkeypatch, make):
    """Random bytes are changed: the reader raises its own error, or reads data."""
    content = make({"w": tensor(ARRAY), "n": [1, 2.5, "text"]})
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "damaged.pth"
    random = np.random.default_rng(3)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        for at in random.integers(0, len(content), 2):
            damaged[at] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            ss.models.read_torch(path, inert=True)
        except ValueError as error:
            refused += "damaged.pth" in str(error)
    assert refused > 30
    assert {p.name for p in tmp_path.iterdir()} == {"damaged.pth"}


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        ss.models.read_torch(tmp_path / "none.pth")
