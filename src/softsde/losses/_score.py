r"""Score matching without a target: an identity that a score of $x_t$ satisfies.

Partial integration turns $E \lVert s - \nabla \log q_t \rVert^2$ into
$E[\lVert s \rVert^2 + 2 \operatorname{tr} \nabla s]$ plus a constant that does not
depend on $s$ (Hyvarinen). Neither the noise nor $x_0$ appears, so these losses measure
a score on corrupted samples of unknown origin. They cost derivatives of the network;
denoising score matching has the same minimum for less.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from .._checks import check_samples
from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser, Denoiser
from ._base import AbstractLoss, check_denoiser
from ._differentiable import require_differentiable
from ._weights import Weight, weight_function


class AbstractScoreLoss(AbstractLoss):
    """A loss on the score of a denoiser and its derivative at one corrupted sample.

    The score is that of Tweedie's formula, `process.score`. A subclass writes
    `objective`. A process without noise at its start is refused, and so is a denoiser
    (or its network) whose derivative in `x` is known to be zero.
    """

    weight: eqx.AbstractVar[Weight]

    @abc.abstractmethod
    def objective(
        self, score: Callable[[Sample], Sample], x: Sample, *, key: Key
    ) -> Scalar:
        """The cost of a score at `x`.

        **Arguments:**

        - `score`: a function of one sample.
        - `x`: one corrupted sample.
        - `key`: for the objective's own draws.

        **Returns:** a scalar.
        """

    def __call__(
        self,
        denoiser: AbstractDenoiser,
        x0: Sample,
        t: ScalarLike,
        condition: Condition = None,
        *,
        key: Key,
    ) -> Scalar:
        owner = type(self).__name__
        check_denoiser(owner, denoiser)
        check_samples(owner, x0)
        process, t = denoiser.process, jnp.asarray(t, x0.dtype)
        process.require_noise(f"`{owner}`")
        noise_key, dropout_key, objective_key = jax.random.split(key, 3)
        x_t, _ = process.perturb(t, x0, key=noise_key)

        def clean(x: Sample) -> Sample:
            return denoiser(t, x, condition, key=dropout_key)

        require_differentiable(owner, "the denoiser", clean, x_t)
        if isinstance(denoiser, Denoiser):
            # The parametrisation may add `x`, which has a derivative of its own.
            def network(x: Sample) -> Sample:
                return denoiser.network_output(t, x, condition, key=dropout_key)

            require_differentiable(owner, "the network", network, x_t)

        def score(x: Sample) -> Sample:
            return process.score(t, x, clean(x))

        weight = weight_function(self.weight)(process, t)
        return weight * self.objective(score, x_t, key=objective_key)
