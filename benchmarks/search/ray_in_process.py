"""Ray Tune without Ray's processes: its controller, searchers and schedulers as they are, its actors in this process.

A trial of Ray's costs a third of a second or more before it has trained anything, and a report a tenth of one; hundreds
of searches of hundreds of epochs are out of reach. What is compared here is what the algorithms decide, so the remote
calls are made on the spot, and answered in the order in which they were made: as if every epoch took equally long.
"""

# ruff: noqa: SLF001 - what is private in Ray is what has to be replaced

from __future__ import annotations

import atexit
import itertools
import types
from typing import Any

import ray
from ray.actor import ActorClass
from ray.air.execution.resources.fixed import FixedResourceManager
from ray.tune import registry
from ray.tune.execution import tune_controller


class Future:
    """The answer of a call that has been made."""

    _numbers = itertools.count()

    def __init__(self, call: Any) -> None:
        self.number = next(self._numbers)
        self.error: BaseException | None = None
        try:
            self.value = call()
        except Exception as error:
            self.error = error

    def get(self, timeout: float | None = None) -> Any:
        """Return the answer, which is there already however short the `timeout`."""
        if self.error is not None:
            raise self.error
        return self.value


class Handle:
    """What stands for an actor: `handle.method.remote(...)` calls at once."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def __getattr__(self, name: str) -> Any:
        if name in {"__ray_ready__", "__ray_terminate__"}:
            return types.SimpleNamespace(remote=lambda: Future(lambda: None))
        method = getattr(self._instance, name)
        return types.SimpleNamespace(remote=lambda *args, **kwargs: Future(lambda: method(*args, **kwargs)))


class LocalActorClass(ActorClass):
    """An actor class whose actors are objects."""

    def __init__(self, cls: type) -> None:
        self._cls = cls

    def options(self, **_: Any) -> LocalActorClass:
        return self

    def remote(self, **kwargs: Any) -> Handle:
        return Handle(self._cls(**kwargs))


def wait(futures: list[Future], **_: Any) -> tuple[list[Future], list[Future]]:
    """Return the oldest of them as the one that is ready."""
    oldest = min(futures, key=lambda future: future.number, default=None)
    return ([] if oldest is None else [oldest]), [future for future in futures if future is not oldest]


class Slots(FixedResourceManager):
    """Room for so many trials at a time, of one CPU each."""

    number = 1

    def __init__(self) -> None:
        self._allow_strict_pack = True  # and nothing that asks a running Ray
        self._total_resources = {"CPU": float(self.number)}
        self._requested_resources: list[Any] = []
        self._used_resources: list[Any] = []


def use(slots: int, directory: str) -> None:
    """Have all actors of Ray Tune live in this process from now on, so many at a time.

    It is resources that limit them, as on a machine with so many CPUs, and no `max_concurrent_trials`: to Ray, a paused
    trial is a concurrent one, and its schedulers that pause trials would not get to.
    """
    Slots.number = slots
    ray._private.worker._global_node = types.SimpleNamespace(
        get_session_dir_path=lambda: f"{directory}/session", node_ip_address="127.0.0.1"
    )
    if ray.wait is wait:
        return
    ray.wait, ray.get = wait, Future.get
    atexit.unregister(ray._private.worker.shutdown)  # of a Ray that never was
    ray.kill = lambda actor: None
    ray.cluster_resources = lambda: {"CPU": float(Slots.number)}  # asked for at every turn of the controller's
    ray.is_initialized = lambda: True
    ray.put = lambda value: value
    registered: dict[bytes, bytes] = {}
    registry._internal_kv_initialized = lambda: True
    registry._internal_kv_put = lambda key, value, **_: registered.__setitem__(key, value)
    registry._internal_kv_get = lambda key, **_: registered.get(key)
    registry._internal_kv_del = lambda key, **_: registered.pop(key, None)
    original = tune_controller.TuneController.__init__

    def with_slots(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "resource_manager_factory": Slots})

    tune_controller.TuneController.__init__ = with_slots
    tune_controller._ActorClassCache.get = lambda self, cls: LocalActorClass(cls)
