"""Chooses the parametrisation of a process when nobody says."""

from ..processes import Process
from ._base import AbstractParametrisation
from ._edm import EDM
from ._residual import Residual
from ._velocity import Velocity

# Noise above this multiple of the signal leaves the input of a network far from unit
# variance, and nothing of the data in it to add a residual to.
_LARGE_NOISE = 2.0


def default_for(process: Process) -> AbstractParametrisation:
    r"""The parametrisation that a network for `process` is read through by default.

    - A scaling $C_t = \alpha_t I$ that ends in noise ($\sigma_T > 2\, \alpha_T$: VE,
        EDM, VP, subVP): [`softsde.parametrisations.EDM`][], for data of standard
        deviation 0.5. It brings the input of the network to unit variance.
    - The same where nothing of the signal is left, $\alpha_T = 0$ (rectified flow,
        cosine VP): [`softsde.parametrisations.Velocity`][].
    - Everything else, the soft processes among them:
        [`softsde.parametrisations.Residual`][], the paper's.

    **Arguments:**

    - `process`: whose clean sample is to be predicted.

    **Returns:** a parametrisation.
    """
    if not process.is_scaling:
        return Residual()
    sigma, alpha = process.known_sigma(process.t1), process.known_signal(process.t1)
    if sigma is None or alpha is None or sigma <= _LARGE_NOISE * alpha:
        return Residual()
    # Rounding leaves a cosine at 1e-8 of its start: that is nothing, too.
    return Velocity() if alpha < 1e-6 else EDM()
