"""A PyTorch training that was killed and resumed gives the same bits as one that was not."""

from __future__ import annotations

from perdure import tune


def final(result):
    import torch

    path = result.checkpoint.path
    return {name: torch.load(f"{path}/{name}.pt", weights_only=True) for name in ("model", "optimizer", "random")}


def same(one, other):
    import torch

    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def test_a_killed_training_goes_on_bit_for_bit(tuner):
    from tests.integrations.torch_program import train

    # In the middle of an epoch, and right after a report.
    grid = tuner(
        train, {"dies_at": tune.grid_search([0, 8, 20])}, failure_config=tune.FailureConfig(max_failures=1)
    ).fit()
    assert [result.error for result in grid] == [None] * 3
    whole, *killed = sorted(grid, key=lambda result: result.config["dies_at"])
    expected = final(whole)
    losses = list(whole.metrics_dataframe["loss"])
    assert whole.metrics["steps"] == 21
    for result in killed:
        assert same(final(result), expected), result.config
        assert list(result.metrics_dataframe["loss"]) == losses
        assert result.metrics["iterations_since_restore"] < result.metrics["training_iteration"]


def test_a_resumed_epoch_has_its_remaining_batches_with_worker_processes_too():
    import torch

    from perdure.integrations.torch import ResumableLoader

    data = torch.arange(11.0)

    def make(**options):
        return ResumableLoader(data, batch_size=2, shuffle=True, seed=5, **options)

    whole = [batch.tolist() for loader in [make()] for _ in range(2) for batch in loader]
    assert len(whole) == 12
    assert whole[:6] != whole[6:]
    loader = make(num_workers=1)
    seen = []
    for batch in loader:
        seen.append(batch.tolist())
        if len(seen) == 3:
            break
    resumed = make(num_workers=1)
    resumed.load_state_dict(loader.state_dict())
    rest = [batch.tolist() for batch in resumed]
    assert seen + rest == whole[:6]
    assert (resumed.epoch, resumed.batch) == (1, 0)


def test_a_checkpoint_without_a_part_is_refused_before_anything_is_loaded(tmp_path):
    import pytest
    import torch

    from perdure.errors import CheckpointError
    from perdure.integrations.torch import TrainingState

    model, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    TrainingState(model=model).save(tmp_path)
    before = other.weight.clone()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(CheckpointError, match=r"optimizer\.pt"):
        TrainingState(model=other, optimizer=optimizer).load(tmp_path)
    assert torch.equal(other.weight, before)
