import pickle
import random

import pytest

from perdure.errors import ConfigurationError, PluginError
from perdure.search_space import choice, grid_search, sample_from, uniform
from perdure.searchers import create_searcher
from perdure.searchers.base import Searcher
from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.searchers.concurrency import ConcurrencyLimiter
from perdure.searchers.driver import (
    FINISHED,
    WAIT,
    PastCompletion,
    PastResult,
    PastSuggestion,
    SearchDriver,
)
from perdure.searchers.repeater import Repeater
from perdure.testing.searcher import search as run_search
from perdure.trial_view import TrialView


class Counting(Searcher):
    """Suggests 0, 1, 2, ... and remembers what it is told, as a user would write it for Ray Tune."""

    def __init__(self, metric="loss", mode="min", own_space=False):
        super().__init__(metric=metric, mode=mode)
        self.own_space = own_space
        self.given = None
        self.suggested = {}
        self.results = []
        self.completed = []

    def set_search_properties(self, metric, mode, config, **spec):
        if self.own_space:
            return False
        self.given = (metric, mode, config, spec)
        return True

    def suggest(self, trial_id):
        self.suggested[trial_id] = {"x": len(self.suggested)}
        return self.suggested[trial_id]

    def on_trial_result(self, trial_id, result):
        self.results.append((trial_id, result))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.completed.append((trial_id, self.suggested[trial_id]["x"], result, error))

    def save(self, checkpoint_path):
        with open(checkpoint_path, "wb") as file:
            pickle.dump((self.suggested, self.results, self.completed), file)

    def restore(self, checkpoint_path):
        with open(checkpoint_path, "rb") as file:
            self.suggested, self.results, self.completed = pickle.load(file)


class Reminded(Counting):
    """One that can be told about suggestions of an earlier session."""

    def replay_suggestion(self, trial_id, config):
        self.suggested[trial_id] = {"x": config["x"]}
        return True

    def save(self, checkpoint_path):
        raise NotImplementedError


class Drawing(Searcher):
    """Draws from a generator of its own, and has no other memory than what it is told. Unseeded, it begins anew."""

    def __init__(self, seed=None):
        super().__init__(metric="loss", mode="min")
        self.rng = random.Random(seed)
        self.live = {}
        self.told = []

    def set_search_properties(self, metric, mode, config, **spec):
        return True

    def suggest(self, trial_id):
        if len(self.live) >= 2:
            return None
        near = min(self.told, default=(0, 4.5))[1]
        self.live[trial_id] = near + self.rng.gauss(0, 1)
        return {"x": self.live[trial_id]}

    def on_trial_complete(self, trial_id, result=None, error=False):
        x = self.live.pop(trial_id)
        if not error:
            self.told.append((result["loss"], x))


class Pointed(Drawing):
    """One that also hears of points evaluated elsewhere."""

    points = ()

    def add_evaluated_point(self, parameters, value, error=False, pruned=False, intermediate_values=None):
        self.points = (*self.points, (parameters, value))


def driver(searcher, space=None, num_samples=10, metric="loss", mode="min"):
    space = {"x": uniform(0, 9), "c": 1} if space is None else space
    return SearchDriver(searcher, param_space=space, num_samples=num_samples, metric=metric, mode=mode)


def past(*events):
    make = {"s": PastSuggestion, "r": PastResult, "c": PastCompletion}
    return [make[kind](trial=trial, **rest) for kind, trial, rest in events]


# --- suggestions ------------------------------------------------------------------------------------------------------


def test_constants_are_merged_into_what_is_suggested():
    class Nested(Counting):
        def suggest(self, trial_id):
            return {"n": {"lr": 0.5}, "new": [1]}

    search = driver(Nested(), {"n": {"lr": uniform(0, 1), "layers": 3}, "c": 1})
    suggestion = search.next("t")
    assert suggestion.config == {"n": {"lr": 0.5, "layers": 3}, "c": 1, "new": [1]}
    assert suggestion.searched == {"n/lr": 0.5, "new": [1]}


def test_a_searcher_is_given_metric_mode_and_space():
    searcher = Counting()
    space = {"x": uniform(0, 1), "l": [1]}
    driver(searcher, space, num_samples=7)
    metric, mode, config, spec = searcher.given
    assert (metric, mode, spec["num_samples"]) == ("loss", "min", 7)
    assert config["x"].upper == 1
    config["l"].append(2)
    assert space["l"] == [1]


def test_older_searchers_take_no_further_facts():
    class Older(Counting):
        def set_search_properties(self, metric, mode, config):
            self.given = config
            return True

    searcher = Older()
    driver(searcher)
    assert "x" in searcher.given


def test_suggestions_end_with_num_samples():
    search = driver(Counting(), num_samples=2)
    assert search.total == 2
    assert [search.next(f"t{n}").config["x"] for n in range(2)] == [0, 1]
    assert search.next("t2") is FINISHED
    assert driver(Counting(), num_samples=-1).total is None


def test_none_means_not_now_and_finished_means_never_again():
    answers = [None, {"x": 1}, Searcher.FINISHED, {"x": 2}]

    class Scripted(Counting):
        def suggest(self, trial_id):
            return answers.pop(0)

    search = driver(Scripted())
    assert search.next("t") is WAIT
    assert search.next("t").config["x"] == 1
    assert search.next("t") is FINISHED
    assert search.next("t") is FINISHED
    assert answers == [{"x": 2}]


def test_no_trial_shares_its_configuration_with_the_searcher():
    class Reusing(Counting):
        shared = {"x": [1]}

        def suggest(self, trial_id):
            return self.shared

    search = driver(Reusing())
    search.next("t0").config["x"].append(2)
    assert search.next("t1").config["x"] == [1]


@pytest.mark.parametrize("open_value", [grid_search([1, 2]), sample_from(lambda: 1)])
def test_grids_and_functions_next_to_a_searcher_are_refused(open_value):
    search = driver(Counting(), {"x": uniform(0, 1), "g": open_value})
    with pytest.raises(ConfigurationError, match=r"no value for 'g'. grid_search and sample_from are for random"):
        search.next("t")


def test_a_searcher_that_handles_a_grid_by_itself_may():
    class Gridded(Counting):
        def suggest(self, trial_id):
            return {"g": 2}

    assert driver(Gridded(), {"g": grid_search([1, 2])}).next("t").config == {"g": 2}


def test_a_space_that_the_searcher_does_not_take_is_refused():
    with pytest.raises(ConfigurationError, match=r"did not take the search space.*leaves open: x, n/y"):
        driver(Counting(own_space=True), {"x": uniform(0, 1), "n": {"y": choice([1])}})
    assert driver(Counting(own_space=True), {"c": 1}).next("t").config == {"c": 1, "x": 0}


def test_a_value_that_was_not_suggested_is_named():
    with pytest.raises(ConfigurationError, match="no value for 'y'"):
        driver(Counting(), {"x": uniform(0, 1), "y": uniform(0, 1)}).next("t")


def test_what_a_searcher_raises_is_shown_with_its_own_error():
    class Broken(Counting):
        def suggest(self, trial_id):
            raise ZeroDivisionError("boom")

        def on_trial_complete(self, trial_id, result=None, error=False):
            raise KeyError("gone")

    search = driver(Broken())
    with pytest.raises(PluginError, match=r"Broken.suggest raised ZeroDivisionError: boom") as caught:
        search.next("t")
    assert caught.value.__cause__.__traceback__ is not None
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(PluginError, match="on_trial_complete raised KeyError"):
        search.on_complete("t", {}, error=False)


def test_an_answer_of_another_kind_is_refused():
    class Odd(Counting):
        def suggest(self, trial_id):
            return [1]

    with pytest.raises(PluginError, match=r"returned \[1\] of type list"):
        driver(Odd()).next("t")


def test_metric_and_mode_must_go_together():
    assert Searcher(metric=["a", "b"], mode=["min", "obs"]).mode == ["min", "obs"]
    with pytest.raises(ConfigurationError):
        Searcher(metric="a", mode="best")
    with pytest.raises(ConfigurationError):
        Searcher(metric=["a"], mode=["min", "max"])
    assert driver(Counting(metric=["a", "b"], mode=["min", "min"])).metrics == ("a", "b")


# --- over a restore ---------------------------------------------------------------------------------------------------


def session(search):
    for number in range(3):
        search.next(f"t{number}")
    search.on_result("t0", {"loss": 3})
    search.on_complete("t0", {"loss": 2}, error=False)


HISTORY = past(
    ("s", "t0", {"config": {"x": 0, "c": 1}}),
    ("s", "t1", {"config": {"x": 1, "c": 1}}),
    ("s", "t2", {"config": {"x": 2, "c": 1}}),
    ("r", "t0", {"result": {"loss": 3}}),
    ("c", "t0", {"result": {"loss": 2}}),
    ("c", "t1", {"result": {"loss": 5}}),
)


def test_a_searcher_comes_back_from_its_file_and_hears_what_came_after(tmp_path):
    search = driver(Counting())
    session(search)
    assert search.save(tmp_path)
    restored = driver(Counting())
    assert restored.restore(tmp_path)
    assert restored.replay(HISTORY) is None
    assert restored.searcher.completed == [("t0", 0, {"loss": 2}, False), ("t1", 1, {"loss": 5}, False)]
    assert restored.searcher.results == [("t0", {"loss": 3})]
    assert restored.next("t3").config["x"] == 3
    for number in range(4, 10):
        restored.next(f"t{number}")
    assert restored.next("t10") is FINISHED


def test_a_searcher_without_a_file_is_told_everything_again(tmp_path):
    assert not driver(Reminded()).save(tmp_path)
    restored = driver(Reminded())
    assert not restored.restore(tmp_path)
    assert restored.replay(HISTORY) is None
    assert restored.searcher.completed == [("t0", 0, {"loss": 2}, False), ("t1", 1, {"loss": 5}, False)]
    assert restored.searcher.results == [("t0", {"loss": 3})]
    assert restored.next("t3").config["x"] == 3


def test_a_searcher_that_saves_nothing_is_asked_again_and_told_all():
    restored = driver(Counting(), num_samples=4)
    assert restored.replay(HISTORY) is None
    assert restored.searcher.suggested == {"t0": {"x": 0}, "t1": {"x": 1}, "t2": {"x": 2}}
    assert restored.searcher.results == [("t0", {"loss": 3})]
    assert restored.searcher.completed == [("t0", 0, {"loss": 2}, False), ("t1", 1, {"loss": 5}, False)]
    assert restored.next("t3").config["x"] == 3
    assert restored.next("t4") is FINISHED


class Saving(Drawing):
    def save(self, checkpoint_path):
        with open(checkpoint_path, "wb") as file:
            pickle.dump((self.rng, self.live, self.told), file)

    def restore(self, checkpoint_path):
        with open(checkpoint_path, "rb") as file:
            self.rng, self.live, self.told = pickle.load(file)


class Waiting(Drawing):
    """Says every third time that it has nothing, as one that asks a service might."""

    asked = 0

    def suggest(self, trial_id):
        self.asked += 1
        return None if self.asked % 3 == 0 and self.live else super().suggest(trial_id)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.asked = 0
        super().on_trial_complete(trial_id, result, error)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", [Drawing, Saving, Waiting])
@pytest.mark.parametrize("slots", [1, 3])
def test_a_seeded_searcher_that_was_killed_anywhere_suggests_what_it_would_have(kind, slots, wrapped):
    def make():
        searcher = kind(seed=7)
        return ConcurrencyLimiter(Repeater(searcher, repeat=2), max_concurrent=3) if wrapped else searcher

    def configs(**kills):
        return run_search(make, {"x": uniform(0, 9)}, samples=9, slots=slots, loss=lambda config: config["x"], **kills)

    undisturbed = configs()
    for kill in range(1, 9):
        assert configs(kills=(kill,)) == undisturbed
        assert configs(kills=(kill, 8), saves=(kill // 2,)) == undisturbed


def test_what_an_unseeded_searcher_suggests_otherwise_has_failed_and_that_is_said():
    restored = driver(Drawing())
    assert "Drawing does not know of 3 trials" in restored.replay(HISTORY)
    assert restored.searcher.live == {}
    assert restored.searcher.told == []
    restored.on_complete("t2", {"loss": 1}, error=False)
    assert restored.searcher.told == []
    assert restored.next("t3").config.keys() == {"x", "c"}


def test_a_searcher_that_knows_points_is_told_finished_trials():
    restored = driver(Pointed())
    assert "does not know of 1 trials" in restored.replay(HISTORY)
    assert restored.searcher.points == (({"x": 0, "c": 1}, 2), ({"x": 1, "c": 1}, 5))


def test_of_a_trial_that_was_forgotten_a_nested_metric_is_told_too():
    restored = driver(Pointed())
    restored.searcher._metric = "eval/loss"
    trial = ("s", "t0", {"config": {"x": 0, "c": 1}}), ("c", "t0", {"result": {"eval": {"loss": 2}}})
    assert restored.replay(past(*trial)) is None
    assert restored.searcher.points == (({"x": 0, "c": 1}, 2),)


def test_a_limiter_holds_no_place_for_trials_that_its_searcher_does_not_know():
    restored = driver(ConcurrencyLimiter(Drawing(), max_concurrent=1))
    assert "does not know of 3 trials" in restored.replay(HISTORY)
    assert restored.next("t3") is not WAIT


@pytest.mark.parametrize("answer", [None, Searcher.FINISHED])
def test_a_searcher_that_has_nothing_to_suggest_when_it_is_asked_again_hears_nothing(answer):
    class Silent(Counting):
        def suggest(self, trial_id):
            return answer

    restored = driver(Silent())
    assert "Silent does not know of 3 trials" in restored.replay(HISTORY)
    assert restored.searcher.completed == []


def test_a_searcher_is_not_asked_for_the_trials_of_another():
    restored = driver(Counting())
    assert "Counting does not know of 2 trials" in restored.replay(
        past(*(("s", f"t{n}", {"config": {"x": max(0, n - 2), "c": 1}}) for n in range(4))), since=2
    )
    assert restored.searcher.suggested == {"t2": {"x": 0}, "t3": {"x": 1}}


def helper():
    pass


class Fixed(Searcher):
    """Suggests what it was made with."""

    def __init__(self, suggested):
        super().__init__(metric="loss", mode="min")
        self.suggested = suggested

    def suggest(self, trial_id):
        return self.suggested

    def on_trial_complete(self, trial_id, result=None, error=False):
        assert error


@pytest.mark.parametrize(
    ("suggested", "journaled"),
    [
        ({"x": float("nan")}, {"x": float("nan"), "c": 1}),
        ({"n": {"x": (1, [2.5])}}, {"n": {"x": (1, [2.5]), "y": 0}}),
        ({"f": helper}, {"f": "<function helper at 0x7f0123456789>"}),
        ({"g": Searcher}, {"g": "<class 'perdure.searchers.base.Searcher'>"}),
    ],
)
def test_what_is_suggested_again_is_known_by_its_value(suggested, journaled):
    assert driver(Fixed(suggested), {}).replay(past(("s", "t0", {"config": journaled}))) is None
    for key in suggested:
        other = {**journaled, key: "other"}
        assert driver(Fixed(suggested), {}).replay(past(("s", "t0", {"config": other}))) is not None


def test_numbers_of_numpy_are_known_by_their_value():
    numpy = pytest.importorskip("numpy")

    searcher = Fixed({"x": numpy.float32(0.1), "n": numpy.int64(3)})
    config = {"x": float(numpy.float32(0.1)), "n": 3}
    assert driver(searcher, {}).replay(past(("s", "t0", {"config": config}))) is None


def test_trials_after_the_file_was_written_are_told_where_possible(tmp_path):
    class Both(Reminded):
        save = Counting.save

    search = driver(Both())
    search.next("t0")
    search.save(tmp_path)
    restored = driver(Both())
    restored.restore(tmp_path)
    assert restored.replay(HISTORY) is None
    assert set(restored.searcher.suggested) == {"t0", "t1", "t2"}
    assert len(restored.searcher.completed) == 2


def test_wrappers_come_back_too(tmp_path):
    search = driver(ConcurrencyLimiter(Repeater(Counting(), repeat=2, set_index=False), max_concurrent=3))
    for number in range(3):
        search.next(f"t{number}")
    search.on_complete("t0", {"loss": 1.0}, error=False)
    assert search.save(tmp_path)
    restored = driver(ConcurrencyLimiter(Repeater(Counting(), repeat=2, set_index=False), max_concurrent=3))
    assert restored.restore(tmp_path)
    restored.on_complete("t1", {"loss": 3.0}, error=False)
    assert restored.searcher.searcher.searcher.completed == [("t0", 0, {"loss": 2.0}, False)]
    assert restored.next("t3").config["x"] == 1
    assert restored.next("t4").config["x"] == 2
    assert restored.next("t5") is WAIT


def test_a_file_of_the_searcher_that_cannot_be_read_is_reported(tmp_path):
    search = driver(Counting())
    search.save(tmp_path)
    (tmp_path / "searcher-state-perdure.pkl").write_bytes(b"junk")
    with pytest.raises(PluginError, match="restore_from_dir raised UnpicklingError"):
        driver(Counting()).restore(tmp_path)


def test_users_save_and_restore_by_hand(tmp_path):
    searcher = Counting()
    searcher.suggest("t")
    searcher.save_to_dir(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["searcher-state-default.pkl"]
    other = Counting()
    other.restore_from_dir(str(tmp_path))
    assert other.suggested == {"t": {"x": 0}}
    with pytest.raises(RuntimeError, match="No saved state"):
        other.restore_from_dir(str(tmp_path / "nowhere"))


# --- wrappers ---------------------------------------------------------------------------------------------------------


def test_only_so_many_trials_are_unfinished_at_a_time():
    search = driver(ConcurrencyLimiter(Counting(), max_concurrent=2))
    search.next("t0")
    search.next("t1")
    assert search.next("t2") is WAIT
    search.on_complete("t0", {"loss": 1}, error=False)
    assert search.next("t2").config["x"] == 2
    assert search.metrics == ("loss",)


def test_a_batch_is_told_as_one():
    searcher = Counting()
    search = driver(ConcurrencyLimiter(searcher, max_concurrent=2, batch=True))
    search.next("t0")
    search.next("t1")
    search.on_complete("t1", {"loss": 1}, error=False)
    assert searcher.completed == []
    assert search.next("t2") is WAIT
    search.on_complete("t0", None, error=True)
    assert searcher.completed == [("t1", 1, {"loss": 1}, False), ("t0", 0, None, True)]
    assert search.next("t2").config["x"] == 2


def test_a_searcher_that_limits_itself_is_left_alone():
    class Limiting(Counting):
        limit = None

        def set_max_concurrency(self, max_concurrent):
            self.limit = max_concurrent
            return True

    searcher = Limiting()
    search = driver(ConcurrencyLimiter(searcher, max_concurrent=1))
    assert searcher.limit == 1
    assert [search.next(f"t{n}").config["x"] for n in range(3)] == [0, 1, 2]
    search.on_complete("t1", {"loss": 1}, error=False)
    assert searcher.completed == [("t1", 1, {"loss": 1}, False)]


@pytest.mark.parametrize("limit", [0, -1, "2"])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ConfigurationError, match=f"max_concurrent={limit!r}"):
        ConcurrencyLimiter(Counting(), max_concurrent=limit)


def test_random_search_limits_itself():
    with pytest.raises(ConfigurationError, match=r"BasicVariantGenerator.max_concurrent"):
        ConcurrencyLimiter(BasicVariantGenerator(), max_concurrent=1)


def test_repeated_trials_are_told_as_their_mean():
    searcher = Counting()
    search = driver(Repeater(searcher, repeat=3), num_samples=6)
    found = [search.next(f"t{n}").config for n in range(4)]
    assert [(config["x"], config["__trial_index__"]) for config in found] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    search.on_complete("t1", {"loss": 2}, error=False)
    search.on_complete("t0", None, error=True)
    assert searcher.completed == []
    search.on_complete("t2", {"loss": 4}, error=False)
    assert searcher.completed == [("t0", 0, {"loss": 3}, False)]
    assert list(search.searcher._groups) == ["t3"]  # a group that was told is forgotten


@pytest.mark.parametrize("last", ["t0", "t1"])
def test_a_group_of_which_some_have_failed_is_told_as_the_mean_of_the_others_whoever_is_the_last(last):
    searcher = Counting()
    search = driver(Repeater(searcher, repeat=2))
    search.next("t0")
    search.next("t1")
    for trial in sorted(("t0", "t1"), key=lambda trial: trial == last):
        search.on_complete(trial, {"loss": 2} if trial == "t0" else None, error=trial == "t1")
    assert searcher.completed == [("t0", 0, {"loss": 2}, False)]


def test_a_group_that_has_failed_as_a_whole_is_told_so():
    searcher = Counting()
    search = driver(Repeater(searcher, repeat=2))
    for trial in ("t0", "t1"):
        search.next(trial)
    for trial in ("t0", "t1"):
        search.on_complete(trial, None, error=True)
    ((_, _, _, error),) = searcher.completed
    assert error


def test_the_mean_of_a_nested_metric_is_told():
    searcher = Counting(metric="eval/loss")
    search = driver(Repeater(searcher, repeat=1))
    search.next("t0")
    search.on_complete("t0", {"eval": {"loss": 2}}, error=False)
    assert searcher.completed == [("t0", 0, {"eval/loss": 2}, False)]


def test_repeating_less_than_once_is_refused():
    with pytest.raises(ConfigurationError, match="repeat=0"):
        Repeater(Counting(), repeat=0)


# --- trials from elsewhere --------------------------------------------------------------------------------------------


def test_finished_trials_can_be_handed_to_a_searcher():
    trials = []
    for number, status in enumerate(("TERMINATED", "ERROR", "TERMINATED")):
        trial = TrialView(trial_id=str(number), trial_name="", config={"x": number}, status=status)
        trial.last_result = {"loss": number} if number < 2 else {}
        trials.append(trial)
    searcher = Pointed()
    searcher.add_evaluated_trials(trials, "loss")
    assert searcher.points == (({"x": 0}, 0), ({"x": 1}, 1))
    searcher.add_evaluated_trials(trials[1], "loss")
    assert len(searcher.points) == 3
    trials[2].last_result = {"eval": {"loss": 7}}
    searcher.add_evaluated_trials(trials, "eval/loss")
    assert searcher.points[3:] == (({"x": 2}, 7),)
    with pytest.raises(NotImplementedError):
        Counting().add_evaluated_trials(trials, "loss")


def test_searchers_have_names():
    assert create_searcher("random", max_concurrent=3).max_concurrent == 3
    assert isinstance(create_searcher("variant_generator"), BasicVariantGenerator)
    assert create_searcher("bohb", metric="loss", mode="min").metric == "loss"
    with pytest.raises(ConfigurationError, match="There is no searcher 'foo'"):
        create_searcher("foo")


def test_a_searcher_whose_library_is_missing_says_how_to_get_it_and_where_that_fails(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"HyperOptSearch needs hyperopt.* pip install 'perdure\[hyperopt\]'"):
        create_searcher("hyperopt")
    with pytest.raises(ModuleNotFoundError, match=r"runs on 3\.10 and 3\.11, and does not install on 3\.12"):
        create_searcher("hebo")
