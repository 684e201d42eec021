"""The chain of DDPM as a process whose grid is the chain."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Array, Float

from ..corruptions import Scale
from ..schedules import DiscreteVP, DiscreteVPSignal
from ._process import Process


def ddpm(
    betas: Float[Array | np.ndarray, " steps"] | Sequence[float] | None = None,
) -> Process:
    r"""DDPM's chain $x_i = \sqrt{1 - \beta_i}\, x_{i-1} + \sqrt{\beta_i}\, z_i$.

    Step $i$ of $N$ is the time $t = i / N$, and there the process is the chain:

    $$x_i = \sqrt{\bar\alpha_i}\, x_0 + \sqrt{1 - \bar\alpha_i}\; \eta, \qquad
    \bar\alpha_i = \prod_{j \le i} (1 - \beta_j).$$

    Time begins at $t_0 = 1 / N$, the state $x_1$. So the chain backwards, down to
    $x_1$, is `sample(..., solver=Ancestral(), num_steps=N - 1)`, whose uniform grid
    has the times $1, (N-1)/N, \dots, 1/N$, and its last step, which adds no noise, is
    `denoise_last`. Train on the chain's steps alone with
    [`softsde.losses.AtNoiseLevels`][]; [`softsde.losses.VariationalWeight`][] has the
    weights of the variational bound. Other grids and solvers work as for any process:
    between the steps $\log \bar\alpha$ is linear in time. (At each step the schedule
    has a kink, where steps that adapt end: for those take [`softsde.vp`][].)

    **Arguments:**

    - `betas`: $\beta_1, \dots, \beta_N$; by default DDPM's thousand, evenly spaced from
        0.0001 to 0.02, for data in [-1, 1].

    **Raises:** `ValueError` for fewer than two betas, or one outside (0, 1).

    !!! example

        ```python
        process = ss.processes.ddpm(np.linspace(1e-3, 0.2, 20))
        denoiser = ss.oracles.EmpiricalOracle(xs).denoiser(process)
        drawn = ss.sample(
            denoiser, x1=xs, solver=ss.Ancestral(), num_steps=19, key=key
        )
        ```

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
    """
    if betas is None:
        betas = np.linspace(1e-4, 0.02, 1000)
    signal, noise = DiscreteVPSignal(betas), DiscreteVP(betas)
    # The first state of a chain is a step away from the data, however large that is.
    t0 = 1 / noise.betas.shape[0]
    return Process(Scale(), signal, noise, t0, clean_start=False)
