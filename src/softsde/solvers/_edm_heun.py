r"""EDM's sampler: Heun's method in `sigma`, with noise added on the way."""

import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from .._checks import check_non_negative, check_positive
from .._types import Sample, Scalar
from ..corruptions import Identity
from ..processes import Process
from ._base import AbstractSolver, Noise, Step, finish, read_term

#: Beyond it a step would add more noise than it finds.
MOST_RAISED = math.sqrt(2.0) - 1.0

# Of the table by which a noise-to-signal ratio is turned into a time.
_POINTS = 257


class _Field(NamedTuple):
    """The prediction, and the noise that it finds."""

    x0_hat: Sample
    noise: Sample


class EDMHeun(AbstractSolver):
    r"""EDM's sampler: more noise, then a step of Heun's method in `sigma`, of order 2.

    With $D = D(t, x)$ and the noise that it finds, $\epsilon = (x - C_t D) / \sigma_t$,
    the probability flow is $dx = dC\, D + d\sigma\, \epsilon$. Euler's method on it
    takes the step to $\tilde x$, and Heun's takes it again by the means of the two
    ends:

    $$x_{t'} = x_t + (C_{t'} - C_t)\, \frac{D + \tilde D}{2} + (\sigma_{t'} -
    \sigma_t)\, \frac{\epsilon + \tilde\epsilon}{2}.$$

    With $C_t = I$ that is Algorithm 1 of Karras et al.; on [`softsde.edm`][] evenly
    spaced times are their steps, and `denoise_last` of [`softsde.sample`][] is their
    last step, from the least noise to none. So their $N$ steps are `num_steps = N - 1`
    here. Two evaluations of the network a step.

    With `s_churn` a step first goes forward, to the later time $\hat t$ at which there
    is $1 + \gamma$ times as much noise to the signal, and from there to $t'$ (their
    Algorithm 2):

    $$\hat x = \frac{\alpha_{\hat t}}{\alpha_t}\, x + S_\text{noise} \sqrt{\sigma_{\hat
    t}^2 - (\alpha_{\hat t} \sigma_t / \alpha_t)^2}\; \xi.$$

    The process itself goes from $t$ to $\hat t$ so, and no marginal changes. It needs a
    scaling, $C_t = \alpha_t I$: in general $x_t$ alone does not say what more of a blur
    would make of it. For any corruption there is what churn is in the limit of short
    steps: `Heun()` with `clock=softsde.clocks.Churn(...)`.

    It follows no clock.

    !!! example

        ```python
        process = ss.edm()
        ss.sample(
            ss.oracles.EmpiricalOracle(xs).denoiser(process),
            x1=80 * jax.random.normal(key, xs.shape),
            solver=ss.EDMHeun(s_churn=40.0, s_min=0.05, s_max=50.0, s_noise=1.003),
            num_steps=17,
            key=key,
        )
        ```

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022, Algorithms 1 and 2.
    """

    s_churn: float
    s_min: float
    s_max: float
    s_noise: float

    evaluations_per_step: ClassVar[int] = 2
    orders: ClassVar[tuple[int | None, int | None]] = (2, None)

    def __init__(
        self,
        s_churn: float = 0.0,
        s_min: float = 0.0,
        s_max: float = math.inf,
        s_noise: float = 1.0,
    ):
        r"""**Arguments:**

        - `s_churn`: $S_\text{churn}$. A step raises the noise by $\gamma =
            \min(S_\text{churn} / N, \sqrt2 - 1)$, with $N$ their number of steps, the
            last one to no noise included: a step that is the share $h$ of the whole
            time has $1/N = h / (1 + h)$. 0 is the flow.
        - `s_min`, `s_max`: $S_\text{tmin}$ and $S_\text{tmax}$, the noise levels,
            relative to the signal, between which noise is added.
        - `s_noise`: $S_\text{noise}$, a factor on the noise that is added: a little
            over 1 makes up for a network that takes away too much.

        Noise is never raised beyond that of `t1`.

        **Raises:** `ValueError` for values that have no meaning.
        """
        check_non_negative("EDMHeun", "s_churn", s_churn)
        check_positive("EDMHeun", "s_noise", s_noise)
        if not 0 <= s_min < s_max:
            raise ValueError(
                f"`EDMHeun` got `s_min={s_min}` and `s_max={s_max}`; expected two "
                "noise levels, 0 <= `s_min` < `s_max`."
            )
        self.s_churn, self.s_min, self.s_max = s_churn, s_min, s_max
        self.s_noise = s_noise

    @property
    def noise(self) -> Noise:
        return "own" if self.s_churn > 0 else "none"

    def init(self, terms, t0, t1, y0, args):
        self.check(terms)
        drift, _ = read_term("EDMHeun", terms)
        if self.s_churn > 0 and not drift.process.is_scaling:
            name = type(drift.process.corruption).__name__
            raise ValueError(
                f"`EDMHeun` with `s_churn={self.s_churn}` goes forward in time, which "
                f"needs C_t = alpha_t I, got `{name}`. Use `Heun()` with "
                f"`clock=softsde.clocks.Churn({2 * self.s_churn})`, which is the same "
                "in the limit, or no churn."
            )
        if self.s_churn > 0 and drift.forward:
            raise ValueError(
                "`EDMHeun` with churn goes back in time, and its term goes forward. "
                "Use no churn."
            )

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("EDMHeun", terms, t0, t1, y0, args)
        process, t, t_next, x = step.process, step.t, step.t_next, step.x
        if self.s_churn > 0:
            t, x = self._raised(step)
        change = (process.sigma(t_next) - process.sigma(t)).astype(x.dtype)

        def field(t: Scalar, x: Sample) -> _Field:
            x0_hat = step.predict(t, x)
            return _Field(x0_hat, (x - process.apply(t, x0_hat)) / process.sigma(t))

        def move(field: _Field) -> Sample:
            moved = process.apply(t_next, field.x0_hat) - process.apply(t, field.x0_hat)
            return x + moved + change * field.noise

        # Algorithm 2, lines 7 to 11.
        start = field(t, x)
        end = field(t_next, move(start))
        mean = jax.tree.map(lambda a, b: 0.5 * (a + b), start, end)
        return finish(y0, move(mean))

    def _raised(self, step: Step) -> tuple[Scalar, Sample]:
        """The later time, and the state there: a draw of the process itself."""
        process, t, x = step.process, step.t, step.x
        share = (step.s_next - step.s) / (process.t1 - process.t0)
        # Algorithm 2, lines 2 to 6.
        gamma = jnp.minimum(self.s_churn * share / (1 + share), MOST_RAISED)
        ratio = process.sigma(t) / process.signal(t)
        inside = (ratio >= self.s_min) & (ratio <= self.s_max)
        raised = ratio * (1 + gamma.astype(ratio.dtype))
        later = jnp.where(inside, _time_of(process, raised), t)
        # Not before the present, by rounding, and not beyond the end.
        later = jnp.clip(later, t, process.t1)
        shrunk = process.signal(later) / process.signal(t)
        kept = shrunk * process.sigma(t)
        fresh = jnp.sqrt(jnp.maximum(process.sigma(later) ** 2 - kept**2, 0))
        return later, shrunk * x + self.s_noise * fresh * step.fresh()


def _time_of(process: Process, ratio: Scalar) -> Scalar:
    """The time at which the noise has `ratio` to the signal."""
    if isinstance(process.corruption, Identity):
        return process.noise.inverse(ratio)
    # By a table, whose error does no harm: any later time is as good, as what is drawn
    # is right for the time that comes out.
    times = jnp.linspace(process.t0, process.t1, _POINTS, dtype=ratio.dtype)
    of = jax.vmap(lambda t: jnp.log(process.sigma(t)) - jnp.log(process.signal(t)))
    return jnp.interp(jnp.log(ratio), of(times), times)
