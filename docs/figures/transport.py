"""Draws the pictures and prints the tables of the page on transport.

    python docs/figures/transport.py

It needs Fashion-MNIST (Debian's `dataset-fashion-mnist`), uses the paper's blur and
takes some minutes. It writes `docs/_static/transport_*.png`.
"""

import pathlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.spatial.distance

import softsde as ss

STATIC = pathlib.Path(__file__).parents[1] / "_static"
SHAPE = (28, 28, 1)
BLUR = ss.corruptions.GaussianBlur(SHAPE)
LEVELS = np.geomspace(0.01, 18, 256)
KEY = jax.random.key(0)


def default_sinkhorn(first: float, second: float, images: np.ndarray) -> float:
    """The transport cost by ott-jax with its default settings, on point clouds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ott.geometry import pointcloud
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import sinkhorn
    x, y = corrupted(first, images), corrupted(second, images)
    problem = linear_problem.LinearProblem(pointcloud.PointCloud(x, y))
    return float(jax.jit(sinkhorn.Sinkhorn())(problem).primal_cost)


def corrupted(theta: float, images: np.ndarray) -> jax.Array:
    out = jax.vmap(lambda x: BLUR.apply(theta, x))(jnp.asarray(images))
    return out.reshape(len(images), -1)


def accuracy(data: np.ndarray, result: ss.fitting.TransportSchedule) -> None:
    images = data[:500]
    path = list(result.path)
    steps = np.stack([LEVELS[path[:-1]], LEVELS[path[1:]]], axis=1)
    found = ss.fitting.certify(
        BLUR, steps, data, sinkhorn=ss.fitting.Sinkhorn(), key=KEY
    )
    assert found.sinkhorn is not None and found.sinkhorn_error is not None
    print("\nsquared distances on 500 images, steps of the 32-point path")
    print("| step | exact | identity | debiased, 0.01 | ott-jax's default |")
    print("| --- | --- | --- | --- | --- |")
    for k in (0, 1, 5, 10, 15, 20, 25, 30):
        plain = default_sinkhorn(steps[k, 0], steps[k, 1], images)
        print(
            f"| {steps[k, 0]:.2f} to {steps[k, 1]:.2f} | {found.assignment[k]:.4f} "
            f"| {found.coupling[k]:.4f} | {found.sinkhorn[k]:.4f} | {plain:.3f} |"
        )
    print("largest error over all 31 steps, relative to the exact assignment:")
    print(f"  identity {np.abs(found.coupling_error).max():.1e}")
    print(f"  duality gap of the identity {found.gap.max():.1e}")
    print(f"  Sinkhorn {np.abs(found.sinkhorn_error).max():.1e}")


def independent(data: np.ndarray) -> None:
    print("\nsquared distance of two independent slices of 500 at one level, exact")
    for theta in (0.01, 1.0, 4.0, 18.0):
        x, y = corrupted(theta, data[:500]), corrupted(theta, data[500:1000])
        cost = scipy.spatial.distance.cdist(x, y, "sqeuclidean")
        best = cost[scipy.optimize.linear_sum_assignment(cost)].mean()
        print(f"  level {theta:5.2f}: {best:.3f}")


def curve(result: ss.fitting.TransportSchedule) -> np.ndarray:
    return np.interp(
        np.linspace(0, 1, 2001),
        np.asarray(result.schedule.times),
        np.asarray(result.schedule.levels),
    )


def slices(data: np.ndarray, result: ss.fitting.TransportSchedule) -> None:
    print("\nslices against all 6,000: largest difference of the level, share of 18")
    for size in (60, 300, 600, 1500, 3000):
        others = [
            ss.fitting.transport_schedule(BLUR, LEVELS, data[start : start + size])
            for start in range(0, 3 * size, size)[: len(data) // size]
        ]
        apart = [np.abs(curve(r) - curve(result)).max() / 18 for r in others]
        epsilon = [r.epsilon / result.epsilon - 1 for r in others]
        print(
            f"  {size:5d} images: {max(apart):.2%}, epsilon within "
            f"{np.abs(epsilon).max():.1%}"
        )


def compare(data: np.ndarray) -> None:
    """Compares both metrics on the same images, and draws the schedules."""
    levels = np.geomspace(0.3, 18, 64)
    images = data[:300]
    metric = ss.fitting.Sinkhorn(1.0, 1, progress=True)
    closed = ss.fitting.transport_schedule(BLUR, levels, images, num_points=16)
    paper = ss.fitting.transport_schedule(
        BLUR, levels, images, num_points=16, metric=metric, key=KEY
    )
    apart = np.abs(curve(closed) - curve(paper)).max()
    pairs = np.isfinite(paper.distances[np.triu_indices(64, 1)]).sum()
    print("\nboth metrics, 300 images, 64 candidates, 16 points")
    print(f"  largest difference of the level {apart:.3f}, {apart / 17.7:.2%} of range")
    print(f"  epsilon {closed.epsilon:.4f} and {paper.epsilon:.4f}")
    print(f"  length {closed.length:.4f} and {paper.length:.4f}")
    print(f"  pairs computed {pairs} of {64 * 63 // 2}")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    times = np.linspace(0, 1, 2001)
    left.plot(times, curve(closed), label="closed form")
    left.plot(times, curve(paper), "--", label="Sinkhorn")
    left.plot(times, 0.3 * 60**times, ":", color="grey", label="geometric")
    left.set(xlabel="time", ylabel="blur (pixels)", xlim=(0, 1), ylim=(0, None))
    left.legend(frameon=False)
    left.grid(alpha=0.3)
    right.plot(closed.steps, ".-", label="closed form")
    right.plot(paper.steps, ".--", label="Sinkhorn")
    geometric = ss.fitting.Brenier().distances(BLUR, np.geomspace(0.3, 18, 16), images)
    right.plot(
        np.diagonal(geometric.matrix, 1),
        ".:",
        color="grey",
        label="geometric",
    )
    right.set(xlabel="step", ylabel="distance $W_2$ of the step", ylim=(0, None))
    right.grid(alpha=0.3)
    figure.savefig(STATIC / "transport_metrics.png", dpi=200)


def main() -> None:
    data = ss.data.to_array(ss.data.fashion_mnist(), limit=6000)
    result = ss.fitting.transport_schedule(BLUR, LEVELS, data)
    print(f"epsilon {result.epsilon:.3f}, length {result.length:.2f}, {result.kind}")
    result.plot().savefig(STATIC / "transport_path.png")
    accuracy(data, result)
    independent(data)
    slices(data, result)
    compare(data)


if __name__ == "__main__":
    main()
