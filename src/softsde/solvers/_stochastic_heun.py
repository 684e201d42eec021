r"""EDM's stochastic sampler: Heun's method in `sigma`, with noise added on the way."""

import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from .._checks import check_non_negative, check_positive
from .._types import Sample, Scalar
from ..corruptions import Identity
from ..processes import Process
from ..terms import AbstractForm
from ._base import AbstractReverseSolver, Advance
from ._chain import require_path

#: Beyond it a step would add more noise than it finds.
MOST_RAISED = math.sqrt(2.0) - 1.0

# Of the table by which a noise-to-signal ratio is turned into a time.
_POINTS = 257


class _Field(NamedTuple):
    """The prediction, and the noise that it finds."""

    x0_hat: Sample
    noise: Sample


class StochasticHeun(AbstractReverseSolver):
    r"""EDM's sampler: more noise, then a step of Heun's method in `sigma`, of order 2.

    With $D = D(t, x)$ and the noise that it finds, $\epsilon = (x - C_t D) / \sigma_t$,
    the probability flow is $dx = dC\, D + d\sigma\, \epsilon$. A step of
    [`softsde.DDIM`][softsde.solvers.DDIM] to $\tilde x$ is Euler's method on it, and
    Heun's takes the step again by the means of the two ends:

    $$x_{t'} = x_t + (C_{t'} - C_t)\, \frac{D + \tilde D}{2} + (\sigma_{t'} -
    \sigma_t)\, \frac{\epsilon + \tilde\epsilon}{2}.$$

    With $C_t = I$ that is Algorithm 1 of Karras et al.; on [`softsde.edm`][] evenly
    spaced times are their steps, and `denoise_last` of [`softsde.sample`][] is their
    last step, from the least noise to none. Its relative
    [`softsde.HeunMomentum`][softsde.solvers.HeunMomentum] steps in $\sigma^2$, and
    needs shorter steps where the noise falls fast. Two evaluations of the network a
    step.

    With `churn` a step first goes forward, to the later time $\hat t$ at which there is
    $1 + \gamma$ times as much noise to the signal, and from there to $t'$ (their
    Algorithm 2):

    $$\hat x = \frac{\alpha_{\hat t}}{\alpha_t}\, x + \sqrt{\sigma_{\hat t}^2 -
    (\alpha_{\hat t} \sigma_t / \alpha_t)^2}\; \xi.$$

    This is how the process itself goes from $t$ to $\hat t$, so no marginal changes. It
    wants a scaling, $C_t = \alpha_t I$: in general $x_t$ alone does not say what more
    of a blur would make of it. What churn is in the limit of short steps, a clock that
    injects noise of variance $2 c\, \sigma_t^2$ in a unit of time, there is for all:
    `HeunMomentum()` with `noise_clock=ChurnClock(process, 2 * churn)`.

    The clock of its term is not asked: it follows the flow, and draws its own noise.

    !!! example

        ```python
        process = ss.edm()
        ss.sample(
            process,
            ss.oracles.EmpiricalOracle(xs).denoiser(process),
            x1=80 * jax.random.normal(key, xs.shape),
            solver=ss.StochasticHeun(churn=40.0, between=(0.05, 50.0)),
            num_steps=17,
            key=key,
        )
        ```

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022, Algorithms 1 and 2.
    """

    churn: float
    between: tuple[float, float]
    noise_scale: float

    def __init__(
        self,
        churn: float = 0.0,
        *,
        between: tuple[float, float] = (0.0, math.inf),
        noise_scale: float = 1.0,
    ):
        r"""**Arguments:**

        - `churn`: how much the noise is raised in a unit of the process's whole time:
            $\gamma = \min(\text{churn} \cdot h,\ \sqrt2 - 1)$ for a step that is the
            share $h$ of it. Their $S_\text{churn}$ with $\gamma = S_\text{churn} / N$:
            they count the step to no noise, so for their $N$ give `churn=S_churn *
            (N - 1) / N`. 0 is the flow.
        - `between`: the noise levels between which noise is added, relative to the
            signal: their $S_\text{tmin}$ and $S_\text{tmax}$.
        - `noise_scale`: their $S_\text{noise}$, a factor on the noise that is added: a
            little over 1 makes up for a network that takes away too much.

        Noise is never raised beyond that of `t1`.

        **Raises:** `ValueError` for values that have no meaning.
        """
        check_non_negative("StochasticHeun", "churn", churn)
        check_positive("StochasticHeun", "noise_scale", noise_scale)
        low, high = between
        if not 0 <= low < high:
            raise ValueError(
                f"`StochasticHeun` got `between={between}`; expected two noise levels, "
                "the lower one first and at least 0."
            )
        self.churn = churn
        self.between = (low, high)
        self.noise_scale = noise_scale

    evaluations_per_step: ClassVar[int] = 2

    @property
    def draws_noise(self) -> bool:
        return self.churn > 0

    def order(self, terms):
        return 2

    def strong_order(self, terms):
        return None

    def start(self, form, s0, y0):
        if self.churn > 0:
            require_path("StochasticHeun", form)
            if not form.process.is_scaling:
                name = type(form.process.corruption).__name__
                raise ValueError(
                    f"`StochasticHeun` with `churn={self.churn}` goes forward in time, "
                    f"which needs C_t = alpha_t I, got `{name}`. Use `HeunMomentum()` "
                    f"with `noise_clock=ChurnClock(process, {2 * self.churn})`, which "
                    "is the same in the limit, or no churn."
                )
            if form.forward:
                raise ValueError(
                    "`StochasticHeun` with churn goes back in time, and its term goes "
                    "forward. Use no churn."
                )
        return None

    def advance(self, form, s0, s1, y0, state, made_jump):
        del state, made_jump
        process = form.process
        s0, s1 = s0.astype(y0.dtype), s1.astype(y0.dtype)
        t_from, t_to, x = form.time(s0), form.time(s1), y0
        if self.churn > 0:
            t_from, x = self._forward(form, s0, s1, x)
        before, after = process.sigma(t_from), process.sigma(t_to)

        def field(t: Scalar, x: Sample) -> _Field:
            x0_hat = form.denoiser(t, x)
            return _Field(x0_hat, (x - process.apply(t, x0_hat)) / process.sigma(t))

        def move(field: _Field) -> Sample:
            moved = process.apply(t_to, field.x0_hat)
            moved = moved - process.apply(t_from, field.x0_hat)
            return x + moved + (after - before) * field.noise

        start = field(t_from, x)
        end = field(t_to, move(start))
        y1 = move(jax.tree.map(lambda a, b: 0.5 * (a + b), start, end))
        return Advance(y1)

    def _forward(self, form: AbstractForm, s0, s1, x: Sample):
        """The later time, and the state there: a draw of the process itself."""
        process = form.process
        t = form.time(s0)
        share = (s1 - s0) / (process.t1 - process.t0)
        raised = jnp.minimum(self.churn * share, MOST_RAISED).astype(x.dtype)
        ratio = process.sigma(t) / process.signal(t)
        low, high = self.between
        inside = (ratio >= low) & (ratio <= high)
        later = jnp.where(inside, _time_of(process, ratio * (1 + raised)), t)
        # Not before the present, by rounding, and not beyond the end.
        later = jnp.clip(later, t, process.t1)
        shrunk = process.signal(later) / process.signal(t)
        kept = shrunk * process.sigma(t)
        fresh = jnp.sqrt(jnp.maximum(process.sigma(later) ** 2 - kept**2, 0))
        path = require_path("StochasticHeun", form)
        xi = path.fresh(s0, s1).astype(x.dtype)
        return later, shrunk * x + self.noise_scale * fresh * xi


def _time_of(process: Process, ratio: Scalar) -> Scalar:
    """The time at which the noise has `ratio` to the signal."""
    if isinstance(process.corruption, Identity):
        return process.noise.inverse(ratio)
    # By a table, whose error does no harm: any later time is as good, as what is drawn
    # is right for the time that comes out.
    times = jnp.linspace(process.t0, process.t1, _POINTS, dtype=ratio.dtype)
    of = jax.vmap(lambda t: jnp.log(process.sigma(t)) - jnp.log(process.signal(t)))
    return jnp.interp(jnp.log(ratio), of(times), times)
