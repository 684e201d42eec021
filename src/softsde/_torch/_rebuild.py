"""The names that a file may use, and what each of them makes here.

Nothing is imported by these names. Each stands for a function of this file that makes
an array, a plain value or a container.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._inert import Inert
from ._limits import Limits, short
from ._machine import Slot, check_key

# torch's names of what a number is.
_DTYPES = {
    "float64": "float64",
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float8_e4m3fn": "float8_e4m3fn",
    "float8_e5m2": "float8_e5m2",
    "complex64": "complex64",
    "complex128": "complex128",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint64": "uint64",
    "uint32": "uint32",
    "uint16": "uint16",
    "uint8": "uint8",
    "bool": "bool",
}
_STORAGES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.ComplexFloatStorage": "complex64",
    "torch.ComplexDoubleStorage": "complex128",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
    # Bytes, whose meaning the tensor tells.
    "torch.UntypedStorage": "uint8",
    "torch.storage.UntypedStorage": "uint8",
}
_TENSOR_DTYPES = {f"torch.{name}": dtype for name, dtype in _DTYPES.items()}
# NumPy's kinds of numbers: truth values, integers, floats and complex ones.
_KINDS = "biufc"
_MOST_AXES = 32


class Storage:
    """A row of numbers in the file, of which tensors are views.

    `numbers` is `None` while it is not known where in the file they are.
    """

    def __init__(self, dtype: np.dtype, size: int, numbers: np.ndarray | None):
        self.dtype, self.size, self.numbers = dtype, size, numbers
        self._is_truth: bool | None = None

    def is_truth(self) -> bool:
        """Tells whether all bytes are 0 or 1."""
        if self._is_truth is None:
            numbers = self.numbers
            self._is_truth = numbers is None or _is_truth(numbers)
        return self._is_truth


def storage_dtype(kind: Any) -> np.dtype:
    """The dtype of a kind of storage, by its name."""
    name = kind.name if isinstance(kind, Inert) else short(kind)
    if name not in _STORAGES:
        raise ValueError(f"a tensor has a storage of the kind `{name}`, not known.")
    return jnp.dtype(_STORAGES[name])


class Names:
    """Looks up names, and calls what they stand for.

    **Arguments:**

    - `inert`: whether other names become records; otherwise they are refused.
    - `limits`: what reading may take.
    - `nested`: reads a file within this one: a storage as bytes.
    """

    def __init__(
        self, inert: bool, limits: Limits, nested: Callable[[bytes], Any] | None
    ):
        self._inert, self._limits, self._nested = inert, limits, nested
        self._calls: Mapping[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor": _tensor,
            "torch._utils._rebuild_tensor_v2": _tensor_2,
            "torch._utils._rebuild_tensor_v3": _tensor_3,
            "torch._utils._rebuild_parameter": _parameter,
            "torch._utils._rebuild_parameter_with_state": _parameter,
            "torch._tensor._rebuild_from_type_v2": self._from_type,
            "torch.storage._load_from_bytes": self._from_bytes,
            "torch.Size": lambda sizes=(): _sizes(sizes),
            "collections.OrderedDict": self._dictionary,
            "dnnlib.util.EasyDict": self._dictionary,
            "numpy.core.multiarray._reconstruct": self._array,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy.core.numeric._frombuffer": self._from_buffer,
            "numpy.dtype": _dtype,
            "_codecs.encode": self._encode,
            "builtins.set": lambda values=(): set(self._members(values)),
            "builtins.frozenset": lambda values=(): frozenset(self._members(values)),
            "builtins.complex": _complex,
            "builtins.bytes": lambda: b"",
            "builtins.bytearray": self._bytearray,
        }
        # These are never called: they say what something is.
        self._kinds = {
            *_STORAGES,
            *_TENSOR_DTYPES,
            "numpy.ndarray",
            "torch.Tensor",
            "torch.nn.parameter.Parameter",
        }

    def find(self, name: str) -> Inert:
        """The name, if it is admitted.

        **Raises:** `ValueError` for one that is not.
        """
        name = _modern(name)
        if self._inert or name in self._calls or name in self._kinds:
            return Inert(name)
        raise ValueError(
            f"it names `{name}`, which is neither a tensor nor a plain container, so "
            "the file is refused. Nothing of it was run. If you trust where it comes "
            "from, `inert=True` reads such things as records, still without running "
            "them."
        )

    def call(self, kind: Inert, arguments: tuple[Any, ...]) -> Any:
        """Calls the function that stands for a name."""
        if kind.name not in self._calls:
            if self._inert:
                return Inert(kind.name, arguments)
            raise ValueError(f"it calls `{kind.name}`, which is a kind of data.")
        try:
            return self._calls[kind.name](*arguments)
        except (TypeError, OverflowError, MemoryError) as error:
            raise ValueError(
                f"`{kind.name}` has arguments that do not fit ({error}). The file is "
                "damaged."
            ) from error

    def _from_bytes(self, content: Any) -> Any:
        if not isinstance(content, bytes) or self._nested is None:
            raise ValueError("it nests files more than once. It is damaged or hostile.")
        self._limits.copy(len(content))
        return self._nested(content)

    def _from_type(self, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
        # A tensor with attributes, which are dropped.
        del kind, state
        known = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
        if not isinstance(function, Inert) or function.name not in known:
            raise ValueError("a tensor is made by a function that is not known.")
        return self._calls[function.name](*arguments)

    def _dictionary(self, entries: Any = ()) -> dict[Any, Any]:
        if isinstance(entries, dict):
            entries = list(entries.items())
        self._limits.copy(64 * len(entries))
        return {check_key(key): value for key, value in entries}

    def _members(self, values: Any) -> list[Any]:
        if not isinstance(values, list | tuple | set | frozenset):
            raise ValueError(f"it makes a set of a {type(values).__name__}.")
        self._limits.copy(64 * len(values))
        return [check_key(value) for value in values]

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        # How Python 3 writes bytes for readers of Python 2.
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError(f"it holds bytes in the encoding {short(encoding)}.")
        self._limits.copy(len(text))
        return text.encode("latin-1")

    def _bytearray(self, *arguments: Any) -> bytes:
        if not arguments:
            return b""
        if isinstance(arguments[0], bytes):
            return arguments[0]
        return self._encode(*arguments)

    def _scalar(self, dtype: Any, content: Any = b"") -> Any:
        return self._from_raw(dtype, (), content, "C")[()]

    def _array(self, kind: Any, shape: Any = (0,), code: Any = b"b") -> Slot:
        del shape, code
        if not isinstance(kind, Inert) or kind.name != "numpy.ndarray":
            raise ValueError("it holds a NumPy array of a kind that is not known.")

        def finish(state: Any) -> np.ndarray:
            if not isinstance(state, tuple) or len(state) not in (4, 5):
                raise ValueError("it holds a NumPy array without its numbers.")
            shape, dtype, columns_first, content = state[-4:]
            return self._from_raw(dtype, shape, content, "F" if columns_first else "C")

        return Slot("numpy.ndarray", finish)

    def _from_buffer(
        self, content: Any, dtype: Any, shape: Any, order: Any
    ) -> np.ndarray:
        return self._from_raw(dtype, shape, content, order)

    def _from_raw(self, dtype: Any, shape: Any, content: Any, order: Any) -> np.ndarray:
        dtype, shape = _plain_dtype(dtype), _sizes(shape)
        if order not in ("C", "F"):
            raise ValueError(f"a NumPy array is in the order {short(order)}.")
        if isinstance(content, str):  # Python 2 has no other bytes.
            content = self._encode(content)
        expected = math.prod(shape) * dtype.itemsize
        if not isinstance(content, bytes) or len(content) != expected:
            raise ValueError(
                f"a NumPy array of shape {shape} and {dtype} takes {expected:,} bytes, "
                "but others are there. The file is damaged."
            )
        self._limits.copy(len(content))
        array = np.frombuffer(content, dtype)
        if dtype.kind == "b" and not _is_truth(array):
            raise ValueError("an array of truth values holds others than 0 and 1.")
        array = array.reshape(shape, order=order)
        return _frozen(array)


def _modern(name: str) -> str:
    """The name of today: Python 2 and old versions of NumPy had others."""
    for old, new in (
        ("__builtin__.", "builtins."),
        ("numpy._core.", "numpy.core."),
        ("torch.storage._UntypedStorage", "torch.storage.UntypedStorage"),
    ):
        if name.startswith(old):
            return new + name[len(old) :]
    return name


# Tensors.


def _tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Any:
    if not isinstance(storage, Storage):
        raise ValueError(f"a tensor is a view of a {type(storage).__name__}.")
    return _view(storage, storage.dtype, offset, size, stride)


def _tensor_2(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
) -> Any:
    del requires_grad, hooks
    _check_plain(metadata)
    return _tensor(storage, offset, size, stride)


def _tensor_3(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Any:
    del requires_grad, hooks
    _check_plain(metadata)
    name = dtype.name if isinstance(dtype, Inert) else short(dtype)
    if name not in _TENSOR_DTYPES or not isinstance(storage, Storage):
        raise ValueError(f"a tensor has the dtype `{name}`, which is not known.")
    return _view(storage, jnp.dtype(_TENSOR_DTYPES[name]), offset, size, stride)


def _check_plain(metadata: Any) -> None:
    """Refuses a tensor whose numbers are yet to be conjugated or negated."""
    if metadata and not (
        isinstance(metadata, dict) and not any(v is True for v in metadata.values())
    ):
        raise ValueError(
            "a tensor is a view that conjugates or negates its storage. Save the "
            "numbers themselves: `tensor.resolve_conj().resolve_neg()`."
        )


def _parameter(data: Any, *others: Any) -> Any:
    # Whether it is trained, its hooks and its state are of no use here.
    del others
    if data is not None and not isinstance(data, np.ndarray):
        raise ValueError(f"a parameter is a {type(data).__name__}, not a tensor.")
    return data


def _view(
    storage: Storage, dtype: np.dtype, offset: Any, size: Any, stride: Any
) -> np.ndarray | None:
    """A tensor as a view of its storage, if all of it lies within."""
    size, stride = _sizes(size), _sizes(stride)
    if len(size) != len(stride) or type(offset) is not int or offset < 0:
        raise ValueError(
            f"a tensor has the size {size}, the stride {stride} and the offset "
            f"{short(offset)}, which do not fit. The file is damaged."
        )
    available = storage.size * storage.dtype.itemsize // dtype.itemsize
    count = math.prod(size)
    reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and offset + reach >= available:
        raise ValueError(
            f"a tensor of size {size}, stride {stride} and offset {offset} reaches "
            f"beyond its storage of {available:,} numbers. The file is damaged."
        )
    if count > available:
        raise ValueError(
            f"a tensor of size {size} repeats the {available:,} numbers of its "
            "storage, so a small file would ask for much memory. Save a copy instead: "
            "`tensor.contiguous()`."
        )
    if storage.numbers is None:
        return None
    if not count:
        return _frozen(np.zeros(size, dtype))
    if dtype.kind == "b" and not storage.is_truth():
        raise ValueError("a tensor of truth values holds others than 0 and 1.")
    # The storage is read-only, and so is the view.
    return np.ndarray(
        size,
        dtype,
        buffer=storage.numbers.view(np.uint8),
        offset=offset * dtype.itemsize,
        strides=[step * dtype.itemsize for step in stride],
    )


def _sizes(values: Any) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or len(values) > _MOST_AXES:
        raise ValueError(
            f"the size of a tensor is {short(values)}; expected at most {_MOST_AXES} "
            "numbers."
        )
    if any(type(n) is not int or not 0 <= n < 2**48 for n in values):
        listed = ", ".join(map(short, values))
        raise ValueError(f"the sizes ({listed}) are not all whole numbers >= 0.")
    return tuple(values)


# Arrays of NumPy.


class _DType:
    """A dtype on its way: its byte order comes as its state."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


def _dtype(name: Any, *others: Any) -> Slot:
    del others
    if not isinstance(name, str) or len(name) > 16:
        raise ValueError(f"it holds a NumPy dtype named {short(name)}.")
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise ValueError(f"it holds a NumPy dtype named {name!r}.") from error
    if dtype.kind not in _KINDS:
        raise ValueError(
            f"it holds a NumPy array of {name!r}; expected numbers. An array of "
            "objects could hold anything, so it is refused."
        )

    def finish(state: Any) -> _DType:
        for order in ("<", ">", "|", "="):
            if isinstance(state, tuple) and len(state) > 1 and state[1] == order:
                return _DType(dtype.newbyteorder(order))
        raise ValueError("it holds a NumPy dtype without a byte order.")

    return Slot("numpy.dtype", finish)


def _plain_dtype(dtype: Any) -> np.dtype:
    if isinstance(dtype, Slot):
        dtype = dtype.value
    if not isinstance(dtype, _DType):
        raise ValueError(f"a NumPy array has a {type(dtype).__name__} for its dtype.")
    return dtype.dtype


def _is_truth(array: np.ndarray) -> bool:
    return not array.size or bool(array.view(np.uint8).max() <= 1)


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _complex(real: Any, imaginary: Any) -> complex:
    if not (isinstance(real, float) and isinstance(imaginary, float)):
        raise ValueError("it holds a complex number whose parts are no numbers.")
    return complex(real, imaginary)
