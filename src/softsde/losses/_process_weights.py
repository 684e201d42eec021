"""Weights that follow from the signal and the noise of a process."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive
from .._types import Scalar, ScalarLike
from ..processes import Process


class MinSNRWeight(eqx.Module):
    r"""$w(t) = \min(\alpha_t^2 / \sigma_t^2,\; \gamma)$: min-SNR, for a clean residual.

    The weight of noise prediction where there is much noise, and no more than `gamma`
    where there is little. It goes with [`softsde.losses.CleanPrediction`][] of a
    scaling.

    ??? cite "Reference"

        Hang, Gu, Li, Bao, Chen, Hu, Geng and Guo, *Efficient Diffusion Training via
        Min-SNR Weighting Strategy*, ICCV 2023.
    """

    process: Process
    gamma: ArrayLike = 5.0

    def __check_init__(self):
        self.process.require_scaling("`MinSNRWeight`")
        self.process.require_noise("`MinSNRWeight`")
        check_positive("MinSNRWeight", "gamma", self.gamma)

    def __call__(self, t: ScalarLike) -> Scalar:
        ratio = self.process.snr(t)
        return jnp.minimum(ratio, jnp.asarray(self.gamma, ratio.dtype))


class EDMWeight(eqx.Module):
    r"""$w(t) = (\alpha_t^2 \sigma_d^2 + \sigma_t^2) / (\sigma_t \sigma_d)^2$: EDM's.

    It is $1 / c_\text{out}^2$ of [`softsde.parametrisations.EDM`][]: with
    [`softsde.losses.CleanPrediction`][], the network's own squared error is weighted
    by 1 at all times. At $\alpha_t = 1$ it is $\lambda(\sigma)$ of the paper (Table 1).

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """

    process: Process
    sigma_data: ArrayLike = 0.5

    def __check_init__(self):
        self.process.require_scaling("`EDMWeight`")
        self.process.require_noise("`EDMWeight`")
        check_positive("EDMWeight", "sigma_data", self.sigma_data)

    def __call__(self, t: ScalarLike) -> Scalar:
        sigma = self.process.sigma(t)
        data = jnp.asarray(self.sigma_data, sigma.dtype)
        # The sum of the two ratios: it does not square a large sigma.
        return self.process.snr(t) + 1 / data**2
