"""A process, four images, their exact denoiser, and a prior."""

import numpy as np
import pytest

import softsde as ss

SHAPE = (4, 3, 1)


@pytest.fixture
def process():
    return ss.soft_blur(SHAPE, max_blur=3.0)


@pytest.fixture
def data():
    return np.float32(np.random.default_rng(0).uniform(size=(4, *SHAPE)))


@pytest.fixture
def oracle(data):
    return ss.oracles.EmpiricalOracle(data)


@pytest.fixture
def prior(process, data):
    return ss.GaussianPrior.fit(process, data)
