"""Averages whose length grows with training: the power-function profiles of EDM2."""

from collections.abc import Sequence
from typing import TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

T = TypeVar("T")

#: The relative length of the average over all steps alike, where the exponent is 0.
LONGEST = 12**-0.5


def power_exponent(sigma_rel: float) -> float:
    r"""The exponent of a power-function profile of a given relative length.

    After $t$ steps the profile gives the weights of step $\tau$ the share

    $$p_\gamma(\tau) = (\gamma + 1)\, \tau^\gamma / t^{\gamma + 1}, \qquad
    0 \le \tau \le t$$

    (Eq. 121). Its standard deviation is the share

    $$\sigma_\text{rel} = \sqrt{\frac{\gamma + 1}{(\gamma + 2)^2 (\gamma + 3)}}$$

    of $t$ (Eq. 123), which decreases in $\gamma$. This solves for $\gamma$.

    **Arguments:**

    - `sigma_rel`: standard deviation of the profile as a share of the steps made, such
        as 0.05 or 0.1; below 0.2887, the average of all steps alike.

    **Returns:** $\gamma > 0$.

    **Raises:** `ValueError` for a length that no profile has.

    !!! example

        ```python
        gamma = ss.train.power_exponent(0.05)  # 16.97
        ```

    ??? cite "Reference"

        Karras, Aittala, Lehtinen, Hellsten, Aila and Laine, *Analyzing and Improving
        the Training Dynamics of Diffusion Models*, CVPR 2024.
    """
    check_length("power_exponent", sigma_rel)
    # (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2, by powers of gamma. Only
    # the largest root is not negative.
    ratio = float(sigma_rel) ** -2
    roots = np.roots([1.0, 7.0, 16.0 - ratio, 12.0 - ratio])
    return float(roots.real.max())


def check_length(owner: str, sigma_rel: float) -> None:
    if not 0 < sigma_rel < LONGEST:
        raise ValueError(
            f"`{owner}` got `sigma_rel={sigma_rel}`; expected a number between 0 and "
            f"{LONGEST:.4f}, the relative length of the average of all steps alike. "
            "Usual ones are 0.05 and 0.1."
        )


def make_profiles(model: T, sigma_rel: Sequence[float]) -> dict[str, T] | None:
    """The averages before the first step, by their lengths; `None` for no length."""
    for length in sigma_rel:
        check_length("TrainState.create", length)
    # A checkpoint names its arrays, so one of other lengths is told by the names.
    profiles = {repr(float(length)): model for length in sigma_rel}
    if len(profiles) != len(sigma_rel):
        raise ValueError(f"`sigma_rel` holds a length twice: {list(sigma_rel)}.")
    return profiles or None


def profile_weight(name: str, step: Int[Array, ""]) -> Float[Array, ""]:
    r"""The weight of the new model in a profile at 0-based update `step`.

    $1 - \beta$ with $\beta = (1 - 1/n)^{\gamma + 1}$ at the $n$-th update (Eq. 127).
    The first update forgets where training began.
    """
    n = (step + 1).astype(jnp.result_type(float))
    # 1 - (1 - 1/n)^(gamma + 1) directly would lose half of its digits at n = 10,000.
    return -jnp.expm1((power_exponent(float(name)) + 1.0) * jnp.log1p(-1.0 / n))


def inner_products(
    steps: Float[np.ndarray, " n"],
    exponents: Float[np.ndarray, " n"],
    other_steps: Float[np.ndarray, " m"],
    other_exponents: Float[np.ndarray, " m"],
) -> Float[np.ndarray, "n m"]:
    r"""$\int p_a(\tau)\, p_b(\tau)\, d\tau$ of all pairs of profiles.

    Both are powers of $\tau$ up to the earlier end $m = \min(t_a, t_b)$, so it is

    $$\frac{(\gamma_a + 1)(\gamma_b + 1)}{\gamma_a + \gamma_b + 1}\,
    \frac{m^{\gamma_a + \gamma_b + 1}}{t_a^{\gamma_a + 1}\, t_b^{\gamma_b + 1}}.$$
    """
    t_a, t_b = np.log(steps)[:, None], np.log(other_steps)[None]
    a, b = exponents[:, None] + 1.0, other_exponents[None] + 1.0
    # The powers themselves would overflow.
    powers = (a + b - 1.0) * np.minimum(t_a, t_b) - a * t_a - b * t_b
    return a * b / (a + b - 1.0) * np.exp(powers)


def posthoc_coefficients(
    steps: Sequence[int],
    sigma_rel: Sequence[float],
    *,
    step: int,
    length: float,
) -> Float[np.ndarray, " n"]:
    r"""Coefficients that combine stored averages into one of another length.

    The profile of a sum of averages is the sum of their profiles. The coefficients $x$
    minimise

    $$\int \Big(\sum_i x_i\, p_i(\tau) - p(\tau)\Big)^2 d\tau
    \qquad \text{with} \quad \sum_i x_i = 1,$$

    the least squares of the paper (Algorithm 3), where the sum is 1 so that a parameter
    that never changed keeps its value.

    **Arguments:**

    - `steps`: the number of steps after which each average was stored.
    - `sigma_rel`: the relative length of each stored average.
    - `step`: the number of steps after which the new average would have been stored.
    - `length`: its relative length.

    **Returns:** one coefficient for each stored average; some are negative.

    **Raises:** `ValueError` for lengths that no profile has, or numbers of steps that
    are not positive.

    !!! example

        ```python
        found = ss.train.posthoc_coefficients(
            [500, 500, 1000, 1000], [0.05, 0.1, 0.05, 0.1], step=1000, length=0.15
        )
        ```
    """
    if len(steps) != len(sigma_rel) or not steps or min(*steps, step) < 1:
        raise ValueError(
            "`posthoc_coefficients` needs one positive number of steps and one length "
            f"for each stored average; got {len(steps)} and {len(sigma_rel)}."
        )
    times = np.asarray(steps, np.float64)
    gammas = np.asarray([power_exponent(s) for s in sigma_rel], np.float64)
    end = np.asarray([step], np.float64)
    gamma = np.asarray([power_exponent(length)], np.float64)
    products = inner_products(times, gammas, times, gammas)
    wanted = inner_products(times, gammas, end, gamma)[:, 0]
    # Profiles of unit norm: those of early steps are a thousand times larger.
    norms = np.sqrt(np.diag(products))
    n = len(times)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = products / np.outer(norms, norms)
    # The sum of the coefficients is 1, by a multiplier in the last row and column.
    scale = norms.min()
    system[n, :n] = system[:n, n] = scale / norms
    right = np.append(wanted / norms, scale)
    return np.linalg.lstsq(system, right, rcond=None)[0][:n] / norms


def check_profiles(profiles: PyTree) -> dict[str, PyTree]:
    if not profiles:
        raise ValueError(
            "The state keeps no power-function averages, so there is nothing to store. "
            "Create it with `TrainState.create(..., sigma_rel=(0.05, 0.1))`."
        )
    return profiles
