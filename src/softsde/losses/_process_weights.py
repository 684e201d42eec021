"""Weights that follow from the signal and the noise of a scaling."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive
from .._types import Scalar, ScalarLike
from ..processes import Process


class MinSNRWeight(eqx.Module):
    r"""$w(t) = \min(\alpha_t^2 / \sigma_t^2,\; \gamma)$: min-SNR, for a clean residual.

    The weight of noise prediction where there is much noise, and no more than `gamma`
    where there is little. It goes with [`softsde.losses.CleanPrediction`][] on a
    process whose corruption is a scaling, $C_t = \alpha_t I$.

    !!! example

        ```python
        loss = ss.losses.CleanPrediction(ss.losses.MinSNRWeight(gamma=5.0))
        ```

    ??? cite "Reference"

        Hang, Gu, Li, Bao, Chen, Hu, Geng and Guo, *Efficient Diffusion Training via
        Min-SNR Weighting Strategy*, ICCV 2023.
    """

    gamma: ArrayLike

    def __init__(self, gamma: ArrayLike = 5.0):
        """**Arguments:**

        - `gamma`: the largest weight; positive.

        **Raises:** `ValueError` for a number that is not positive.
        """
        check_positive("MinSNRWeight", "gamma", gamma)
        self.gamma = gamma

    def __call__(self, process: Process, t: ScalarLike) -> Scalar:
        process.require_scaling("`MinSNRWeight`")
        process.require_noise("`MinSNRWeight`")
        ratio = process.snr(t)
        return jnp.minimum(ratio, jnp.asarray(self.gamma, ratio.dtype))


class EDMWeight(eqx.Module):
    r"""$w(t) = (\alpha_t^2 \sigma_d^2 + \sigma_t^2) / (\sigma_t \sigma_d)^2$: EDM's.

    It is $1 / c_\text{out}^2$ of [`softsde.parametrisations.EDM`][]: with
    [`softsde.losses.CleanPrediction`][], the network's own squared error is weighted
    by 1 at all times. At $\alpha_t = 1$ it is $\lambda(\sigma)$ of the paper (Table 1).

    !!! example

        ```python
        loss = ss.losses.CleanPrediction(ss.losses.EDMWeight(sigma_data=0.5))
        denoiser = ss.Denoiser(network, ss.edm(), ss.parametrisations.EDM(0.5))
        ss.losses.batch_loss(loss, denoiser, xs, times="log_normal", key=key)
        ```

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """

    sigma_data: ArrayLike

    def __init__(self, sigma_data: ArrayLike = 0.5):
        r"""**Arguments:**

        - `sigma_data`: $\sigma_d$, the standard deviation of the data; positive.

        **Raises:** `ValueError` for a number that is not positive.
        """
        check_positive("EDMWeight", "sigma_data", sigma_data)
        self.sigma_data = sigma_data

    def __call__(self, process: Process, t: ScalarLike) -> Scalar:
        process.require_scaling("`EDMWeight`")
        process.require_noise("`EDMWeight`")
        ratio = process.snr(t)
        # The sum of the two ratios: it does not square a large sigma.
        return ratio + 1 / jnp.asarray(self.sigma_data, ratio.dtype) ** 2
