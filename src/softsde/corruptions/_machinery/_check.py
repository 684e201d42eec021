r"""`check`: are the requirements on a corruption met, and are its promises true?

Random samples prove nothing, but they refute: an operator that is not linear, or not
symmetric, shows it on almost every sample.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from ..._checks import check_shape, concrete
from ._base import AbstractCorruption
from ._report import FINDINGS, Finding, Report, failure
from ._structure import Structure
from ._trial import Trial


def check(
    corruption: AbstractCorruption,
    shape: tuple[int, ...],
    *,
    levels: Sequence[float] | None = None,
    throw: bool = True,
) -> Report:
    r"""Tries a corruption on random samples: is it linear, are its promises true?

    Use it in a test of a corruption of your own. It takes some tenths of a second, most
    of them to compile `apply`.

    **Arguments:**

    - `corruption`: any corruption. Its arrays must be known: call `check` outside
        `jax.jit`.
    - `shape`: of one sample.
    - `levels`: at which to try it; jumps are looked for between the least and the
        greatest. Where the structure names no `identity_level`, the first of them is
        where $C = I$ is expected, to within 5 %. By default two levels inside
        `structure.level_range`, and $C = I$ at the level 0 unless the structure says
        otherwise.
    - `throw`: raise an error if something fails; `False` returns the report only.

    **Returns:** a [`softsde.corruptions.Report`][].

    **Raises:** `ValueError` that names the first property that failed, or for a level
    outside the range.

    !!! example

        ```python
        report = ss.corruptions.check(ss.corruptions.GaussianBlur(shape), shape)
        print(report)
        ```
    """
    if not isinstance(corruption, AbstractCorruption):
        raise TypeError(
            f"`check` got {type(corruption).__name__}; expected a corruption. Wrap a "
            "function in `FunctionCorruption(fn, shape)`."
        )
    structure = corruption.structure
    if structure.shape is not None:
        check_shape(type(corruption).__name__, structure.shape, tuple(shape))
    levels, identity_level, search = _choose_levels(structure, levels)
    for level in (*levels, identity_level):
        corruption.check_level(level)
    trial = Trial(corruption, tuple(shape))
    if not trial.is_known(levels[0]):
        raise ValueError(
            f"`check` got a `{type(corruption).__name__}` with traced arrays; call it "
            "outside `jax.jit`, `jax.vmap` and `jax.grad`."
        )
    findings = dict.fromkeys(FINDINGS, Finding(None, None, None, "not measured"))
    findings |= {
        "shape": trial.shape(levels),
        "dtype": trial.dtype(levels),
    }
    if findings["shape"].passed:
        findings |= {
            "linear": trial.linear(levels),
            "identity": trial.identity(identity_level),
        }
    if findings["linear"].passed:
        # What is not linear has no adjoint and no eigenvalues.
        findings |= {
            "symmetric": trial.symmetric(levels),
            "adjoint": trial.adjoint(levels),
            "positive": trial.positive(levels),
            "commuting": trial.commuting(levels),
            "basis": trial.basis(levels),
            "differentiable": trial.differentiable(levels, search),
        }
    report = Report(type(corruption).__name__, levels, identity_level, **findings)
    if throw:
        report.raise_if_failed()
    return report


def check_linear(
    corruption: AbstractCorruption, shape: tuple[int, ...], *levels: Any
) -> None:
    """Refuses a corruption that is not linear, or changes the shape or the dtype.

    The light part of [`softsde.corruptions.check`][]: three applications for each
    level. [`softsde.Process`][] does this when it is made. Nothing is judged where a
    level or the corruption is traced, or inside `jax.jit`.

    **Arguments:**

    - `corruption`: any corruption.
    - `shape`: of one sample.
    - `levels`: scalars inside the range of levels.

    **Raises:** `ValueError`, naming the corruption, with the size of the failure.
    """
    check_only(corruption, shape, levels, ("shape", "dtype", "linear"))


def check_only(
    corruption: AbstractCorruption,
    shape: tuple[int, ...],
    levels: Sequence[Any],
    names: Sequence[str],
) -> None:
    """Raises the error of the first of the named findings that failed.

    Nothing is judged where a level or the corruption is traced, or inside `jax.jit`.
    """
    inside_jit = concrete(jnp.zeros(())) is None
    known = [float(level) for level in map(concrete, levels) if level is not None]
    if inside_jit or not known:
        return
    trial = Trial(corruption, tuple(shape))
    if not trial.is_known(known[0]):
        return
    for name in names:
        finding = getattr(trial, name)(known)
        if finding.passed is False:
            raise ValueError(failure(type(corruption).__name__, name, finding))


def _choose_levels(
    structure: Structure, levels: Sequence[float] | None
) -> tuple[tuple[float, ...], float, tuple[float, float]]:
    """The levels to try, the level of the identity, and where to look for jumps."""
    low, high = structure.level_range
    identity = structure.identity_level
    if levels is not None:
        if len(levels) == 0:
            raise ValueError("`check` got no `levels`; expected at least one.")
        chosen = tuple(float(level) for level in levels)
        identity = chosen[0] if identity is None else identity
        return chosen, identity, (min(chosen), max(chosen))
    if identity is None:
        # 0, or the level nearest to it.
        identity = 0.0 if low is None else max(0.0, low)
        identity = identity if high is None else min(identity, high)
    if low is not None and high is not None:
        chosen = (low + 0.3 * (high - low), low + 0.8 * (high - low))
        return chosen, identity, (low, high)
    # Away from the identity, in the direction that has no bound.
    sign = -1 if high is not None else 1
    chosen = (identity + 0.6 * sign, identity + 2.1 * sign)
    return chosen, identity, (min(identity, *chosen), max(identity, *chosen))
