"""What every searcher must do. Inherit `SearcherTests`, say how yours is made, and run pytest.

    class TestMine(SearcherTests):
        def make(self, **arguments: Any) -> Searcher:
            return MySearcher(**arguments)

The suite talks to it as the loop does, through a `SearchDriver`; trials are rows made up on the spot.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import pytest

from perdure.errors import ConfigurationError
from perdure.search_space.functions import (
    choice,
    grid_search,
    lograndint,
    loguniform,
    qlograndint,
    qrandint,
    quniform,
    randint,
    randn,
    sample_from,
    uniform,
)
from perdure.search_space.paths import path_text
from perdure.search_space.space import unresolved
from perdure.searchers.base import Searcher
from perdure.searchers.concurrency import ConcurrencyLimiter
from perdure.searchers.driver import (
    WAIT,
    Past,
    PastCompletion,
    PastResult,
    PastSuggestion,
    SearchDriver,
    Suggestion,
    check_search,
)
from perdure.searchers.repeater import Repeater

Config = dict[str, Any]
Make = Callable[[], Searcher]

NUMBERS: dict[str, Any] = {
    "lr": loguniform(1e-4, 1e-1),
    "nested": {"units": qrandint(8, 64, 8), "dropout": quniform(0, 0.5, 0.1), "constant": 7},
    "depth": randint(1, 4),
    "width": lograndint(1, 100),
    "batch": qlograndint(4, 64, 4),
    "shift": randn(1, 2),
    "pair": [uniform(2, 3), "constant"],
}
EVERYTHING: dict[str, Any] = {
    **NUMBERS,
    "activation": choice(["relu", "tanh", None]),
    "flag": choice([True, 1, "1"]),
    "layers": choice([[8], [8, 8]]),
    "model": choice(
        [{"kind": "tree", "leaves": randint(2, 9)}, {"kind": "net", "weights": [uniform(0, 1), 3]}, "none"]
    ),
}


def loss_of(config: Mapping[str, Any]) -> float:
    """Return a smooth function of the numbers in the suite's spaces."""
    nested = config["nested"]
    return float(math.log10(config["lr"]) ** 2 + nested["dropout"] + nested["units"] / 64 + abs(config["shift"]))


def search(
    make: Make,
    space: Mapping[str, Any],
    *,
    samples: int,
    seed: int = 3,
    kills: Collection[int] = (),
    saves: Collection[int] = (),
    slots: int = 1,
    loss: Callable[[Config], float] = loss_of,
) -> list[Config]:
    """Run a search, and return the configurations of its trials.

    Trial 3 reports NaN, and trial 5 fails.

    Args:
        make: Makes the searcher, anew for each session.
        space: What is searched.
        samples: How many trials there are.
        seed: Of TuneConfig.
        kills: Before which trials the driver is killed. What follows is told what the journal has.
        saves: Before which trials a snapshot is written.
        slots: How many trials run at a time; the oldest ends first.
        loss: What a trial reports.
    """
    past: list[Past] = []
    configs: dict[str, Config] = {}
    running: list[str] = []

    def session() -> SearchDriver:
        return SearchDriver(make(), param_space=space, num_samples=samples, metric="loss", mode="min", seed=seed)

    def end(driver: SearchDriver) -> None:
        trial = running.pop(0)
        number = int(trial[1:])
        row = {"loss": math.nan if number == 3 else loss(configs[trial]), "training_iteration": 1}
        driver.on_result(trial, row)
        past.append(PastResult(trial=trial, result=row))
        failed = number == 5
        driver.on_complete(trial, None if failed else row, error=failed)
        past.append(PastCompletion(trial=trial, result=None if failed else row, error=failed))

    with tempfile.TemporaryDirectory() as directory:
        driver = session()
        for number in range(samples):
            if number in saves:
                driver.save(directory)
            if number in kills:
                driver = session()
                driver.restore(directory)
                lost = driver.replay(past)
                assert lost is None, lost
            answer = driver.next(f"t{number}")
            while answer is WAIT and running:
                end(driver)
                answer = driver.next(f"t{number}")
            assert isinstance(answer, Suggestion), f"{answer} instead of configuration {number}"
            configs[f"t{number}"] = answer.config
            past.append(PastSuggestion(trial=f"t{number}", config=answer.config))
            running.append(f"t{number}")
            if len(running) >= slots:
                end(driver)
        return list(configs.values())


class SearcherTests:
    """The suite. Override `make`, and the class attributes where a searcher can do less, or is slow."""

    space: ClassVar[Mapping[str, Any]] = EVERYTHING
    has_own_seed: ClassVar[bool] = False
    """It has one even where none was given."""
    samples: ClassVar[int] = 12
    """Enough that a model is asked, if the searcher has one."""

    def make(self, **arguments: Any) -> Searcher:
        """Return a searcher made with these arguments, of those that all searchers have."""
        raise NotImplementedError

    def wrapped(self) -> Searcher:
        """Return a searcher as `make` does. Its metric and mode are known beforehand."""
        return self.make(metric="loss", mode="min")

    # --- the space --------------------------------------------------------------------------------------------------

    def test_every_suggestion_is_in_the_space(self) -> None:
        """Constants and nesting included; bounds and steps are those of the domains."""
        for config in search(self.make, self.space, samples=self.samples):
            _check(self.space, config, "")

    @pytest.mark.parametrize("value", [grid_search([1, 2]), sample_from(lambda: 1)])
    def test_what_has_no_bounds_is_refused_by_name(self, value: Any) -> None:
        """And at once, not when the first trial is due."""
        with pytest.raises(ConfigurationError, match="'inner/odd'"):
            SearchDriver(self.make(), param_space={**self.space, "inner": {"odd": value}}, metric="loss", mode="min")

    def test_a_space_without_domains_is_refused(self) -> None:
        """There is nothing to search."""
        with pytest.raises(ConfigurationError, match="nothing to search"):
            SearchDriver(self.make(), param_space={"constant": 1}, metric="loss", mode="min")

    def test_metric_and_mode_must_be_known(self) -> None:
        """From TuneConfig, or from the searcher's own arguments."""
        with pytest.raises(ConfigurationError, match="does not know what to optimise"):
            SearchDriver(self.make(), param_space=self.space)
        assert SearchDriver(self.make(metric="acc", mode="max"), param_space=self.space).metrics == ("acc",)

    # --- restores ---------------------------------------------------------------------------------------------------

    def test_a_killed_search_goes_on_as_if_nothing_had_happened(self) -> None:
        """One trial at a time: told from the journal's beginning, or from a snapshot on."""
        undisturbed = search(self.make, self.space, samples=self.samples)
        last = self.samples - 1
        assert search(self.make, self.space, samples=self.samples, kills=(2, last)) == undisturbed
        assert search(self.make, self.space, samples=self.samples, kills=(last,), saves=(last - 3,)) == undisturbed

    def test_several_at_a_time_go_on_too(self) -> None:
        """What runs when the driver is killed is not forgotten."""
        undisturbed = search(self.make, self.space, samples=self.samples, slots=3)
        kills = (4, self.samples - 2)
        assert search(self.make, self.space, samples=self.samples, slots=3, kills=kills, saves=(4,)) == undisturbed

    def test_another_seed_searches_elsewhere(self) -> None:
        """TuneConfig(seed=...) decides, unless the searcher has its own."""
        first, second = (search(self.make, self.space, samples=3, seed=seed) for seed in (1, 2))
        assert (first == second) == self.has_own_seed

    def test_a_changed_space_keeps_what_was_learnt(self) -> None:
        """A restore with other bounds: earlier trials are told as they were, and the search goes on in the new."""
        past: list[Past] = []
        first = SearchDriver(self.make(), param_space=self.space, num_samples=9, metric="loss", mode="min", seed=0)
        with tempfile.TemporaryDirectory() as directory:
            for number in range(3):
                answer = first.next(f"t{number}")
                assert isinstance(answer, Suggestion)
                past.append(PastSuggestion(trial=f"t{number}", config=answer.config))
                row = {"loss": loss_of(answer.config)}
                first.on_complete(f"t{number}", row)
                past.append(PastCompletion(trial=f"t{number}", result=row))
            first.save(directory)
            wider = {**self.space, "lr": loguniform(1e-6, 1e-1)}
            second = SearchDriver(self.make(), param_space=wider, num_samples=9, metric="loss", mode="min", seed=0)
            assert not second.restore(directory)
        assert second.replay(past) is None
        assert second.change_space()
        answer = second.next("t3")
        assert isinstance(answer, Suggestion)
        _check(wider, answer.config, "")

    # --- what is told -----------------------------------------------------------------------------------------------

    def test_points_come_first_and_what_they_leave_out_is_drawn(self) -> None:
        """Nested ones too."""
        points = [{"lr": 0.01, "nested": {"units": 16}}, {"depth": 2}]
        configs = search(lambda: self.make(points_to_evaluate=points), self.space, samples=3)
        assert (configs[0]["lr"], configs[0]["nested"]["units"]) == (pytest.approx(0.01), 16)
        assert configs[1]["depth"] == 2
        for config in configs:
            _check(self.space, config, "")

    def test_a_point_may_name_what_is_nested_by_its_path(self) -> None:
        """As a table of results does."""
        points: list[Config] = [{"lr": 0.01, "nested/units": 16}]
        if "pair" in self.space:
            points[0]["pair/0"] = 2.5
        (config,) = search(lambda: self.make(points_to_evaluate=points), self.space, samples=1)
        assert (config["lr"], config["nested"]["units"]) == (pytest.approx(0.01), 16)
        assert config["nested"]["constant"] == 7
        assert "pair" not in self.space or config["pair"] == [pytest.approx(2.5), "constant"]

    def test_points_are_looked_at_before_anything_begins(self) -> None:
        """A name that the space has not, and a value that is out of bounds; a constant may be named."""

        def check(point: Config) -> None:
            check_search(self.make(points_to_evaluate=[{"depth": 2}, point]), self.space)

        check({"depth": 1, "nested": {"constant": 7}})
        for point, told in (
            ({"dept": 2}, "'dept'"),
            ({"nested": {"unit": 16}}, "'nested/unit'"),
            ({"nested/unit": 16}, "'nested/unit'"),
            ({"nested": 16}, "nested/units"),
            ({"depth": 99}, "99 of 'depth'"),
            ({"depth": "2"}, "'2' of 'depth'"),
        ):
            with pytest.raises(ConfigurationError, match=rf"^points_to_evaluate\[1\] of \w+ cannot be tried.*{told}"):
                check(point)
        with pytest.raises(ConfigurationError, match=r"points_to_evaluate\[0\] is 3: use a dict, not an int"):
            self.make(points_to_evaluate=[3])

    def test_a_point_outside_the_space_is_refused(self) -> None:
        """It says which value."""
        driver = SearchDriver(
            self.make(points_to_evaluate=[{"depth": 99}]), param_space=self.space, metric="loss", mode="min"
        )
        with pytest.raises(ConfigurationError, match=r"99 of 'depth'"):
            driver.next("t0")

    def test_a_configuration_evaluated_elsewhere_is_learnt_from(self) -> None:
        """Before the search as during it; one that is not in the space is left out."""
        known = search(self.make, self.space, samples=4)
        searcher = self.make()
        for config in known:
            searcher.add_evaluated_point(config, loss_of(config))
        searcher.add_evaluated_point({**known[0], "depth": 99}, 0.0)
        driver = SearchDriver(searcher, param_space=self.space, num_samples=3, metric="loss", mode="min", seed=0)
        answer = driver.next("t0")
        assert isinstance(answer, Suggestion)
        searcher.add_evaluated_point(known[1], 0.5, error=True)
        driver.on_complete("t0", {"loss": 1.0})
        assert isinstance(driver.next("t1"), Suggestion)

    def test_an_unknown_trial_is_passed_over(self) -> None:
        """It may be one from before a restore."""
        driver = SearchDriver(self.make(), param_space=self.space, metric="loss", mode="min", seed=0)
        assert isinstance(driver.next("t0"), Suggestion)
        driver.on_result("stranger", {"loss": 1.0})
        driver.on_complete("stranger", {"loss": 1.0})

    # --- wrappers ---------------------------------------------------------------------------------------------------

    def test_a_limiter_around_it_limits(self) -> None:
        """And comes back after a kill."""

        def make() -> Searcher:
            return ConcurrencyLimiter(self.wrapped(), max_concurrent=2)

        undisturbed = search(make, self.space, samples=6, slots=3)
        assert search(make, self.space, samples=6, slots=3, kills=(3,)) == undisturbed

    def test_a_repeater_around_it_repeats(self) -> None:
        """And comes back after a kill, in the middle of a group too."""

        def make() -> Searcher:
            return Repeater(self.wrapped(), repeat=2, set_index=False)

        undisturbed = search(make, self.space, samples=6)
        assert undisturbed[0] == undisturbed[1] != undisturbed[2] == undisturbed[3]
        assert search(make, self.space, samples=6, kills=(3, 4)) == undisturbed
        assert search(make, self.space, samples=6, kills=(5,), saves=(3,)) == undisturbed


def _check(space: Any, value: Any, path: str) -> None:
    """Assert that `value` is what `space` may give."""
    domains = dict(unresolved(space))
    if () in domains:
        domain = domains[()]
        categories = getattr(domain, "categories", None)
        if categories is not None:
            assert any(_fits(category, value, path) for category in categories), f"{path}: {value!r} is no category"
            return
        assert type(value) in (int, float), f"{path}: {value!r} of {type(value)}"
        assert domain.is_valid(value), f"{path}: {value!r} is not in {domain!r}"
        low, high = domain.lower, domain.upper  # type: ignore[attr-defined]
        quantum = getattr(domain.get_sampler(), "q", None)
        if quantum:
            assert math.isclose(value / quantum, round(value / quantum)), (
                f"{path}: {value!r} is no multiple of {quantum}"
            )
        elif type(low) is int and isinstance(value, int):
            assert value < high, f"{path}: the upper bound of {domain!r} is exclusive"
        return
    if isinstance(space, Mapping):
        assert isinstance(value, Mapping) and set(value) == set(space), f"{path}: {value!r}"  # noqa: PT018
        for key, inner in space.items():
            _check(inner, value[key], path_text((path, key)))
    elif isinstance(space, list) and domains:
        assert len(value) == len(space), f"{path}: {value!r}"
        for index, inner in enumerate(space):
            _check(inner, value[index], path_text((path, index)))
    else:
        assert value == space, f"{path}: {value!r} instead of the constant {space!r}"
        assert type(value) is type(space), f"{path}: {value!r} instead of the constant {space!r}"


def _fits(category: Any, value: Any, path: str) -> bool:
    try:
        _check(category, value, path)
    except (AssertionError, TypeError, KeyError):
        return False
    return True
