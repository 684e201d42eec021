r"""The SDE that the literature writes for a process whose corruption is a scaling."""

import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ._process import Process


def classical_sde(process: Process, t: ScalarLike) -> tuple[Scalar, Scalar]:
    r"""The coefficients $(f_t, g_t)$ of $dx = f_t x\, dt + g_t\, dw$.

    For $C_t = \alpha_t I$ this *linear* SDE has the process' own law of $x_t$ given
    $x_0$, for one $x_0$ at a time, with

    $$f_t = \frac{\dot\alpha_t}{\alpha_t}, \qquad
    g_t^2 = \frac{d\sigma_t^2}{dt} - 2 f_t \sigma_t^2.$$

    It is the SDE of VE, VP, subVP and EDM as published, and the one by which their
    coefficients are known.

    It is not the forward SDE of this library, the paper's Eq. 13, $dx = \dot C_t\,
    E[x_0|x_t]\, dt + \sqrt{d\sigma_t^2/dt}\, dw$, which is `process.drift` and
    `process.diffusion`. That one fades an *estimate of the clean sample*, where this
    one fades all of $x_t$, its noise included, and so has to inject more. The two have
    the same $q_t$, and one probability flow: $f_t x - \frac12 g_t^2 \nabla \log q_t$
    here, `process.velocity` there. Eq. 13 exists for every corruption; a linear SDE
    needs $C_t^{-1}$, which a blur or a mask does not have.

    **Arguments:**

    - `process`: with `Identity` or `Scale` for its corruption.
    - `t`: a time at which $\alpha_t \ne 0$.

    **Returns:** the pair $(f_t, g_t)$; $g_t$ is nan where the signal-to-noise ratio
    grows, since no SDE does that.

    **Raises:** `ValueError` for any other corruption.
    """
    process.require_scaling("`classical_sde`")
    t = jnp.asarray(t)
    alpha_dot = process.apply_dot(t, jnp.ones_like(t))
    rate = alpha_dot / process.signal(t)
    variance = process.sigma(t) ** 2
    return rate, jnp.sqrt(process.variance_derivative(t) - 2 * rate * variance)
