"""`perdure best`."""


def test_the_best_trial_with_its_checkpoint(perdure, finished):
    ran = perdure("best", finished)
    assert ran.code == 0
    assert ran.lines[0].startswith("train_ab12c_00001  ")
    assert ran.lines[1] == "accuracy 0.5 at iteration 2, TERMINATED"
    assert ran.lines[2] == f"checkpoint: {finished}/train_ab12c_00001/checkpoint_000001"
    assert "  lr      0.05" in ran.lines
    assert "  loss      0.5" in ran.lines


def test_by_another_metric_and_scope(perdure, finished):
    assert perdure("best", finished, "--scope", "all", "--json").json["trial"]["number"] == 1
    ran = perdure("best", finished, "--metric", "loss", "--mode", "max", "--json")
    document = ran.json
    assert (document["metric"], document["mode"]) == ("loss", "max")
    assert document["trial"]["name"] == "train_ab12c_00000"
    assert document["trial"]["config"] == {"lr": 0.1, "epochs": 3}
    assert document["trial"]["metrics"]["loss"] == 1.5
    assert document["checkpoint"]["path"].endswith("train_ab12c_00000/checkpoint_000002")


def test_no_best(perdure, finished, new_experiment):
    ran = perdure("best", finished, "--metric", "f1", "--mode", "max")
    assert ran.code == 2
    assert "Reported: accuracy, loss" in ran.err
    assert perdure("best", new_experiment("empty").path).code == 2
