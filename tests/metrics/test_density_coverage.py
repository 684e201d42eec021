import numpy as np
import pytest

from softsde.metrics import density_coverage, expected_coverage


def test_on_a_line():
    # Balls of k = 2 around 0, 1, 3, 7 reach 3, 2, 3 and 6 far.
    data = np.array([[0.0], [1.0], [3.0], [7.0]])
    samples = np.array([[0.5], [12.9], [20.0]])
    # 0.5 lies in the first three, 12.9 in the last, 20 in none.
    density, coverage = density_coverage(samples, data, k=2)
    assert density == pytest.approx(4 / (2 * 3))
    assert coverage == 1
    assert density_coverage(samples[:1], data, k=2) == (3 / 2, 3 / 4)


def test_equal_distributions_give_what_theory_gives():
    rng = np.random.default_rng(0)
    for num_samples, num_data, k in ((400, 400, 5), (150, 400, 3)):
        draws = np.array(
            [
                density_coverage(
                    rng.normal(size=(num_samples, 6)),
                    rng.normal(size=(num_data, 6)),
                    k=k,
                )
                for _ in range(12)
            ]
        )
        mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(12)
        truth = (1, expected_coverage(num_samples, num_data, k))
        assert np.all(np.abs(mean - truth) < 4 * error)
        assert np.all(error < 0.03)


def test_expected_coverage_of_equal_sizes():
    # 1 - 2^-k for many; for k = 1 of two data and two samples, 1 - 1/3.
    assert expected_coverage(10**7, 10**7, 5) == pytest.approx(1 - 2**-5, rel=1e-5)
    assert expected_coverage(2, 2, 1) == pytest.approx(2 / 3)


def test_dropped_and_invented_modes():
    rng = np.random.default_rng(1)
    mode = lambda num, at: rng.normal(size=(num, 3)) + at
    data = np.concatenate([mode(300, 0), mode(300, 100)])
    # Without half of the modes: the rest of the balls are missed, and each sample lies
    # in twice as many of the others.
    density, coverage = density_coverage(mode(600, 0), data)
    assert coverage == pytest.approx(0.5 * expected_coverage(600, 300), abs=0.02)
    assert density == pytest.approx(1, abs=0.1)
    # With as many invented samples as plausible ones.
    samples = np.concatenate([mode(300, 0), mode(300, 100), mode(600, 1000)])
    density, coverage = density_coverage(samples, data)
    assert density == pytest.approx(0.5, abs=0.05)
    assert coverage == pytest.approx(expected_coverage(600, 600), abs=0.02)


def test_an_outlier_among_the_samples_changes_little():
    rng = np.random.default_rng(2)
    data, samples = rng.normal(size=(300, 3)), rng.normal(size=(300, 3)) + 1
    spoilt = np.concatenate([samples, [[50.0, 50.0, 50.0]]])
    clean = density_coverage(samples, data)
    assert density_coverage(spoilt, data) == pytest.approx(
        (clean.density * 300 / 301, clean.coverage)
    )


def test_chunks_do_not_matter():
    rng = np.random.default_rng(3)
    samples, data = rng.normal(size=(31, 4)), rng.normal(size=(29, 4))
    between = np.linalg.norm(data[:, None] - samples, axis=-1)
    radii = np.sort(np.linalg.norm(data[:, None] - data, axis=-1), axis=1)[:, 3]
    inside = between <= radii[:, None]
    expected = (inside.sum() / (3 * 31), inside.any(axis=1).mean())
    for chunk in (1, 8, 100):
        assert density_coverage(samples, data, k=3, chunk=chunk) == pytest.approx(
            expected
        )


def test_refusals():
    a = np.zeros((5, 3))
    with pytest.raises(ValueError, match="`data` has 5 rows, but at least 6"):
        density_coverage(a, a, k=5)
    with pytest.raises(ValueError, match=r"`k` is 5 for 5 data; expected 1 <= k < 5"):
        expected_coverage(3, 5, 5)
