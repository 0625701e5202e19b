"""Names of `ray.tune.progress_reporter`; see `perdure.compatibility`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perdure.compatibility import lazy_names

if TYPE_CHECKING:
    from perdure.reporting.base import ProgressReporter
    from perdure.reporting.reporters import CLIReporter, JupyterNotebookReporter
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = ["CLIReporter", "JupyterNotebookReporter", "ProgressReporter"]
