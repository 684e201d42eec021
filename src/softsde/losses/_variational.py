"""The weights of DDPM's variational bound."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process
from ..schedules import DiscreteVP


class VariationalWeight(eqx.Module):
    r"""The weight with which Soft Score Matching is DDPM's variational bound.

    With the variance $s_i^2$ of a step backwards, the $i$-th term of the bound is

    $$L_{i-1} = \frac{\beta_i^2}{2 s_i^2 (1 - \beta_i)(1 - \bar\alpha_i)}\,
    \lVert \epsilon - \hat\epsilon \rVert^2
    = \frac{\beta_i^2}{2 s_i^2 (1 - \beta_i)}\,
    \lVert s(x_i) - \nabla \log q_i(x_i | x_0) \rVert^2,$$

    up to a constant: a weighted noise prediction, which is a weighted denoising score
    matching, since $s = -\hat\epsilon / \sqrt{1 - \bar\alpha_i}$ and $\epsilon -
    \hat\epsilon = \sqrt{\bar\alpha_i / (1 - \bar\alpha_i)}\, (\hat x_0 - x_0)$. With
    the weight $1 - \bar\alpha_i$ on the scores in place of this one, it is DDPM's
    simple objective: [`softsde.losses.SoftScoreMatching`][] with its default weight.

    $s_i^2$ is $\beta_i$, or the variance of the posterior, $\tilde\beta_i = \beta_i
    (1 - \bar\alpha_{i-1}) / (1 - \bar\alpha_i)$. The first step, $L_0$, is a decoder,
    whose posterior has no variance: it has $\beta_1$ in both cases, with which $L_0$ is
    $\lVert x_0 - \hat x_0 \rVert^2 / 2 \beta_1$.

    A loss of this library is a mean over the $d$ components, and of uniform times it is
    a mean over the $N$ steps: the sum of all terms is $N d$ times it.

    !!! example

        ```python
        process = ss.processes.ddpm(np.linspace(1e-3, 0.2, 20))
        bound = ss.losses.SoftScoreMatching(ss.losses.VariationalWeight())
        steps = jax.vmap(process.sigma)(jnp.arange(1, 21) / 20)
        loss = ss.losses.AtNoiseLevels(bound, steps)
        ```

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020,
        Eq. 5, 12 and 14.
    """

    variance: Literal["posterior", "beta"]

    def __init__(self, variance: Literal["posterior", "beta"] = "posterior"):
        r"""**Arguments:**

        - `variance`: of a step backwards, `"posterior"` for $\tilde\beta_i$ or `"beta"`
            for $\beta_i$.

        **Raises:** `ValueError` for another name.
        """
        if variance not in ("posterior", "beta"):
            raise ValueError(
                f"`VariationalWeight` got `variance={variance!r}`; expected "
                "'posterior' (DDPM's smaller variance) or 'beta' (its larger one)."
            )
        self.variance = variance

    def __call__(self, process: Process, t: ScalarLike) -> Scalar:
        noise = process.noise
        if not isinstance(noise, DiscreteVP):
            raise ValueError(
                "`VariationalWeight` is of a chain with steps, got the noise "
                f"`{type(noise).__name__}`. Make the process with `softsde.processes."
                "ddpm(betas)`."
            )
        t = jnp.asarray(t)
        betas = noise.betas.astype(t.dtype)
        number = betas.shape[0]
        index = jnp.clip(jnp.round(number * t).astype(int), 1, number)
        beta = betas[index - 1]
        now, before = noise(t) ** 2, noise(((index - 1) / number).astype(t.dtype)) ** 2
        step = beta
        if self.variance == "posterior":
            step = jnp.where(index > 1, beta * before / now, beta)
        # L_{i-1} of |C (x0_hat - x0)|^2 = (1 - alpha bar) |eps - eps_hat|^2.
        return beta**2 / (2 * step * (1 - beta) * now**2)
