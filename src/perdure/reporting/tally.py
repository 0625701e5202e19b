"""What a display remembers of an experiment: counters, the running trials, and the few finished ones worth a row.

Folding an event touches one trial and costs about a microsecond. Statuses are not worked out a second time: they are
read from the experiment's `State`, which whoever hands over the events has folded already, or which the tally folds for
itself where it is given none. A finished trial stays only as long as it is among the best or the most recent, so the
size of a tally does not grow with the number of trials.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from perdure.core import transitions
from perdure.core.events import (
    Action,
    AnyEvent,
    AttemptEnded,
    AttemptPlanned,
    AttemptStarted,
    CheckpointCommitted,
    Data,
    DriverStarted,
    ErrorInfo,
    Noticed,
    Outcome,
    Reported,
    SearchEnded,
    StopRequested,
    TrialActed,
    TrialCreated,
    TrialRequeued,
)
from perdure.core.state import State, Status
from perdure.reporting.news import Asked, Ended, Failed, News, Paused, Row, Said, Stopping, WentOn
from perdure.reporting.snapshot import (
    FailureGroup,
    Snapshot,
    TrialLine,
    best_of,
    failure_key,
    leaves,
    score_of,
    sign_of,
)
from perdure.rows import leaf

KEPT = 50
"""Trials a table can show: so many finished ones are remembered by rank, and again by time of ending."""
_NEWS_KEPT = 2000
_DISTINCT_FAILURES = 200
_NAMES_KEPT = 16


class Tally:
    """Folds events into what a display shows."""

    def __init__(
        self,
        *,
        metric: str | None = None,
        mode: str | None = None,
        total: int | None = None,
        state: State | None = None,
        tell_rows: bool = False,
        kept: int = KEPT,
    ) -> None:
        self._kept = kept
        self._own = state is None
        self._state = State() if state is None else state
        self._metric = metric
        self._compared = None if mode is None else metric
        self._sign = sign_of(mode)
        self._total = total
        self._tell_rows = tell_rows
        self._lines: dict[str, TrialLine] = {}
        self._ranked: list[tuple[float, int, int, TrialLine]] = []
        self._recent: deque[TrialLine] = deque(maxlen=kept)
        self._metric_names: dict[str, None] = {}
        self._keys_seen: AbstractSet[str] = frozenset()
        self._failed: dict[str, tuple[TrialLine, ErrorInfo]] = {}
        self._groups: dict[object, FailureGroup] = {}
        self._ended = 0
        self._ended_s = 0.0
        self._serial = itertools.count()
        self._rejected: set[str] = set()
        """Trials whose checkpoint turned out to be damaged and which have not gone on yet."""
        self._searched: dict[str, Data] = {}
        """Of trials that have not started yet."""
        self.news: deque[News] = deque(maxlen=_NEWS_KEPT)
        self.told = 0
        """How much news there has been in all, so that a reader can tell how much it missed."""

    def fold(self, events: Iterable[AnyEvent]) -> None:
        """Take in events that `state` has already been through (or, with a state of its own, has not)."""
        handlers = self._HANDLERS
        for event in events:
            if self._own:
                transitions.apply(self._state, event)
            handle = handlers.get(type(event))
            if handle is not None:
                handle(self, event)

    def adopt(self, earlier: Tally) -> None:
        """Take over what a tally of the earlier sessions counted, as far as it still holds.

        Their failures are no news, and who reads about this session may not have seen them: each way to fail is new.
        """
        for trial, line in earlier._lines.items():  # another of our own
            self._adopt_unfinished(trial, line)
        for entry in earlier._ranked:
            if self._still_ended(entry[3]):
                self._rank(entry[3])
        self._recent.extendleft(line for line in reversed(earlier._recent) if self._still_ended(line))
        failed = {trial: known for trial, known in earlier._failed.items() if self._still_ended(known[0])}
        self._failed = {**failed, **self._failed}
        self._ended += earlier._ended
        self._ended_s += earlier._ended_s
        self._metric_names = {**earlier._metric_names, **self._metric_names}

    def _adopt_unfinished(self, trial: str, line: TrialLine) -> None:
        mine = self._lines.get(trial)
        known = self._state.trials.get(trial)
        if mine is not None and not mine.metrics:
            mine.metrics, mine.score = line.metrics, line.score
        elif mine is None and known is not None and not known.status.finished:
            line.status = known.status
            self._lines[trial] = line

    def _still_ended(self, line: TrialLine) -> bool:
        known = self._state.trials.get(line.id)
        return known is not None and known.status.finished and line.id not in self._lines

    def snapshot(self, *, over: bool = False) -> Snapshot:
        """Return what there is to show; `over`: nobody runs it any more.

        Looks at each running or paused trial once, copies what a table can hold.
        """
        running: list[TrialLine] = []
        waiting: list[TrialLine] = []
        for line in self._lines.values():
            (running if line.status is Status.RUNNING else waiting).append(line)
        state = self._state
        finished = _distinct(entry[3] for entry in sorted(self._ranked, reverse=True))
        return Snapshot(
            counts=state.counts.copy(),
            created=state.created,
            total=state.created if state.search_ended else self._total,
            used=state.used.copy(),
            capacity=state.capacity.copy(),
            running=self._worth_showing(running),
            waiting=self._worth_showing(waiting),
            best_finished=finished,
            recent=_distinct(reversed(self._recent)),
            best=best_of([*running, *waiting, *finished[:1]], self._sign),
            metric_names=list(self._metric_names),
            failed=list(self._failed.values())[-self._kept :],
            groups=[dataclasses.replace(group) for group in self._groups.values()],
            stopping=state.stopping,
            resumable=state.resumable,
            finished=state.finished,
            left_s=self._left_s(running),
            over=over,
        )

    def _worth_showing(self, lines: list[TrialLine]) -> list[TrialLine]:
        """Return copies of the lines of the oldest trials and of the best ones, as many of each as a table can hold."""
        if len(lines) > 2 * self._kept:
            oldest = heapq.nsmallest(self._kept, lines, key=_number)
            scored = (line for line in lines if line.score is not None)
            chosen = {line.id: line for line in (*oldest, *heapq.nlargest(self._kept, scored, key=_score))}
            lines = list(chosen.values())
        return [line.copy() for line in lines]

    @property
    def state(self) -> State:
        """The state that statuses are read from."""
        return self._state

    def name_of(self, trial: str) -> str:
        """Return a trial's name, or its id where it has none yet."""
        known = self._state.trials.get(trial)
        return trial if known is None else known.name

    def _left_s(self, running: list[TrialLine]) -> float | None:
        total = self._state.created if self._state.search_ended else self._total
        if total is None or not self._ended or not running:
            return None
        mean = self._ended_s / self._ended
        counts = self._state.counts
        ended = counts.get("TERMINATED", 0) + counts.get("ERROR", 0)
        unstarted = max(total - ended - len(running), 0)
        begun = sum(max(mean - line.time_s, 0.0) for line in running)
        left = (unstarted * mean + begun) / len(running)
        return left if left > 0 else None  # where all run longer than those before, those do not tell

    # --- one handler an event ---------------------------------------------------------------------------------------

    def _line(self, trial: str) -> TrialLine:
        line = self._lines.get(trial)
        if line is None:
            known = self._state.trials[trial]
            line = self._lines[trial] = TrialLine(
                id=trial,
                number=known.number,
                name=known.name,
                searched=self._searched.pop(trial, known.searched or {}),
                status=known.status,
                iteration=known.iteration,
                time_s=known.time_total_s,
                failures=known.failures,
            )
        return line

    def _created(self, event: TrialCreated) -> None:
        self._searched[event.trial] = event.searched

    def _planned(self, event: AttemptPlanned) -> None:
        line = self._line(event.trial)
        line.status = Status.RUNNING
        if event.attempt > 1:
            self._goes_on(line, event)

    def _goes_on(self, line: TrialLine, event: AttemptPlanned) -> None:
        """Tell where it goes on: always after a checkpoint turned out to be damaged, and else in detail."""
        fell_back = event.trial in self._rejected
        self._rejected.discard(event.trial)
        if fell_back or self._tell_rows:
            start = event.start
            donor = None if start is None or start.trial == event.trial else self.name_of(start.trial)
            number = None if start is None else start.number
            self._tell(WentOn(line.copy(), number, donor, event.iteration + 1))

    def _started(self, event: AttemptStarted) -> None:
        self._line(event.trial).iteration = event.iteration

    def _reported(self, event: Reported) -> None:
        line = self._lines.get(event.trial) or self._line(event.trial)
        line.iteration = event.iteration
        line.time_s = event.time_total_s
        metrics = line.metrics = event.metrics
        if self._compared is not None:
            line.score = score_of(line, self._compared, self._sign)
        if metrics.keys() != self._keys_seen and len(self._metric_names) < _NAMES_KEPT:
            self._keys_seen = metrics.keys()
            self._metric_names.update(dict.fromkeys(leaves(metrics)))
        for action in event.actions:
            self._acted(action)
        if event.adopted and line.status is not Status.RUNNING:
            self._look_again(line)
        if self._tell_rows:
            self._tell(Row(line.name, event))

    def _attempt_ended(self, event: AttemptEnded) -> None:
        line = self._line(event.trial)
        known = self._state.trials[event.trial]
        line.status, line.failures = known.status, known.failures
        fell_back = event.outcome is Outcome.REJECTED and line.status is not Status.ERROR
        if fell_back:  # no failure: a notice says what is damaged, and what comes next where it goes on
            self._rejected.add(event.trial)
        elif event.error is not None and event.outcome in (Outcome.FAILED, Outcome.LOST, Outcome.REJECTED):
            self._fail(line, event.error)
        elif event.outcome is Outcome.PAUSED and self._tell_rows and not line.status.finished:
            self._tell(Paused(line.copy()))
        if line.status.finished:
            self._finish(line)

    def _fail(self, line: TrialLine, error: ErrorInfo) -> None:
        key = failure_key(error)
        group = self._groups.get(key)
        new = group is None
        if group is None:
            group = FailureGroup(error, line.name)
            if len(self._groups) < _DISTINCT_FAILURES:
                self._groups[key] = group
        group.count += 1
        final = line.status is Status.ERROR
        if final:
            self._failed.pop(line.id, None)
            if len(self._failed) >= self._kept:
                del self._failed[next(iter(self._failed))]
            self._failed[line.id] = (line.copy(), error)
        self._tell(Failed(line.copy(), error, new, final))

    def _finish(self, line: TrialLine) -> None:
        self._lines.pop(line.id, None)
        self._ended += 1
        self._ended_s += line.time_s
        self._recent.append(line)
        self._rank(line)
        if line.status is Status.TERMINATED:
            self._tell(Ended(line.copy()))

    def _rank(self, line: TrialLine) -> None:
        if line.score is None:
            return
        entry = (line.score, -line.number, next(self._serial), line)
        if len(self._ranked) < self._kept:
            heapq.heappush(self._ranked, entry)
        else:
            heapq.heappushpop(self._ranked, entry)

    def _acted(self, action: Action) -> None:
        line = self._lines.get(action.trial)
        if line is None:
            return
        if action.config is not None and line.searched:
            line.searched = {key: leaf(action.config, key, old) for key, old in line.searched.items()}
        if line.status is not Status.RUNNING:  # a running one is told of by the end of its attempt
            self._look_again(line)

    def _trial_acted(self, event: TrialActed) -> None:
        actions = (event.action, *event.more)
        for action in actions:
            self._acted(action)
        if (event.request or event.action.hold is not None) and event.request != transitions.SKIPPED:
            self._tell(Asked(tuple(self.name_of(action.trial) for action in actions), event.action.decision))

    def _look_again(self, line: TrialLine) -> None:
        line.status = self._state.trials[line.id].status
        if line.status.finished:
            self._finish(line)

    def _requeued(self, event: TrialRequeued) -> None:
        self._failed.pop(event.trial, None)
        line = self._line(event.trial)
        line.status = self._state.trials[event.trial].status

    def _driver_started(self, event: DriverStarted) -> None:
        for line in list(self._lines.values()):
            self._look_again(line)

    def _stop_requested(self, event: StopRequested) -> None:
        if event.reason == self._state.stopping:
            self._tell(Stopping(event.reason, len(self._state.live)))
        if event.resumable:
            return
        for line in list(self._lines.values()):
            if line.status is not Status.RUNNING:
                self._look_again(line)

    def _committed(self, event: CheckpointCommitted) -> None:
        line = self._lines.get(event.trial)
        if line is not None and line.status is not Status.RUNNING:
            self._look_again(line)

    def _noticed(self, event: Noticed) -> None:
        self._tell(Said(event.text, None if event.trial is None else self.name_of(event.trial)))

    def _search_ended(self, event: SearchEnded) -> None:
        self._total = self._state.created

    def _tell(self, news: News) -> None:
        self.told += 1
        self.news.append(news)

    _HANDLERS: ClassVar[dict[type, Callable[[Tally, Any], None]]] = {  # Any: each is only ever given its own kind
        TrialCreated: _created,
        AttemptPlanned: _planned,
        AttemptStarted: _started,
        Reported: _reported,
        AttemptEnded: _attempt_ended,
        TrialActed: _trial_acted,
        TrialRequeued: _requeued,
        CheckpointCommitted: _committed,
        DriverStarted: _driver_started,
        StopRequested: _stop_requested,
        Noticed: _noticed,
        SearchEnded: _search_ended,
    }


def _number(line: TrialLine) -> int:
    return line.number


def _score(line: TrialLine) -> tuple[float, int]:
    return (-math.inf if line.score is None else line.score, -line.number)


def _distinct(lines: Iterable[TrialLine]) -> list[TrialLine]:
    seen: dict[str, TrialLine] = {}
    for line in lines:
        if line.status.finished and line.id not in seen:
            seen[line.id] = line.copy()
    return list(seen.values())
