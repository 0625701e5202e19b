"""Writes docs/migrating-from-ray-tune.md from the table in perdure.compatibility."""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))

from perdure.compatibility import SURFACE, Row, Status  # noqa: E402
from perdure.relocation import INNER, MODULES, NAMES  # noqa: E402

HEAD = """\
# Migrating from Ray Tune

<!-- Written by tests/compat/write_migration_guide.py from src/perdure/compatibility.py. Change the table, not this. -->

Change the import, and keep the script:

```python
# from ray import train, tune
from perdure import train, tune
```

There is no cluster to start: drop `import ray`, `ray.init()` and `ray.shutdown()`. `train.report`,
`train.get_checkpoint`, `train.Checkpoint` and the configuration classes are the very objects of `tune`, so either
spelling works; so do `air.RunConfig` and `session.report` of scripts for Ray 2.0 to 2.6 (`from perdure import air`,
`from perdure.air import session`), and inner modules such as `perdure.tune.schedulers.pbt`.

What is different on purpose:

- Results go to `~/perdure_results` unless `RunConfig(storage_path=...)` or `PERDURE_STORAGE_PATH` says otherwise.
- When `report()` returns, its row and its checkpoint survive the kill of any process.
- `RunConfig(name=..., resume="auto")` makes one script that starts an experiment or goes on with it.
- A function trainable runs in its process's main thread; a stop unwinds it, so `with` and `finally` blocks run.
- A row is written once, whatever crashed in between: the row of a repeated iteration replaces the older one.
- TensorBoard tags have no prefix.
- `fit()` does not write into the directory of an older experiment: a name that is taken is an error, unless `resume`
  says what to do.
- `Result.error` is a `TrialFailedError` with the trial's own exception as its `__cause__`.

What does not move by changing imports:

- `ray.init(num_cpus=8)` on a smaller machine: trials that ask for more CPUs than there are, are refused. Say
  `RunConfig(executor=LocalExecutor(cpus=8))` (from `perdure.executors.local`), or ask for less.
- `ray.put` and `ray.get` of an object that trials share: `tune.with_parameters(train, data=data)`.
- Tasks, actors, Ray Data, Ray Serve, RLlib (also algorithms by name, `Tuner("PPO")`), Ray Train's trainers
  (`TorchTrainer`, `ScalingConfig`): train in one process, or start your own distributed training inside the trial.
- `ray.init(address=...)`: trials run on the machine that the script runs on. On a cluster with Slurm see
  [how to run there](how-to/slurm.md).
- Libraries that start Ray themselves, such as `Trainer.hyperparameter_search(backend="ray")` of Transformers: tune a
  function that makes the Trainer, see [Hugging Face](how-to/huggingface.md).
- `HEBOSearch` on Python 3.12 and later; `ray.tune.utils` but for `validate_save_restore`; a script that imports from
  `ray.tune.examples` needs a copy of the example.
- Schedulers of your own that use Ray's `TuneController` beyond `get_trials()` and `get_live_trials()`.
- Experiments that Ray has begun: perdure neither restores nor reads them.

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


def elsewhere() -> list[str]:
    """Inner modules, and what older releases had."""
    inner = [f"`{module}`" for module in sorted(INNER)]
    lines = [
        "## Inner modules",
        "",
        f"These give the names of the public module that they are part of: {', '.join(inner)}.",
    ]
    lines += [
        "",
        "## Older releases and the rest of Ray",
        "",
        "Importing one of these says the same as this table.",
        "",
    ]
    lines += ["| module or name | |", "|---|---|"]
    gone = MODULES | {f"{m}.{name}".lstrip("."): advice for m, names in NAMES.items() for name, advice in names.items()}
    return [*lines, *(f"| `{name}` | {advice} |" for name, advice in sorted(gone.items()))]


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
    lines += elsewhere()
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "migrating-from-ray-tune.md").write_text(render(), encoding="utf-8")
