"""`log_likelihood`: the density of a sample, by following the probability flow."""

import dataclasses

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._checks import check_samples
from .._types import Condition, Key, Sample, Scalar
from ..denoisers import AbstractDenoiser
from ..sampling import AbstractPrior, check_prior
from ..solvers import AbstractSolver, count_evaluations, fresh_starts
from ..terms import check_denoiser, probability_flow
from ._divergence import Divergence, make_divergence


class LogLikelihood(eqx.Module):
    """The result of `log_likelihood`."""

    #: Log density of the sample, in nats: `log_prior + log_volume`.
    log_prob: Scalar
    #: Where the flow takes the sample at `t1`: its latent code.
    x1: Sample
    #: Log density of the prior there.
    log_prior: Scalar
    #: The divergence of the velocity, integrated along the way.
    log_volume: Scalar
    #: Evaluations of the denoiser, rejected steps included, each with the cotangents
    #: that the divergence asks for; `None` for a solver that does not say how many it
    #: takes. (One too few for each step that is rejected right after a kink of a
    #: schedule.)
    nfe: Int[Array, ""] | None


def log_likelihood(
    denoiser: AbstractDenoiser,
    x: Sample,
    *,
    prior: AbstractPrior,
    condition: Condition = None,
    divergence: Divergence = "auto",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    solver: diffrax.AbstractSolver | None = None,
    stepsize_controller: diffrax.AbstractStepSizeController | None = None,
    dt0: float | None = None,
    max_steps: int = 4096,
    adjoint: diffrax.AbstractAdjoint | None = None,
    key: Key | None = None,
) -> LogLikelihood:
    r"""Log density of one sample under the probability flow (Eq. 19 and 49).

    The flow is followed from `x` at $t_0$ to $x_{t_1}$, and the volume with it:

    $$\log p(x) = \log p_{\mathrm{prior}}(x_{t_1}) + \int_{t_0}^{t_1} \nabla \cdot
    u(t, x_t)\, dt, \qquad \dot x_t = u(t, x_t), \quad x_{t_0} = x.$$

    It is the density of what the *flow* draws from the prior, at time $t_0$, before any
    last denoising step. With the exact denoiser and $q_{t_1}$ for the prior that is
    $q_{t_0}$, the density of $C_{t_0} x_0 + \sigma_{t_0} \eta$; see
    [Likelihood](../likelihood.md).

    **Arguments:**

    - `denoiser`: as in [`softsde.probability_flow`][].
    - `x`: one sample; map over more with `jax.vmap`, with a key each.
    - `prior`: of $x_{t_1}$, with a density: [`softsde.GaussianPrior`][],
        [`softsde.EmpiricalPrior`][] or [`softsde.ExactPrior`][].
    - `condition`: for the denoiser.
    - `divergence`: `"exact"`, `"hutchinson"`, or an instance of
        [`softsde.likelihood.ExactDivergence`][] or
        [`softsde.likelihood.HutchinsonDivergence`][]. `"auto"` is exact for samples of
        at most 64 components, and Hutchinson's estimate above.
    - `rtol`, `atol`: tolerance of a step, for the root mean square of the sample's
        error and for the error of the log density in nats a dimension, whichever is
        larger.
    - `solver`: a diffrax solver of ordinary differential equations; by default
        `diffrax.Tsit5()`.
    - `stepsize_controller`: instead of the tolerances, with the `dt0` it wants. (By
        default steps adapt, and end at the kinks of the schedules, where no solver
        keeps its order.)
    - `dt0`: length of the first step; with the tolerances, by default a hundredth of
        the whole.
    - `max_steps`: more of them are an error.
    - `adjoint`: of `diffrax.diffeqsolve`, for derivatives of the result.
    - `key`: of the probes, one a sample; by default a fixed key. `"exact"` needs none.

    **Returns:** a [`softsde.likelihood.LogLikelihood`][].

    **Raises:** `ValueError` for a corruption that jumps (found out while it runs, where
    nobody has said so and its numbers are traced), a process whose noise is zero at
    `t0`, a prior without a density or of another process, or a tolerance below rounding
    error; `TypeError` for a sample that is not floating-point, or a solver that does
    not integrate a vector field.

    !!! example

        ```python
        prior = ss.GaussianPrior.fit(process, images)
        found = ss.log_likelihood(
            denoiser,
            x,
            prior=prior,
            divergence="hutchinson",
            rtol=1e-3,
            atol=1e-3,
            key=key,
        )
        found.log_prob, found.nfe
        ```

    ??? cite "Reference"

        Chen, Rubanova, Bettencourt and Duvenaud, *Neural Ordinary Differential
        Equations*, NeurIPS 2018. Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole,
        *Score-Based Generative Modeling through Stochastic Differential Equations*,
        ICLR 2021, Section 4.3.
    """
    owner = "log_likelihood"
    check_samples(owner, x)
    check_denoiser(owner, denoiser)
    process = denoiser.process
    process.require_noise("The likelihood")
    x = process.guard_smooth("The likelihood", x)
    check_prior(owner, prior, process, process.t1, x.shape)
    solver = diffrax.Tsit5() if solver is None else solver
    if isinstance(solver, AbstractSolver):
        raise TypeError(
            f"`{owner}` integrates a vector field; got `{type(solver).__name__}`, "
            "which steps from operator to operator. Use a Runge–Kutta method of "
            "diffrax, such as `Tsit5()` or `Dopri8()`."
        )
    kinks = jnp.zeros(0, x.dtype)
    if stepsize_controller is None:
        _check_tolerance(max(rtol, atol), x)
        stepsize_controller = diffrax.PIDController(rtol, atol, norm=_error)
        kinks = (process.kinks() - process.t0).astype(x.dtype)
        if kinks.size > 0:
            # No solver keeps its order across a kink of a schedule: steps end there.
            stepsize_controller = diffrax.ClipStepSizeController(
                stepsize_controller, jump_ts=kinks
            )
        # A try, which costs no evaluation to choose: where it is too long it is
        # rejected.
        dt0 = 0.01 * (process.t1 - process.t0) if dt0 is None else dt0
    trace = make_divergence(divergence, x.size)
    probes = trace.probes(x, jax.random.key(0) if key is None else key)
    # Whether it jumps has been found out above: once, not at each evaluation.
    flow = dataclasses.replace(probability_flow(denoiser, forward=True), smooth=True)

    solution = _integrate(
        flow,
        trace,
        probes,
        (x, jnp.zeros((), x.dtype)),
        condition,
        dt0,
        solver=solver,
        stepsize_controller=stepsize_controller,
        max_steps=max_steps,
        adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
    )
    assert solution.ys is not None
    x1, volume = solution.ys[0][0], solution.ys[1][0]
    log_prior, log_volume = prior.log_prob(x1), x.size * volume
    nfe = count_evaluations(solver, solution.stats["num_steps"])
    if nfe is not None:
        span = process.t1 - process.t0
        nfe = jnp.asarray(nfe) + fresh_starts(solver, kinks, 0.0, span)
    return LogLikelihood(log_prior + log_volume, x1, log_prior, log_volume, nfe)


# Compiled once for all samples of a shape, also for whoever calls it without `jax.jit`:
# tracing and compiling take longer than to integrate one small image.
@eqx.filter_jit
def _integrate(flow, trace, probes, state, condition, dt0, **options):
    # diffrax calls a field four times where it is traced; this one is traced once.
    @eqx.filter_jit
    def field(flow, probes, s, state, args):
        x, _ = state
        value, divergence = trace(lambda v: flow.vf(s, v, args), x, probes)
        # By the dimension, so that a tolerance means the same for all of them.
        return value, divergence / x.size

    x, _ = state
    process = flow.process
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda *at: field(flow, probes, *at)),
        t0=jnp.zeros((), x.dtype),
        t1=jnp.asarray(process.t1 - process.t0, x.dtype),
        dt0=dt0,
        y0=state,
        args=condition,
        **options,
    )


def _error(state: tuple[Sample, Scalar]) -> Scalar:
    """The larger of the root mean square of the sample and the volume a dimension.

    (The mean over both together would let the volume, one number of thousands, be as
    wrong as the root of that many times the tolerance.)
    """
    x, volume = state
    mean_square = jnp.mean(x**2)
    positive = mean_square > 0
    # The root has no derivative at zero.
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, mean_square, 1)), 0)
    return jnp.maximum(root, jnp.abs(volume))


def _check_tolerance(tolerance: float, x: Sample) -> None:
    least = 10 * float(jnp.finfo(x.dtype).eps)
    if not tolerance >= least:
        raise ValueError(
            f"`log_likelihood` got tolerances of at most {tolerance:.2g}, below what "
            f"rounding in {x.dtype} allows ({least:.2g}): steps would shrink without "
            "end. Ask for less, or compute in float64 (`jax.enable_x64`)."
        )
