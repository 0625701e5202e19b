"""`TuneSearchCV` as the estimator it is: among pipelines, clones and tables; and its trials after a kill."""

from __future__ import annotations

import os
import pickle
import signal

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from perdure import tune
from perdure.errors import ConfigurationError
from perdure.integrations.sklearn import TuneSearchCV


@pytest.fixture
def iris():
    return load_iris(return_X_y=True)


class DiesOnce(SGDClassifier):
    """Kills its process in the third epoch, unless the file says that it has done so."""

    def __init__(self, alpha=1e-4, marker=""):
        super().__init__(alpha=alpha, random_state=0)
        self.marker = marker

    def partial_fit(self, X, y, classes=None):
        if hasattr(self, "t_") and self.t_ > 2 * len(X) and not os.path.exists(self.marker):
            with open(self.marker, "w"):
                pass
            os.kill(os.getpid(), signal.SIGKILL)
        return super().partial_fit(X, y, classes=classes)


def test_the_same_table_as_a_grid_search_of_scikit_learns(iris, tmp_path):
    values = [0.01, 1.0, 100.0]
    search = TuneSearchCV(
        LogisticRegression(max_iter=500),
        {"C": tune.grid_search(values)},
        n_trials=1,
        cv=3,
        return_train_score=True,
        n_jobs=2,
        storage_path=tmp_path,
    ).fit(*iris)
    theirs = GridSearchCV(LogisticRegression(max_iter=500), {"C": values}, cv=3, return_train_score=True).fit(*iris)

    assert search.best_params_ == theirs.best_params_
    assert search.best_score_ == theirs.best_score_
    assert search.best_index_ == theirs.best_index_
    assert set(theirs.cv_results_) <= set(search.cv_results_)
    for name, column in theirs.cv_results_.items():
        if "time" not in name:
            assert list(search.cv_results_[name]) == list(column), name
    assert np.array_equal(search.predict(iris[0]), theirs.predict(iris[0]))
    assert np.array_equal(search.predict_proba(iris[0]), theirs.predict_proba(iris[0]))
    assert search.score(*iris) == theirs.score(*iris)
    assert list(search.classes_) == [0, 1, 2]


def test_a_pipeline_in_it_and_it_in_a_pipeline(iris, tmp_path):
    inner = make_pipeline(StandardScaler(), SGDClassifier(random_state=0))
    search = TuneSearchCV(
        inner,
        {"sgdclassifier__alpha": [1e-4, 1e-2]},
        n_trials=2,
        cv=2,
        random_state=0,
        executor="inline",
        storage_path=tmp_path,
    )
    outer = Pipeline([("scale", StandardScaler()), ("search", search)])
    assert is_classifier(search)
    assert is_classifier(outer)
    outer.set_params(search__n_trials=3)
    copy = clone(outer)
    assert copy.get_params()["search__n_trials"] == 3
    assert copy.get_params()["search__estimator__sgdclassifier__alpha"] == 1e-4
    copy.fit(*iris)
    assert copy.score(*iris) > 0.8
    assert set(copy["search"].best_params_) == {"sgdclassifier__alpha"}
    assert not hasattr(search, "best_params_")
    assert not hasattr(copy, "predict_proba")  # the hinge loss has none
    assert pickle.loads(pickle.dumps(copy)).score(*iris) == copy.score(*iris)


def test_a_killed_candidate_goes_on_with_its_models(iris, tmp_path):
    def search(name):
        return TuneSearchCV(
            DiesOnce(marker=str(tmp_path / name)),
            {"alpha": tune.grid_search([1e-3])},
            n_trials=1,
            cv=2,
            max_epochs=4,
            max_failures=1,
            storage_path=tmp_path / "results",
            name=name,
            resume=True,
        ).fit(*iris)

    (tmp_path / "whole").touch()
    whole, killed = search("whole"), search("killed")
    assert (tmp_path / "killed").exists()
    assert killed.results_[0].metrics["iterations_since_restore"] == 2
    for name in ("split0_test_score", "split1_test_score", "epochs"):
        assert list(killed.cv_results_[name]) == list(whole.cv_results_[name])
    assert np.array_equal(killed.best_estimator_.coef_, whole.best_estimator_.coef_)
    # The same search again finds its experiment finished, and runs nothing.
    again = search("killed")
    assert [result.path for result in again.results_] == [result.path for result in killed.results_]
    assert again.results_[0].metrics == killed.results_[0].metrics


def test_early_stopping_ends_bad_candidates(iris, tmp_path):
    search = TuneSearchCV(
        SGDClassifier(random_state=0, learning_rate="constant"),
        {"eta0": tune.grid_search([1e-1, 1e-2, 1e-9, 1e-10, 1e-11, 1e-12])},
        n_trials=1,
        cv=2,
        max_epochs=9,
        early_stopping=True,
        executor="inline",
        storage_path=tmp_path,
    ).fit(*iris)
    epochs = search.cv_results_["epochs"]
    assert max(epochs) == 9
    assert min(epochs) < 9
    assert search.best_params_["eta0"] >= 1e-2


def test_a_candidate_that_cannot_be_fitted(iris, tmp_path):
    space = {"C": tune.grid_search([1.0, -1.0])}
    options = {"n_trials": 1, "cv": 2, "executor": "inline", "storage_path": tmp_path}
    search = TuneSearchCV(LogisticRegression(max_iter=500), space, **options).fit(*iris)
    assert list(np.isnan(search.cv_results_["mean_test_score"])) == [False, True]
    assert list(search.cv_results_["rank_test_score"]) == [1, 2]
    assert search.best_params_ == {"C": 1.0}
    bad = TuneSearchCV(LogisticRegression(), {"C": [-1.0]}, error_score="raise", **options)
    with pytest.raises(ConfigurationError, match=r"(?s)None of the 1 candidates.*'C' parameter"):
        bad.fit(*iris)
    with pytest.raises(ConfigurationError, match="LogisticRegression has no partial_fit"):
        TuneSearchCV(LogisticRegression(), space, max_epochs=2).fit(*iris)


def test_it_is_cross_validated_as_any_estimator(iris, tmp_path):
    options = {"n_trials": 1, "cv": 2, "executor": "inline", "storage_path": tmp_path}
    search = TuneSearchCV(LogisticRegression(max_iter=500), {"C": [1.0]}, **options)
    assert cross_val_score(search, *iris, cv=2).min() > 0.8


class InterruptsOnce(SGDClassifier):
    """Interrupts the search that it runs in, in its second epoch, unless the file says that it has done so."""

    def __init__(self, alpha=1e-4, marker=""):
        super().__init__(alpha=alpha, random_state=0)
        self.marker = marker

    def partial_fit(self, X, y, classes=None):
        if hasattr(self, "t_") and not os.path.exists(self.marker):
            with open(self.marker, "w"):
                pass
            signal.raise_signal(signal.SIGINT)
        return super().partial_fit(X, y, classes=classes)


def test_a_search_that_is_interrupted_fits_nothing_and_goes_on(iris, tmp_path):
    search = TuneSearchCV(
        InterruptsOnce(marker=str(tmp_path / "marker")),
        {"alpha": tune.loguniform(1e-4, 1e-1)},
        n_trials=2,
        cv=2,
        max_epochs=3,
        name="interrupted",
        storage_path=tmp_path,
        resume=True,
        executor="inline",
    )
    with pytest.raises(KeyboardInterrupt, match="was interrupted; nothing is fitted"):
        search.fit(*iris)
    assert not hasattr(search, "best_estimator_")
    search.fit(*iris)
    assert search.best_estimator_ is not None
    assert not search.results_.interrupted
