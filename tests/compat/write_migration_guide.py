"""Writes docs/migrating-from-ray-tune.md from the table in perdure.compatibility."""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from perdure.compatibility import SURFACE, Row, Status  # noqa: E402

HEAD = """\
# Migrating from Ray Tune

<!-- Written by tests/compat/write_migration_guide.py from src/perdure/compatibility.py. Change the table, not this. -->

Change the import, and keep the script:

```python
# from ray import train, tune
from perdure import train, tune
```

There is no cluster to start: drop `ray.init()`. `train.report`, `train.get_checkpoint`, `train.Checkpoint` and the
configuration classes are the very objects of `tune`, so either spelling works.

What is different on purpose:

- Results go to `~/perdure_results` unless `RunConfig(storage_path=...)` or `PERDURE_STORAGE_PATH` says otherwise.
- When `report()` returns, its row and its checkpoint survive the kill of any process.
- `RunConfig(name=..., resume="auto")` makes one script that starts an experiment or goes on with it.
- A function trainable runs in its process's main thread; a stop unwinds it, so `with` and `finally` blocks run.
- A row is written once, whatever crashed in between: the row of a repeated iteration replaces the older one.
- TensorBoard tags have no prefix.

Each public name of Ray Tune 2.60 is in one of the tables below: **same** (same parameters, same defaults), **accepted
and ignored**, **planned** (importing it says so, and what to use until then), **not offered** (importing it says what
to use), or **beyond Ray**. A test holds the table against the signatures of Ray's wheel.
"""


def table(module: str, rows: dict[str, Row]) -> list[str]:
    """One module's names; those with nothing to say in one line, the others in a table."""
    plain = [name for name, row in rows.items() if row.status is Status.SAME and not remark(row)]
    lines = [f"## `{module}`", ""]
    if plain:
        lines += ["Same: " + ", ".join(f"`{name}`" for name in sorted(plain)) + ".", ""]
    others = {name: row for name, row in rows.items() if name not in plain}
    if others:
        lines += ["| name | status | |", "|---|---|---|"]
        lines += [f"| `{name}` | {row.status.value} | {remark(row)} |" for name, row in sorted(others.items())]
        lines.append("")
    return lines


def remark(row: Row) -> str:
    """The note, and what the row lacks."""
    lacks = [f"`{name}` differs: {reason}" for name, reason in sorted(row.without.items()) if name not in ("()", "*")]
    return " ".join([row.note, *lacks]).strip()


def render() -> str:
    """The whole page."""
    lines = [HEAD]
    for module, rows in SURFACE.items():
        if rows:
            lines += table(module, rows)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "migrating-from-ray-tune.md").write_text(render(), encoding="utf-8")
