r"""The Naive Sampler (Algorithm 1) as a diffrax solver."""

from typing import ClassVar

from ._base import AbstractReverseSolver, Advance


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

    def start(self, form, s0, y0):
        if form.brownian is None:
            raise ValueError(
                "`Naive` draws fresh noise each step, and a probability flow has none. "
                "Use `softsde.reverse_sde(process, denoiser, key=key, shape=shape)`."
            )
        return None

    def advance(self, form, s0, s1, y0, state, made_jump):
        del state, made_jump
        assert form.brownian is not None  # `start` has refused it
        eta = form.brownian.normal(s0, s1).astype(y0.dtype)
        mean, std = form.process.marginal(form.time(s1), form.predict(s0, y0))
        return Advance(mean + std * eta)
