"""Numbers, arrays, keys and dtypes in JSON, and what is read of a damaged file."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._arrays import check_dtype, make_key, to_jax


def write_float(value: float, path: str) -> Any:
    if math.isnan(value):
        raise ValueError(f"{path} is not a number (NaN), so it cannot be written.")
    return float(value) if math.isfinite(value) else {"float": str(float(value))}


def nested(numbers: Any, path: str) -> Any:
    """Numbers in nested lists, with those that JSON lacks as text."""
    if isinstance(numbers, list):
        return [nested(number, path) for number in numbers]
    written = write_float(numbers, path)
    return written["float"] if isinstance(written, dict) else written


def damaged(path: str, what: str) -> ValueError:
    return ValueError(
        f"{path} is {what}, which describes nothing. The file is damaged, or of a "
        "newer version of softsde."
    )


def read_dtype(name: Any, path: str) -> np.dtype:
    if not isinstance(name, str):
        raise damaged(path, "no name of a dtype")
    try:
        return check_dtype(path, jnp.dtype(name))
    except TypeError as error:
        raise damaged(path, f"the dtype {name!r}") from error


def _read_shape(content: Any, path: str) -> tuple[int, ...]:
    if not isinstance(content, list) or not all(type(n) is int for n in content):
        raise damaged(f"{path}.shape", "no list of numbers")
    if any(n < 0 for n in content):
        raise damaged(f"{path}.shape", f"{content}")
    return tuple(content)


def _flat(content: Any, depth: int, path: str) -> list[Any]:
    """The numbers in lists nested `depth` deep."""
    numbers = [content]
    for _ in range(depth):
        if not all(isinstance(part, list) for part in numbers):
            raise damaged(path, "an array with the wrong number of axes")
        numbers = [number for part in numbers for number in part]
    return numbers


def _read_numbers(
    content: Any, dtype: np.dtype, shape: tuple[int, ...], path: str
) -> np.ndarray:
    # Counted before memory is taken: a file may declare a shape of any size.
    numbers = _flat(content, len(shape), path)
    if len(numbers) != math.prod(shape):
        raise ValueError(
            f"{path} has {len(numbers)} numbers for the shape {list(shape)}, which "
            f"has {math.prod(shape)}. The file is damaged."
        )
    is_float = jnp.issubdtype(dtype, jnp.floating)
    if is_float:
        numbers = [float(n) if n in ("inf", "-inf") else n for n in numbers]
    kinds = (bool,) if dtype == np.bool_ else (float, int) if is_float else (int,)
    for number in numbers:
        if type(number) not in kinds or number != number:
            raise damaged(path, f"an array of {dtype.name} that holds {number!r}")
    try:
        # By way of 64 bits, from which every narrower float is exact.
        wide = np.asarray(numbers, np.float64 if is_float else dtype)
    except OverflowError as error:
        raise damaged(path, f"an array of {dtype.name} ({error})") from error
    return wide.astype(dtype).reshape(shape)


def read_array(content: dict[str, Any], path: str) -> Any:
    shape = _read_shape(content["shape"], path)
    dtype = read_dtype(content["dtype"], path)
    array = _read_numbers(content["array"], dtype, shape, path)
    if "numpy" in content:
        return array if shape else array[()]
    made = to_jax(path, array)
    if "weak" not in content or shape:
        return made
    weak = jnp.asarray(array.item())
    return weak if weak.dtype == made.dtype else made


def read_key(content: dict[str, Any], path: str) -> jax.Array:
    shape = _read_shape(content["shape"], path)
    flat = _flat(content["key"], len(shape) + 1, path)
    data = _read_numbers(flat, np.dtype(np.uint32), (len(flat),), path)
    count = math.prod(shape)
    if count == 0 or len(flat) % count:
        raise damaged(path, f"a key of {len(flat)} numbers for the shape {shape}")
    return make_key(path, data.reshape(*shape, -1), content["impl"])
