"""The terms by name: the reverse SDE family and the probability flow."""

from typing import Literal, overload

import diffrax

from .._types import DenoiserFn, Key
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._clock import FlowClock, NoiseClock, make_clock
from ._control import ReverseControlTerm
from ._derivative import derivative_term


def _check_form(owner: str, form: str) -> None:
    if form == "normalised":
        raise ValueError(
            f"`{owner}` got `form='normalised'`: the normalised form is how a solver "
            "reads the control form, and no term of its own. Use `form='control'` with "
            "`DDIM()` or `Multistep()`, which step it."
        )
    if form not in ("control", "derivative"):
        raise ValueError(
            f"`{owner}` got `form={form!r}`; expected 'control' (driven by increments) "
            "or 'derivative' (a vector field)."
        )


@overload
def probability_flow(
    process: Process, denoiser: DenoiserFn, *, form: Literal["control"] = "control"
) -> ReverseControlTerm: ...


@overload
def probability_flow(
    process: Process, denoiser: DenoiserFn, *, form: Literal["derivative"]
) -> diffrax.ODETerm: ...


def probability_flow(
    process: Process, denoiser: DenoiserFn, *, form: str = "control"
) -> diffrax.AbstractTerm:
    r"""The probability flow (Eq. 19, 49, 51) in the reversed clock $s = t_1 - t$.

    **Arguments:**

    - `process`: whose marginals it keeps.
    - `denoiser`: `denoiser(t, x) -> E[x0 | x_t]`.
    - `form`: `"control"` is driven by the increments of $C_t$ and $\sigma_t^2$: for the
        solvers of [`softsde.solvers`](solvers.md), and for operators that jump.
        `"derivative"` is the vector field $-u$, a `diffrax.ODETerm`: for Runge–Kutta
        methods, also with adaptive steps. It differentiates $C_t$ in time, so it is
        refused for a corruption that is known to jump (a mask).

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** `ValueError` when `sigma` is zero at `t0`, where the score has no value,
    for an unknown form, or for the derivative of a corruption that jumps.

    !!! example

        ```python
        term = ss.probability_flow(process, denoiser)
        diffrax.diffeqsolve(term, ss.Momentum(), 0.0, 1.0, dt0=0.01, y0=x1)
        ```

        ```python
        term = ss.probability_flow(process, denoiser, form="derivative")
        steps = diffrax.PIDController(rtol=1e-3, atol=1e-3)
        diffrax.diffeqsolve(
            term, diffrax.Dopri5(), 0.0, 1.0, 0.01, x1, stepsize_controller=steps
        )
        ```
    """
    _check_form("probability_flow", form)
    process.require_noise("The probability flow")
    if form == "derivative":
        return derivative_term(process, denoiser, None, None)
    return ReverseControlTerm(process, denoiser, None)


def reverse_sde(
    process: Process,
    denoiser: DenoiserFn,
    *,
    noise_clock: NoiseClock = "paper",
    form: Literal["control", "derivative"] = "control",
    shape: tuple[int, ...] | None = None,
    key: Key | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
) -> diffrax.AbstractTerm:
    r"""The reverse SDE family (Eq. 14 and its relatives) in the reversed clock.

    **Arguments:**

    - `process`, `denoiser`: as in [`softsde.probability_flow`][].
    - `noise_clock`: variance injected up to the reversed time $s = t_1 - t$. `"paper"`
        is $\sigma^2(t_1) - \sigma^2(t_1 - s)$, `"flow"` is none, and any non-decreasing
        callable of `s` is allowed: all have the same marginals.
    - `form`: as there. `"derivative"` is a `diffrax.MultiTerm` of drift and diffusion,
        for diffrax's SDE solvers. The noise is additive, so Itô's and Stratonovich's
        solutions are the same.
    - `shape`, `key`: of one sample and of its noise; a fresh normal is drawn each step
        (`diffrax.UnsafeBrownianPath`; pass `adjoint=diffrax.ForwardMode()`). On the
        clock `"flow"` only a solver that draws noise of its own uses them.
    - `path`: instead of these, a path of one's own. In control form it runs on the
        noise clock, so a `diffrax.VirtualBrownianTree` must cover that: `t0=0`, `t1` at
        least the variance injected in all. In derivative form it runs on `s`; ShARK and
        its like want one with `levy_area=diffrax.SpaceTimeLevyArea`.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** `ValueError` when `sigma` is zero at `t0`, for an unknown clock or form,
    or when neither a path nor a shape and key are given.

    !!! example

        ```python
        area = diffrax.SpaceTimeLevyArea
        path = diffrax.UnsafeBrownianPath(shape, key, levy_area=area)
        term = ss.reverse_sde(process, denoiser, form="derivative", path=path)
        diffrax.diffeqsolve(
            term, diffrax.ShARK(), 0.0, 1.0, 0.01, x1, adjoint=diffrax.ForwardMode()
        )
        ```
    """
    _check_form("reverse_sde", form)
    process.require_noise("The reverse SDE")
    clock = make_clock(noise_clock, process)
    drawn = path is not None or key is not None
    if isinstance(clock, FlowClock) and not (drawn and form == "control"):
        return probability_flow(process, denoiser, form=form)
    if path is None:
        if shape is None or key is None:
            raise ValueError(
                "`reverse_sde` draws noise: give it `shape=` of one sample and `key=`, "
                "or a Brownian `path=`. For the deterministic flow use "
                "`probability_flow(process, denoiser)`."
            )
        path = diffrax.UnsafeBrownianPath(shape, key)
    elif shape is not None or key is not None:
        raise ValueError(
            "`reverse_sde` takes `path=`, or `shape=` and `key=`: not both."
        )
    if form == "derivative":
        return derivative_term(process, denoiser, clock, path)
    return ReverseControlTerm(process, denoiser, ClockedBrownianPath(path, clock))
