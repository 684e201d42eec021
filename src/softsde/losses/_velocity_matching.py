"""Conditional flow matching for any corruption."""

from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._operators import velocity
from ._residual import AbstractResidualLoss, weighted_square
from ._weights import Weight, check_weight


class VelocityMatching(AbstractResidualLoss):
    r"""Conditional flow matching: regression of the velocity (Eq. 19 and 49).

    $w(t)\, \frac1d \lVert u(x_t, \hat x_0) - (\dot C_t x_0 + \dot\sigma_t \eta)
    \rVert^2$ with the $u$ of `process.velocity`. The two velocities differ by $B_t
    (\hat x_0 - x_0)$, $B_t = \sigma_t \frac{d}{dt}(C_t / \sigma_t) = \dot C_t -
    \frac{\dot\sigma_t}{\sigma_t} C_t$, so this is the weighted residual at $B_t$. It
    sees what the next step of a sampler reveals, also where $C_t$ itself is singular.

    Flow matching has no weight, hence the default `"one"`. The process must have
    $\sigma_t > 0$ and a corruption that moves smoothly.

    ??? cite "Reference"

        Lipman, Chen, Ben-Hamu, Nickel and Le, *Flow Matching for Generative Modeling*,
        ICLR 2023.
    """

    weight: Weight

    def __init__(self, weight: Weight = "one"):
        """**Arguments:**

        - `weight`: a name or a function `(process, t)`, see
            [`softsde.losses.weight_function`][].

        **Raises:** `ValueError` for an unknown name.
        """
        check_weight("VelocityMatching", weight)
        self.weight = weight

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        # w(t) |sigma_t d(C_t / sigma_t)/dt (x0_hat - x0)|^2 / d
        return weighted_square(velocity, self.weight, process, t, residual)
