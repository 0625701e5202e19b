"""What plugins see of a trial is theirs: changing it changes nothing else."""

from __future__ import annotations

from pathlib import Path

from perdure.trial_view import TrialView


def test_what_views_share_is_handed_out_as_copies() -> None:
    resources, config = {"CPU": 1.0}, {"x": 0.5}
    one, two = (
        TrialView(trial_id=name, trial_name=name, config=config, evaluated_params=config, resources=resources)
        for name in "ab"
    )
    one.resources["CPU"] = 8.0
    one.evaluated_params["x"] = 1
    assert two.resources == one.resources == {"CPU": 1.0}
    assert two.evaluated_params == one.evaluated_params == {"x": 0.5}
    one.resources = {"CPU": 2.0}
    assert (one.resources, two.resources) == ({"CPU": 2.0}, {"CPU": 1.0})


def test_paths() -> None:
    view = TrialView(trial_id="a", trial_name="a", experiment_path="/runs/exp", directory="train_a")
    assert (view.path, view.local_path, view.relative_logdir) == ("/runs/exp/train_a",) * 2 + ("train_a",)
    assert TrialView(trial_id="a", trial_name="a").path == ""


def test_a_logger_may_make_sure_of_its_directory(tmp_path: Path) -> None:
    view = TrialView(trial_id="a", trial_name="a", experiment_path=str(tmp_path), directory="train_a")
    view.init_local_path()
    view.init_local_path()
    assert (tmp_path / "train_a").is_dir()
