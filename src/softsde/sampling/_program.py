"""Which compiled program draws a batch."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.core import Tracer
from jaxtyping import PyTree

from .._opaque import has_opaque
from .._types import Condition, Key, Sample, ScalarLike
from ..denoisers import AbstractDenoiser
from ..processes import Process

#: The last program whose weights are constants: the arrays that it holds, the rest of
#: the denoiser, and the program. Arrays of JAX never change, so the same arrays are the
#: same weights.
_last: list[tuple[list[Any], Any, Callable[..., Any]]] = []


def choose_program(
    draw: Callable[..., Any], denoiser: AbstractDenoiser, others: PyTree, *, many: bool
) -> Callable[..., Any]:
    """`draw(denoiser, ...)`, compiled.

    - A denoiser with a plain function in it may read what changes. Its program is
        compiled anew for each call of `sample`, so that present weights always count.
    - Where one denoiser draws many batches on a CPU, its weights are constants of the
        program: that is 1.2 times faster there.
    - Otherwise the weights are arguments, and one program serves all their values.
    """
    if has_opaque((denoiser, others)):
        return eqx.filter_jit(functools.partial(draw))
    leaves, rest = jax.tree.flatten(denoiser)
    constant = all(isinstance(x, jax.Array) or not eqx.is_array(x) for x in leaves)
    traced = any(isinstance(x, Tracer) for x in leaves)
    if many and constant and not traced and jax.default_backend() == "cpu":
        return _with_constants(draw, denoiser, leaves, rest)
    return _with_arguments(draw)


_compiled: dict[Callable[..., Any], Callable[..., Any]] = {}


def _with_arguments(draw: Callable[..., Any]) -> Callable[..., Any]:
    return _compiled.setdefault(draw, eqx.filter_jit(draw))


def _with_constants(draw, denoiser, leaves, rest) -> Callable[..., Any]:
    for held, held_rest, program in _last:
        same = len(held) == len(leaves) and held_rest == rest
        if same and all(a is b for a, b in zip(held, leaves, strict=True)):
            return program
    constant = eqx.filter_jit(lambda *args: draw(denoiser, *args))
    program = lambda given, *args: constant(*args)
    _last[:] = [(leaves, rest, program)]
    return program


class TracedOnce(AbstractDenoiser):
    """A denoiser that is traced once, however often a solver and diffrax call it."""

    denoiser: AbstractDenoiser
    call: Callable[..., Sample] = eqx.field(static=True)

    def __init__(self, denoiser: AbstractDenoiser):
        self.denoiser = denoiser
        # A function of this object alone: what it traced is forgotten with it.
        self.call = eqx.filter_jit(lambda inner, t, x, told: inner(t, x, told))

    @property
    def process(self) -> Process:
        """The process of the denoiser."""
        return self.denoiser.process

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        del key
        return self.call(self.denoiser, t, x, condition)
