r"""The Naive Sampler (Algorithm 1) as a diffrax solver."""

from typing import ClassVar

from ._base import AbstractSolver, Noise, Step, finish


class Naive(AbstractSolver):
    r"""The Naive Sampler: corrupt the prediction anew, $x_{t'} = C_{t'} \hat x_0 +
    \sigma_{t'} \eta$.

    The paper's baseline (Algorithm 1). It does not converge to the reverse process as
    the steps shrink: each step throws the sample away for a draw around the mean
    prediction, and its samples are smooth and repetitive (the paper's Figure 4). Use it
    to compare with [`softsde.Momentum`][softsde.solvers.Momentum].
    """

    noise: ClassVar[Noise] = "own"
    evaluations_per_step: ClassVar[int] = 1
    orders: ClassVar[tuple[int | None, int | None]] = (None, None)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("Naive", terms, t0, t1, y0, args)
        x0_hat = step.predict(step.t, step.x)
        # Algorithm 1: C_{t'} x0_hat + sigma_{t'} eta.
        mean, std = step.process.marginal(step.t_next, x0_hat)
        return finish(step.x, mean + std * step.fresh())
