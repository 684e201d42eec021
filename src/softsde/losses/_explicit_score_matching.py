"""Explicit score matching: against the exact score of known data."""

import jax
import jax.numpy as jnp

from .._checks import check_samples, check_shape
from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser
from ..oracles import AbstractOracle
from ._base import AbstractLoss, check_denoiser
from ._weights import Weight, check_weight, weight_function


class ExplicitScoreMatching(AbstractLoss):
    r"""$w(t)\, \frac1d \lVert s(x_t) - \nabla \log q_t(x_t) \rVert^2$ (Eq. 1).

    The score is that of Tweedie's formula, `process.score`. It is compared with the
    exact one, which is known where an oracle describes the data. So it is 0 for the
    oracle's own denoiser, and measures how far another is from it; the other score
    matching losses differ from it by a constant.

    !!! example

        ```python
        vector, process = jnp.ones(3), ss.ve(0.1, 1.0)
        oracle = ss.oracles.GaussianOracle(jnp.zeros(3), jnp.eye(3))
        loss = ss.losses.ExplicitScoreMatching(oracle)
        value = loss(oracle.denoiser(process), vector, t, key=key)  # 0
        ```
    """

    oracle: AbstractOracle
    weight: Weight

    def __init__(self, oracle: AbstractOracle, weight: Weight = "one"):
        """**Arguments:**

        - `oracle`: the distribution of the clean data. With a condition, the score is
            that of `oracle.given(condition)`.
        - `weight`: a name or a function `(process, t)`, see
            [`softsde.losses.weight_function`][].

        **Raises:** `TypeError` for something that is no oracle, `ValueError` for an
        unknown name.
        """
        if not isinstance(oracle, AbstractOracle):
            raise TypeError(
                f"`ExplicitScoreMatching` got {type(oracle).__name__} for `oracle`; "
                "expected one of `softsde.oracles`, whose score is known exactly. "
                "Without one, use `DenoisingScoreMatching()`."
            )
        check_weight("ExplicitScoreMatching", weight)
        self.oracle = oracle
        self.weight = weight

    def __call__(
        self,
        denoiser: AbstractDenoiser,
        x0: Sample,
        t: ScalarLike,
        condition: Condition = None,
        *,
        key: Key,
    ) -> Scalar:
        owner = "ExplicitScoreMatching"
        check_denoiser(owner, denoiser)
        check_samples(owner, x0)
        process, t = denoiser.process, jnp.asarray(t, x0.dtype)
        process.require_noise(f"`{owner}`")
        oracle = self.oracle if condition is None else self.oracle.given(condition)
        noise_key, dropout_key = jax.random.split(key)
        x_t, _ = process.perturb(t, x0, key=noise_key)
        x0_hat = denoiser(t, x_t, condition, key=dropout_key)
        check_shape("the denoiser's output", x0.shape, x0_hat.shape)
        # w(t) |s(x_t) - grad log q_t(x_t)|^2 / d
        gap = process.score(t, x_t, x0_hat) - oracle.score(process, t, x_t)
        return weight_function(self.weight)(process, t) * jnp.mean(gap**2)
