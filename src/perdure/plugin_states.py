"""What plugins remember: saved with every snapshot, brought back when an experiment goes on.

What a plugin can say as JSON is kept as JSON. Pickled is only what it cannot: a user's own, a library's.
"""

from __future__ import annotations

import weakref
from pathlib import Path

import msgspec

from perdure.callbacks import CallbackList
from perdure.changes import parts_changed
from perdure.core.events import Data
from perdure.folding import Recovered
from perdure.journal.base import START, JournalReader
from perdure.journal.values import from_data, to_data
from perdure.retelling import Retelling
from perdure.schedulers.base import TrialScheduler
from perdure.searchers.basic_variant import BasicVariantGenerator
from perdure.searchers.driver import SearchDriver
from perdure.stoppers.base import Stopper
from perdure.trainable.pickling import dump_objects, load_objects

_SEARCHER = frozenset({"search_alg"})
_SCHEDULER = frozenset({"scheduler", "metric", "mode", "seed"})
"""With these changed, what a scheduler remembered is no longer what it would have made of the rows."""
_STOPPER = frozenset({"stop"})

_as_given: dict[int, tuple[weakref.ref[TrialScheduler | Stopper], bytes]] = {}
"""What schedulers and stop rules remembered when a session of this process first used them: JSON, by their ids."""


def begin_anew(plugin: TrialScheduler | Stopper) -> None:
    """Bring a scheduler or stop rule that an earlier session of this process has used back to what it was before.

    `fit()` may be called again with the same objects, after an error or for another experiment. What they are to know
    of the rows there are, they are told; what they knew would count twice. Call it before the session stores what it
    was given, so that no other process is given what is used, either. One that has no JSON state is left as it is.
    """
    key = id(plugin)
    if key in _as_given:
        remembered = from_data(msgspec.json.decode(_as_given[key][1]))
        assert isinstance(remembered, dict)
        plugin.set_state(remembered)
    elif (state := plugin.get_state()) is not None:
        reference = weakref.ref(plugin, lambda _: _as_given.pop(key, None))
        _as_given[key] = reference, msgspec.json.encode(to_data(state, "state"))


class PluginStates:
    """Saves and restores searcher, scheduler, stopper and callbacks.

    Args:
        search, scheduler, stopper, callbacks: The plugins of this session.
        description: What is asked for now; a plugin that is another than it was takes nothing up, and is told anew.
        given: The parts of it that were given anew, see `Definition`.
    """

    def __init__(
        self,
        *,
        search: SearchDriver,
        scheduler: TrialScheduler,
        stopper: Stopper,
        callbacks: CallbackList,
        description: Data,
        given: frozenset[str] | None,
    ) -> None:
        self.search = search
        self.scheduler = scheduler
        self.stopper = stopper
        self.callbacks = callbacks
        self.description = description
        self.given = given

    def save(self, directory: Path) -> None:
        """Write what they remember into the directory of a snapshot."""
        self.search.save(directory)
        stopper = self.stopper.get_state()
        scheduler = self.scheduler.get_state()
        remembered = {
            "stopper": stopper,
            "scheduler": to_data(scheduler, "scheduler"),
            "definition": self.description,
        }
        (directory / "plugins.json").write_bytes(msgspec.json.encode(remembered))
        if callbacks := self.callbacks.get_state():
            dump_objects({"callbacks": callbacks}, directory / "callbacks.pkl", what="callbacks' state")
        if stopper is None:
            dump_objects({"stopper": self.stopper}, directory / "stopper.pkl", what="stopper")
        if scheduler is None:
            self.scheduler.save(str(directory / "scheduler.pkl"))

    def restore(self, recovered: Recovered, reader: JournalReader, path: Path) -> str | None:
        """Bring them to where they were; return what a person should know of that, None for nothing."""
        others = frozenset() if recovered.snapshot is None else self._load(recovered.snapshot)
        known, stopper_known = (
            START if recovered.snapshot is None or parts & others else recovered.position
            for parts in (_SCHEDULER, _STOPPER)
        )
        unfinished = [trial.id for trial in recovered.state.trials.values() if not trial.status.finished]
        plain_search = isinstance(self.search.searcher, BasicVariantGenerator)
        if plain_search:
            self.search.replay_suggested(recovered.state.created, unfinished)
        scheduler = None if self.scheduler.get_state() == {} else self.scheduler
        stopper = None if self.stopper.get_state() == {} else self.stopper
        if plain_search and scheduler is None and stopper is None:
            return None
        past = Retelling(
            reader,
            path=str(path),
            scheduler=scheduler,
            stopper=stopper,
            known=known,
            stopper_known=stopper_known,
        ).run()
        if not plain_search:
            return self.search.replay(past, since=recovered.state.searcher_since)
        for _ in past:
            pass
        return None

    def _load(self, snapshot: Path) -> frozenset[str]:
        """Take up what they remembered, but for those that are others now than when the snapshot was taken.

        These are told all of it again. Returns the parts of the definition that are others now.
        """
        remembered = msgspec.json.decode((snapshot / "plugins.json").read_bytes())
        others = parts_changed(remembered.get("definition") or {}, self.description, self.given)
        searcher_knows = not _SEARCHER & others and self.search.restore(snapshot)
        if self.scheduler.adds_to_rows and not searcher_knows:
            others |= _SCHEDULER  # it is told all rows anew, so that they are what they were for the searcher
        if _STOPPER & others:
            pass
        elif remembered["stopper"]:
            self.stopper.set_state(remembered["stopper"])
        elif (snapshot / "stopper.pkl").is_file():
            vars(self.stopper).update(vars(load_objects(snapshot / "stopper.pkl")["stopper"]))
        if (snapshot / "callbacks.pkl").is_file():
            callbacks = load_objects(snapshot / "callbacks.pkl")["callbacks"]
            assert isinstance(callbacks, dict)
            self.callbacks.set_state(callbacks)
        scheduler = from_data(remembered.get("scheduler"))
        if _SCHEDULER & others:
            pass
        elif isinstance(scheduler, dict):
            self.scheduler.set_state(scheduler)
        elif (snapshot / "scheduler.pkl").is_file():
            self.scheduler.restore(str(snapshot / "scheduler.pkl"))
        return others
