"""What a tally counts is what the state says, and it stays small."""

from perdure.core.events import (
    Action,
    Decision,
    DriverStarted,
    ErrorInfo,
    Outcome,
    SearchEnded,
    Source,
    Spec,
    StopRequested,
    TrialActed,
)
from perdure.core.state import Status
from perdure.reporting.news import Ended, Failed
from perdure.reporting.tally import KEPT, Tally


def tallied(story, **kwargs):
    tally = Tally(metric="accuracy", mode="max", **kwargs)
    tally.fold(story.events)
    return tally


def test_counts_running_and_best(story):
    story.start(0)
    story.report(0, 1, accuracy=0.5)
    story.report(0, 2, accuracy=0.4)
    story.start(1)
    story.create(2)
    shown = tallied(story, total=5).snapshot()
    assert (shown.count(Status.RUNNING), shown.count(Status.PENDING), shown.total) == (2, 1, 5)
    assert [line.name for line in shown.running] == ["train_t0", "train_t1"]
    assert shown.running[0].metrics == {"accuracy": 0.4}
    assert (shown.best.name, shown.best.value, shown.best.iteration) == ("train_t0", 0.4, 2)
    assert shown.used == {"CPU": 2.0}


def test_the_best_is_the_least_where_less_is_better(story):
    story.whole(0, 0.5)
    story.whole(1, 0.3)
    tally = Tally(metric="accuracy", mode="min")
    tally.fold(story.events)
    assert tally.snapshot().best.value == 0.3
    assert [line.id for line in tally.snapshot().best_finished] == ["t1", "t0"]


def test_values_that_cannot_be_compared_are_never_the_best(story):
    story.start(0)
    story.report(0, 1, accuracy={"$float": "nan"})
    story.report(0, 2, accuracy="high")
    assert tallied(story).snapshot().best is None


def test_nested_metrics_are_found_by_their_path(story):
    story.start(0)
    story.report(0, 1, eval={"accuracy": 0.7})
    tally = Tally(metric="eval/accuracy", mode="max")
    tally.fold(story.events)
    assert tally.snapshot().best.value == 0.7


def test_following_a_state_shows_the_same_as_folding_one(new_story):
    story = new_story(spec=Spec(metric="accuracy", mode="max", max_failures=1))
    following = Tally(metric="accuracy", mode="max", state=story.state)

    class Display:
        def observe(self, events):
            following.fold(events)

    story.display = Display()
    story.begin()
    story.whole(0, 0.5)
    story.start(1)
    story.fail(1)
    story.start(1)
    story.report(1, 1, accuracy=0.9)
    story.fail(1)
    story.start(2)
    story.end(2, Outcome.PAUSED)
    story.tell(TrialActed(at=0, action=Action(trial="t2", decision=Decision.STOP)))
    story.create(3)
    story.start(4)
    own, followed = tallied(story).snapshot(), following.snapshot()
    assert own == followed
    assert {status.value: own.count(status) for status in Status} == {
        "PENDING": 1,
        "RUNNING": 1,
        "PAUSED": 0,
        "TERMINATED": 2,
        "ERROR": 1,
    }


def test_a_trial_that_comes_and_goes_within_one_batch_keeps_its_parameters(new_story):
    story = new_story().begin()
    before = len(story.events)
    story.start(0, lr=0.1)
    story.report(0, 1, accuracy=0.5)
    story.end(0)
    tally = Tally(metric="accuracy", mode="max", state=story.state)
    tally.fold(story.events[before:])
    assert tally.snapshot().recent[0].searched == {"lr": 0.1}


def test_ten_thousand_trials_leave_a_small_tally(story):
    for n in range(10_000):
        story.whole(n, n / 10_000)
    tally = tallied(story)
    shown = tally.snapshot()
    assert shown.count(Status.TERMINATED) == 10_000
    assert len(shown.best_finished) == KEPT
    assert [line.id for line in shown.best_finished[:2]] == ["t9999", "t9998"]
    assert len(shown.recent) == KEPT
    assert not tally._lines
    assert not tally._searched


def test_a_retry_is_no_error_until_it_is_the_last(new_story):
    story = new_story(spec=Spec(metric="accuracy", mode="max", max_failures=1)).begin()
    story.start(0)
    story.fail(0)
    tally = tallied(story)
    (failed,) = tally.news
    assert not failed.final
    assert tally.snapshot().failed == []
    story.start(0)
    story.fail(0)
    tally = tallied(story)
    assert [news.final for news in tally.news] == [False, True]
    assert [line.name for line, _ in tally.snapshot().failed] == ["train_t0"]


def test_failures_are_grouped_by_where_they_came_from(story):
    for n in range(3):
        story.start(n)
        story.fail(n)
    story.start(3)
    story.fail(3, ErrorInfo(kind="WorkerDiedError", message="pid 71 was killed by signal 9", signal=9))
    story.start(4)
    story.fail(4, ErrorInfo(kind="WorkerDiedError", message="pid 99 was killed by signal 9", signal=9))
    tally = tallied(story)
    assert [(group.first, group.count) for group in tally.snapshot().groups] == [("train_t0", 3), ("train_t3", 2)]
    assert [news.new for news in tally.news if isinstance(news, Failed)] == [True, False, False, True, False]


def test_a_new_driver_takes_running_trials_back(story):
    story.start(0)
    story.report(0, 1, accuracy=0.5)
    story.tell(DriverStarted(at=0, epoch=2, host="h", pid=2, process_start=0, capacity={"CPU": 8}))
    shown = tallied(story).snapshot()
    assert not shown.running
    assert [line.status for line in shown.waiting] == [Status.PENDING]


def test_a_stop_ends_paused_trials(story):
    story.start(0)
    story.report(0, 1, accuracy=0.5)
    story.end(0, Outcome.PAUSED)
    story.tell(StopRequested(at=0, reason="time_budget"))
    tally = tallied(story)
    assert [line.status for line in tally.snapshot().recent] == [Status.TERMINATED]
    assert sum(isinstance(news, Ended) for news in tally.news) == 1


def test_a_clone_shows_its_new_parameters(story):
    story.start(0, lr=0.1)
    story.start(1, lr=0.2)
    action = Action(
        trial="t0", decision=Decision.PAUSE, config={"lr": 0.24}, donor=Source(trial="t1", number=0), resume=True
    )
    story.tell(TrialActed(at=0, action=action))
    assert tallied(story).snapshot().running[0].searched == {"lr": 0.24}


def test_earlier_sessions_are_taken_over(new_story):
    """A trial that ended then, one that failed, one that goes on, one that waits."""
    story = new_story().begin()
    story.whole(0, 0.5)
    story.start(1)
    story.fail(1)
    for n in (2, 3):
        story.start(n)
        story.report(n, 1, accuracy=0.25 * n)
    earlier = list(story.events)
    now = len(story.events)
    story.tell(DriverStarted(at=0, epoch=2, host="h", pid=2, process_start=0, capacity={"CPU": 8}))
    story.start(2)
    tally = Tally(metric="accuracy", mode="max", state=story.state)
    tally.fold(story.events[now:])
    then = Tally(metric="accuracy", mode="max")
    then.fold(earlier)
    tally.adopt(then)
    shown = tally.snapshot()
    assert not tally.news
    assert [(line.id, line.metrics) for line in shown.running] == [("t2", {"accuracy": 0.5})]
    assert [(line.id, line.status) for line in shown.waiting] == [("t3", Status.PENDING)]
    assert (shown.best.trial, shown.best.value) == ("t3", 0.75)
    assert [line.id for line in shown.best_finished] == ["t0"]
    assert [line.id for line in shown.recent] == ["t1", "t0"]
    assert [line.id for line, _ in shown.failed] == ["t1"]
    assert shown.counts == {"PENDING": 1, "RUNNING": 1, "TERMINATED": 1, "ERROR": 1}


def test_the_time_left_comes_from_the_trials_that_ended(story):
    for n in range(4):
        story.start(n)
        story.report(n, 20, accuracy=0.1)  # 10 s each
    for n in range(2):
        story.end(n)
    story.start(4)
    tally = tallied(story, total=10)
    # 5 to come at 10 s, one that just began; three run at a time, two of them have had their 10 s
    assert tally.snapshot().left_s == (5 * 10 + 10) / 3
    story.tell(SearchEnded(at=0))
    assert tallied(story, total=10).snapshot().total == 5


def test_the_time_left_is_not_known_where_all_run_longer_than_those_that_ended(story):
    for n in range(2):
        story.start(n)
        story.report(n, 20, accuracy=0.1)
    story.fail(0)
    assert tallied(story, total=2).snapshot().left_s is None
    assert tallied(story, total=3).snapshot().left_s == 10
