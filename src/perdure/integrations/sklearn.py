"""scikit-learn: a hyperparameter search as an estimator, like GridSearchCV, whose trials outlast failure.

    search = TuneSearchCV(SGDClassifier(), {"alpha": tune.loguniform(1e-5, 1e-1)}, n_trials=20, max_epochs=10)
    search.fit(X, y)
    search.best_params_, search.predict(X_new)

It can be a step of a pipeline, and it can tune one; `sklearn.base.clone` and `get_params` work as on any estimator.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.metaestimators import _safe_split, available_if
from sklearn.utils.validation import check_is_fitted

from perdure.config import FailureConfig, RunConfig, TuneConfig
from perdure.errors import ConfigurationError
from perdure.integrations.reports import report_with_files
from perdure.naming import new_token
from perdure.result import Result
from perdure.result_grid import ResultGrid
from perdure.schedulers.async_hyperband import ASHAScheduler
from perdure.search_space import choice
from perdure.trainable.session import get_checkpoint, report
from perdure.trainable.wrappers import with_parameters
from perdure.tuner import Tuner

METRIC = "mean_test_score"
_MODELS_FILE = "models.pkl"


def _best_has(method: str) -> Callable[[Any], bool]:
    """Whether the estimator, fitted or to be fitted, has a method."""

    def check(search: Any) -> bool:
        getattr(search.best_estimator_ if hasattr(search, "best_estimator_") else search.estimator, method)
        return True

    return check


class TuneSearchCV(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """Searches for the hyperparameters of an estimator by cross-validation, each candidate a trial of its own process.

    With `max_epochs` above 1 candidates are trained by `partial_fit`, one pass over the data at a time. Each pass is a
    row with a checkpoint, so that a trial goes on where it was, and a scheduler can end bad ones early.

    Args:
        estimator: What to tune; a pipeline takes names such as "clf__alpha".
        param_space: By parameter: a domain (`tune.uniform(...)`, ...), a list to choose from, `tune.grid_search(...)`,
            or a value.
        n_trials: Candidates; of a grid, how often all of it.
        scoring: As in scikit-learn: one name or scorer; greater is better. None takes the estimator's own.
        cv: As in scikit-learn: folds, a splitter or splits.
        refit: Fit the best candidate on all data; `predict` and its like need it.
        max_epochs: Passes of `partial_fit`; 1 calls `fit`.
        early_stopping: With `max_epochs`: True is ASHA, or a scheduler; False trains all to the end.
        search_alg: A searcher; None is random and grid search.
        n_jobs: Trials at a time; None or -1 is as many as there are CPUs.
        random_state: The seed of the search.
        error_score: The score of a candidate that cannot be fitted; "raise" makes its trial an error.
        return_train_score: Score the training data as well.
        max_failures: How often a trial whose process dies is started again, at its latest checkpoint.
        executor: "inline" runs the trials one after the other in this process, which is quicker where each takes less
            than a process needs to start.
        verbose: Of perdure: 0 is silent.
        name: Of the experiment; None makes one up.
        storage_path: Where experiments are.
        resume: Go on with the experiment of that `name`, if there is one: a `fit` that was killed is run again.

    Attributes:
        best_params_, best_score_, best_index_, best_estimator_, cv_results_, n_splits_, scorer_, refit_time_: As in
            scikit-learn's searches.
        results_: The trials, a `ResultGrid`; a pickled search is without.

    Raises:
        ConfigurationError: `max_epochs` is above 1 and the estimator has no `partial_fit`, or no candidate has a score.
    """

    def __init__(
        self,
        estimator: Any,
        param_space: Mapping[str, Any],
        *,
        n_trials: int = 10,
        scoring: Any = None,
        cv: Any = None,
        refit: bool = True,
        max_epochs: int = 1,
        early_stopping: Any = False,
        search_alg: Any = None,
        n_jobs: int | None = None,
        random_state: int | None = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        max_failures: int = 0,
        executor: str = "local",
        verbose: int = 0,
        name: str | None = None,
        storage_path: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        self.estimator = estimator
        self.param_space = param_space
        self.n_trials = n_trials
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.search_alg = search_alg
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.max_failures = max_failures
        self.executor = executor
        self.verbose = verbose
        self.name = name
        self.storage_path = storage_path
        self.resume = resume

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **fit_params: Any) -> TuneSearchCV:  # noqa: N803
        """Run the search. `fit_params` go to the estimator's `fit` or `partial_fit`.

        Raises:
            KeyboardInterrupt: the search was interrupted; nothing is fitted, and with `resume=True` it goes on.
        """
        if self.max_epochs > 1 and not hasattr(self.estimator, "partial_fit"):
            raise ConfigurationError(
                f"{type(self.estimator).__name__} has no partial_fit, which max_epochs={self.max_epochs} needs. "
                "Nothing was run; leave max_epochs out to train each candidate with fit."
            )
        X, y, groups = indexable(X, y, groups)  # noqa: N806
        splits = list(check_cv(self.cv, y, classifier=is_classifier(self.estimator)).split(X, y, groups))
        self.n_splits_ = len(splits)
        self.scorer_ = check_scoring(self.estimator, scoring=self.scoring)
        classes = np.unique(y) if is_classifier(self.estimator) and self.max_epochs > 1 else None
        if classes is not None:
            fit_params = {"classes": classes, **fit_params}
        task = {
            "estimator": self.estimator,
            "data": (X, y),
            "splits": splits,
            "scorer": self.scorer_,
            "fit_params": fit_params,
            "epochs": self.max_epochs,
            "error_score": self.error_score,
            "train_score": self.return_train_score,
        }
        self.results_ = self._search(with_parameters(_evaluate, task=task))
        if self.results_.interrupted:
            where = self.results_.experiment_path
            raise KeyboardInterrupt(f"The search in {where} was interrupted; nothing is fitted.")
        self._summarize(self.results_)
        if self.refit:
            self._fit_best(X, y, fit_params)
        if hasattr(X, "shape"):
            self.n_features_in_ = X.shape[1]
        return self

    def _search(self, trainable: Any) -> ResultGrid:
        space = {
            name: choice(list(value)) if isinstance(value, list | tuple | np.ndarray) else value
            for name, value in self.param_space.items()
        }
        jobs = self.n_jobs if self.n_jobs is not None and self.n_jobs > 0 else None
        tuner = Tuner(
            trainable,
            param_space=space,
            tune_config=TuneConfig(
                metric=METRIC,
                mode="max",
                num_samples=self.n_trials,
                search_alg=self.search_alg,
                scheduler=self._scheduler(),
                max_concurrent_trials=jobs,
                seed=self.random_state,
            ),
            run_config=RunConfig(
                # Not the time alone: in a cross-validation several searches begin in the same second.
                name=self.name or f"{type(self.estimator).__name__}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_{new_token()}",
                storage_path=None if self.storage_path is None else str(self.storage_path),
                verbose=self.verbose,
                executor=self.executor,
                failure_config=FailureConfig(max_failures=self.max_failures),
                resume="auto" if self.resume else False,
            ),
        )
        return tuner.fit()

    def _scheduler(self) -> Any:
        if self.max_epochs > 1 and self.early_stopping is True:
            return ASHAScheduler(max_t=self.max_epochs)
        return self.early_stopping or None

    def _summarize(self, results: ResultGrid) -> None:
        """Set what scikit-learn's searches have after `fit`."""
        rows = [result.metrics or {} for result in results]
        params = [_params(result) for result in results]
        table: dict[str, Any] = {"params": params}
        for name in sorted({name for each in params for name in each}):
            column = np.ma.masked_all(len(params), dtype=object)  # type: ignore[no-untyped-call]
            for index, each in enumerate(params):
                if name in each:
                    column[index] = each[name]
            table[f"param_{name}"] = column
        for name in _columns(self.n_splits_, train=self.return_train_score):
            table[name] = np.array([row.get(name, np.nan) for row in rows], dtype=float)
        table["epochs"] = np.array([row.get("epoch", 0) for row in rows], dtype=int)
        scores = table[METRIC]
        order = np.where(np.isnan(scores), -np.inf, scores)
        table[f"rank_{METRIC.removeprefix('mean_')}"] = np.array(
            [1 + int(np.sum(order > score)) for score in order], dtype=np.int32
        )
        self.cv_results_ = table
        if np.isnan(scores).all():
            errors = [str(result.error) for result in results if result.error is not None]
            raise ConfigurationError(
                f"None of the {len(rows)} candidates has a score. The first error: {errors[0] if errors else 'none'}"
            )
        self.best_index_ = int(np.argmax(order))
        self.best_params_ = params[self.best_index_]
        self.best_score_ = float(scores[self.best_index_])

    def _fit_best(self, X: Any, y: Any, fit_params: Mapping[str, Any]) -> None:  # noqa: N803
        started = time.perf_counter()
        best = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
        if self.max_epochs > 1:
            for _ in range(int(self.cv_results_["epochs"][self.best_index_])):
                best.partial_fit(X, y, **fit_params)
        else:
            best.fit(X, y, **fit_params)
        self.best_estimator_ = best
        self.refit_time_ = time.perf_counter() - started
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    @property
    def classes_(self) -> Any:
        """Class labels of the best estimator."""
        return self._best().classes_

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """Return the score of the best estimator, by `scoring`."""
        return float(self.scorer_(self._best(), X, y))

    @available_if(_best_has("predict"))  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> Any:  # noqa: N803
        """Call `predict` of the best estimator."""
        return self._best().predict(X)

    @available_if(_best_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Call `predict_proba` of the best estimator."""
        return self._best().predict_proba(X)

    @available_if(_best_has("predict_log_proba"))  # type: ignore[untyped-decorator]
    def predict_log_proba(self, X: Any) -> Any:  # noqa: N803
        """Call `predict_log_proba` of the best estimator."""
        return self._best().predict_log_proba(X)

    @available_if(_best_has("decision_function"))  # type: ignore[untyped-decorator]
    def decision_function(self, X: Any) -> Any:  # noqa: N803
        """Call `decision_function` of the best estimator."""
        return self._best().decision_function(X)

    @available_if(_best_has("transform"))  # type: ignore[untyped-decorator]
    def transform(self, X: Any) -> Any:  # noqa: N803
        """Call `transform` of the best estimator."""
        return self._best().transform(X)

    @available_if(_best_has("inverse_transform"))  # type: ignore[untyped-decorator]
    def inverse_transform(self, X: Any) -> Any:  # noqa: N803
        """Call `inverse_transform` of the best estimator."""
        return self._best().inverse_transform(X)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "results_"}

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        ours = get_tags(self.estimator)
        tags.estimator_type = ours.estimator_type
        tags.classifier_tags = ours.classifier_tags
        tags.regressor_tags = ours.regressor_tags
        tags.input_tags = ours.input_tags
        return tags


def _params(result: Result) -> dict[str, Any]:
    return dict(result.config or {})


def _columns(splits: int, *, train: bool) -> list[str]:
    """Names of the numbers that a row has for `cv_results_`."""
    names = ["mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"]
    for kind in ("test", "train") if train else ("test",):
        names += [*(f"split{index}_{kind}_score" for index in range(splits)), f"mean_{kind}_score", f"std_{kind}_score"]
    return names


# --- inside a trial


class _Folds:
    """A candidate's models, one per fold, and what was measured of them."""

    def __init__(self, task: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.task = task
        model = clone(task["estimator"]).set_params(**config)
        self.models = [clone(model) for _ in task["splits"]]
        self.fit_times = [0.0] * len(self.models)
        self.epoch = 0

    def train(self) -> dict[str, float]:
        """Train each model for an epoch, and return the row."""
        method = "partial_fit" if self.task["epochs"] > 1 else "fit"
        scores: dict[str, list[float]] = {"test": [], "train": []}
        score_times = []
        X, y = self.task["data"]  # noqa: N806
        self.epoch += 1
        for index, (inside, outside) in enumerate(self.task["splits"]):
            model = self.models[index]
            train_X, train_y = _safe_split(model, X, y, inside)  # noqa: N806
            test_X, test_y = _safe_split(model, X, y, outside, inside)  # noqa: N806
            started = time.perf_counter()
            arguments = (train_X,) if train_y is None else (train_X, train_y)
            getattr(model, method)(*arguments, **self.task["fit_params"])
            fitted = time.perf_counter()
            scores["test"].append(float(self._score(model, test_X, test_y)))
            score_times.append(time.perf_counter() - fitted)
            self.fit_times[index] += fitted - started
            if self.task["train_score"]:
                scores["train"].append(float(self._score(model, train_X, train_y)))
        row: dict[str, float] = {"epoch": self.epoch}
        row |= _spread("fit_time", self.fit_times) | _spread("score_time", score_times)
        for kind, values in scores.items():
            if values:
                row |= {f"split{index}_{kind}_score": value for index, value in enumerate(values)}
                row |= _spread(f"{kind}_score", values)
        return row

    def _score(self, model: Any, X: Any, y: Any) -> Any:  # noqa: N803
        return self.task["scorer"](model, X) if y is None else self.task["scorer"](model, X, y)

    def save(self, path: str) -> None:
        """Write the models."""
        with open(os.path.join(path, _MODELS_FILE), "wb") as file:
            pickle.dump((self.epoch, self.models, self.fit_times), file)

    def load(self, path: str) -> None:
        """Go on with models that were saved."""
        with open(os.path.join(path, _MODELS_FILE), "rb") as file:
            self.epoch, self.models, self.fit_times = pickle.load(file)


def _evaluate(config: dict[str, Any], *, task: Mapping[str, Any]) -> None:
    """Train and score one candidate: the trainable."""
    try:
        folds = _Folds(task, config)
    except Exception:
        _report_failure(task)
        return
    checkpoint = get_checkpoint()
    if checkpoint is not None:
        folds.load(checkpoint.path)
    while folds.epoch < task["epochs"]:
        try:
            row = folds.train()
        except Exception:
            _report_failure(task)
            return
        if task["epochs"] > 1:
            report_with_files(row, folds.save)
        else:
            report(row)


def _report_failure(task: Mapping[str, Any]) -> None:
    """Report the score of a candidate that cannot be fitted, or let its error be the trial's."""
    if task["error_score"] == "raise":
        raise  # noqa: PLE0704 - it is called where the error is handled
    names = (METRIC, *(f"split{index}_test_score" for index in range(len(task["splits"]))))
    report(dict.fromkeys(names, float(task["error_score"])))


def _spread(name: str, values: Sequence[float]) -> dict[str, float]:
    return {f"mean_{name}": float(np.mean(values)), f"std_{name}": float(np.std(values))}
