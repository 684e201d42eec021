"""Oracles against dense linear algebra and plain sums written out in NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import softsde as ss

SHAPE = (3, 2, 1)


@pytest.fixture
def process(x64):
    return ss.Process(
        ss.corruptions.GaussianBlur(SHAPE, 4),
        ss.schedules.Geometric(0.3, 2.0),
        ss.schedules.Geometric(0.1, 0.6),
    )


def dense(process, t):
    rows = process.corruption.matrix(float(process.level(t)), SHAPE[0])
    columns = process.corruption.matrix(float(process.level(t)), SHAPE[1])
    return np.kron(rows, columns)


def test_gaussian(process, key):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(6, 6))
    mean, covariance = rng.normal(size=SHAPE), root @ root.T
    oracle = ss.oracles.GaussianOracle(mean, covariance)
    x = np.asarray(jax.random.normal(key, SHAPE))
    for t in (0.0, 0.4, 1.0):
        c, sigma = dense(process, t), float(process.sigma(t))
        joint = c @ covariance @ c.T + sigma**2 * np.eye(6)
        m = c @ mean.reshape(-1)
        gain = covariance @ c.T @ np.linalg.inv(joint)
        posterior = mean.reshape(-1) + gain @ (x.reshape(-1) - m)
        np.testing.assert_allclose(
            oracle.posterior_mean(process, t, jnp.asarray(x)).reshape(-1),
            posterior,
            atol=1e-10,
        )
        expected = scipy.stats.multivariate_normal(m, joint).logpdf(x.reshape(-1))
        assert float(oracle.log_prob(process, t, jnp.asarray(x))) == pytest.approx(
            expected, abs=1e-10
        )


def test_empirical(process, key):
    data = np.random.default_rng(2).normal(size=(7, *SHAPE))
    oracle = ss.oracles.EmpiricalOracle(data)
    x = np.asarray(jax.random.normal(key, SHAPE))
    for t in (0.0, 0.4, 1.0):
        c, sigma = dense(process, t), float(process.sigma(t))
        centres = data.reshape(7, -1) @ c.T
        logits = -((x.reshape(-1) - centres) ** 2).sum(1) / (2 * sigma**2)
        weights = scipy.special.softmax(logits)
        np.testing.assert_allclose(
            oracle.posterior_mean(process, t, jnp.asarray(x)).reshape(-1),
            weights @ data.reshape(7, -1),
            atol=1e-12,
        )
        expected = scipy.special.logsumexp(
            [
                scipy.stats.multivariate_normal(m, sigma**2 * np.eye(6)).logpdf(
                    x.reshape(-1)
                )
                for m in centres
            ]
        ) - np.log(7)
        got = oracle.log_prob(process, t, jnp.asarray(x))
        assert float(got) == pytest.approx(expected, abs=1e-10)
        from_denoiser = process.score(
            t, jnp.asarray(x), oracle.denoiser(process)(t, jnp.asarray(x))
        )
        np.testing.assert_allclose(
            from_denoiser, oracle.score(process, t, jnp.asarray(x)), atol=1e-9
        )


def test_mixture(process, key):
    rng = np.random.default_rng(3)
    weights = np.array([0.2, 0.5, 0.3])
    means = rng.normal(size=(3, *SHAPE))
    roots = rng.normal(size=(3, 6, 6))
    covariances = roots @ roots.transpose(0, 2, 1)
    # A singular one too: data on a plane.
    covariances[1] = roots[1, :, :2] @ roots[1, :, :2].T
    oracle = ss.oracles.MixtureOracle(2 * weights, means, covariances)
    x = np.asarray(jax.random.normal(key, SHAPE))
    for t in (0.0, 0.4, 1.0):
        c, sigma = dense(process, t), float(process.sigma(t))
        log_densities, posteriors = [], []
        for weight, mean, covariance in zip(weights, means, covariances, strict=True):
            joint = c @ covariance @ c.T + sigma**2 * np.eye(6)
            m = c @ mean.reshape(-1)
            gain = covariance @ c.T @ np.linalg.inv(joint)
            posteriors.append(mean.reshape(-1) + gain @ (x.reshape(-1) - m))
            normal = scipy.stats.multivariate_normal(m, joint)
            log_densities.append(np.log(weight) + normal.logpdf(x.reshape(-1)))
        np.testing.assert_allclose(
            oracle.posterior_mean(process, t, jnp.asarray(x)).reshape(-1),
            scipy.special.softmax(log_densities) @ np.stack(posteriors),
            atol=1e-10,
        )
        got = oracle.log_prob(process, t, jnp.asarray(x))
        expected = scipy.special.logsumexp(log_densities)
        assert float(got) == pytest.approx(expected, abs=1e-10)
        from_denoiser = process.score(
            t, jnp.asarray(x), oracle.denoiser(process)(t, jnp.asarray(x))
        )
        np.testing.assert_allclose(
            from_denoiser, oracle.score(process, t, jnp.asarray(x)), atol=1e-10
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixture", "gaussian", "empirical"])
def test_draws_have_the_moments_of_the_data(x64, key, kind):
    """The first two, each within four standard errors of 200,000 draws."""
    weights = np.array([0.25, 0.75])
    means = np.array([[-2.0, 1.0], [1.0, 0.0]])
    covariances = np.array([[[0.5, 0.2], [0.2, 0.3]], [[1.0, -1.0], [-1.0, 1.0]]])
    if kind == "gaussian":
        weights, means, covariances = np.ones(1), means[:1], covariances[:1]
        oracle = ss.oracles.GaussianOracle(means[0], covariances[0])
    elif kind == "empirical":
        means = np.array([[-2.0, 1.0], [1.0, 0.0], [0.5, 0.3]])
        weights, covariances = np.full(3, 1 / 3), np.zeros((3, 2, 2))
        oracle = ss.oracles.EmpiricalOracle(means)
    else:
        oracle = ss.oracles.MixtureOracle(weights, means, covariances)
    number = 200_000
    draws = np.asarray(jax.vmap(oracle.sample)(jax.random.split(key, number)))
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances)
    second += np.einsum("k,ki,kj->ij", weights, means, means)
    deviations = draws.std(0) / np.sqrt(number)
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * deviations)
    products = draws[:, :, None] * draws[:, None, :]
    deviations = products.std(0) / np.sqrt(number)
    assert np.all(np.abs(products.mean(0) - second) < 4 * deviations)


def three():
    """Three components in the plane."""
    rng = np.random.default_rng(4)
    roots = rng.normal(size=(3, 2, 2))
    return ss.oracles.MixtureOracle(
        [0.2, 0.5, 0.3], rng.normal(size=(3, 2)), roots @ roots.transpose(0, 2, 1)
    )


def alone(oracle, index):
    """The component with this index, as a Gaussian: another formula for the same."""
    return ss.oracles.GaussianOracle(oracle.means[index], oracle.covariances[index])


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_a_mixture_conditioned_is_the_component(x64, key, t):
    """Its denoiser, density and score, also where the others are far more likely."""
    process, oracle = ss.ve(0.1, 5.0), three()
    denoiser = oracle.denoiser(process)
    for index in range(3):
        given, truth = oracle.given(index), alone(oracle, index)
        # At the mean of the next one.
        x = oracle.means[(index + 1) % 3] + jax.random.normal(key, (2,))
        expected = truth.posterior_mean(process, t, x)
        np.testing.assert_allclose(denoiser(t, x, index), expected, rtol=1e-9)
        np.testing.assert_allclose(
            given.log_prob(process, t, x), truth.log_prob(process, t, x), rtol=1e-9
        )
        score = process.score(t, x, denoiser(t, x, index))
        np.testing.assert_allclose(score, truth.score(process, t, x), atol=1e-9)
        np.testing.assert_allclose(given.score(process, t, x), score, atol=1e-9)


def test_a_mixture_conditioned_draws_from_the_component(x64, key):
    """Mean and second moments, each within four standard errors of 50,000 draws."""
    oracle, number = three(), 50_000
    draw = jax.jit(jax.vmap(oracle.given(1).sample))
    draws = np.asarray(draw(jax.random.split(key, number)))
    away = draws - np.asarray(oracle.means[1])
    assert np.all(np.abs(away.mean(0)) < 4 * away.std(0) / np.sqrt(number))
    products = away[:, :, None] * away[:, None, :]
    error = products.std(0) / np.sqrt(number)
    assert np.all(np.abs(products.mean(0) - oracle.covariances[1]) < 4 * error)


def test_one_component_for_each_sample(x64, key):
    """Mapped, with -1 for all of them: what `unconditional` makes of a label."""
    process, oracle = ss.ve(0.1, 5.0), three()
    denoiser = oracle.denoiser(process)
    xs = jax.random.normal(key, (4, 2))
    labels = jnp.array([2, -1, 0, 1])
    got = jax.jit(jax.vmap(denoiser, in_axes=(None, 0, 0)))(0.4, xs, labels)
    for x, label, found in zip(xs, labels, got, strict=True):
        source = oracle if label < 0 else alone(oracle, int(label))
        expected = source.posterior_mean(process, 0.4, x)
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    empty = ss.denoisers.unconditional(jnp.asarray(2))
    np.testing.assert_allclose(
        denoiser(0.4, xs[0], empty), denoiser(0.4, xs[0]), rtol=1e-12
    )


def test_the_denoisers_of_components_average_to_the_mixtures(x64, key):
    """By the posterior probability of each, which is w q_k(x) over the sum."""
    process, oracle = ss.ve(0.1, 5.0), three()
    denoiser, t, x = oracle.denoiser(process), 0.5, jax.random.normal(key, (2,))
    densities = [oracle.given(k).log_prob(process, t, x) for k in range(3)]
    shares = scipy.special.softmax(np.log([0.2, 0.5, 0.3]) + np.array(densities))
    parts = np.array([denoiser(t, x, k) for k in range(3)])
    np.testing.assert_allclose(denoiser(t, x), shares @ parts, rtol=1e-10)


@pytest.mark.slow
def test_an_oracle_denoiser_takes_a_python_float(x64, key):
    """And keeps single precision, where double is at hand."""
    with jax.enable_x64(False):
        oracle, process = three(), ss.ve(0.1, 5.0)
    x = jax.random.normal(key, (2,), jnp.float32)
    denoiser = oracle.denoiser(process)
    assert denoiser.process is process
    got = denoiser(0.5, x)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, denoiser(jnp.float32(0.5), x))


def test_mistakes_are_named(as_a_user):
    mixture = three()
    with pytest.raises(ValueError, match="one integer a sample; got float32"):
        mixture.given(0.5)  # pyright: ignore
    with pytest.raises(ValueError, match=r"got int32 of shape \(2,\)"):
        mixture.given(jnp.array([0, 1]))  # pyright: ignore
    with pytest.raises(eqx.EquinoxRuntimeError, match="there are 3, counted from 0"):
        mixture.given(3)
    gaussian = alone(mixture, 0).denoiser(ss.ve())
    with pytest.raises(ValueError, match="`GaussianOracle` knows no conditions"):
        gaussian(0.5, jnp.ones(2), 1)
    with pytest.raises(ValueError, match="one weight a component"):
        ss.oracles.MixtureOracle([1.0], jnp.zeros((2, 3)), jnp.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"expected \(2, 3, 3\)"):
        ss.oracles.MixtureOracle([1.0, 1.0], jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="positive `weights`"):
        ss.oracles.MixtureOracle([1.0, 0.0], jnp.zeros((2, 3)), jnp.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"expected \(3, 3\)"):
        ss.oracles.GaussianOracle(jnp.zeros(3), jnp.eye(2))
    with pytest.raises(ValueError, match="stacked in front"):
        ss.oracles.EmpiricalOracle(jnp.zeros(3))
