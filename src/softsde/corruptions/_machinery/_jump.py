r"""Finds a jump of $C_t$ that nobody declared.

Over a step of length $h$ a smooth operator changes a sample by an amount of order $h$.
At a jump the change stays the same however short the step is. So the step with the
largest change is made shorter and shorter, and the last change is compared with the
first one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from ..._checks import concrete
from ..._types import Sample, Scalar, ScalarLike

# 64 steps on the grid, and 12 halvings: the last step is 4096 times shorter than the
# first, which float32 still resolves.
_STEPS = 64
_HALVINGS = 12
_LOOKS = _STEPS + 1 + _HALVINGS

# Changes below this many units of rounding, relative to the sample, are no changes.
_ROUNDING = 1000


def largest_jump(
    operator: Callable[[Scalar], Sample], start: ScalarLike, end: ScalarLike
) -> tuple[Scalar, Scalar]:
    r"""The share of the largest change that is left when its step shrinks.

    `operator` is evaluated at 65 evenly spaced times. The step with the largest change
    is halved 12 times, and each time the half with the larger change is kept. The size
    of a change is that of the entry that changes most: the jump of one pixel then
    counts the same in an image of any size.

    The share is about $2^{-12}$ for an operator with a derivative, $2^{-6}$ for one
    that starts like a square root, and between 0.1 and 1 for a jump, also for a
    staircase of many small jumps such as a mask that grows pixel by pixel.

    **Arguments:**

    - `operator`: a function of a scalar (a time or a level) that returns $C x$ for one
        fixed random sample $x$. It is traced; `largest_jump` may itself be traced.
    - `start`, `end`: the range to search.

    **Returns:** the pair `(share, time)` of scalars: the last change over the first,
    and the middle of the last step. The share is 0 where the first change is of the
    size of rounding.

    !!! example

        ```python
        mask = ss.corruptions.CenterMask(shape)
        share, level = ss.corruptions.largest_jump(
            lambda theta: mask.apply(theta, x), 0.0, 1.0
        )
        assert share > 0.1
        ```
    """
    compiled = jax.jit(lambda time: operator(time))
    first = compiled(jnp.asarray(start, jnp.result_type(float)))
    if concrete(first) is not None:
        return search_jump(compiled, start, end)
    # Inside `jit`, or another transformation.
    search = _begin(start, end, first)
    look = lambda _, search: _update(search, operator(search.time))
    return _result(lax.fori_loop(0, _LOOKS, look, search))


def search_jump(
    compiled: Callable[[Scalar], Sample], start: ScalarLike, end: ScalarLike
) -> tuple[Scalar, Scalar]:
    """`largest_jump` of a compiled operator, outside any transformation.

    The loop is one in Python: to compile it would take much longer than to run it.
    """
    first = compiled(jnp.asarray(start, jnp.result_type(float)))
    search = _begin(start, end, first)
    for _ in range(_LOOKS):
        search = _update(search, compiled(search.time))
    return _result(search)


class _Search(NamedTuple):
    """Holds what is known after some looks: three samples, never all 65."""

    index: Int[Array, ""]  # of the next look
    time: Scalar  # of the next look
    start: Scalar  # of the grid
    before: Sample  # the sample of the last look
    low: Scalar  # where the step with the largest change begins
    width: Scalar  # its length
    at_low: Sample  # the samples at its two ends
    at_high: Sample
    largest: Scalar  # its change
    first: Scalar  # the largest change on the grid
    size: Scalar  # of the largest sample


@jax.jit
def _begin(start: ScalarLike, end: ScalarLike, first: Sample) -> _Search:
    dtype = jnp.result_type(float)
    start, end = jnp.asarray(start, dtype), jnp.asarray(end, dtype)
    width, zeros = (end - start) / _STEPS, jnp.zeros_like(first)
    nothing = jnp.zeros((), first.dtype)
    return _Search(
        index=jnp.zeros((), jnp.int32),
        time=start,
        start=start,
        before=zeros,
        low=start,
        width=width,
        at_low=zeros,
        at_high=zeros,
        largest=nothing - 1,
        first=nothing,
        size=nothing,
    )


@jax.jit
def _update(search: _Search, sample: Sample) -> _Search:
    """The search after `sample` was seen at `search.time`."""
    time, low, width = search.time, search.low, search.width
    on_grid = search.index <= _STEPS

    # On the grid, the step that ends here is kept if its change is the largest so far.
    change = jnp.where(search.index > 0, _change(search.before, sample), -1)
    larger = change > search.largest
    grid = search._replace(
        time=search.start + (search.index + 1).astype(width.dtype) * width,
        low=jnp.where(larger, time - width, low),
        at_low=jnp.where(larger, search.before, search.at_low),
        at_high=jnp.where(larger, sample, search.at_high),
        largest=jnp.where(larger, change, search.largest),
    )
    # After the grid, the look is at the middle of the step that was kept, and the half
    # with the larger change is kept.
    left, right = _change(search.at_low, sample), _change(sample, search.at_high)
    halved = search._replace(
        low=jnp.where(left >= right, low, time),
        width=0.5 * width,
        at_low=jnp.where(left >= right, search.at_low, sample),
        at_high=jnp.where(left >= right, sample, search.at_high),
        largest=jnp.maximum(left, right),
    )
    after = jax.tree.map(lambda g, h: jnp.where(on_grid, g, h), grid, halved)
    last_of_grid = search.index >= _STEPS
    return after._replace(
        index=search.index + 1,
        time=jnp.where(last_of_grid, after.low + 0.5 * after.width, after.time),
        before=sample,
        first=jnp.where(on_grid, after.largest, search.first),
        size=jnp.maximum(search.size, jnp.max(jnp.abs(sample))),
    )


@jax.jit
def _result(search: _Search) -> tuple[Scalar, Scalar]:
    rounding = _ROUNDING * jnp.finfo(search.size.dtype).eps * search.size
    moves = search.first > rounding
    share = jnp.where(moves, search.largest / jnp.where(moves, search.first, 1), 0)
    return share, search.low + 0.5 * search.width


def _change(before: Sample, after: Sample) -> Scalar:
    return jnp.max(jnp.abs(after - before))
