"""What population-based training costs: 8 trials with checkpoints of 50 MB, 20 iterations, perturbed every 2.

The trainable is a class that saves one file of 50 MB whenever it is told to, and reads it whole when it goes on from
one; its steps take no time, so all that is measured is the pausing, saving, cloning and going on. `population_s` is the
time of `fit()` with default settings, `population_reused_s` with `TuneConfig(reuse_actors=True)`, which is how Ray is
fastest. `against_best` compares our default with Ray's best. `written_to_saved`: what all of our processes gave the
disk to write, for each byte that `save_checkpoint` wrote itself. Needs some 5 GB of room.
"""

from __future__ import annotations

import os
from pathlib import Path

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


def default(engine: str, directory: Path) -> dict[str, float]:
    seconds, saved, given = run(engine, directory, reuse=False)
    figures = {"population_s": seconds, "saved_gb": saved / 1e9}
    if engine == "perdure":
        figures["written_to_saved"] = given / saved
    return figures


def reused(engine: str, directory: Path) -> dict[str, float]:
    seconds, saved, _ = run(engine, directory, reuse=True)
    return {"population_reused_s": seconds, "reused_saved_gb": saved / 1e9}


def against_best(engine: str, directory: Path) -> dict[str, float]:
    """Our default settings against Ray's fastest ones."""
    return {"against_best_s": run(engine, directory, reuse=engine == "ray")[0]}


PARTS = {"default": Part(default), "reused": Part(reused), "against_best": Part(against_best)}
GOALS = [
    Goal("population_s", times=10),
    Goal("against_best_s", times=3),
    Goal("written_to_saved", at_most=1.01),
]

if __name__ == "__main__":
    main(__file__, PARTS, GOALS)
