"""The workload's driver with a lease of its own, for a machine of its own: `python -m tests.faults.driver LEASE_S ...`.

What follows the lease are the arguments of `tests.crash.workload`.
"""

from __future__ import annotations

import functools
import sys

from perdure import assembly
from perdure.journal.file import FileJournal
from tests.crash.workload import main

if __name__ == "__main__":
    assembly.FileJournal = functools.partial(FileJournal, lease_s=float(sys.argv[1]))  # type: ignore[assignment,misc]
    main(*sys.argv[2:])
