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


def test_why_there_is_no_best(perdure, new_experiment):
    """In the words of metrics, and of this command's options, whatever the journal's word for NaN."""
    experiment = new_experiment(metric=None, mode=None)
    for n in (0, 1):
        experiment.start(n)
    assert perdure("best", experiment.path).err == (
        "perdure: perdure best needs a metric, and TuneConfig has none: pass --metric NAME. "
        "No trial has reported anything.\n"
    )
    experiment.fail(0)
    assert "No trial has reported anything; 1 of 2 failed.\n" in perdure("best", experiment.path).err
    experiment.fail(1)
    asked = ("best", experiment.path, "--metric", "loss", "--mode", "min")
    assert "No trial has reported anything; all failed.\n" in perdure(*asked).err
    experiment.start(2)
    experiment.report(2, 1, loss={"$float": "nan"}, test={"error": {"$float": "inf"}})
    assert "pass --mode min or --mode max." in perdure("best", experiment.path, "--metric", "loss").err
    for scope, what in (("last", "last value of it"), ("all", "value (scope='all') of it")):
        ran = perdure(*asked, "--scope", scope)
        assert (ran.code, ran.out) == (2, "")
        assert f"no best trial by 'loss': it was reported, but no trial's {what} is a finite number." in ran.err
    assert "Reported: loss, test/error.\n" in perdure("best", experiment.path, "--metric", "acc", "--mode", "max").err
