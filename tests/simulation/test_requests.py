"""People ask for things, from processes of their own, while everything goes wrong."""

from __future__ import annotations

import dataclasses
import random

import msgspec
import pytest

from perdure.control.door import CONTROL, Door
from perdure.core.events import RequestRefused, Spec, StopRequested, TrialActed
from perdure.core.requests import PauseTrials
from perdure.core.state import Status
from perdure.testing.simulation import Case, Workload, World, draw, shrink, simulate
from perdure.testing.simulation.disk import Disk
from perdure.testing.simulation.faults import NONE
from perdure.testing.simulation.machine import Machine
from perdure.testing.simulation.requests import Wish, draw_wishes
from perdure.testing.simulation.shrink import fails
from perdure.testing.simulation.workload import OPENING

NEVER = 1 << 60


def asked(seed: int) -> Case:
    """Return an experiment in which somebody asks for something, as in one of six."""
    workload, faults = draw(seed)
    wishes = faults.requests or draw_wishes(random.Random(f"asked {seed}"), workload)
    return workload, dataclasses.replace(faults, requests=wishes)


def calm(*wishes: Wish, scheduler: str = "fifo", samples: int = 1, steps: int = 4, cpus: int = 1) -> Case:
    """Return an experiment in which nothing happens but that people ask."""
    workload = Workload(
        samples=samples,
        steps=steps,
        every=1,
        cpus=cpus,
        spec=Spec(metric="value", mode="max", num_samples=samples, seed=0),
        saves=False,
        stop=None,
        scheduler=scheduler,
    )
    return workload, dataclasses.replace(NONE, requests=wishes)


def stopped_at_a_restart(seed: int) -> Case:
    """Return an experiment in which a crash damages the newest checkpoint, and somebody stops the trial about then."""
    rng = random.Random(f"stopped {seed}")
    workload, faults = calm(Wish(at=rng.randint(6, 20), what="stop", trials=(0,)))
    spec = msgspec.structs.replace(workload.spec, restart_without_checkpoint=True)
    crash = rng.randint(2 * OPENING, workload.driver_steps)
    return (
        dataclasses.replace(workload, spec=spec),
        dataclasses.replace(faults, rots=1.0, crashes=(crash,), power_cuts=(False,)),
    )


def answers(world: World) -> list[object]:
    return [event for _, event in world.records() if isinstance(event, (TrialActed, RequestRefused, StopRequested))]


def test_a_trial_stays_stopped_whose_checkpoint_turns_out_to_be_damaged() -> None:
    for seed in range(200):
        simulate(seed, case=stopped_at_a_restart(seed))


def test_each_kind_of_request_is_met_and_refused() -> None:
    met, refused = set(), set()
    for seed in range(150):
        world = simulate(seed, case=asked(seed))
        for _, event in () if world.lost else world.records():
            if name := getattr(event, "request", ""):
                assert world.people is not None
                assert name in world.people.answers.answered
                if isinstance(event, RequestRefused):
                    refused.add(event.reason.split()[-1])
                elif isinstance(event, TrialActed):
                    met.add(event.action.decision.value)
                else:
                    met.add(type(event).__name__)
    assert met == {"stop", "pause", "continue", "StopRequested", "CheckpointPinned", "CheckpointsRetired"}
    assert len(refused) > 8


def test_a_held_trial_goes_on_when_people_let_it() -> None:
    world = simulate(0, case=calm(Wish(6, "pause", (0,))))
    paused, let_go = answers(world)
    assert isinstance(paused, TrialActed)
    assert isinstance(let_go, TrialActed)
    assert (paused.action.hold, let_go.action.hold) == (True, False)
    (trial,) = world.history().trials.values()
    assert (trial.status, trial.row_count) == (Status.TERMINATED, 4)


def test_who_finds_nobody_driving_answers() -> None:
    world = simulate(0, case=calm(Wish(0, "stop", (0,), away=True), steps=1))
    (answer,) = answers(world)
    assert isinstance(answer, RequestRefused)
    assert answer.reason.endswith("is TERMINATED already.")
    assert world.disk.names(f"/disk/simulated/{CONTROL}") == []


def test_what_the_scheduler_says_of_a_held_trial_is_kept() -> None:
    """It lets the trial go on, or stops it, once: it was not told that the trial is held, and does not say it again."""
    for at in range(6, 30):
        for kind in ("promoting", "halving", "pausing"):
            simulate(0, case=calm(Wish(at, "pause", (2,)), scheduler=kind, samples=3, steps=3, cpus=3))


@pytest.mark.parametrize("seed", range(20))
def test_a_request_survives_a_power_cut_from_when_it_was_made(seed: int) -> None:
    """With it the name of the directory that it lies in, which it may be the first to need."""

    def never(operation: str, path: str) -> None:
        disk.until_trouble = NEVER

    disk = Disk(never)
    machine = Machine(disk)
    with machine.mounted():
        disk.makedirs("/disk/experiment")
        disk.sync_all()
        door = Door(machine.path("/disk/experiment"))
        request = PauseTrials(trials=("a",))
        name = door.post(request)
        disk.cut_power(random.Random(seed))
        assert list(door.read()) == [(name, request)]


def test_shrinking_leaves_the_request_that_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the smallest case fails in the same way when it is run again."""
    monkeypatch.setattr("perdure.core.transitions._hold_back", lambda state, trial: None)
    seed = next(seed for seed in range(3000) if fails(seed, asked(seed)))
    _, faults = smallest = shrink(seed, asked(seed))
    assert fails(seed, smallest)
    assert [(wish.what, wish.dies, len(wish.trials)) for wish in faults.requests] == [("pause", None, 1)]
