"""Arrays on their way to a file and back, equal to the last bit."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.core import Tracer

# What safetensors calls them, and what NumPy does.
_DTYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
_IMPLEMENTATIONS = ("threefry2x32", "rbg", "unsafe_rbg")


def is_array(value: Any) -> bool:
    """Tells whether `value` is an array of JAX or NumPy."""
    return isinstance(value, jax.Array | np.ndarray | np.generic)


def is_key(value: Any) -> bool:
    """Tells whether `value` is an array of typed keys, or stands for one."""
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key)


def check_dtype(path: str, dtype: np.dtype) -> np.dtype:
    """Refuses a dtype that files do not hold."""
    if dtype.name not in _DTYPES.values():
        raise ValueError(
            f"{path} is an array of {dtype.name}, which cannot be written. Use one of "
            f"{', '.join(_DTYPES.values())}."
        )
    return dtype


def to_numpy(path: str, value: Any) -> np.ndarray:
    """The array in the memory of this host.

    **Raises:** `ValueError` for a traced array, one that is spread over several hosts,
    or one of a dtype that files do not hold.
    """
    if isinstance(value, Tracer):
        raise ValueError(
            f"{path} is traced, so it has no numbers to write. Save outside of "
            "`jax.jit` and other transformations."
        )
    if isinstance(value, jax.Array):
        if not (value.is_fully_addressable or value.is_fully_replicated):
            raise ValueError(
                f"{path} is spread over several hosts. Gather it first, with "
                "`jax.experimental.multihost_utils.process_allgather`."
            )
    array = np.asarray(value)
    check_dtype(path, array.dtype)
    return array


def to_jax(path: str, array: np.ndarray) -> jax.Array:
    """The array on the device.

    **Raises:** `ValueError` where JAX would silently drop half of each number.
    """
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise ValueError(
            f"{path} is {array.dtype.name}, which JAX rounds to 32 bits unless told "
            "otherwise. Load it with `with jax.enable_x64(True): ...`, or call "
            '`jax.config.update("jax_enable_x64", True)` when your program starts.'
        )
    # A copy: the array may be a view of the bytes of the file.
    return jnp.array(array)


def key_parts(path: str, key: jax.Array) -> tuple[np.ndarray, str]:
    """The numbers of typed keys, and the name of their implementation."""
    implementation = str(jax.random.key_impl(key))
    if implementation not in _IMPLEMENTATIONS:
        raise ValueError(
            f"{path} is a key of the implementation {implementation}, which cannot be "
            f"written. Use one of {', '.join(_IMPLEMENTATIONS)}."
        )
    return to_numpy(path, jax.random.key_data(key)), implementation


def make_key(path: str, data: np.ndarray, implementation: Any) -> jax.Array:
    """Typed keys from what `key_parts` gave.

    **Raises:** `ValueError` for another implementation, or numbers that are no keys.
    """
    if implementation not in _IMPLEMENTATIONS:
        raise ValueError(
            f"{path} is a key of the implementation {implementation!r}; expected one "
            f"of {', '.join(_IMPLEMENTATIONS)}. The file is damaged."
        )
    if data.dtype != np.uint32:
        raise ValueError(
            f"{path} is a key of {data.dtype.name}; expected uint32. The file is "
            "damaged."
        )
    try:
        return jax.random.wrap_key_data(jnp.array(data), impl=implementation)
    except Exception as error:
        raise ValueError(f"{path} is not a key: {error}") from error


def pack(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Named arrays as the content of a safetensors file."""
    # `np.ascontiguousarray` would give a scalar an axis.
    return safetensors.numpy.save(
        {name: np.array(array, order="C") for name, array in tensors.items()}
    )


def unpack(path: str, content: bytes) -> dict[str, np.ndarray]:
    """The arrays that `pack` was given, as views of a copy of the content.

    **Raises:** `ValueError` for content that is not a safetensors file.
    """
    try:
        found = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a safetensors file, or is damaged ({error}). Fetch or save "
            "the model again."
        ) from error
    tensors = {}
    for name, part in found:
        if part["dtype"] not in _DTYPES:
            raise ValueError(
                f"{path} holds {name!r} with the dtype {part['dtype']}; expected one "
                f"of {', '.join(_DTYPES)}."
            )
        dtype = jnp.dtype(_DTYPES[part["dtype"]])
        tensors[name] = np.frombuffer(part["data"], dtype).reshape(part["shape"])
    return tensors


def count(tree: Any) -> int:
    """Counts the floating-point numbers of a tree: those that are trained."""
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return sum(leaf.size for leaf in leaves)
