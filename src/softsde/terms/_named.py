"""The terms by name: the probability flow, the reverse SDE family, the forward SDE."""

from typing import Literal, TypeAlias

import diffrax

from .._types import DenoiserFn, Key
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._clock import CustomClock, FlowClock, NoiseClock, make_clock
from ._control import ControlForm
from ._derivative import derivative_term
from ._normalised import NormalisedForm
from ._score import noiseless, require_score

Form: TypeAlias = Literal["control", "derivative", "normalised"]

_FORMS = {"control": ControlForm, "normalised": NormalisedForm}


def _make(owner, process, denoiser, form, clock, path, forward):
    """The term of a form; without a path, the probability flow."""
    if form == "derivative":
        return derivative_term(process, denoiser, clock, path, forward=forward)
    if form not in _FORMS:
        raise ValueError(
            f"`{owner}` got `form={form!r}`; expected 'control' (driven by "
            "increments), 'normalised' (the same, with its linear part solved "
            "exactly) or 'derivative' (a vector field)."
        )
    brownian = None if path is None else ClockedBrownianPath(path, clock)
    return _FORMS[form](process, denoiser, brownian, forward)


def _stochastic(
    owner, process, denoiser, noise_clock, form, shape, key, path, forward
) -> diffrax.AbstractTerm:
    require_score(process, f"`{owner}`")
    clock = make_clock(noise_clock, process, forward=forward)
    drawn = path is not None or key is not None
    if isinstance(clock, FlowClock) and not (drawn and form != "derivative"):
        return _make(owner, process, denoiser, form, None, None, forward)
    if isinstance(clock, CustomClock) and noiseless(process):
        raise ValueError(
            f"`{owner}` got a noise clock of one's own for a process without noise, "
            "which has no score to make up for it. Use `noise_clock='flow'`, or give "
            "the process a positive `sigma`."
        )
    if path is None:
        if shape is None or key is None:
            raise ValueError(
                f"`{owner}` draws noise: give it `shape=` of one sample and `key=`, or "
                "a Brownian `path=`. For the deterministic flow use "
                "`probability_flow(process, denoiser)`."
            )
        path = diffrax.UnsafeBrownianPath(shape, key)
    elif shape is not None or key is not None:
        raise ValueError(f"`{owner}` takes `path=`, or `shape=` and `key=`: not both.")
    return _make(owner, process, denoiser, form, clock, path, forward)


def probability_flow(
    process: Process,
    denoiser: DenoiserFn,
    *,
    form: Form = "control",
    forward: bool = False,
) -> diffrax.AbstractTerm:
    r"""The probability flow (Eq. 19, 49, 51), in the reversed clock $s = t_1 - t$.

    **Arguments:**

    - `process`: whose marginals it keeps.
    - `denoiser`: `denoiser(t, x) -> E[x0 | x_t]`.
    - `form`: `"control"` is driven by the increments of $C_t$ and $\sigma_t^2$: for the
        solvers of [`softsde.solvers`](solvers.md), and for operators that jump.
        `"normalised"` is the same for $x / \sigma_t$, which solves the linear part
        exactly: for the same solvers. `"derivative"` is the vector field $-u$, a
        `diffrax.ODETerm`: for Runge–Kutta methods, also with adaptive steps. It
        differentiates $C_t$ in time, so it is refused for a corruption that is known to
        jump (a mask).
    - `forward`: run from the data to the corruption instead, $t = t_0 + s$: the latent
        that the reversed flow takes back to `x`.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** `ValueError` when `sigma` is zero at `t0` and grows, so that the score
    has no value there, for an unknown form, or for the derivative of a corruption that
    jumps.

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
    owner = "probability_flow"
    require_score(process, f"`{owner}`")
    return _make(owner, process, denoiser, form, None, None, forward)


def reverse_sde(
    process: Process,
    denoiser: DenoiserFn,
    *,
    noise_clock: NoiseClock = "paper",
    form: Form = "control",
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
    - `path`: instead of these, a path of one's own. In control and normalised form it
        runs on the noise clock, so a `diffrax.VirtualBrownianTree` must cover that:
        `t0=0`, `t1` at least the variance injected in all. In derivative form it runs
        on `s`; ShARK and its like want one with `levy_area=diffrax.SpaceTimeLevyArea`.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** `ValueError` when `sigma` is zero at `t0` and grows, for an unknown
    clock or form, or when neither a path nor a shape and key are given. Integrated from
    a later `s` to an earlier, it raises while it runs.

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
    return _stochastic(
        "reverse_sde", process, denoiser, noise_clock, form, shape, key, path, False
    )


def forward_sde(
    process: Process,
    denoiser: DenoiserFn,
    *,
    noise_clock: NoiseClock = "paper",
    form: Form = "control",
    shape: tuple[int, ...] | None = None,
    key: Key | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
) -> diffrax.AbstractTerm:
    r"""The forward SDE (Eq. 13) and its relatives, from the data to the corruption.

    $dx = \frac{dC_t}{dt}\, E[x_0 | x_t]\, dt + \sqrt{d\sigma_t^2 / dt}\; dw$. It has
    the marginals of the process. To draw $x_t$ from a clean sample it is not needed:
    [`Process.perturb`][softsde.Process.perturb] does that in one step. It is for what
    lies between: paths that start from a given $x_{t_0}$.

    **Arguments:** as in [`softsde.reverse_sde`][], in the clock $s = t - t_0$.

    - `noise_clock`: `"paper"` is $\sigma^2(t_0 + s) - \sigma^2(t_0)$, on which the
        score cancels; `"flow"` is none; any non-decreasing callable of `s` is allowed.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** as there.

    !!! example

        ```python
        term = ss.forward_sde(process, denoiser, shape=shape, key=key)
        diffrax.diffeqsolve(
            term, ss.Momentum(), 0.0, 1.0, 0.01, x0, adjoint=diffrax.ForwardMode()
        )
        ```
    """
    return _stochastic(
        "forward_sde", process, denoiser, noise_clock, form, shape, key, path, True
    )
