"""Any function of time and sample, as a denoiser."""

import inspect
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from .._fixed import Fixed
from .._opaque import as_module
from .._types import Condition, Key, Sample, ScalarLike
from ..processes import Process
from ._base import AbstractDenoiser

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


class FunctionDenoiser(AbstractDenoiser):
    """A function `fn(t, x)` or `fn(t, x, condition)` as a denoiser of a process.

    A function that is an Equinox module has weights that can be seen: they are trained,
    and a sampler that was compiled once serves all their values. A plain function may
    read anything, so a sampler is compiled anew at each call of [`softsde.sample`][]:
    what the function reads at that moment is what counts.

    !!! example

        ```python
        process = ss.ve(0.01, 5.0)
        denoiser = ss.FunctionDenoiser(
            lambda t, x: x / (1 + process.sigma(t) ** 2), process
        )
        ```
    """

    fn: Callable[..., Sample]
    _process: Process | Fixed[Process]
    _takes_condition: bool = eqx.field(static=True)

    def __init__(
        self,
        fn: Callable[..., Sample],
        process: Process,
        *,
        train_process: bool = False,
    ):
        """**Arguments:**

        - `fn`: `fn(t, x)` or `fn(t, x, condition)`, which returns an array shaped like
            `x`. A third argument with a default other than `None` is not taken for a
            condition.
        - `process`: that it denoises.
        - `train_process`: whether derivatives and optimisers reach the numbers of the
            process.

        **Raises:** `TypeError` for something that cannot be called, or a process that
        is none.
        """
        if not callable(fn):
            raise TypeError(
                f"`FunctionDenoiser` got {type(fn).__name__} for `fn`; expected a "
                "function `fn(t, x)` or `fn(t, x, condition)`."
            )
        check_process("FunctionDenoiser", process)
        self.fn = as_module(fn)
        self._process = process if train_process else Fixed(process)
        self._takes_condition = _takes_condition(fn)

    @property
    def process(self) -> Process:
        """The process that it denoises."""
        held = self._process
        return held.get() if isinstance(held, Fixed) else held

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        del key
        t = jnp.asarray(t, x.dtype)
        if self._takes_condition:
            return self.fn(t, x, condition)
        if condition is not None:
            raise ValueError(
                "`FunctionDenoiser` got a condition, but its function takes `(t, x)` "
                "only. Give it a third argument, `fn(t, x, condition)`."
            )
        return self.fn(t, x)


def check_process(owner: str, process: object) -> None:
    if not isinstance(process, Process):
        raise TypeError(
            f"`{owner}` got {type(process).__name__} for `process`; expected a "
            "`softsde.Process`, such as `softsde.ve()`."
        )


def _takes_condition(fn: Callable[..., Sample]) -> bool:
    """Tells whether the third positional argument is there for a condition."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except ValueError:  # a builtin without a signature
        return False
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if len(positional) < 3:
        return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    # A third argument with a value of its own is a setting, as in
    # `lambda t, x, weights=weights: ...`: `None` in its place would be a mistake.
    return positional[2].default in (None, inspect.Parameter.empty)
