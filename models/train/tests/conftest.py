"""What all tests of `models/train` share: the place of the packages under test, and the mark of the long tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: minutes or gigabytes; tests/run leaves them to --full")
