"""Every library's searcher does what all searchers do."""

from __future__ import annotations

from typing import ClassVar

import pytest

from perdure.searchers.registry import create_searcher
from perdure.testing.searcher import NUMBERS, SearcherTests

pytestmark = [pytest.mark.library, pytest.mark.filterwarnings("default")]  # libraries warn of one another


class TestHyperOpt(SearcherTests):
    def make(self, **arguments):
        return create_searcher("hyperopt", n_initial_points=6, **arguments)


FEW = {key: NUMBERS[key] for key in ("lr", "nested", "depth", "shift")}  # for models that take seconds


class TestBayesOpt(SearcherTests):
    space = FEW
    samples = 7
    has_own_seed = True

    def make(self, **arguments):
        return create_searcher("bayesopt", random_search_steps=5, **arguments)


class TestZOOpt(SearcherTests):
    samples = 16

    def make(self, **arguments):
        return create_searcher("zoopt", budget=30, parallel_num=3, **arguments)


class TestAx(SearcherTests):
    space = FEW
    samples = 7

    def make(self, **arguments):
        return create_searcher("ax", **arguments)


class OptunaTests(SearcherTests):
    """With one sampler or another."""

    sampler: ClassVar[tuple[str, dict]]

    def make(self, **arguments):
        import optuna

        name, settings = self.sampler
        return create_searcher("optuna", sampler=getattr(optuna.samplers, name)(**settings), **arguments)


class TestTPE(OptunaTests):
    sampler = ("TPESampler", {"n_startup_trials": 6})


class TestMultivariateTPE(OptunaTests):
    sampler = ("TPESampler", {"n_startup_trials": 6, "multivariate": True, "group": True})


class TestCMAES(OptunaTests):
    space = FEW
    samples = 14
    sampler = ("CmaEsSampler", {})


class TestNSGAII(OptunaTests):
    sampler = ("NSGAIISampler", {"population_size": 4})


class TestGaussianProcess(OptunaTests):
    space = FEW
    samples = 7
    sampler = ("GPSampler", {"n_startup_trials": 5})


del OptunaTests, SearcherTests  # pytest would run them as they are
