"""The scalar that tells a network the time: the time, the noise, or its level.

A published network was trained on one of these, and reads nothing else. It says so in
an attribute `sees`, and [`softsde.Denoiser`][] computes it from the process. A network
without the attribute, or with `sees = None`, is told what its parametrisation says.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class AbstractSees(eqx.Module):
    """The scalar that a network is given in the place of the time.

    A network names it in an attribute or a property `sees`.

    !!! example

        ```python
        class Shrink(eqx.Module):
            sees = ss.nn.SeesSigma()

            def __call__(self, sigma, x, condition=None, *, key=None):
                return x / (1 + sigma**2)
        ```
    """

    #: Whether the scalar has no value where there is no noise.
    needs_noise: ClassVar[bool]

    @abc.abstractmethod
    def __call__(
        self, t: Float[Array, ""], sigma: Float[Array, ""]
    ) -> Float[Array, ""]:
        """**Arguments:**

        - `t`: the time, in at least float32.
        - `sigma`: the standard deviation of the noise there, of the same dtype.

        **Returns:** what the network is given.
        """


class SeesTime(AbstractSees):
    r"""The time, times a constant: $s\, t$.

    Networks of DDPM number their steps, so they see $999\, t$.
    """

    needs_noise: ClassVar[bool] = False
    scale: float = 1.0

    def __call__(
        self, t: Float[Array, ""], sigma: Float[Array, ""]
    ) -> Float[Array, ""]:
        del sigma
        return self.scale * t


class SeesSigma(AbstractSees):
    r"""The standard deviation of the noise, $\sigma_t$."""

    # A network that is given sigma takes its logarithm, or divides by it.
    needs_noise: ClassVar[bool] = True

    def __call__(
        self, t: Float[Array, ""], sigma: Float[Array, ""]
    ) -> Float[Array, ""]:
        del t
        return sigma


class SeesLogSigma(AbstractSees):
    r"""The logarithm of the noise, times a constant: $s \log \sigma_t$."""

    needs_noise: ClassVar[bool] = True
    scale: float = 1.0

    def __call__(
        self, t: Float[Array, ""], sigma: Float[Array, ""]
    ) -> Float[Array, ""]:
        del t
        return self.scale * jnp.log(sigma)


class SeesLevel(AbstractSees):
    r"""The index of the noise among geometric levels, the largest of which is 0.

    The levels are $\sigma_i = \sigma_\text{max} (\sigma_\text{min} /
    \sigma_\text{max})^{i / (n - 1)}$. The network is given the nearest in ratio,

    $$i = \operatorname{round}\Bigl((n - 1)
    \frac{\log(\sigma_\text{max} / \sigma_t)}
    {\log(\sigma_\text{max} / \sigma_\text{min})}\Bigr),$$

    between 0 and $n - 1$, as a floating-point number.

    ??? cite "Reference"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019.
    """

    needs_noise: ClassVar[bool] = True
    sigma_min: float
    sigma_max: float
    num_levels: int

    def __check_init__(self):
        if not 0 < self.sigma_min < self.sigma_max or self.num_levels < 2:
            raise ValueError(
                f"`SeesLevel` got `sigma_min={self.sigma_min}`, `sigma_max="
                f"{self.sigma_max}` and `num_levels={self.num_levels}`; expected "
                "0 < sigma_min < sigma_max and at least two levels, such as "
                "`SeesLevel(0.01, 50.0, 232)`."
            )

    def __call__(
        self, t: Float[Array, ""], sigma: Float[Array, ""]
    ) -> Float[Array, ""]:
        del t
        last = self.num_levels - 1
        ratio = jnp.log(self.sigma_max / self.sigma_min)
        place = last * (jnp.log(self.sigma_max / sigma) / ratio)
        return jnp.clip(jnp.round(place), 0, last)


class SeesNearest(AbstractSees):
    r"""The index of the noise among any levels: of the one that is nearest in ratio.

    $$i = \operatorname{argmin}_j \lvert \log \sigma_j - \log \sigma_t \rvert$$

    as a floating-point number. For geometric levels it is [`softsde.nn.SeesLevel`][].
    """

    needs_noise: ClassVar[bool] = True
    #: The levels, in the order of their indices.
    sigmas: tuple[float, ...] = eqx.field(static=True)

    def __call__(
        self, t: Float[Array, ""], sigma: Float[Array, ""]
    ) -> Float[Array, ""]:
        del t
        levels = jnp.asarray(np.log(self.sigmas), sigma.dtype)
        nearest = jnp.argmin(jnp.abs(levels - jnp.log(sigma)))
        return nearest.astype(sigma.dtype)
