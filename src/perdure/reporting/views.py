"""Progress for reporters that a user wrote: read-only views of every trial, and tables made from such views.

Views of all trials are kept because that is what such a reporter is promised; the displays of perdure itself do
without.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from perdure.core.events import AnyEvent, AttemptEnded, AttemptStarted, ErrorInfo, Reported, TrialCreated
from perdure.core.state import State, Status
from perdure.journal.values import dict_from_data
from perdure.reporting.base import ProgressReporter, RunInfo, TableOptions
from perdure.reporting.display import TallyDisplay
from perdure.reporting.formats import clock, resources_text
from perdure.reporting.frame import Frame, build
from perdure.reporting.news import News
from perdure.reporting.snapshot import Snapshot, TrialLine, best_of, leaves, score_of, sign_of
from perdure.rows import AUTO_FILLED, RowOrigin, expand_row
from perdure.trial_view import TrialView

if TYPE_CHECKING:
    from perdure.core.events import Data

_log = logging.getLogger(__name__)


class ReporterDisplay(TallyDisplay):
    """Asks a user's `ProgressReporter`, four times a second, whether it wants to report."""

    wants_output = False

    def __init__(self, reporter: ProgressReporter, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # they are TallyDisplay's own
        self._reporter = reporter
        self._views: dict[str, TrialView] = {}
        self._origins: dict[str, RowOrigin] = {}
        self._was_set_up = False

    def _take_earlier(self, event: AnyEvent) -> None:
        with self._lock:
            self._take((event,))

    def _take(self, events: Iterable[AnyEvent]) -> None:
        for event in events:
            match event:
                case TrialCreated():
                    self._create(event)
                case AttemptStarted():
                    view = self._views[event.trial]
                    self._origins[event.trial] = RowOrigin(
                        trial_id=event.trial,
                        config=view.config,
                        pid=event.pid,
                        hostname=event.host,
                        node_ip=event.node_ip,
                        iteration=event.iteration,
                    )
                case Reported():
                    origin = self._origins.get(event.trial) or RowOrigin(
                        trial_id=event.trial, config=self._views[event.trial].config
                    )
                    self._views[event.trial].last_result = expand_row(origin, event)
                case AttemptEnded() if event.error is not None:
                    self._views[event.trial].num_failures += 1

    def _create(self, event: TrialCreated) -> None:
        self._views[event.trial] = TrialView(
            trial_id=event.trial,
            trial_name=event.name,
            number=event.number,
            config=dict_from_data(event.config),
            evaluated_params=dict_from_data(event.searched),
            experiment_tag=event.tag,
            experiment_path=self.info.path,
            directory=event.directory,
            resources=event.resources,
        )

    def warn(self, text: str) -> None:
        """Log it: what is shown is the reporter's to say."""
        _log.warning(text)

    def paint(self, news: list[News], printed: list[tuple[str, str]], *, last: bool) -> None:
        """Ask the reporter."""
        if not self._was_set_up:
            self._was_set_up = True
            self._reporter.setup(total_samples=self.info.total, metric=self.info.metric, mode=self.info.mode)
        with self._lock:
            trials = list(self._views.values())
            state = self._tally.state
            for view in trials:
                view.status = _status_of(state, view)
        if self._reporter.should_report(trials, done=last):
            snapshot = self.snapshot()
            used = resources_text(snapshot.used, snapshot.capacity or self.info.capacity)
            self._reporter.report(trials, last, f"{clock(self.elapsed_s)} elapsed", f"In use: {used}")


def _status_of(state: State, view: TrialView) -> str:
    known = state.trials.get(view.trial_id)
    return view.status if known is None else str(known.status.value)


def frame_of(
    trials: Sequence[TrialView], options: TableOptions, *, elapsed_s: float, width: int, final: bool = False
) -> Frame:
    """Lay out a table of trial views."""
    info = RunInfo(name="", path=trials[0].experiment_path if trials else "", metric=options.metric, mode=options.mode)
    snapshot = snapshot_of(trials, options)
    return build(snapshot, info, options, elapsed_s=elapsed_s, width=width, final=final)


def snapshot_of(trials: Sequence[TrialView], options: TableOptions) -> Snapshot:
    """Return trial views as what a table is made of."""
    lines = [_line_of(view, options) for view in trials]
    finished = [line for line in lines if line.status.finished]
    scored = sorted((line for line in lines if line.score is not None), key=_score, reverse=True)
    names: dict[str, None] = {}
    for line in lines[:50]:
        names.update(dict.fromkeys(leaves(line.metrics)))
    return Snapshot(
        counts={status.value: sum(line.status is status for line in lines) for status in Status},
        created=len(lines),
        total=options.total,
        used={},
        capacity={},
        running=[line for line in lines if line.status is Status.RUNNING],
        waiting=[line for line in lines if line.status is Status.PAUSED],
        best_finished=[line for line in scored if line.status.finished],
        recent=list(reversed(finished)),
        best=best_of(scored, sign_of(options.mode)),
        metric_names=list(names),
        failed=[(line, ErrorInfo(kind="", message="")) for line in lines if line.status is Status.ERROR],
        groups=[],
        stopping=None,
        resumable=False,
        finished=False,
        left_s=None,
    )


def _score(line: TrialLine) -> float:
    return 0.0 if line.score is None else line.score


def _line_of(view: TrialView, options: TableOptions) -> TrialLine:
    row = view.last_result
    metrics: Data = {name: value for name, value in row.items() if name not in _NOT_METRICS}
    line = TrialLine(
        id=view.trial_id,
        number=view.number,
        name=view.trial_name,
        searched=view.evaluated_params,
        status=Status(view.status),
        iteration=int(row.get("training_iteration", 0)),
        time_s=float(row.get("time_total_s", 0.0)),
        metrics=metrics,
        failures=view.num_failures,
    )
    if options.metric is not None:
        line.score = score_of(line, options.metric, sign_of(options.mode))
    return line


_NOT_METRICS = frozenset(AUTO_FILLED)
