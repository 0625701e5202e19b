"""`perdure simulate SEED [COUNT]`: perdure's own machinery under simulated crashes, to look for broken promises."""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("seed", type=int, help="draws the workload and its faults", metavar="SEED")
    parser.add_argument("count", type=int, nargs="?", help="run so many seeds, from SEED on", metavar="COUNT")
    parser.add_argument("--shrink", action="store_true", help="tell the simplest story that still breaks a promise")
    parser.add_argument("--workers", type=int, default=1, help="processes at once (default: 1)", metavar="N")


def run(arguments: argparse.Namespace) -> int:
    """Simulate."""
    import contextlib
    import io

    from perdure.cli.writing import write_json
    from perdure.testing import simulation

    argv = [str(arguments.seed), *([] if arguments.count is None else [str(arguments.count)])]
    argv += [*(["--shrink"] if arguments.shrink else []), "--workers", str(arguments.workers)]
    if not arguments.json:
        return simulation.main(argv)
    story, problem = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(story), contextlib.redirect_stderr(problem):
        code = simulation.main(argv)
    write_json(
        {
            "first": arguments.seed,
            "count": arguments.count or 1,
            "ok": code == 0,
            "problem": problem.getvalue().strip() or None,
            "story": story.getvalue().splitlines(),
        }
    )
    return code
