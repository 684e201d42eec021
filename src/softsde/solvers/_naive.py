r"""The Naive Sampler (Algorithm 1) as a diffrax solver."""

from typing import ClassVar

import diffrax

from ..terms._control import control_term
from ._base import AbstractReverseSolver


class Naive(AbstractReverseSolver):
    r"""The Naive Sampler: corrupt the prediction anew, $x_{t'} = C_{t'} \hat x_0 +
    \sigma_{t'} \eta$.

    The paper's baseline (Algorithm 1). It does not converge to the reverse process as
    the steps shrink: each step throws the sample away for a draw around the mean
    prediction, and its samples are smooth and repetitive (the paper's Figure 4). Use
    [`softsde.Momentum`][softsde.solvers.Momentum]; this is here to compare with.
    """

    evaluations_per_step: ClassVar[int] = 1
    draws_noise: ClassVar[bool] = True

    def order(self, terms):
        return None

    def strong_order(self, terms):
        return None

    def init(self, terms, t0, t1, y0, args):
        if control_term("Naive", terms).brownian is None:
            raise ValueError(
                "`Naive` draws fresh noise each step, and a probability flow has none. "
                "Use `softsde.reverse_sde(process, denoiser, key=key, shape=shape)`."
            )
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del solver_state, made_jump
        term = control_term("Naive", terms)
        process = term.process
        x0_hat = term.denoiser(process.t1 - t0, y0)
        assert term.brownian is not None  # `init` has refused it
        eta = term.brownian.normal(t0, t1).astype(y0.dtype)
        mean, std = process.marginal(process.t1 - t1, x0_hat)
        y1 = mean + std * eta
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful
