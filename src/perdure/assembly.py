"""Puts the parts of one session together, runs it, and takes them apart again whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from perdure import __version__
from perdure.callbacks import CallbackList
from perdure.changes import FUNCTION_OF_CONFIG, check, differences, listed, parts_changed
from perdure.checkpoints.manager import CheckpointManager
from perdure.config import ResumeConfig
from perdure.core.events import (
    AnyEvent,
    DefinitionChanged,
    DefinitionStored,
    DriverStarted,
    ExperimentCreated,
    Noticed,
    SpecChanged,
)
from perdure.core.state import Status
from perdure.definition import TRAINABLE, Definition, file_of, spec_of, store, store_again
from perdure.environment import number_in
from perdure.errors import ExperimentExistsError, TrainableError
from perdure.executors.base import Program
from perdure.executors.devices import DeviceLedger
from perdure.executors.registry import resolve_executor
from perdure.folding import Recovered, end_leftovers, recover
from perdure.history import ExperimentHistory, read_experiment
from perdure.interrupts import give_way, handled
from perdure.journal.file import FileJournal, FileJournalReader
from perdure.judge import Judge
from perdure.loggers.base import LoggerCallback
from perdure.loggers.policies import PolicyLog
from perdure.loggers.thread import LoggerFollower
from perdure.naming import Namer
from perdure.observers import make_display, run_info, start_loggers, with_default_loggers
from perdure.plugin_states import PluginStates, begin_anew
from perdure.recovery import RowsOfTrials, adopt, requeue
from perdure.resources import check_resources
from perdure.runner import Runner, Settings
from perdure.schedulers.base import DEFAULT_METRIC, TrialScheduler, configure
from perdure.schedulers.fifo import FIFOScheduler
from perdure.schedulers.registry import resolve_scheduler
from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.searchers.driver import SearchDriver
from perdure.searchers.registry import create_searcher
from perdure.snapshots import Snapshots
from perdure.stoppers import resolve_stopper
from perdure.stoppers.base import Stopper
from perdure.storage.faults import fault_point
from perdure.storage.placement import place_apart
from perdure.storage.processes import boot_id, hostname, process_start
from perdure.storage.uri import check_writable
from perdure.trainable.importing import own_directories
from perdure.trainable.pickling import PARAMS, dump_objects, objects_in
from perdure.trainable.wrappers import fixed_resources_of, resources_of


def exists(path: Path) -> bool:
    """Return whether there is an experiment at `path`: a journal that holds its first record."""
    if not path.is_dir() or not any(path.glob("journal-*.jsonl")):
        return False
    return next(FileJournalReader(path).read(), None) is not None


def run_session(definition: Definition, resume: ResumeConfig | None) -> ExperimentHistory:
    """Run one session of an experiment, new or (`resume`) continued, and return its history.

    Raises:
        SystemExit: SIGTERM came, and the script has no handler for it; the experiment is left in good order.
    """
    fresh = not definition.path.is_dir() or not any(definition.path.iterdir())
    session: Session | None = None
    try:
        with ExitStack() as stack:
            session = Session(definition, stack)
            check_writable(definition.path)
            session.open(resume)
            session.run()
            # While the loggers write the rest. Whom a signal ends has no use for it, and may have little time.
            history = None if session.signals else read_experiment(definition.path)
    except BaseException:
        if fresh:
            _remove_unused(definition.path, claimed=session is not None and session.claimed)
        raise
    give_way(session.signals)
    history = history or read_experiment(definition.path)
    if definition.run_config.failure_config.fail_fast == "raise":
        _raise_first_failure(history)
    return history


class Session:
    """The parts of one session. Each is closed by `stack`, the last made first."""

    def __init__(self, definition: Definition, stack: ExitStack) -> None:
        self.definition = definition
        self.stack = stack
        self.path = definition.path
        run = definition.run_config
        self.strict = run.durability == "strict"
        self.executor = resolve_executor(run.executor)
        asked = fixed_resources_of(definition.trainable) or {}
        check_resources(asked, self.executor.capacity(), whom=f"Each trial of {definition.name}")
        self.claimed = False
        self.followers: list[LoggerFollower] = []
        self.signals: list[int] = []
        """That came while the experiment ran."""
        self.notes: list[str] = []
        """What a person should know about how the experiment was found."""
        if definition.left_out:
            self.notes.append(
                f"{', '.join(definition.left_out)} could not be stored with the experiment: this session runs without. "
                'The script that defines the experiment has all of it again, with RunConfig(resume="auto").'
            )

    # --- opening ----------------------------------------------------------------------------------------------------

    def open(self, resume: ResumeConfig | None) -> None:
        """Take the claim, and bring the experiment to where trials can start."""
        self.journal = FileJournal(self.path, strict=self.strict)
        self.stack.callback(self.journal.close)
        self.claimed = True
        place_apart(self.path)
        fault_point("session.claimed")
        whole = resume is not None and (resume.finished != "skip" or resume.errored != "skip")
        recovered = recover(self.path, self.journal.past, self.journal.position, whole=whole)
        self.state = recovered.state
        fault_point("session.folded")
        self.goes_on = bool(self.state.name)
        definition = self.definition = self.definition.as_of(self.state)
        if self.goes_on:
            self._check_same_experiment(resume)
        stop = definition.run_config.stop
        for plugin in (definition.tune_config.scheduler, *(stop if isinstance(stop, list) else [stop])):
            if isinstance(plugin, (TrialScheduler, Stopper)):
                begin_anew(plugin)
        pickles = self._store()
        self._compare()
        self._start_executor(self.path / file_of(pickles, TRAINABLE))
        if self.goes_on:
            self._clear_away(recovered)
            fault_point("session.cleared")
        self._make_parts()
        runner = self.runner
        if self.goes_on:
            self._journal_changes(pickles)
        else:
            self._journal_creation(pickles)
        self.callbacks.setup(
            stop=definition.run_config.stop,
            num_samples=definition.tune_config.num_samples,
            total_num_samples=self.search.total,
            time_budget_s=definition.tune_config.time_budget_s,
        )
        if text := self.plugins.restore(recovered, self.journal.past, self.path):
            runner.emit(Noticed(at=time.time(), text=text))
        check(self.changes, self.changed, self.before, created=self.state.created, search=self.search)
        runner.emit(self._driver_started())
        notes = [*map(str, filter(None, [self.journal.cut])), *self.journal.notes, *recovered.notes, *self.notes]
        for text in notes:
            runner.emit(Noticed(at=time.time(), text=text))
        fault_point("session.begun")
        adopt(runner, recovered.unsettled)
        fault_point("session.adopted")
        if resume is not None and self.goes_on:
            requeue(runner, resume, RowsOfTrials(self.path, self.state), resized=self._asks_for_other_resources())
        self._start_observers()
        fault_point("session.open")

    def _compare(self) -> None:
        """Find out what is asked for otherwise than it was."""
        given = self.definition.given
        self.before, self.description = self.state.definition, self.definition.description
        if given is not None and self.before:
            asked = {name: value for name, value in self.description.items() if name in given}
            self.description = {**self.before, **asked}
        self.changes = differences(self.before, self.description)
        self.changed = parts_changed(self.before, self.description, given)

    def _journal_creation(self, pickles: dict[str, str]) -> None:
        self.runner.emit(
            ExperimentCreated(
                at=time.time(),
                name=self.path.name,
                trainable=self.definition.name,
                spec=spec_of(self.definition),
                version=__version__,
                pickles=pickles,
                definition=self.description,
            )
        )

    def _journal_changes(self, pickles: dict[str, str]) -> None:
        """Have the journal say what is asked for otherwise: in one record, so that all of it holds or nothing."""
        runner, state, now = self.runner, self.state, time.time()
        spec = spec_of(self.definition)
        if self.description != state.definition:
            runner.emit(
                DefinitionChanged(
                    at=now,
                    changes=self.changes,
                    definition=self.description,
                    trainable=self.definition.name,
                    spec=spec,
                    pickles=pickles,
                )
            )
            if self.changes:
                told = f"Changed since the last session, for what is still to come: {listed(self.changes)}."
                self.notes.append(told)
            return
        if spec != state.spec:
            runner.emit(SpecChanged(at=now, spec=spec))
        if pickles != state.pickles:
            runner.emit(DefinitionStored(at=now, pickles=pickles))

    def _asks_for_other_resources(self) -> bool:
        """Whether waiting trials are to be asked for anew what they need.

        Otherwise they keep what a scheduler, or a retry after running out of memory, has given them.
        """
        return "resources" in self.changed or self.description["resources"] == FUNCTION_OF_CONFIG

    def _store(self) -> dict[str, str]:
        """See that what was asked for is stored; return the digests of its files."""
        if not self.state.name:
            return store(self.definition)
        if self.definition.stored:
            return self.state.pickles
        return store_again(self.definition, self.state.pickles, self.journal.epoch)

    def _start_executor(self, trainable: Path) -> None:
        run = self.definition.run_config
        self.display = make_display(run, self.executor)
        forward = bool(getattr(self.display, "wants_output", False)) and not run.log_to_file
        program = Program(
            trainable=trainable,
            reuse=bool(self.definition.tune_config.reuse_actors),
            forward_output=forward,
            on_output=self.display.output,
        )
        self.executor.setup(program, turn=self._turn)  # closes itself if it fails, and may be another's if it refuses
        self.stack.callback(self.executor.close)

    def _turn(self) -> None:
        self.runner.turn()

    def _check_same_experiment(self, resume: ResumeConfig | None) -> None:
        if resume is None:  # it was not there a moment ago
            raise ExperimentExistsError(
                f"Another script has just started an experiment at {self.path}. Nothing was changed. "
                "Choose another name."
            )
        if self.definition.name != self.state.trainable and not self.definition.renames:
            raise TrainableError(
                f"The experiment at {self.path} trains {self.state.trainable!r}, not {self.definition.name!r}. "
                "Nothing was changed. Use another experiment name, or the trainable it was started with; or, if this "
                f"one is to take over the checkpoints of the other, Tuner.restore({str(self.path)!r}, trainable, "
                "allow_other_trainable=True)."
            )

    def _clear_away(self, recovered: Recovered) -> None:
        """Make sure that no process of an earlier attempt is alive."""
        left = end_leftovers(recovered, self.path)
        if left:
            pids = ", ".join(map(str, left))
            self.notes.append(f"Processes of an earlier session could not be killed: end them yourself (pids {pids}).")

    def _driver_started(self) -> DriverStarted:
        return DriverStarted(
            at=time.time(),
            epoch=self.journal.epoch,
            host=hostname(),
            pid=os.getpid(),
            process_start=process_start(os.getpid()) or 0.0,
            boot_id=boot_id(),
            capacity=self.executor.capacity(),
            imports=own_directories(),
        )

    # --- parts ------------------------------------------------------------------------------------------------------

    def _make_parts(self) -> None:
        definition, state = self.definition, self.state
        tune, run = definition.tune_config, definition.run_config
        namer = self._namer()
        self.search = SearchDriver(
            create_searcher(tune.search_alg) if isinstance(tune.search_alg, str) else tune.search_alg,
            param_space=definition.param_space,
            num_samples=tune.num_samples,
            metric=tune.metric,
            mode=tune.mode,
            seed=namer.search_seed,
        )
        chosen = tune.scheduler
        self.scheduler = FIFOScheduler() if chosen is None else resolve_scheduler(chosen)
        searcher = None if isinstance(self.search.searcher, BasicVariantGenerator) else self.search.searcher
        configure(
            self.scheduler,
            tune.metric,
            tune.mode,
            seed=namer.search_seed,
            saves=definition.saves,
            searcher=searcher,
            trainable=definition.trainable,
            reuse_actors=tune.reuse_actors,
        )
        self.stopper = resolve_stopper(run.stop)
        loggers = [callback for callback in run.callbacks or () if isinstance(callback, LoggerCallback)]
        self.loggers = with_default_loggers(loggers)
        self.callbacks = CallbackList([callback for callback in run.callbacks or () if callback not in loggers])
        self.plugins = PluginStates(
            search=self.search,
            scheduler=self.scheduler,
            stopper=self.stopper,
            callbacks=self.callbacks,
            description=self.description,
            given=definition.given,
        )
        self.checkpoints = CheckpointManager(self.path, wake=self.executor.wake)
        self.stack.callback(self.checkpoints.close)
        self.judge = Judge(
            state=state,
            path=str(self.path),
            search=self.search,
            scheduler=self.scheduler,
            stopper=self.stopper,
            callbacks=self.callbacks,
            namer=namer,
            resources_of=lambda config: resources_of(definition.trainable, config),
            save_config=self._save_objects,
            load_objects=objects_in(self.path),
            wall_clock=time.time,
            required=self._required_metrics(),
            saves=definition.saves,
            saves_at_end=definition.saves and run.checkpoint_config.checkpoint_at_end is not False,
        )
        self.runner = Runner(
            state=state,
            journal=self.journal,
            executor=self.executor,
            judge=self.judge,
            checkpoints=self.checkpoints,
            ledger=DeviceLedger(self.executor.devices()),
            settings=self._settings(),
            snapshots=Snapshots(self.path, save_plugins=self.plugins.save, period_s=_snapshot_period()),
            clock=getattr(self.executor, "clock", time.monotonic),
        )

    def _settings(self) -> Settings:
        run = self.definition.run_config
        checkpoints, failures = run.checkpoint_config, run.failure_config
        return Settings(
            path=self.path,
            checkpoint_frequency=checkpoints.checkpoint_frequency or 0,
            checkpoint_at_end=self.definition.saves and checkpoints.checkpoint_at_end is not False,
            saves=self.definition.saves,
            durability=run.durability,
            log_to_file=_log_files(run.log_to_file),
            label_output=self.display.wants_labels and not getattr(self.executor, "in_process", False),
            chdir=os.environ.get("RAY_CHDIR_TO_TRIAL_DIR", "1") != "0",
            seeded=self.definition.tune_config.seed is not None,
            boot_id=boot_id(),
            cleanup_s=number_in("TUNE_FORCE_TRIAL_CLEANUP_S", 600),
            report_timeout_s=failures.report_timeout_s,
            max_trial_time_s=failures.max_trial_time_s,
            resources_after_oom=failures.resources_after_oom,
        )

    def _namer(self) -> Namer:
        tune = self.definition.tune_config
        return Namer(
            experiment=self.path.name,
            trainable=self.definition.name,
            seed=tune.seed,
            token=next(iter(self.state.trials), None),
            trial_name_creator=tune.trial_name_creator,
            trial_dirname_creator=tune.trial_dirname_creator,
            # Not only the journaled ones: a power cut may have taken the record of a trial and left its directory.
            taken=(entry.name for entry in os.scandir(self.path) if entry.is_dir()) if self.state.name else (),
        )

    def _required_metrics(self) -> dict[str, str]:
        if os.environ.get("TUNE_DISABLE_STRICT_METRIC_CHECKING") == "1":
            return {}
        needed = dict.fromkeys(self.search.metrics, f"the searcher {type(self.search.searcher).__name__}")
        if self.scheduler.metric not in (None, DEFAULT_METRIC):
            needed[str(self.scheduler.metric)] = f"the scheduler {type(self.scheduler).__name__}"
        if self.definition.tune_config.metric:
            needed[self.definition.tune_config.metric] = "TuneConfig(metric=...)"
        return needed

    def _save_objects(self, directory: str, objects: Mapping[str, object]) -> None:
        target = self.path / directory
        target.mkdir(parents=True, exist_ok=True)
        fault_point("objects.begin")
        dump_objects(dict(objects), target / PARAMS, what="config")
        fault_point("objects.done")

    # --- running ----------------------------------------------------------------------------------------------------

    def _past_events(self) -> Iterator[AnyEvent]:
        """Yield the events of earlier sessions, read as they are asked for."""
        return (event for _, event in self.journal.past.read())

    def _start_observers(self) -> None:
        info = run_info(self.definition, self.state, self.search.total, goes_on=self.goes_on)
        self.display.start(info, self._past_events(), self.state)
        self.stack.push(self._close_display)
        self.followers = start_loggers(
            self.stack,
            self.path,
            self.loggers,
            on_problem=self.display.warn,
            is_lost=lambda: self.journal.lost,
            fresh=not self.goes_on,
        )
        self.runner.observers = (self.display, *self.followers)
        if self.scheduler.writes_policies:
            policies = PolicyLog(self.path, self._past_events())
            self.runner.observers = (*self.runner.observers, policies)

    def _close_display(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        """Say how it ended: by itself, by a stop, or because something was raised, which the caller will show."""
        self.display.close(self.state.stopping or ("" if kind is None else kind.__name__))

    def run(self) -> None:
        """Run the loop to its end."""
        with handled(self.runner) as self.signals:
            self.runner.run()
        for follower in self.followers:
            follower.hasten()
        self.callbacks.on_experiment_end(self.judge.trials)


def _log_files(choice: bool | str | tuple[str, str]) -> tuple[str, str] | None:
    """Return the names of the files that stdout and stderr of a trial go to."""
    if choice is True:
        return ("stdout", "stderr")
    if isinstance(choice, str):
        return (choice, choice)
    return choice or None


def _snapshot_period() -> float | None:
    variable = "TUNE_GLOBAL_CHECKPOINT_S"
    return None if os.environ.get(variable, "auto") in ("auto", "") else number_in(variable, 0)


def _raise_first_failure(history: ExperimentHistory) -> None:
    """Raise the user's own exception of the first trial that failed, from one that tells of the trial."""
    from perdure.result import exception_of, users_exception

    for trial in history.trials.values():
        if trial.status is Status.ERROR and trial.error is not None:
            told = exception_of(trial.error, trial)
            own = users_exception(Path(history.path) / trial.directory)
            if isinstance(own, Exception):
                raise own from told
            raise told from own  # it cannot be had here, or is the trial's SystemExit, which is none of the script's


def _remove_unused(path: Path, *, claimed: bool) -> None:
    """Remove the directory of an experiment that never began, so that its name is free again.

    Without the claim what is in it may be another driver's by now: then only an empty directory goes.
    """
    with contextlib.suppress(OSError):
        if not claimed:
            path.rmdir()
        elif not exists(path):
            shutil.rmtree(path)
