"""What population-based training costs: 8 trials with checkpoints of 50 MB, 20 iterations, perturbed every 2.

The trainable is a class that saves one file of 50 MB whenever it is told to, and reads it whole when it goes on from
one; its steps take no time, so all that is measured is the pausing, saving, cloning and going on. `population_s` is the
time of `fit()` with default settings, `population_reused_s` with `TuneConfig(reuse_actors=True)`, which is how Ray is
fastest. `against_best` compares our default with Ray's best. `written_to_saved`: what all of our processes gave the
disk to write, for each byte that `save_checkpoint` wrote itself. `floor_s`: what the disk by itself takes: a bare loop
that writes as many files of the same size, each synced by one of four threads meanwhile; `to_floor` is our time over
it. perdure's time ends when everything is on the disk, Ray's does not. `in_memory` and `reused_in_memory` run both on a
disk in memory (/dev/shm), which leaves what the engines cost. Needs some 5 GB of room, those two 5 GB of memory.

`..._work_s` beside each figure: what the trainable itself takes, without any engine. As many bare processes as there
are cores share the segments that the trials went through (load, save), are set up once, and sync nothing. In
`..._forked_work_s` each segment is set up in a process of its own, as a trial that goes on is by default. Bare
processes are those of a plain script; ours have huge pages (see `perdure.executors.huge_pages`), and can be sooner.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from comparison import Goal, Part, main, stopwatch, tune_of, written

MEMBERS = 8
ITERATIONS = 20
INTERVAL = 2
WEIGHTS = 50 << 20


def trainable_of(tune, notes):
    class Member(tune.Trainable):
        def setup(self, config):
            self.lr = config["lr"]
            self.score = 0.0
            self.weights = os.urandom(1 << 20) * (WEIGHTS >> 20)

        def step(self):
            self.score += self.lr
            return {"score": self.score}

        def save_checkpoint(self, directory):
            with open(os.path.join(directory, "weights"), "wb") as file:
                size = file.write(self.weights)
            with open(os.path.join(directory, "score"), "w") as file:
                file.write(str(self.score))
            with open(notes, "a") as file:
                file.write(f"{size}\n")
            return directory

        def load_checkpoint(self, directory):
            with open(os.path.join(directory, "weights"), "rb") as file:
                self.weights = file.read()
            with open(os.path.join(directory, "score")) as file:
                self.score = float(file.read())

        def reset_config(self, config):
            self.lr = config["lr"]
            return True

    return Member


def run(engine: str, directory: Path, *, reuse: bool) -> tuple[float, float, float]:
    """Return the seconds that `fit()` took, the bytes that the trainable saved, and those given to the disk."""
    tune = tune_of(engine)
    schedulers = __import__(f"{engine}.tune.schedulers", fromlist=["PopulationBasedTraining"])
    notes = directory / "notes"
    scheduler = schedulers.PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=INTERVAL,
        hyperparam_mutations={"lr": tune.uniform(0.01, 1.0)},
    )
    tuner = tune.Tuner(
        trainable_of(tune, str(notes)),
        param_space={"lr": tune.uniform(0.01, 1.0)},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=MEMBERS, scheduler=scheduler, reuse_actors=reuse
        ),
        run_config=tune.RunConfig(
            storage_path=str(directory),
            name="experiment",
            verbose=0,
            stop={"training_iteration": ITERATIONS},
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=INTERVAL),
        ),
    )
    before = written()
    with stopwatch() as elapsed:
        results = tuner.fit()
        seconds = elapsed()
    assert len(results) == MEMBERS
    assert results.num_errors == 0
    assert all(result.metrics["training_iteration"] >= ITERATIONS for result in results)
    os.sync()
    saved = sum(map(int, notes.read_text().split()))
    return seconds, saved, written() - before


def floor(directory: Path, saved: int) -> float:
    """Return how many seconds this disk takes to write and sync so many bytes in files like the trainable's."""
    weights = os.urandom(1 << 20) * (WEIGHTS >> 20)
    directory.mkdir()

    def sync(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    begin = time.perf_counter()
    with ThreadPoolExecutor(4) as syncing:
        for number in range(saved // WEIGHTS):
            path = directory / f"{number}"
            path.write_bytes(weights)
            syncing.submit(sync, path)
    return time.perf_counter() - begin


def work(directory: Path, saved: int, *, fork: bool) -> float:
    """Return how many seconds bare processes, one a core, take for what the trainable did to save so many bytes."""
    trainable = trainable_of(tune_of("perdure"), str(directory) + "-notes")
    segments = saved // WEIGHTS
    cores = len(os.sched_getaffinity(0))

    def fresh() -> Any:
        trial = trainable.__new__(trainable)
        trial.setup({"lr": 0.1})
        return trial

    def segment(number: int, kept: Any = None) -> None:
        trial = kept or fresh()
        if number >= MEMBERS:
            trial.load_checkpoint(str(directory / f"{number - MEMBERS}"))
        trial.step()
        (directory / f"{number}").mkdir()
        trial.save_checkpoint(str(directory / f"{number}"))

    def share(first: int) -> None:
        kept = None if fork else fresh()
        for number in range(first, segments, cores):
            if fork:
                finish([context.Process(target=segment, args=(number,))])
            else:
                segment(number, kept)

    def finish(processes: list[multiprocessing.Process]) -> None:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert not any(process.exitcode for process in processes)

    context = multiprocessing.get_context("fork")
    directory.mkdir()
    begin = time.perf_counter()
    finish([context.Process(target=share, args=(first,)) for first in range(cores)])
    seconds = time.perf_counter() - begin
    shutil.rmtree(directory)
    return seconds


def measured(name: str, engine: str, directory: Path, *, reuse: bool, floors: bool = False) -> dict[str, float]:
    """One run of an engine; after one of ours, what the machine takes without any."""
    seconds, saved, given = run(engine, directory, reuse=reuse)
    figures = {f"{name}_s": seconds, f"{name}_saved_gb": saved / 1e9}
    if engine == "perdure":
        if floors:  # first: a virtual disk may write sooner where there were files
            floor_s = floor(directory / "floor", saved)
            figures |= {f"{name}_floor_s": floor_s, f"{name}_to_floor": seconds / floor_s}
            figures["written_to_saved"] = given / saved
        shutil.rmtree(directory / "experiment")  # memory that was never touched may be slower, too
        figures[f"{name}_work_s"] = work(directory / "work", saved, fork=False)
        figures[f"{name}_forked_work_s"] = work(directory / "forked-work", saved, fork=True)
    return figures


def default(engine: str, directory: Path) -> dict[str, float]:
    """Default settings of both."""
    return measured("population", engine, directory, reuse=False, floors=True)


def reused(engine: str, directory: Path) -> dict[str, float]:
    """Kept processes in both."""
    return measured("population_reused", engine, directory, reuse=True)


def against_best(engine: str, directory: Path) -> dict[str, float]:
    """Our default settings against Ray's fastest ones."""
    return measured("against_best", engine, directory, reuse=engine == "ray", floors=True)


def in_memory(engine: str, directory: Path) -> dict[str, float]:
    """The same, on a disk in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix=directory.name) as memory:
        return measured("in_memory", engine, Path(memory), reuse=engine == "ray")


def reused_in_memory(engine: str, directory: Path) -> dict[str, float]:
    """Kept processes in both, on a disk in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix=directory.name) as memory:
        return measured("reused_in_memory", engine, Path(memory), reuse=True)


PARTS = {
    "default": Part(default),
    "reused": Part(reused),
    "against_best": Part(against_best),
    "in_memory": Part(in_memory),
    "reused_in_memory": Part(reused_in_memory),
}
GOALS = [
    Goal("population_s", times=10),
    Goal("against_best_s", times=3),
    Goal("in_memory_s", times=3),
    Goal("written_to_saved", at_most=1.01),
]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
