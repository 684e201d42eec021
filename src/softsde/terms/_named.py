"""The terms by name: the probability flow, the reverse SDE family, the forward SDE."""

from typing import Literal

import diffrax

from .._types import Key
from ..clocks import AbstractClock, Churn, Custom, Ode, make_clock
from ..denoisers import AbstractDenoiser
from ._drift import Drift
from ._noise import InjectedNoise, StepNoise


def probability_flow(denoiser: AbstractDenoiser, *, forward: bool = False) -> Drift:
    r"""The probability flow (Eq. 19, 49, 51), in the reversed time $s = t_1 - t$.

    **Arguments:**

    - `denoiser`: of the process whose marginals are kept.
    - `forward`: run from the data to the corruption instead, $t = t_0 + s$. It takes a
        sample to the latent from which the reversed flow takes it back.

    **Returns:** a diffrax term; integrate it forwards from 0 to `t1 - t0`. A condition
    for the denoiser is the `args` of `diffrax.diffeqsolve`.

    **Raises:** `TypeError` for something that is no denoiser; `ValueError` when `sigma`
    is zero at `t0` and grows, so that the score has no value there. A solver of diffrax
    is refused for a corruption that jumps (a mask); the solvers of
    [`softsde.solvers`](solvers.md) step it.

    !!! example

        ```python
        term = ss.probability_flow(denoiser)
        diffrax.diffeqsolve(term, ss.Heun(), 0.0, 1.0, dt0=0.01, y0=x1)
        ```

        ```python
        term = ss.probability_flow(denoiser)
        steps = diffrax.PIDController(rtol=1e-3, atol=1e-3)
        diffrax.diffeqsolve(
            term, diffrax.Dopri5(), 0.0, 1.0, 0.01, x1, stepsize_controller=steps
        )
        ```
    """
    check_denoiser("probability_flow", denoiser)
    return Drift(denoiser, Ode(), forward, smooth=_is_smooth(denoiser))


def reverse_sde(
    denoiser: AbstractDenoiser,
    *,
    clock: AbstractClock | Literal["ode", "sde"] = "sde",
    key: Key | None = None,
    shape: tuple[int, ...] | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
) -> diffrax.MultiTerm:
    r"""The reverse SDE family (Eq. 14 and its relatives), in the time $s = t_1 - t$.

    **Arguments:**

    - `denoiser`: of the process whose marginals are kept.
    - `clock`: how much noise is injected: `"sde"` is the paper's, `"ode"` none, and any
        clock of [`softsde.clocks`](clocks.md) is allowed: all have the same marginals.
    - `key`, `shape`: of the noise and of one sample. Fresh noise is drawn for each
        step, which serves fixed steps, with `adjoint=diffrax.ForwardMode()`. A solver
        that draws noise of its own takes it from here too.
    - `path`: instead of these, a Brownian path in `s`, such as a
        `diffrax.VirtualBrownianTree` for steps that adapt. ShARK and its like want one
        with `levy_area=diffrax.SpaceTimeLevyArea`.

    **Returns:** a `diffrax.MultiTerm` of drift and diffusion; integrate it forwards
    from 0 to `t1 - t0`. The noise is additive, so solvers for Itô and for Stratonovich
    SDEs agree. A condition for the denoiser is the `args` of `diffrax.diffeqsolve`.

    **Raises:** `TypeError` for something that is no denoiser; `ValueError` when `sigma`
    is zero at `t0` and grows, for an unknown clock, or unless either a path or a key
    and a shape are given. Integrated from a later `s` to an earlier, it raises while it
    runs.

    !!! example

        ```python
        path = diffrax.VirtualBrownianTree(
            0.0, 1.0, 1e-4, shape, key, levy_area=diffrax.SpaceTimeLevyArea
        )
        term = ss.reverse_sde(denoiser, path=path)
        diffrax.diffeqsolve(term, diffrax.ShARK(), 0.0, 1.0, 0.01, x1)
        ```
    """
    return _stochastic("reverse_sde", denoiser, clock, key, shape, path, False)


def forward_sde(
    denoiser: AbstractDenoiser,
    *,
    clock: AbstractClock | Literal["ode", "sde"] = "sde",
    key: Key | None = None,
    shape: tuple[int, ...] | None = None,
    path: diffrax.AbstractBrownianPath | None = None,
) -> diffrax.MultiTerm:
    r"""The forward SDE (Eq. 13) and its relatives, from the data to the corruption.

    $dx = \frac{dC_t}{dt}\, E[x_0 | x_t]\, dt + \sqrt{d\sigma_t^2 / dt}\; dw$. It has
    the marginals of the process. To draw $x_t$ from a clean sample use
    [`Process.perturb`][softsde.Process.perturb], which takes one step. The forward SDE
    gives the paths in between, which start from a given $x_{t_0}$.

    **Arguments:** as in [`softsde.reverse_sde`][], in the time $s = t - t_0$. On the
    clock `"sde"` the score cancels.

    **Returns:** a `diffrax.MultiTerm`; integrate it forwards from 0 to `t1 - t0`.

    **Raises:** as there.

    !!! example

        ```python
        term = ss.forward_sde(denoiser, shape=shape, key=key)
        diffrax.diffeqsolve(
            term, ss.Momentum(), 0.0, 1.0, 0.01, x0, adjoint=diffrax.ForwardMode()
        )
        ```
    """
    return _stochastic("forward_sde", denoiser, clock, key, shape, path, True)


def _stochastic(owner, denoiser, clock, key, shape, path, forward) -> diffrax.MultiTerm:
    check_denoiser(owner, denoiser)
    clock = make_clock(clock)
    process = denoiser.process
    if isinstance(clock, (Churn, Custom)) and process.is_noiseless:
        raise ValueError(
            f"`{owner}` got the clock `{type(clock).__name__}` for a process without "
            "noise, which has no score to make up for injected noise. Use "
            "`clock='ode'`, or give the process a positive `sigma`."
        )
    if path is None:
        if shape is None or key is None:
            raise ValueError(
                f"`{owner}` draws noise: give it `shape=` of one sample and `key=`, or "
                "a Brownian `path=`. For the deterministic flow use "
                "`probability_flow(denoiser)`."
            )
        path = StepNoise(process, shape, key)
    elif shape is not None or key is not None:
        raise ValueError(f"`{owner}` takes `path=`, or `shape=` and `key=`: not both.")
    drift = Drift(denoiser, clock, forward, True, _is_smooth(denoiser))
    noise = InjectedNoise(process, clock, forward)
    return diffrax.MultiTerm(drift, diffrax.ControlTerm(noise, path))


def check_denoiser(owner: str, denoiser: object) -> None:
    """Refuses what is no denoiser, and a process whose score has no value at its start.

    **Raises:** `TypeError` and `ValueError`, with the cure.
    """
    if not isinstance(denoiser, AbstractDenoiser):
        raise TypeError(
            f"`{owner}` got {type(denoiser).__name__}; expected a denoiser that knows "
            "its process. Wrap a function `fn(t, x)` as `softsde.FunctionDenoiser(fn, "
            "process)`, a network as `softsde.Denoiser(network, process)`."
        )
    denoiser.process.require_score(f"`{owner}`")


def _is_smooth(denoiser: AbstractDenoiser) -> bool:
    """Tells whether the corruption says that it moves smoothly."""
    return denoiser.process.corruption.structure.differentiable is True
