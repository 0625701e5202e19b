"""Where the tests of adapters run, every library is there: one that is missing fails, and is not skipped."""

import importlib.metadata

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.library

REQUIREMENTS = [Requirement(line) for line in importlib.metadata.requires("perdure") or ()]
WANTED = {
    requirement.name: requirement
    for requirement in REQUIREMENTS
    if requirement.marker is not None and requirement.marker.evaluate({"extra": "libraries"})
}


def test_some_libraries_are_asked_for():
    assert "optuna" in WANTED


@pytest.mark.parametrize("name", WANTED)
def test_the_library_is_installed(name):
    assert importlib.metadata.version(name) in WANTED[name].specifier
