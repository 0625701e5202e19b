"""Which display shows a run: by how much is asked for, by whom, and by where the output goes."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from perdure.reporting.base import ProgressDisplay, ProgressReporter, TableOptions
from perdure.reporting.reporters import JupyterNotebookReporter, TableReporter
from perdure.reporting.silent import SilentDisplay


def choose_display(
    verbose: int | None = None,
    progress_reporter: ProgressReporter | None = None,
    stream: TextIO | None = None,
    *,
    live: bool = True,
) -> ProgressDisplay:
    """Return the display for a run.

    Args:
        verbose: 0 shows nothing, 1 (or None) how things stand, 2 also every result in brief, 3 in full.
        progress_reporter: A reporter that steers the tables, or, where it overrides `report` or `should_report`,
            takes their place.
        stream: Where to write; None is `sys.stdout`.
        live: False keeps to plain lines in a terminal too: for trials that run in this very process, whose prompts
            and prints a live table would fight with.
    """
    level = 1 if verbose is None else int(verbose)
    if level <= 0:
        return SilentDisplay()
    if progress_reporter is not None and takes_over(progress_reporter):
        from perdure.reporting.views import ReporterDisplay

        return ReporterDisplay(progress_reporter, verbose=level)
    options = progress_reporter.options if isinstance(progress_reporter, TableReporter) else TableOptions()
    own = stream is None or stream is sys.stdout
    if own and (in_notebook() or isinstance(progress_reporter, JupyterNotebookReporter)):
        from perdure.reporting.notebook import NotebookDisplay

        return NotebookDisplay(verbose=level, options=options)
    if live and is_terminal(sys.stdout if stream is None else stream):
        from perdure.reporting.live import LiveDisplay

        return LiveDisplay(stream=stream, verbose=level, options=options)
    from perdure.reporting.plain import PlainDisplay

    return PlainDisplay(stream=stream, verbose=level, options=options)


def takes_over(reporter: ProgressReporter) -> bool:
    """Return whether a reporter has its own way of reporting."""
    kind = type(reporter)
    if not isinstance(reporter, TableReporter):
        return True
    own = (name for name in ("should_report", "report", "frame", "display") if hasattr(kind, name))
    return any(not getattr(kind, name).__module__.startswith("perdure.reporting.") for name in own)


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    shell = ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def is_terminal(stream: TextIO) -> bool:
    """Return whether a table can be redrawn in place on `stream`."""
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    try:
        return stream.isatty()
    except (AttributeError, OSError, ValueError):
        return False
