"""Ancestral sampling, by its name."""

from typing import Literal

from ._ddim import DDIM


def Ancestral(variance: Literal["posterior", "beta"] = "posterior") -> DDIM:
    r"""Ancestral sampling (DDPM): `DDIM(eta=1.0)`.

    Each step draws $x_{t'}$ from the posterior $q(x_{t'} | x_t, x_0)$ at $x_0 = D(t,
    x_t)$ of the Markov chain that DDPM is for a scaling. For any other corruption see
    [`softsde.DDIM`][softsde.solvers.DDIM].

    The mean is that of DDPM. Its two choices of the variance are $\tilde\beta$, that of
    the posterior, and $\beta$, what a step of the chain adds: $1 - \alpha_t^2 /
    \alpha_{t'}^2$ where variance is preserved, and then the step is $x_{t'} = (x_t +
    \beta S) / \sqrt{1 - \beta} + \sqrt{\beta}\, z$. Without a corruption it is
    $\sigma_t^2 - \sigma_{t'}^2$: reverse diffusion.

    **Arguments:**

    - `variance`: `"posterior"` for $\tilde\beta$, exact if the data is one point; or
        `"beta"`, exact if they are standard normal. Both have the same limit in short
        steps.

    **Raises:** `ValueError` for another name.

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
    """
    if variance not in ("posterior", "beta"):
        raise ValueError(
            f"`Ancestral` got `variance={variance!r}`; expected 'posterior' or 'beta', "
            "DDPM's smaller and larger variance of a step."
        )
    return DDIM(eta=1.0, large=variance == "beta")
