r"""The number of noise levels and the size of a Langevin step, in closed form.

Noise of standard deviation $\sigma$ in $D$ dimensions lies on a shell of radius about
$\sqrt D \sigma$ and thickness about $\sigma / \sqrt 2$. Annealed Langevin dynamics goes
from shell to shell. So the shells of neighbouring levels must overlap, and the steps at
a level must bring the variance down to that level. Each condition is an equation in one
unknown.
"""

import math

from .._checks import check_positive


def geometric_ratio(dim: int, *, overlap: float = 0.5) -> float:
    r"""The ratio $\gamma$ of neighbouring noise levels at which their shells overlap.

    It solves
    $\Phi\big(\sqrt{2D}(\gamma - 1) + 3\gamma\big) - \Phi\big(\sqrt{2D}(\gamma - 1) -
    3\gamma\big) = p$: a share $p$ of the noise of the smaller level lies within three
    standard deviations of the shell of the larger one (Technique 2 of Song and Ermon,
    from their Proposition 2).

    **Arguments:**

    - `dim`: $D$, the number of components of a sample.
    - `overlap`: $p$. The paper recommends about one half; the numbers of levels that it
        reports follow from 0.567.

    **Returns:** $\gamma > 1$.

    **Raises:** `ValueError` for fewer than five dimensions, where the equation has no
    solution because it assumes a thin shell; or a share outside (0, 0.99].

    !!! example

        ```python
        ratio = ss.fitting.geometric_ratio(image.size)
        number = ss.fitting.num_noise_levels(0.01, 50.0, ratio)
        sigmas = ss.schedules.noise_sequence("geometric", number, 50.0, 0.01)
        ```

    ??? cite "Reference"

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020, Section 3.2.
    """
    if dim < 5:
        raise ValueError(
            f"`geometric_ratio` got `dim={dim}`; the formula takes the noise to lie on "
            "a thin shell, and has no solution below 5 dimensions."
        )
    if not 0 < overlap <= 0.99:
        raise ValueError(
            f"`geometric_ratio` got `overlap={overlap}`; expected a share in (0, 0.99]."
        )
    from scipy import optimize

    def excess(gamma: float) -> float:
        return shell_overlap(dim, gamma) - overlap

    # The excess falls with the ratio: double it until the overlap is too small.
    upper = 2.0
    while excess(upper) > 0:
        upper *= 2
    found = optimize.root_scalar(excess, bracket=(1.0, upper), xtol=1e-14)
    return float(found.root)


def shell_overlap(dim: int, ratio: float) -> float:
    r"""The share of a noise level that lies within reach of the next larger one.

    $\Phi\big(\sqrt{2D}(\gamma - 1) + 3\gamma\big) - \Phi\big(\sqrt{2D}(\gamma - 1) -
    3\gamma\big)$: the probability that the radius of noise of the smaller level is
    within three standard deviations of the radius of the larger one.
    [`softsde.fitting.geometric_ratio`][] solves it for the ratio.

    **Arguments:**

    - `dim`: $D$, the number of components of a sample.
    - `ratio`: $\gamma \ge 1$, the larger level over the smaller one.

    **Returns:** a share, near 1 for levels that are close.

    **Raises:** `ValueError` for no dimension, or a ratio below 1.

    !!! example

        ```python
        sigmas = ss.schedules.noise_sequence("geometric", 10, 1.0, 0.01)
        ss.fitting.shell_overlap(784, float(sigmas[0] / sigmas[1]))  # none
        ```

    ??? cite "Reference"

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020, Section 3.2.
    """
    if dim < 1 or not 1 <= ratio < math.inf:
        raise ValueError(
            f"`shell_overlap` got `dim={dim}` and `ratio={ratio}`; expected at least "
            "one dimension, and the larger level over the smaller one, at least 1."
        )
    from scipy import special

    middle, reach = math.sqrt(2 * dim) * (ratio - 1), 3 * ratio
    # Of the tail on the right, where a difference of numbers near 1 would lose digits.
    return float(special.ndtr(reach - middle) - special.ndtr(-reach - middle))


def num_noise_levels(sigma_min: float, sigma_max: float, ratio: float) -> int:
    r"""The fewest geometric levels, both ends included, whose ratio is at most `ratio`.

    $1 + \lceil \log(\sigma_{\max} / \sigma_{\min}) / \log \gamma \rceil$.

    **Arguments:**

    - `sigma_min`, `sigma_max`: the smallest and the largest level.
    - `ratio`: $\gamma$, as from [`softsde.fitting.geometric_ratio`][].

    **Raises:** `ValueError` for levels that do not rise, or a ratio of 1 or less.
    """
    check_positive("num_noise_levels", "sigma_min", sigma_min)
    if not sigma_max > sigma_min:
        raise ValueError(
            f"`num_noise_levels` needs `sigma_min` < `sigma_max`, got {sigma_min} and "
            f"{sigma_max}."
        )
    if not ratio > 1:
        raise ValueError(f"`num_noise_levels` needs `ratio` > 1, got {ratio}.")
    steps = math.log(sigma_max / sigma_min) / math.log(ratio)
    # Without the slack, the ratio of 232 levels might give 233 by rounding.
    return 1 + math.ceil(steps - 1e-9 * max(1.0, steps))


def variance_ratio(
    step: float, sigma_min: float, ratio: float, num_steps: int
) -> float:
    r"""The variance after annealed Langevin dynamics at a level, over the right one.

    The dynamics enters a level with the variance $\gamma^2 \sigma_i^2$ of the level
    before, and leaves it with the variance $s_T^2$. With $u = \epsilon / \sigma_L^2$,

    $$\frac{s_T^2}{\sigma_i^2} = (1 - u)^{2T} \Big(\gamma^2 - \frac{2}{2 - u}\Big)
    + \frac{2}{2 - u}.$$

    The ratio is the same at each level, because the step there is
    $\epsilon \sigma_i^2 / \sigma_L^2$ (Proposition 3 of Song and Ermon, simplified). A
    ratio of 1 would be perfect.

    **Arguments:**

    - `step`: $\epsilon$, the step at the smallest level.
    - `sigma_min`: $\sigma_L$, the smallest level.
    - `ratio`: $\gamma$ of neighbouring levels.
    - `num_steps`: $T$, the number of steps at a level.
    """
    u = step / sigma_min**2
    rest = 2 / (2 - u)
    return (1 - u) ** (2 * num_steps) * (ratio**2 - rest) + rest


def langevin_step_size(sigma_min: float, ratio: float, num_steps: int) -> float:
    r"""The step $\epsilon$ that brings the variance closest to the right one.

    It minimises [`softsde.fitting.variance_ratio`][], which is above 1 for every step
    (Technique 4 of Song and Ermon).

    **Arguments:**

    - `sigma_min`: $\sigma_L$, the smallest level.
    - `ratio`: $\gamma$ of neighbouring levels.
    - `num_steps`: $T$, the number of steps at a level.

    **Returns:** $\epsilon$, the step at the smallest level.

    **Raises:** `ValueError` for a level that is not positive, a ratio of 1 or less, or
    no steps.

    !!! example

        ```python
        # CIFAR-10: 6.2e-6 is published
        ratio = (50.0 / 0.01) ** (1 / 231)
        step = ss.fitting.langevin_step_size(0.01, ratio, num_steps=5)
        ```

    ??? cite "Reference"

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020, Section 3.4.
    """
    check_positive("langevin_step_size", "sigma_min", sigma_min)
    if not ratio > 1:
        raise ValueError(f"`langevin_step_size` needs `ratio` > 1, got {ratio}.")
    if num_steps < 1:
        raise ValueError(
            f"`langevin_step_size` got `num_steps={num_steps}`; expected at least 1."
        )
    from scipy import optimize

    found = optimize.minimize_scalar(
        lambda u: variance_ratio(u, 1.0, ratio, num_steps),
        bounds=(0.0, 1.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return float(found.x) * sigma_min**2
