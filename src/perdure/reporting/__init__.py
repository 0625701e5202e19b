"""What people see while an experiment runs: a live table, plain lines, or nothing.

A display is an observer: it is handed each batch of events and folds them into a `Tally` of constant size. It is
never given the runner, and nothing it does can hold up a trial or end a run.
"""

from perdure.reporting.choose import choose_display as choose_display
