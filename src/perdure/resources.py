"""What trials ask for, compared with what there is."""

from __future__ import annotations

from collections.abc import Mapping

from perdure.errors import ResourceError


def check_resources(
    resources: dict[str, float],
    capacity: dict[str, float],
    *,
    whom: str,
    advice: str = "Ask for less with with_resources(...).",
) -> None:
    """Refuse what no machine of this experiment can ever give.

    Raises:
        ResourceError: a resource is unknown here, or there is less of it in all than is asked for.
    """
    for name, amount in resources.items():
        if amount <= 0:
            continue
        if name not in capacity:
            known = ", ".join(sorted(capacity))
            raise ResourceError(
                f"{whom} asks for {amount:g} of {name!r}, which this machine does not have (it has: {known}). "
                "Correct with_resources(...), or name the resource in LocalExecutor(resources={...})."
            )
        if amount > capacity[name] + 1e-9:
            raise ResourceError(
                f"{whom} asks for {amount:g} {name}, and this machine has {capacity[name]:g} in all; "
                f"it could never start. {advice} To say that the machine has more: "
                f"RunConfig(executor=LocalExecutor({_argument(name, amount)}))."
            )


def fits(resources: Mapping[str, float], capacity: Mapping[str, float]) -> bool:
    """Whether there is enough in all, if nothing else runs."""
    return all(amount <= capacity.get(name, 0.0) + 1e-9 for name, amount in resources.items())


def _argument(name: str, amount: float) -> str:
    """Return how LocalExecutor is told of so much of a resource."""
    known = {"CPU": "cpus", "GPU": "gpus"}
    return f"{known[name]}={amount:g}" if name in known else f"resources={{{name!r}: {amount:g}}}"
