"""`python -m perdure.testing.simulation`."""

from __future__ import annotations

import sys

from perdure.testing.simulation.command import main

sys.exit(main(sys.argv[1:]))
