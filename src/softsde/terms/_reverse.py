"""The terms by name: the reverse SDE family and the probability flow."""

import diffrax

from .._types import DenoiserFn, Key
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._clock import FlowClock, NoiseClock, make_clock
from ._control import ReverseControlTerm


def probability_flow(process: Process, denoiser: DenoiserFn) -> ReverseControlTerm:
    r"""The probability flow (Eq. 19, 49, 51) in the reversed clock $s = t_1 - t$.

    **Arguments:**

    - `process`: whose marginals it keeps.
    - `denoiser`: `denoiser(t, x) -> E[x0 | x_t]`.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** `ValueError` when `sigma` is zero at `t0`, where the score has no value.

    !!! example

        ```python
        term = ss.probability_flow(process, denoiser)
        diffrax.diffeqsolve(term, ss.Momentum(), 0.0, 1.0, dt0=0.01, y0=x1)
        ```
    """
    process.require_noise("The probability flow")
    return ReverseControlTerm(process, denoiser, None)


def reverse_sde(
    process: Process,
    denoiser: DenoiserFn,
    *,
    noise_clock: NoiseClock = "paper",
    shape: tuple[int, ...] | None = None,
    key: Key | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
) -> ReverseControlTerm:
    r"""The reverse SDE family (Eq. 14 and its relatives) in the reversed clock.

    **Arguments:**

    - `process`, `denoiser`: as in [`softsde.probability_flow`][].
    - `noise_clock`: variance injected up to the reversed time $s = t_1 - t$. `"paper"`
        is $\sigma^2(t_1) - \sigma^2(t_1 - s)$, `"flow"` is none, and any non-decreasing
        callable of `s` is allowed: all have the same marginals.
    - `shape`, `key`: of one sample and of its noise; a fresh normal is drawn each step
        (`diffrax.UnsafeBrownianPath`; pass `adjoint=diffrax.ForwardMode()`).
    - `path`: instead of these, a path of one's own. A `diffrax.VirtualBrownianTree`
        must cover the clock: `t0=0`, `t1` at least the variance injected in all.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** `ValueError` when `sigma` is zero at `t0`, for an unknown clock, or when
    neither a path nor a shape and key are given.
    """
    process.require_noise("The reverse SDE")
    clock = make_clock(noise_clock, process)
    if isinstance(clock, FlowClock):
        return probability_flow(process, denoiser)
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
    return ReverseControlTerm(process, denoiser, ClockedBrownianPath(path, clock))
