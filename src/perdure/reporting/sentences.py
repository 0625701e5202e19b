"""The sentences in which displays tell news and outcomes, as styled lines."""

from __future__ import annotations

from perdure.core.events import Decision, ErrorInfo
from perdure.core.state import Status
from perdure.reporting.advice import by_code
from perdure.reporting.base import RunInfo, TableOptions
from perdure.reporting.formats import duration, number, one_line, plural, shorten, value_text
from perdure.reporting.frame import (
    STATUS_STYLES,
    Line,
    Span,
    best_line,
    exception_line,
    fate_word,
    searched_text,
    status_word,
    stopping_text,
)
from perdure.reporting.news import Asked, Ended, Failed, Paused, Row, Said, Stopping, WentOn
from perdure.reporting.snapshot import Snapshot, metric_of
from perdure.reporting.standing import Standing

_BRIEF_METRICS = 6
_NAMED = 5
"""Trials named in one line."""
_LONGEST = 2_000
"""Characters of one line of an error: a library may put a whole tensor, or a page of HTML, into its message."""


_WHAT_FOR = {"min": "minimising {}", "max": "maximising {}", None: "{} neither minimised nor maximised (no mode)"}


def started(info: RunInfo, options: TableOptions) -> Line:
    """Return "Experiment digits in /path: 20 trials, maximising accuracy", or how things stand where it goes on."""
    if info.standing is not None:
        return [Span("Going on with "), Span(info.name, "bold"), Span(f" in {info.path}: {stands(info.standing)}")]
    parts = []
    if info.total is not None:
        parts.append(plural(info.total, "trial"))
    metric = options.metric or info.metric
    if metric:
        parts.append(_WHAT_FOR[options.mode or info.mode].format(metric))
    tail = ": " + ", ".join(parts) if parts else ""
    return [Span("Experiment "), Span(info.name, "bold"), Span(f" in {info.path}{tail}")]


def stands(standing: Standing) -> str:
    """Return "3 of 6 trials finished, 1 goes on at iteration 18, 2 not yet started"."""
    of = "" if standing.total is None else f" of {standing.total}"
    noun = "trial" if (standing.finished if standing.total is None else standing.total) == 1 else "trials"
    errors = f" ({plural(standing.errors, 'error')})" if standing.errors else ""
    parts = [f"{standing.finished}{of} {noun} finished{errors}"]
    if iterations := standing.goes_on_at:
        first, last = min(iterations), max(iterations)
        at = f"iteration {first}" if first == last else f"iterations {first} to {last}"
        parts.append(f"{len(iterations)} {'goes' if len(iterations) == 1 else 'go'} on at {at}")
    if standing.again:
        parts.append(f"{standing.again} {'starts' if standing.again == 1 else 'start'} again without a checkpoint")
    if standing.paused:
        parts.append(f"{standing.paused} paused")
    if standing.unstarted:
        parts.append(f"{standing.unstarted} not yet started")
    if standing.total is not None and len(parts) == 1:
        parts.append("nothing is left to run")
    return ", ".join(parts)


def ended(news: Ended, metric: str | None) -> Line:
    """Return "digits_3 terminated after 20 iterations, 4.1 s: accuracy 0.97"."""
    line = news.line
    text = f" after {plural(line.iteration, 'iteration')}, {duration(line.time_s)}"
    value = None if metric is None else metric_of(line, metric)
    if value is not None:
        text += f": {metric} {value_text(value)}"
    return [Span(line.name), Span(f" {status_word(line.status)}", STATUS_STYLES[line.status]), Span(text)]


def failed(news: Failed) -> Line:
    """Return "digits_3 failed at iteration 4: ValueError: no (will be tried again)"."""
    line = news.line
    what = shorten(exception_line(news.error.kind, news.error.message), _LONGEST)
    fate = "" if news.final else " (will be tried again)"
    return [
        Span(line.name),
        Span(" failed", "red"),
        Span(f" after {plural(line.iteration, 'iteration')}: {what}{fate}"),
    ]


def traceback_lines(error: ErrorInfo) -> list[Line]:
    """Return the user's traceback, line by line; nothing where there is none."""
    return [
        [Span("  " + shorten(one_line(text), _LONGEST), "" if text.startswith((" ", "Traceback")) else "red")]
        for text in error.traceback.rstrip().splitlines()
    ]


def said(news: Said) -> Line:
    """Return a notice, with the trial it is about."""
    about = f"{news.trial}: " if news.trial else ""
    return [Span("note: ", "yellow"), Span(about + one_line(news.text))]


def stopping(news: Stopping) -> Line:
    """Return what is waited for before it is over."""
    return [Span(stopping_text(news.reason, news.running), "yellow")]


def turn(news: WentOn | Paused | Asked) -> Line:
    """Return what befell a trial between its start and its end."""
    match news:
        case WentOn():
            return _went_on(news)
        case Paused():
            return _paused(news)
        case Asked():
            return _asked(news)


def _went_on(news: WentOn) -> Line:
    """Return "digits_3 goes on from checkpoint 5, iteration 6", or "... from digits_1's checkpoint 3 with lr=0.07"."""
    name = Span(news.line.name)
    if news.checkpoint is None:
        return [name, Span(" starts again without a checkpoint")]
    if news.donor is None:
        return [name, Span(f" goes on from checkpoint {news.checkpoint}, iteration {news.iteration}")]
    with_what = f" with {searched_text(news.line.searched)}" if news.line.searched else ""
    whence = f" goes on from {news.donor}'s checkpoint {news.checkpoint}, iteration {news.iteration}"
    return [name, Span(whence + with_what)]


def _paused(news: Paused) -> Line:
    """Return "digits_3 paused after 4 iterations"."""
    return [Span(news.line.name), Span(f" paused after {plural(news.line.iteration, 'iteration')}")]


def _asked(news: Asked) -> Line:
    """Return "request: digits_3, digits_4 are to pause"."""
    names, more = news.trials[:_NAMED], len(news.trials) - _NAMED
    shown = ", ".join(names) + (f" and {more} more" if more > 0 else "")
    be = "is" if len(news.trials) == 1 else "are"
    return [Span("request: ", "yellow"), Span(f"{shown} {be} to {_ASKED[news.what]}")]


_ASKED = {Decision.PAUSE: "pause", Decision.STOP: "end", Decision.CONTINUE: "go on"}


def row(news: Row, *, full: bool) -> Line:
    """Return "digits_3 iteration 4: accuracy 0.97, loss 0.1"; a few metrics, or all of them if `full`."""
    metrics = list(news.report.metrics.items())
    shown = metrics if full else metrics[:_BRIEF_METRICS]
    text = ", ".join(f"{name} {value_text(value)}" for name, value in shown)
    more = f", and {len(metrics) - len(shown)} more" if len(metrics) > len(shown) else ""
    return [Span(news.name), Span(f" iteration {news.report.iteration}: {text}{more}")]


def status(snapshot: Snapshot, counts: Line, metric: str | None, resources: str) -> Line:
    """Return counts, best and resources in one line."""
    line = list(counts)
    if snapshot.best is not None:
        line.append(Span(f"; best {metric} {number(snapshot.best.value)} ({snapshot.best.name})"))
    if resources:
        line.append(Span(f"; {resources}"))
    if snapshot.left_s is not None:
        line.append(Span(f"; about {duration(snapshot.left_s)} left"))
    return line


def outcome(snapshot: Snapshot, info: RunInfo, options: TableOptions, *, session_s: float, reason: str) -> list[Line]:
    """Return what there is to say when it is over: how it ended, what is best, where it lies, how to go on."""
    lines: list[Line] = []
    words = [
        f"{snapshot.count(status)} {fate_word(status, snapshot.count(status), snapshot)}"
        for status in (Status.TERMINATED, Status.ERROR, Status.RUNNING, Status.PAUSED, Status.PENDING)
        if snapshot.count(status)
    ]
    verb = "Stopped" if snapshot.left else "Ended"
    why = reason or snapshot.stopping or ""
    because = f" ({why})" if why and why != "finished" else ""
    text = f"{verb} after {duration(session_s)}{because}: {plural(snapshot.created, 'trial')}"
    lines.append([Span(text, "bold"), Span(", " + ", ".join(words) if words else "")])
    if snapshot.best is not None:
        lines.append(best_line(snapshot.best, options.metric or info.metric or ""))
    lines.append([Span("Results are in "), Span(info.path, "bold")])
    if snapshot.left:
        how = info.how_to_resume or by_code(info.path).resume
        lines.append([Span(f"To go on with the {plural(snapshot.left, 'trial')} left: "), Span(how, "bold")])
    if snapshot.count(Status.ERROR):
        retry = info.how_to_retry or by_code(info.path).retry
        too = ", too" if snapshot.left else ""
        lines.append([Span(f"To run the failed ones again{too}: "), Span(retry, "bold")])
    return lines


def same_failures(snapshot: Snapshot) -> list[Line]:
    """Return "7 more failed the same way as digits_3: ValueError: no", one line a kind of failure."""
    lines: list[Line] = []
    for group in snapshot.groups:
        if group.count > 1:
            what = exception_line(group.error.kind, group.error.message)
            count = group.count - 1
            noun = "more failure came" if count == 1 else "more failures came"
            lines.append([Span(f"{count} {noun} the same way as that of {group.first}: "), Span(what, "red")])
    return lines
