r"""Score matching without a target: what a score must satisfy, of $x_t$ alone.

Partial integration turns $E \lVert s - \nabla \log q_t \rVert^2$ into
$E[\lVert s \rVert^2 + 2 \operatorname{tr} \nabla s]$ plus what does not depend on $s$
(Hyvarinen). The noise that was added is not asked for, and neither is $x_0$, so the
losses here measure a score on corrupted samples whose origin is unknown. They cost
derivatives of the network; denoising score matching has the same minimum for less.
"""

import abc
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from .._types import DenoiserFn, Key, Sample, Scalar, ScalarLike
from ..parametrisations._denoiser import Denoiser, call_denoiser
from ..processes import Process
from ._differentiable import require_differentiable
from ._weights import Weight, weight_function


class AbstractScoreLoss(eqx.Module):
    """A loss on the score of a denoiser at one corrupted sample.

    The score is that of Tweedie's formula, `process.score`. A subclass writes
    `objective`.
    """

    weight: eqx.AbstractVar[Weight]

    @abc.abstractmethod
    def objective(
        self, score: Callable[[Sample], Sample], x: Sample, *, key: Key
    ) -> Scalar:
        """What a score costs at `x`.

        **Arguments:**

        - `score`: a function of one sample.
        - `x`: one corrupted sample.
        - `key`: of the objective's own draws.

        **Returns:** a scalar.
        """

    def __call__(
        self,
        denoiser: DenoiserFn,
        process: Process,
        x0: Sample,
        t: ScalarLike,
        *,
        key: Key,
    ) -> Scalar:
        r"""The loss of one sample at one time.

        **Arguments:**

        - `denoiser`: `denoiser(t, x) -> x0_hat`.
        - `process`: that corrupts; $\sigma_t > 0$.
        - `x0`: one clean sample, from which $x_t$ is drawn.
        - `t`: one time.
        - `key`: of the noise, the denoiser's dropout and the objective.

        **Returns:** a scalar.

        **Raises:** `ValueError` for a process without noise at its start, or a denoiser
        (or its network) whose derivative in `x` is known to be zero.
        """
        process.require_noise(f"`{type(self).__name__}`")
        weight = weight_function(self.weight, process)
        noise_key, dropout_key, objective_key = jax.random.split(key, 3)
        t = jnp.asarray(t, x0.dtype)
        x_t, _ = process.perturb(t, x0, key=noise_key)
        self._require_differentiable(denoiser, t, x_t, dropout_key)

        def score(x: Sample) -> Sample:
            return process.score(t, x, call_denoiser(denoiser, t, x, dropout_key))

        return weight(t) * self.objective(score, x_t, key=objective_key)

    def _require_differentiable(
        self, denoiser: DenoiserFn, t: Scalar, x: Sample, key: Key
    ) -> None:
        owner = type(self).__name__

        def called(x: Sample) -> Sample:
            return call_denoiser(denoiser, t, x, key)

        require_differentiable(owner, "the denoiser", called, x)
        if isinstance(denoiser, Denoiser):
            # The parametrisation may add `x`, which has a derivative of its own.
            def network(x: Sample) -> Sample:
                shown = denoiser.parametrisation.network_input(denoiser.process, t, x)
                return denoiser.network(*shown, key=key)

            require_differentiable(owner, "the network", network, x)


class ImplicitScoreMatching(AbstractScoreLoss):
    r"""$\frac{w(t)}{d} \big(\lVert s(x_t) \rVert^2 + 2 \operatorname{tr} \nabla
    s(x_t)\big)$ with the exact trace.

    In expectation it is $\frac1d \lVert s - \nabla \log q_t \rVert^2$, the scale of
    [`softsde.losses.DenoisingScoreMatching`][], up to a constant, so it may be
    negative. (Hyvarinen's objective is this times $d / 2$.) It costs $d$ derivatives:
    for images see [`softsde.losses.SlicedScoreMatching`][].

    ??? cite "Reference"

        Hyvarinen, *Estimation of Non-Normalized Statistical Models by Score Matching*,
        JMLR 2005.
    """

    weight: Weight = "one"

    def objective(
        self, score: Callable[[Sample], Sample], x: Sample, *, key: Key
    ) -> Scalar:
        del key
        value, push = jax.linearize(score, x)
        basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        trace = jnp.sum(jax.vmap(lambda e: jnp.vdot(e, push(e)))(basis))
        return (jnp.vdot(value, value) + 2 * trace) / x.size


class SlicedScoreMatching(AbstractScoreLoss):
    r"""$\frac{w(t)}{d} \big(\lVert s \rVert^2 + 2 v^\top \nabla s\, v\big)$ for random
    directions $v$ with $E[v v^\top] = I$.

    The trace of [`softsde.losses.ImplicitScoreMatching`][] by Hutchinson's estimator,
    hence the same expectation. As written it is SSM-VR; without `variance_reduced` the
    first term is $(v^\top s)^2$, which is plain SSM.

    ??? cite "Reference"

        Song, Garg, Shi and Ermon, *Sliced Score Matching: A Scalable Approach to
        Density and Score Estimation*, UAI 2019.
    """

    weight: Weight = "one"
    #: How many directions are averaged, each at the cost of one derivative.
    projections: int = eqx.field(static=True, default=1)
    variance_reduced: bool = eqx.field(static=True, default=True)
    directions: Literal["rademacher", "normal"] = eqx.field(
        static=True, default="rademacher"
    )

    def __check_init__(self):
        if self.projections < 1:
            raise ValueError(
                "`SlicedScoreMatching` needs at least one direction, got "
                f"`projections={self.projections}`."
            )
        if self.directions not in ("rademacher", "normal"):
            raise ValueError(
                f"`SlicedScoreMatching` got `directions={self.directions!r}`; expected "
                "'rademacher' or 'normal'."
            )

    def objective(
        self, score: Callable[[Sample], Sample], x: Sample, *, key: Key
    ) -> Scalar:
        draw = {"rademacher": jax.random.rademacher, "normal": jax.random.normal}
        shape = (self.projections, *x.shape)
        directions = draw[self.directions](key, shape, x.dtype)
        value, push = jax.linearize(score, x)
        curvature = jnp.mean(jax.vmap(lambda v: jnp.vdot(v, push(v)))(directions))
        if self.variance_reduced:
            square = jnp.vdot(value, value)
        else:
            square = jnp.mean(jax.vmap(lambda v: jnp.vdot(v, value) ** 2)(directions))
        return (square + 2 * curvature) / x.size
