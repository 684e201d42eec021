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
from ..corruptions import AbstractCorruption
from ..schedules import AbstractSchedule, Constant
from ._smooth import check_jump, guard_jump, known_jump
from ._start import check_levels, check_noise, check_operator, check_start


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
        x_t, eta = process.perturb(0.5, image, key=key)
        ```

    **Raises:** `ValueError` for levels that the corruption does not have, a noise that
    is negative or falls, a corruption that is not linear in the sample (where it says
    the shape of its samples; [`softsde.corruptions.check`][] tries any), or one that is
    not the identity at the start: there it must leave white noise within 5 % of itself.
    Pass `clean_start=False` to skip that last check, e.g. for data observed only in
    corrupted form. What is traced (schedules that are being trained) is not checked.
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
        check_noise(self.noise, self.t0, self.t1)
        check_operator(self.corruption, self.levels, self.t0, self.t1)
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

    # What a step changes, without the rounding of a difference.

    def log_sigma_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        r"""$\log(\sigma_t / \sigma_{t'})$, exact also for very short steps."""
        return self.noise.log_ratio(t, t_next)

    def variance_drop(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        r"""$\sigma_t^2 - \sigma_{t'}^2$, exact also for very short steps."""
        ratio = self.log_sigma_ratio(t, t_next)
        return -(self.sigma(t) ** 2) * jnp.expm1(-2 * ratio)

    def log_sigma_derivative(self, t: ScalarLike) -> Scalar:
        r"""$d \log \sigma_t / dt$; zero where there is no noise at any time."""
        if self.is_noiseless:
            return jnp.zeros_like(jnp.asarray(t))
        return self.noise.derivative(t) / self.noise(t)

    # Scalings, which have more in closed form.

    @property
    def is_scaling(self) -> bool:
        r"""Tells whether $C_t = \alpha_t I$, as the corruption's structure says."""
        return self.corruption.structure.basis == "every"

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
                "weakens them, so no component has a ratio of its own."
            )
        t = jnp.asarray(t)
        return (self.corruption.eigenvalues(self.levels(t)) / self.sigma(t)) ** 2

    # Forward in time.

    def marginal(self, t: ScalarLike, x0: Sample) -> tuple[Sample, Scalar]:
        r"""Mean $C_t x_0$ and standard deviation $\sigma_t$ of $x_t$ given $x_0$."""
        return self.apply(t, x0), self.sigma(jnp.asarray(t, x0.dtype))

    def draw_noise(self, key: Key, like: Sample) -> Sample:
        r"""A draw of $\eta \sim N(0, I)$, shaped like `like`.

        All noise of a process is drawn here: by `perturb`, by the priors and by the
        samplers.
        """
        return jax.random.normal(key, like.shape, like.dtype)

    def perturb(self, t: ScalarLike, x0: Sample, *, key: Key) -> tuple[Sample, Sample]:
        r"""A draw of $x_t$ given $x_0$.

        **Arguments:**

        - `t`: time.
        - `x0`: one clean sample.
        - `key`: of the noise.

        **Returns:** the pair $(x_t, \eta)$ with $x_t = C_t x_0 + \sigma_t \eta$.
        """
        mean, std = self.marginal(t, x0)
        eta = self.draw_noise(key, x0)
        return mean + std * eta, eta

    # Given the posterior mean.

    def score(self, t: ScalarLike, x: Sample, x0_hat: Sample) -> Sample:
        r"""Tweedie: $\nabla \log q_t(x) = (C_t\, E[x_0|x_t] - x) / \sigma_t^2$.

        Exact when `x0_hat` is the posterior mean. Needs $\sigma_t > 0$.
        """
        mean, std = self.marginal(t, x0_hat)
        return (mean - x) / std**2

    def drift(self, t: ScalarLike, x0_hat: Sample) -> Sample:
        r"""Drift of the forward SDE, $\frac{dC_t}{dt} E[x_0|x_t]$ (Eq. 13).

        It is not the linear drift $f_t x$ of the SDE by which VP and its like are
        published: see [`softsde.processes.classical_sde`][].
        """
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
        Where there is no noise at all, the second term is zero.
        """
        t = jnp.asarray(t, x.dtype)
        # d(sigma^2)/dt / 2 sigma^2 = d log(sigma)/dt.
        gap = self.apply(t, x0_hat) - x
        return self.apply_dot(t, x0_hat) - self.log_sigma_derivative(t) * gap

    # What is known before anything is computed.

    def known_sigma(self, t: ScalarLike) -> float | None:
        """`sigma(t)` as a Python number; `None` where the schedule is traced."""
        # Under a transformation as well: what is not traced is known there too.
        with jax.ensure_compile_time_eval():
            value = concrete(self.noise(jnp.asarray(t)))
        return None if value is None else float(value)

    def known_signal(self, t: ScalarLike) -> float | None:
        """`signal(t)` as a Python number; `None` where the schedule is traced."""
        with jax.ensure_compile_time_eval():
            value = concrete(self.signal(jnp.asarray(t)))
        return None if value is None else float(value)

    @property
    def is_noiseless(self) -> bool:
        """Tells whether there is no noise at any time, as in Cold Diffusion."""
        return isinstance(self.noise, Constant) and self.known_sigma(self.t0) == 0

    def kinks(self) -> Float[Array, " kinks"]:
        """The times between `t0` and `t1` at which a schedule changes its slope.

        Steps that adapt end there: no solver keeps its order across a kink.
        """
        kinks = jnp.concatenate([self.levels.kinks(), self.noise.kinks()])
        # Outside there is nothing to step over; moving those to `t0` keeps the shape.
        inside = (kinks > self.t0) & (kinks < self.t1)
        return jnp.where(inside, kinks, self.t0)

    def require_scaling(self, what: str) -> None:
        r"""Refuses `what` for a corruption that is not $\alpha_t I$.

        **Raises:** `ValueError`, naming the corruption.
        """
        if not self.is_scaling:
            raise ValueError(
                f"{what} needs C_t = alpha_t I, such as `Identity`, `Scale` or `Fade` "
                f"for the corruption, got `{type(self.corruption).__name__}`, which "
                "weakens each component of a sample by a factor of its own."
            )

    def require_noise(self, what: str) -> None:
        """Refuses, before any compute, to let `what` divide by a zero `sigma`.

        **Raises:** `ValueError` when the noise at `t0` is known and not positive.
        """
        least = self.known_sigma(self.t0)
        if least is not None and not least > 0:
            raise ValueError(
                f"{what} divides by sigma, but this process has sigma({self.t0}) = "
                f"{least}. Give it a noise schedule that is positive at `t0`, such as "
                "`TwoPhase(0.01, 0.1)` or `Geometric(0.01, 0.1)`."
            )

    def require_score(self, what: str) -> None:
        """Refuses `what` where the score is needed and has no value at `t0`.

        A process without any noise passes: its score has weight zero in every sampler.

        **Raises:** `ValueError` when `sigma` begins at zero and grows.
        """
        if not self.is_noiseless:
            self.require_noise(what)

    def guard_smooth(self, what: str, x: Sample) -> Sample:
        """`x`, with the refusal of `require_smooth` where only running can tell.

        That is where the numbers of the process are traced and its corruption does not
        say whether it jumps.

        **Arguments:**

        - `what`: what needs a derivative of $C_t$.
        - `x`: one sample.
        """
        self.require_smooth(what, x.shape)
        return guard_jump(self.corruption, self.levels, self.t0, self.t1, what, x)

    def require_smooth(self, what: str, shape: tuple[int, ...] | None = None) -> None:
        r"""Refuses `what` for a corruption that jumps as time goes on.

        A corruption that says nothing of it (`structure.differentiable` is `None`) is
        tried: $C_t$ of one random sample changes by a finite amount over a step that
        shrinks if it jumps.

        **Arguments:**

        - `what`: what needs a derivative of $C_t$.
        - `shape`: of one sample, for a corruption that does not tell its own.

        **Raises:** `ValueError`, naming the corruption.
        """
        jump = known_jump(self.corruption, self.levels, self.t0, self.t1, shape)
        if jump is not None:
            raise ValueError(f"{what} {check_jump(self.corruption, jump)}")
