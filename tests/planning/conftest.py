"""Fixtures from the toys in `helpers/toy_plans.py`."""

import pytest
from toy_plans import toy_facts, toy_machine


@pytest.fixture(scope="session")
def machine():
    return toy_machine()


@pytest.fixture(scope="session")
def facts():
    return toy_facts()
