r"""The one object, $x_t = C_t x_0 + \sigma_t \eta$, and what follows from it alone.

Equation numbers are those of *Soft Diffusion* (TMLR 2023). Where a formula needs
$E[x_0 | x_t]$ it takes it as the argument `x0_hat`: the process knows no network.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from .._checks import concrete
from .._types import Key, Sample, Scalar, ScalarLike
from ..corruptions import AbstractCorruption, Identity, Scale
from ..schedules import AbstractSchedule
from ._start import check_levels, check_start


class Process(eqx.Module):
    r"""The corruption process $x_t = C_t x_0 + \sigma_t \eta$, $\eta \sim N(0, I)$.

    $C_t$ is `corruption` at the level `levels(t)`, $\sigma_t$ is `noise(t)`, and time
    runs from `t0` (clean) to `t1` (corrupted). All methods take one sample and a scalar
    time; map over them with `jax.vmap`.

    !!! example

        ```python
        process = ss.Process(
            ss.corruptions.GaussianBlur((28, 28, 1)),
            ss.schedules.PiecewiseLinear([0.2, 1.0], [0.01, 18.0]),
            ss.schedules.TwoPhase(0.01, 0.1, fraction=0.2),
        )
        x_t, eta = process.perturb(jnp.array(0.5), image, key=key)
        ```

    $C_t$ starts at the identity. This is checked where it can be told: what
    `corruption` does at the first level, at `t0` or at 0, must leave white noise within
    5 % of itself. `clean_start=False` is for who means otherwise, say for data that
    were never seen uncorrupted.
    """

    corruption: AbstractCorruption
    levels: AbstractSchedule
    noise: AbstractSchedule
    t0: float = eqx.field(static=True, default=0.0)
    t1: float = eqx.field(static=True, default=1.0)
    clean_start: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        for name, kind in (
            ("corruption", AbstractCorruption),
            ("levels", AbstractSchedule),
            ("noise", AbstractSchedule),
        ):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(
                    f"`Process` got {type(getattr(self, name)).__name__} for `{name}`; "
                    f"expected a {kind.__name__}, as in `Process(GaussianBlur(shape), "
                    "PiecewiseLinear(times, levels), TwoPhase(0.01, 0.1))`."
                )
        if not self.t0 < self.t1:
            raise ValueError(
                f"`Process` needs `t0` < `t1`, got {self.t0} and {self.t1}: the "
                "process corrupts as time grows."
            )
        check_levels(self.corruption, self.levels, (self.t0, self.t1))
        if self.clean_start:
            check_start(self.corruption, self.levels, self.t0, self.t1)

    # The two paths that drive everything.

    def level(self, t: ScalarLike) -> Scalar:
        """The corruption level at time `t`."""
        return self.levels(t)

    def sigma(self, t: ScalarLike) -> Scalar:
        r"""The standard deviation $\sigma_t$ of the noise."""
        return self.noise(t)

    def apply(self, t: ScalarLike, x: Sample) -> Sample:
        r"""$C_t x$."""
        return self.corruption.apply(self.levels(jnp.asarray(t, x.dtype)), x)

    def adjoint(self, t: ScalarLike, x: Sample) -> Sample:
        r"""$C_t^\top x$."""
        return self.corruption.adjoint(self.levels(jnp.asarray(t, x.dtype)), x)

    def apply_dot(self, t: ScalarLike, x: Sample) -> Sample:
        r"""$\frac{dC_t}{dt} x$, by the chain rule through the level schedule."""
        t = jnp.asarray(t, x.dtype)
        speed = self.levels.derivative(t)
        return speed * self.corruption.apply_dot(self.levels(t), x)

    def operator(
        self, t: ScalarLike, structure: jax.ShapeDtypeStruct
    ) -> lx.AbstractLinearOperator:
        r"""$C_t$ as a lineax operator on samples of the given shape and dtype."""
        return self.corruption.operator(self.levels(t), structure)

    # Scalings, which have more in closed form.

    @property
    def is_scaling(self) -> bool:
        r"""Whether $C_t = \alpha_t I$: the corruption is `Identity` or `Scale`."""
        return isinstance(self.corruption, (Identity, Scale))

    def signal(self, t: ScalarLike) -> Scalar:
        r"""The factor $\alpha_t$ of a scaling, $C_t = \alpha_t I$.

        **Raises:** `ValueError` for any other corruption.
        """
        self.require_scaling("`signal`")
        return self.apply(t, jnp.ones_like(jnp.asarray(t)))

    def snr(self, t: ScalarLike) -> Float[Array, "..."]:
        r"""The signal-to-noise ratio $\alpha_t^2 / \sigma_t^2$ for data of variance 1.

        A corruption that is diagonal in a basis weakens each component by a factor
        $\alpha_t$ of its own: the eigenvalues of $C_t$.

        **Returns:** a scalar for a scaling; for any other an array shaped like the
        sample, one ratio a component, in the order of `corruption.to_basis`.

        **Raises:** `ValueError` for a corruption that is not diagonal in a basis.
        """
        if self.corruption.structure.basis is None:
            raise ValueError(
                "`snr` needs a corruption that is diagonal in a basis, got "
                f"`{type(self.corruption).__name__}`: it mixes components as it "
                "weakens them, and leaves no ratio to any one of them."
            )
        t = jnp.asarray(t)
        return (self.corruption.eigenvalues(self.levels(t)) / self.sigma(t)) ** 2

    def require_scaling(self, what: str) -> None:
        r"""Refuses `what` for a corruption that is not $\alpha_t I$.

        **Raises:** `ValueError`, naming the corruption.
        """
        if not self.is_scaling:
            raise ValueError(
                f"{what} needs C_t = alpha_t I, so `Identity` or `Scale` for the "
                f"corruption, got `{type(self.corruption).__name__}`: it weakens each "
                "component of a sample by a factor of its own."
            )

    # Forward in time.

    def marginal(self, t: ScalarLike, x0: Sample) -> tuple[Sample, Scalar]:
        r"""Mean $C_t x_0$ and standard deviation $\sigma_t$ of $x_t$ given $x_0$."""
        return self.apply(t, x0), self.sigma(jnp.asarray(t, x0.dtype))

    def perturb(self, t: ScalarLike, x0: Sample, *, key: Key) -> tuple[Sample, Sample]:
        r"""A draw of $x_t$ given $x_0$.

        **Arguments:**

        - `t`: time.
        - `x0`: one clean sample.
        - `key`: of the noise.

        **Returns:** the pair $(x_t, \eta)$ with $x_t = C_t x_0 + \sigma_t \eta$.
        """
        mean, std = self.marginal(t, x0)
        eta = jax.random.normal(key, x0.shape, x0.dtype)
        return mean + std * eta, eta

    # Given the posterior mean.

    def score(self, t: ScalarLike, x: Sample, x0_hat: Sample) -> Sample:
        r"""Tweedie: $\nabla \log q_t(x) = (C_t\, E[x_0|x_t] - x) / \sigma_t^2$.

        Exact when `x0_hat` is the posterior mean. Needs $\sigma_t > 0$.
        """
        mean, std = self.marginal(t, x0_hat)
        return (mean - x) / std**2

    def drift(self, t: ScalarLike, x: Sample, x0_hat: Sample) -> Sample:
        r"""Drift of the forward SDE, $\frac{dC_t}{dt} E[x_0|x_t]$ (Eq. 13).

        Not the linear drift $f_t x$ of the SDE by which VP and its like are published:
        see [`softsde.processes.classical_sde`][].
        """
        del x
        return self.apply_dot(t, x0_hat)

    def diffusion(self, t: ScalarLike) -> Scalar:
        r"""Diffusion of the forward SDE, $\sqrt{d\sigma_t^2/dt}$ (Eq. 13)."""
        return jnp.sqrt(self.variance_derivative(t))

    def variance_derivative(self, t: ScalarLike) -> Scalar:
        r"""$d\sigma_t^2 / dt = 2 \sigma_t \dot\sigma_t$."""
        return 2 * self.noise(t) * self.noise.derivative(t)

    def velocity(self, t: ScalarLike, x: Sample, x0_hat: Sample) -> Sample:
        r"""Velocity of the probability flow (Eq. 19 and 49).

        $u = \frac{dC_t}{dt} E[x_0|x_t] - \frac12 \frac{d\sigma_t^2}{dt}
        \nabla \log q_t$. The flow of `u` has exactly the marginals of the process.
        """
        half = 0.5 * self.variance_derivative(jnp.asarray(t, x.dtype))
        return self.apply_dot(t, x0_hat) - half * self.score(t, x, x0_hat)

    def require_noise(self, what: str) -> None:
        """Refuses, before any compute, to let `what` divide by a zero `sigma`.

        **Raises:** `ValueError` when the noise at `t0` is known and not positive.
        """
        # Under a transformation as well: what is not traced is known there too.
        with jax.ensure_compile_time_eval():
            least = concrete(self.noise(jnp.asarray(self.t0)))
        if least is not None and not least > 0:
            raise ValueError(
                f"{what} divides by sigma, but this process has sigma({self.t0}) = "
                f"{least}. Give it a noise schedule that is positive at `t0`, such as "
                "`TwoPhase(0.01, 0.1)` or `Geometric(0.01, 0.1)`."
            )
