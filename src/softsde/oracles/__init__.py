"""Oracles: data distributions whose denoiser, score and density are in closed form.

The truth that every process, loss, solver and likelihood is checked against.
"""

from ._base import (
    AbstractOracle as AbstractOracle,
    OracleDenoiser as OracleDenoiser,
)
from ._empirical import EmpiricalOracle as EmpiricalOracle
from ._gaussian import GaussianOracle as GaussianOracle
from ._mixture import MixtureOracle as MixtureOracle
