"""What a checkpoint costs the trial that saves it.

small     a 1 KB checkpoint with every report, for some seconds; the first quarter is not counted. Once with all kept
          and once with `num_to_keep=1`. `backlog_*`: how many committed checkpoints were not yet on the disk, by the
          experiment's own journal. `floor_per_s`: what the file system alone allows: a bare loop that copies the file
          into a new directory, writes a second one beside it and renames the directory (and removes an older one).
foreign   one 256 MB file in a directory of the user's: how long `report` blocks, against `shutil.copyfile` of the
          same bytes to the same place, in turn in one trial.
in_place  256 MB written straight into `tune.checkpoint_dir()`: how long `report` blocks, and what all processes wrote
          to the disk for each byte of the checkpoint.
strict    the foreign case with `durability="strict"`, against copyfile and fsync.
steps     a CPU-bound step of the trial (numpy, one thread) with nothing going on, and while checkpoints of 64 MB are
          being brought to the disk in the background.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from comparison import Goal, Part, main, tune_of, written

SECONDS = 8.0
SMALL = 1 << 10
BIG = 256 << 20
MIDDLE = 64 << 20
TURNS = 4


def fit(engine, directory: Path, trainable, **run):
    tune = tune_of(engine)
    tuner = tune.Tuner(
        trainable,
        run_config=tune.RunConfig(storage_path=str(directory / "storage"), name="experiment", verbose=0, **run),
    )
    results = tuner.fit()
    assert results.num_errors == 0, results.errors
    return results


def small(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    figures = {}
    for name, keep in (("small_all", None), ("small", 1)):
        config = tune.CheckpointConfig(num_to_keep=keep)
        here = directory / name
        notes = here / "notes.json"
        here.mkdir()
        fit(engine, here, saving(tune, str(notes)), checkpoint_config=config)
        figures[f"{name}_per_s"] = json.loads(notes.read_text())
        if engine == "perdure":
            figures |= {f"{name}_{key}": value for key, value in backlog(here / "storage" / "experiment").items()}
            figures[f"{name}_floor_per_s"] = floor(here / "floor", keep)
            figures[f"{name}_to_floor"] = figures[f"{name}_floor_per_s"] / figures[f"{name}_per_s"]
    return figures


def saving(tune, notes):
    def trainable(config):
        stamps = []
        begin = time.perf_counter()
        step = 0
        with tempfile.TemporaryDirectory() as directory:
            weights = os.open(os.path.join(directory, "weights"), os.O_WRONLY | os.O_CREAT)
            while not stamps or stamps[-1] - begin < SECONDS:
                # In place: ext4 flushes a file that was cut short and closed, and its next opening waits for the disk
                # (0.4 to 2.8 ms). That is no part of what saving it costs.
                os.pwrite(weights, os.urandom(SMALL), 0)
                tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(directory))
                stamps.append(time.perf_counter())
                step += 1
            os.close(weights)
        with open(notes, "w") as file:
            json.dump(steady_rate(begin, stamps), file)

    return trainable


def steady_rate(begin: float, stamps: list[float]) -> float:
    steady = [stamp for stamp in stamps if stamp - begin > (stamps[-1] - begin) / 4]
    return (len(steady) - 1) / (steady[-1] - steady[0])


def floor(directory: Path, keep: int | None) -> float:
    """Return how many times a second this file system lets one process do what a checkpoint cannot do without."""

    def write(path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, data)
        os.close(descriptor)

    directory.mkdir()
    root = str(directory)
    source = f"{root}/weights"
    write(source, os.urandom(SMALL))
    manifest = os.urandom(500)
    stamps: list[float] = []
    begin = time.perf_counter()
    while not stamps or stamps[-1] - begin < SECONDS / 4:
        number = len(stamps)
        staged, final = f"{root}/.staging-{number}", f"{root}/checkpoint-{number}"
        with open(source, "rb", buffering=0) as file:
            data = file.read()
        os.mkdir(staged)
        write(f"{staged}/weights", data)
        write(f"{staged}/manifest", manifest)
        os.rename(staged, final)
        if keep is not None and number >= 10 * keep:
            old = f"{root}/checkpoint-{number - 10 * keep}"
            os.unlink(f"{old}/manifest")
            os.unlink(f"{old}/weights")
            os.rmdir(old)
        stamps.append(time.perf_counter())
    return steady_rate(begin, stamps)


def backlog(experiment: Path) -> dict[str, float]:
    """Follow through the journal what was committed, and not yet durable nor given up."""
    open_since: dict[tuple[str, int], float] = {}
    counts, ages = [], []
    for line in (experiment / "journal-000001.jsonl").read_text().splitlines():
        event = json.loads(line).get("d")
        if event is None:
            continue
        if event["type"] == "reported" and event.get("checkpoint"):
            open_since[event["trial"], event["checkpoint"]["number"]] = event["at"]
            counts.append(len(open_since))
            ages.append(event["at"] - next(iter(open_since.values())))
        elif event["type"] in ("checkpoints_durable", "checkpoints_retired"):
            for item in event["items"]:
                open_since.pop((item["trial"], item["number"]), None)
    late = slice(len(counts) // 4, None)
    return {
        "backlog_median": statistics.median(counts[late]),
        "backlog_max": max(counts[late]),
        "backlog_oldest_s": max(ages[late]),
    }


def foreign(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    notes = directory / "notes.json"
    fit(engine, directory, copying(tune, str(notes), strict=False))
    report_s, copy_s = json.loads(notes.read_text())
    return {"foreign_s": report_s, "copy_s": copy_s, "foreign_to_copy": report_s / copy_s}


def strict(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    notes = directory / "notes.json"
    fit(engine, directory, copying(tune, str(notes), strict=True), durability="strict")
    report_s, copy_s = json.loads(notes.read_text())
    return {"strict_s": report_s, "copy_and_fsync_s": copy_s, "strict_to_copy_and_fsync": report_s / copy_s}


def copying(tune, notes, *, strict):
    def trainable(config):
        reports, copies = [], []
        beside = os.path.dirname(notes)
        with tempfile.TemporaryDirectory(dir=beside) as directory:
            weights = os.path.join(directory, "weights")
            with open(weights, "wb") as file:
                file.writelines(os.urandom(1 << 20) for _ in range(BIG >> 20))
            touch_memory(os.path.join(beside, "touched"))
            for step in range(TURNS):
                os.sync()
                copy = os.path.join(beside, f"copy-{step}")
                begin = time.perf_counter()
                shutil.copyfile(weights, copy)
                if strict:
                    sync(copy)
                copies.append(time.perf_counter() - begin)
                os.sync()
                begin = time.perf_counter()
                tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(directory))
                reports.append(time.perf_counter() - begin)
        with open(notes, "w") as file:
            json.dump((statistics.median(reports), statistics.median(copies)), file)

    def touch_memory(path):
        """Have the page cache own as much memory as will be needed: a virtual machine may pay for the first touch."""
        block = bytes(1 << 20)
        with open(path, "wb") as file:
            file.writelines(block for _ in range((2 * TURNS + 1) * BIG >> 20))
        os.unlink(path)

    def sync(path):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    return trainable


def in_place(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    notes = directory / "notes.json"

    def trainable(config):
        block = os.urandom(1 << 20)
        blocked = []
        before = written()
        for step in range(TURNS):
            with tune.checkpoint_dir() as path:
                with open(os.path.join(path, "weights"), "wb") as file:
                    file.writelines(block for _ in range(BIG >> 20))
                begin = time.perf_counter()
                tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(path))
                blocked.append(time.perf_counter() - begin)
        with open(notes, "w") as file:
            json.dump((statistics.median(blocked), written() - before), file)

    before = written()
    fit(engine, directory, trainable)
    total = written() - before  # of the trial's process too: it has been waited for
    blocked, by_trial = json.loads(notes.read_text())
    assert total >= by_trial
    return {"in_place_ms": blocked * 1e3, "written_to_size": total / (TURNS * BIG)}


def steps(engine: str, directory: Path) -> dict[str, float]:
    tune = tune_of(engine)
    notes = directory / "notes.json"
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def trainable(config):
        import numpy as np

        matrix = np.random.default_rng(0).standard_normal((400, 400))
        block = os.urandom(MIDDLE)
        quiet, busy = [], []

        def work(times):
            for _ in range(25):
                begin = time.perf_counter()
                matrix @ matrix
                times.append(time.perf_counter() - begin)

        work([])
        for step in range(10):
            time.sleep(1.5)  # what was saved before is on the disk by now
            work(quiet)
            with tempfile.TemporaryDirectory(dir=os.path.dirname(notes)) as folder:
                Path(folder, "weights").write_bytes(block)
                tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(folder))
            work(busy)
        with open(notes, "w") as file:
            json.dump((statistics.median(quiet), statistics.median(busy)), file)

    fit(engine, directory, trainable)
    quiet, busy = json.loads(notes.read_text())
    return {"step_quiet_ms": quiet * 1e3, "step_syncing_ms": busy * 1e3, "step_syncing_to_quiet": busy / quiet}


PARTS = {
    "small": Part(small, many_files=True),
    "foreign": Part(foreign),
    "in_place": Part(in_place, on_ray=False),
    "strict": Part(strict, on_ray=False),
    "steps": Part(steps, on_ray=False),
}
GOALS = [
    Goal("small_per_s", times=10, lower_is_better=False),
    Goal("small_all_per_s", times=10, lower_is_better=False),
    Goal("foreign_to_copy", at_most=1.15),
    Goal("in_place_ms", at_most=10),
    Goal("written_to_size", at_most=1.05),
    Goal("strict_to_copy_and_fsync", at_most=1.15),
    Goal("step_syncing_to_quiet", at_most=1.1),
]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
