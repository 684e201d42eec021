"""EDM's preconditioning: input and target of the network have unit variance."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive
from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractParametrisation
from ._checks import require_nonzero, time_like


class EDM(AbstractParametrisation):
    r"""$\hat x_0 = c_\text{skip}\, x_t + c_\text{out}\, \phi_\theta(c_\text{in}\, x_t,
    c_\text{noise})$, for $C_t = \alpha_t I$.

    With $s_t^2 = \alpha_t^2 \sigma_d^2 + \sigma_t^2$, the variance of $x_t$ for data of
    standard deviation $\sigma_d$,

    $$c_\text{skip} = \frac{\alpha_t \sigma_d^2}{s_t^2}, \qquad
    c_\text{out} = \frac{\sigma_t \sigma_d}{s_t}, \qquad
    c_\text{in} = \frac{1}{s_t}, \qquad
    c_\text{noise} = \tfrac14 \log \frac{\sigma_t}{\alpha_t}.$$

    At $\alpha_t = 1$ these are those of the paper (Table 1). For other scalings they
    are the paper's for $x_t / \alpha_t$, whose noise is $\sigma_t / \alpha_t$. The loss
    that goes with it is [`softsde.losses.CleanPrediction`][] with
    [`softsde.losses.EDMWeight`][].

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """

    sigma_data: ArrayLike = 0.5

    def __check_init__(self):
        check_positive("EDM", "sigma_data", self.sigma_data)

    def _scales(
        self, process: Process, t: ScalarLike, x: Sample
    ) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """alpha, sigma, the standard deviations of the data and of `x`."""
        process.require_scaling("`EDM`")
        t = time_like(t, x)
        alpha, sigma = process.signal(t), process.sigma(t)
        data = jnp.asarray(self.sigma_data, x.dtype)
        return alpha, sigma, data, jnp.hypot(alpha * data, sigma)

    def network_input(
        self, process: Process, t: ScalarLike, x: Sample
    ) -> tuple[ScalarLike, Sample]:
        alpha, sigma, _, spread = self._scales(process, t, x)
        return 0.25 * jnp.log(sigma / alpha), x / spread

    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        alpha, sigma, data, spread = self._scales(process, t, x)
        skipped = (alpha * data**2 / spread**2) * x
        return skipped + (sigma * data / spread) * output

    def from_clean(
        self, process: Process, t: ScalarLike, x: Sample, x0_hat: Sample
    ) -> Sample:
        alpha, sigma, data, spread = self._scales(process, t, x)
        skipped = (alpha * data**2 / spread**2) * x
        return (x0_hat - skipped) * (spread / (sigma * data))

    def check(self, process: Process) -> None:
        process.require_scaling("`EDM`")
        process.require_noise("`EDM`")
        last = process.signal(process.t1)
        require_nonzero("`EDM`, whose `c_noise` is log(sigma/alpha)/4,", "alpha", last)
