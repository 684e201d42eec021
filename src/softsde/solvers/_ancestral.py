"""Ancestral sampling, by its name."""

from ._ddim import DDIM


def Ancestral() -> DDIM:
    r"""Ancestral sampling (DDPM): `DDIM(eta=1.0)`.

    Each step draws $x_{t'}$ from the posterior $q(x_{t'} | x_t, x_0)$ at $x_0 = D(t,
    x_t)$ of the Markov chain that DDPM is for a scaling. For any other corruption see
    [`softsde.DDIM`][softsde.solvers.DDIM].

    ??? cite "Reference"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
    """
    return DDIM(eta=1.0)
