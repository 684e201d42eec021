"""The network predicts the velocity of the probability flow: flow matching."""

import jax.numpy as jnp

from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractParametrisation
from ._checks import require_nonzero, time_like


class Velocity(AbstractParametrisation):
    r"""$u = \dot C_t \hat x_0 + \frac{\dot\sigma_t}{\sigma_t} (x_t - C_t \hat x_0)$.

    The velocity of the probability flow, `process.velocity`; for rectified flow it is
    the mean of $\eta - x_0$. It determines $(\dot C_t - \frac{\dot\sigma_t}{\sigma_t}
    C_t)\, \hat x_0$: for a scaling the clean sample follows,

    $$\hat x_0 = \frac{\sigma_t u - \dot\sigma_t x_t}
    {\sigma_t \dot\alpha_t - \dot\sigma_t \alpha_t},$$

    also where $\alpha_t = 0$, as long as the signal-to-noise ratio falls; for any other
    corruption it would take an inverse, and is refused. (The "v" of progressive
    distillation is another quantity: this, for a time that is the angle of
    $\alpha_t = \cos\phi$, $\sigma_t = \sin\phi$.)

    ??? cite "Reference"

        Lipman, Chen, Ben-Hamu, Nickel and Le, *Flow Matching for Generative Modeling*,
        ICLR 2023.
    """

    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        self.check(process)
        t = time_like(t, x)
        alpha, sigma = process.signal(t), process.sigma(t)
        alpha_dot = process.apply_dot(t, jnp.ones_like(t))
        sigma_dot = process.noise.derivative(t)
        determinant = sigma * alpha_dot - sigma_dot * alpha
        require_nonzero("`Velocity.to_clean`", "the speed of alpha/sigma", determinant)
        return (sigma * output - sigma_dot * x) / determinant

    def from_clean(
        self, process: Process, t: ScalarLike, x: Sample, x0_hat: Sample
    ) -> Sample:
        return process.velocity(t, x, x0_hat)

    def check(self, process: Process) -> None:
        if not process.is_scaling:
            raise ValueError(
                "`Velocity` determines (dC_t/dt - C_t dlog(sigma_t)/dt) E[x0|x_t], and "
                "no more. The clean sample asks for the inverse of that operator, "
                f"which `{type(process.corruption).__name__}` need not have. Let the "
                "network predict it, with `Residual` or `Clean`, and train with "
                "`VelocityMatching`."
            )
