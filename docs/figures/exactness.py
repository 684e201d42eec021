"""The figure and the numbers of docs/exactness.md, in some minutes:

    python docs/figures/exactness.py

A mixture in the plane under `C_t = expm(-L t^2)` with an `L` that is not normal, drawn
back by the exact denoiser on three clocks, and its likelihood by the flow.
"""

import pathlib

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss
from softsde.plotting import new_figure, save_figure

jax.config.update("jax_enable_x64", True)

OUT = pathlib.Path(__file__).parents[1] / "_static" / "exactness.png"
TIMES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
STEPS = 100
NUMBER = 4000
INK, TRAILS = "#1b2a41", ("#d1495b", "#edae49", "#00798c")


def shear(theta, x):
    """`expm(-theta L)` for `L = [[1, 3], [0, 1/2]]`."""
    fast, slow = jnp.exp(-theta), jnp.exp(-theta / 2)
    return jnp.stack([fast * x[0] + 6 * (fast - slow) * x[1], slow * x[1]])


class Square(ss.schedules.AbstractSchedule):
    """`t ** 2`."""

    def __call__(self, t):
        return jnp.asarray(t) ** 2

    def inverse(self, value):
        return jnp.sqrt(jnp.asarray(value))


process = ss.Process(
    ss.corruptions.FunctionCorruption(
        shear, (2,), ss.corruptions.Structure(differentiable=True)
    ),
    Square(),
    ss.schedules.Geometric(0.15, 1.0),
)
oracle = ss.oracles.MixtureOracle(
    weights=[0.4, 0.35, 0.25],
    means=[[-1.6, 0.9], [1.2, 0.8], [0.2, -1.2]],
    covariances=[
        [[0.20, 0.12], [0.12, 0.15]],
        [[0.10, -0.08], [-0.08, 0.25]],
        [[0.60, 0.00], [0.00, 0.03]],
    ],
)
denoiser = oracle.denoiser(process)
prior = ss.ExactPrior(oracle, process)
CLOCKS = {
    "probability flow": ss.clocks.Ode(),
    "the paper's SDE": ss.clocks.Sde(),
    "churn 20": ss.clocks.Churn(20.0),
}


@jax.jit
def forward(key):
    """Draws of (P): the same sample at all times."""

    def one(key):
        data_key, noise_key = jax.random.split(key)
        x0 = oracle.sample(data_key)
        at = lambda t: process.perturb(t, x0, key=noise_key)[0]
        return jax.vmap(at)(jnp.asarray(TIMES))

    return jax.vmap(one)(jax.random.split(key, NUMBER))


def distance(a, b):
    """Mean distance between the points of two samples."""
    gaps = np.subtract(a[:, None], b[None])
    return float(np.hypot(gaps[..., 0], gaps[..., 1]).mean())


def energy(a, b):
    """The energy distance of two samples, by 2,000 of each."""
    a, b = a[:2000], b[:2000]
    return 2 * distance(a, b) - distance(a, a) - distance(b, b)


def moments(t):
    """Exact mean and covariance at a time."""
    c = np.asarray(jax.vmap(lambda e: process.apply(t, e), out_axes=1)(jnp.eye(2)))
    weights, means = np.asarray(oracle.weights), np.asarray(oracle.means)
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, np.asarray(oracle.covariances))
    second += np.einsum("k,ki,kj->ij", weights, means, means)
    second -= np.outer(mean, mean)
    return c @ mean, c @ second @ c.T + float(process.sigma(t)) ** 2 * np.eye(2)


def standard_errors(drawn, t):
    """The worst error of two means and three second moments, in standard errors."""
    mean, covariance = moments(t)
    away = drawn - mean
    products = [away[:, 0] ** 2, away[:, 1] ** 2, away[:, 0] * away[:, 1]]
    numbers = np.concatenate([away.T, products])
    expected = np.array([0, 0, covariance[0, 0], covariance[1, 1], covariance[0, 1]])
    scores = (numbers.mean(1) - expected) * np.sqrt(len(drawn)) / numbers.std(1)
    return float(np.abs(scores).max())


def likelihood_errors(tolerances):
    """Worst error of the log density over 64 points, and mean evaluations."""

    @jax.jit
    def run(tolerance, xs):
        steps = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        one = lambda x: ss.log_likelihood(
            denoiser,
            x,
            prior=prior,
            solver=diffrax.Dopri8(),
            stepsize_controller=steps,
            dt0=0.01,
        )
        found = jax.vmap(one)(xs)
        assert found.nfe is not None
        truth = jax.vmap(lambda x: oracle.log_prob(process, 0.0, x))(xs)
        return jnp.abs(found.log_prob - truth).max(), jnp.mean(found.nfe)

    keys = jax.random.split(jax.random.key(3), 64)
    xs = jax.vmap(oracle.sample)(keys)
    return np.array([run(jnp.asarray(tol), xs) for tol in tolerances])


def main() -> None:
    one, other = (np.asarray(forward(jax.random.key(i))) for i in range(2))
    starts = jnp.asarray(one[:, 0])
    grid = np.linspace(1.0, 0.0, STEPS + 1)
    paths = {}
    for name, clock in CLOCKS.items():
        drawn = ss.sample(
            denoiser,
            x1=starts,
            times=grid,
            solver=ss.Heun(),
            clock=clock,
            denoise_last=False,
            save_trajectory=True,
            key=jax.random.key(2),
        )
        paths[name] = np.asarray(drawn.trajectory)
    stride = STEPS // 5

    print(f"{NUMBER} draws, {STEPS} steps of Heun from exact draws of x_1.")
    print("worst of five moments, in standard errors | energy distance to exact draws")
    print(f"{'':20}" + "".join(f"{f't = {t}':>16}" for t in TIMES[1:]))
    for name, path in paths.items():
        cells = [
            f"{standard_errors(path[:, stride * i], t):9.1f} | {energy(path[:, stride * i], other[:, i]):.4f}"  # noqa: E501
            for i, t in enumerate(TIMES)
            if i
        ]
        print(f"{name:20}" + "".join(f"{cell:>16}" for cell in cells))
    cells = [
        f"{standard_errors(one[:, i], t):9.1f} | {energy(one[:, i], other[:, i]):.4f}"
        for i, t in enumerate(TIMES)
        if i
    ]
    print(f"{'(exact draws)':20}" + "".join(f"{cell:>16}" for cell in cells))

    print("\ncorrelation of the second components of x_1 and x_0")
    for name, path in {"(P)": one[:, [0, -1]], **paths}.items():
        pair = np.corrcoef(path[:, 0, 1], path[:, -1, 1])[0, 1]
        print(f"{name:20}{pair:8.3f}")

    tolerances = 10.0 ** -np.arange(2, 13)
    errors = likelihood_errors(tolerances)
    print("\nlog density by the flow (Dopri8): tolerance, worst error, evaluations")
    for tol, (error, nfe) in zip(tolerances, errors, strict=True):
        print(f"  {tol:.0e}  {error:.1e}  {nfe:.0f}")
    draw(paths, stride, tolerances, errors)
    print(f"\nwrote {OUT}")


def draw(paths, stride, tolerances, errors) -> None:
    """The figure: paths over exact densities, and the errors of the log density."""
    figure = new_figure(10.5, 7.6)
    outer = figure.add_gridspec(2, 1, height_ratios=(3, 1.25))
    panels = np.asarray(outer[0].subgridspec(3, len(TIMES)).subplots())
    highlighted = highlights(paths["probability flow"][:, -1])
    for row, (name, path) in zip(panels, paths.items(), strict=True):
        top = name == next(iter(paths))
        row[0].set_ylabel(name, fontsize=10)
        for i, (axes, t) in enumerate(zip(row, TIMES, strict=True)):
            here = path[:, stride * i]
            low, high = np.percentile(here, [0.3, 99.7], axis=0)
            middle, half = (low + high) / 2, 0.62 * (high - low).max()
            x = np.linspace(middle[0] - half, middle[0] + half, 80)
            y = np.linspace(middle[1] - half, middle[1] + half, 80)
            mesh = jnp.asarray(np.stack(np.meshgrid(x, y), -1))
            log_prob = jax.vmap(jax.vmap(lambda v, t=t: oracle.log_prob(process, t, v)))
            density = np.exp(np.asarray(log_prob(mesh)))
            axes.scatter(*here[:1500].T, s=3, color=INK, alpha=0.4, lw=0)
            steps = density.max() * np.array([0.05, 0.2, 0.5, 0.8])
            axes.contour(x, y, density, levels=steps, colors="#2f6fb3", linewidths=0.8)
            for which, colour in zip(highlighted, TRAILS, strict=True):
                trail = path[which, max(0, stride * (i - 1)) : stride * i + 1]
                axes.plot(*trail.T, color=colour, lw=1.1, alpha=0.9)
                axes.scatter(
                    *trail[-1], s=16, color=colour, ec="white", lw=0.6, zorder=4
                )
            axes.set(xlim=x[[0, -1]], ylim=y[[0, -1]], xticks=[], yticks=[], aspect=1)
            for spine in axes.spines.values():
                spine.set_color("#c8ccd2")
            if top:
                axes.set_title(f"$t = {t:g}$", fontsize=10)

    grid = outer[1].subgridspec(1, 2, wspace=0.08)
    left, right = (figure.add_subplot(grid[0, i]) for i in range(2))
    left.loglog(tolerances, errors[:, 0], "o-", color=INK, ms=4, lw=1.2)
    left.axhline(1e-8, color="#8a8f98", lw=0.9, ls="--")
    left.text(tolerances[0], 1.5e-8, "held by the tests", fontsize=8, color="#5a5f68")
    left.invert_xaxis()
    left.set(xlabel="tolerance of the solver", ylabel="worst error (nats)")
    left.set_title("log density by the flow, against the exact one", fontsize=10)
    right.semilogy(errors[:, 1], errors[:, 0], "o-", color=INK, ms=4, lw=1.2)
    right.set(xlabel="evaluations of the denoiser")
    right.set_title("the same, by its cost", fontsize=10)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, OUT)


def highlights(ends) -> list[int]:
    """One draw near each mean, to be followed by colour."""
    gaps = np.linalg.norm(ends[:, None] - np.asarray(oracle.means)[None], axis=-1)
    return [int(i) for i in gaps.argmin(0)]


if __name__ == "__main__":
    main()
