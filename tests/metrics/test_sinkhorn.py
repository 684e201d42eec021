import numpy as np
import pytest
import scipy.optimize
import scipy.special

from softsde.metrics import sinkhorn_divergence


def entropic_cost(a, b, epsilon):
    """Entropic transport by plain iterations in the log domain, in NumPy."""
    cost = ((a[:, None] - b) ** 2).sum(axis=-1)
    f, g = np.zeros(len(a)), np.zeros(len(b))
    for _ in range(3000):
        f = -epsilon * (
            scipy.special.logsumexp((g - cost) / epsilon, axis=1) - np.log(len(b))
        )
        g = -epsilon * (
            scipy.special.logsumexp((f[:, None] - cost) / epsilon, axis=0)
            - np.log(len(a))
        )
    return f.mean() + g.mean()


@pytest.mark.slow
def test_against_plain_iterations():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(23, 3)), 0.5 * rng.normal(size=(31, 3)) + 1
    expected = (
        entropic_cost(a, b, 0.8)
        - entropic_cost(a, a, 0.8) / 2
        - entropic_cost(b, b, 0.8) / 2
    )
    # Sinkhorn's iterations stop at an error of 1e-3 in the masses.
    value, epsilon = sinkhorn_divergence(a, b, epsilon=0.8)
    assert epsilon == 0.8
    assert value == pytest.approx(expected, rel=2e-3)


@pytest.mark.slow
def test_small_epsilon_is_the_exact_transport():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)) + 2
    cost = ((a[:, None] - b) ** 2).sum(axis=-1)
    exact = cost[scipy.optimize.linear_sum_assignment(cost)].mean()
    value, _ = sinkhorn_divergence(a, b, epsilon=0.05, max_iterations=20_000)
    assert value == pytest.approx(exact, rel=0.02)


@pytest.mark.slow
def test_a_shift_of_images():
    # A shift is transported as a whole for any epsilon: its square, exactly.
    images = np.random.default_rng(2).random((20, 4, 3, 1), dtype=np.float32)
    result = sinkhorn_divergence(images + np.float32(0.5), images)
    assert result.value == pytest.approx(12 * 0.25, rel=1e-3)
    # 0.05 of the mean squared distance of two members, by the definition.
    rows = images.reshape(20, -1).astype(float)
    squared = ((rows[:, None] - rows) ** 2).sum(axis=-1)
    assert result.epsilon == pytest.approx(0.05 * squared.mean(), rel=1e-6)
    assert sinkhorn_divergence(images, images).value == pytest.approx(0, abs=1e-4)


def test_refusals():
    a = np.random.default_rng(3).normal(size=(6, 2))
    with pytest.raises(ValueError, match=r"`epsilon` is 0, but a positive"):
        sinkhorn_divergence(a, np.ones((5, 2)))
    with pytest.raises(ValueError, match="2 features a row and `b` has 1"):
        sinkhorn_divergence(a, a[:, :1])
    with pytest.raises(ValueError, match=r"9,000 and 6 members.*at most 8,192"):
        sinkhorn_divergence(np.zeros((9000, 2)), a)
    with pytest.raises(ValueError, match=r"did not converge in 10 iterations.*larger"):
        sinkhorn_divergence(a, a + 3, epsilon=1e-4, max_iterations=10)
