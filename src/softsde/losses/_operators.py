r"""The operators $B_t$ through which a loss looks at the residual $\hat x_0 - x_0$."""

from collections.abc import Callable
from typing import Literal, TypeAlias

from .._types import Sample, ScalarLike
from ..processes import Process

OperatorFunction: TypeAlias = Callable[[Process, ScalarLike, Sample], Sample]
OperatorName: TypeAlias = Literal["corruption", "identity", "velocity"]
Operator: TypeAlias = OperatorName | OperatorFunction


def corruption(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    # B_t = C_t
    return process.apply(t, residual)


def identity(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    # B_t = I
    del process, t
    return residual


def velocity(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    # B_t = sigma_t d(C_t / sigma_t)/dt = dC_t/dt - (dsigma_t/dt / sigma_t) C_t
    process.require_noise("The operator 'velocity'")
    process.require_smooth("The operator 'velocity'", residual.shape)
    rate = process.noise.derivative(t) / process.sigma(t)
    return process.apply_dot(t, residual) - rate * process.apply(t, residual)


OPERATORS: dict[str, OperatorFunction] = {
    "corruption": corruption,
    "identity": identity,
    "velocity": velocity,
}
