"""The network predicts the noise: the parametrisation of DDPM."""

from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractCorruptedParametrisation
from ._checks import time_like


class Noise(AbstractCorruptedParametrisation):
    r"""$\hat\eta = (x_t - C_t \hat x_0) / \sigma_t$: the network predicts the noise.

    Read as a clean sample, $\hat x_0 = (x_t - \sigma_t \hat\eta) / \alpha_t$, it
    multiplies the network's error by $\sigma_t / \alpha_t$: good where there is little
    noise, poor where there is much.

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
    """

    def to_corrupted(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        return x - process.sigma(time_like(t, x)) * output

    def from_corrupted(
        self, process: Process, t: ScalarLike, x: Sample, corrupted: Sample
    ) -> Sample:
        return (x - corrupted) / process.sigma(time_like(t, x))
