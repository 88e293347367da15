"""How sure is a measured number: confidence intervals by resampling clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from merclip._warn import warn
from merclip.errors import InputError, InputTypeError, MerclipWarning
from merclip.evaluation import checks

Array = np.ndarray[Any, Any]
Metric = Callable[[Any, Any], float]
FEW = 20
"""Of fewer groups or clips an interval is too narrow, and says so."""


class Interval(NamedTuple):
    """A measure of all clips, and the interval in which resampled ones lie.

    Attributes
    ----------
    value : float
        The measure of all clips.
    lower, upper : float
        Between them lies that of the middle resamples.
    n_resamples : int
        Those on which the measure was defined (not NaN).

    Examples
    --------
    >>> from merclip.evaluation import Interval
    >>> value, lower, upper, _ = Interval(0.8, 0.75, 0.85, 1000)
    >>> upper - lower < 0.2
    True
    """

    value: float
    lower: float
    upper: float
    n_resamples: int


def bootstrap_interval(
    metric: Metric,
    truth: Any,
    predicted: Any,
    *,
    groups: Any = None,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    random_state: int | np.random.Generator = 0,
) -> Interval:
    """Return a measure with its bootstrap confidence interval.

    Clips, or whole groups of them, are drawn with replacement as many times as
    there are, and the measure is taken again; the interval is the percentiles
    of these values. It says how much the number depends on which clips were
    measured, not on the seed of training.

    Parameters
    ----------
    metric : callable
        ``metric(truth, predicted)`` returns one number, such as those of
        scikit-learn, or ``lambda *pair: multilabel_scores(*pair)["micro_f1"]``.
    truth, predicted : array-like or sequence of length n
        Rows are clips; whatever `metric` takes.
    groups : sequence of length n, optional
        Speaker, dialogue or film of each clip. Clips of one speaker are alike,
        and an interval that does not know it is too narrow.
    n_resamples : int
    confidence : float
        In (0, 1): the share of resamples that lies inside.
    random_state : int or numpy.random.Generator
        The same number gives the same interval.

    Returns
    -------
    Interval

    Raises
    ------
    InputError
        Lengths differ, there are fewer than two clips (groups), or a setting is
        out of range.
    InputTypeError
        `metric` returns something else than a number.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapter 13. Percentiles are too narrow for fewer than some thirty clips
    (groups), and an accuracy of 0 or 1 gets no width at all.

    Examples
    --------
    >>> from sklearn.metrics import accuracy_score
    >>> truth, predicted = [0, 1] * 50, [0, 1, 0, 0] * 25
    >>> bootstrap_interval(accuracy_score, truth, predicted).value
    0.75
    """
    return _interval(
        lambda rows: _number(metric, _take(truth, rows), _take(predicted, rows)),
        _members(groups, checks.equally_long(truth=truth, predicted=predicted, groups=groups)),
        n_resamples,
        confidence,
        random_state,
    )


def paired_difference(
    metric: Metric,
    truth: Any,
    first: Any,
    second: Any,
    *,
    groups: Any = None,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    random_state: int | np.random.Generator = 0,
) -> Interval:
    """Return how much larger a measure is for the first of two systems on the same clips.

    Both are measured on the same resamples, so what makes clips hard for both
    cancels. A difference is more than chance of the clips where 0 lies outside
    of the interval; that the intervals of two systems overlap says nothing.

    Parameters
    ----------
    metric, truth, groups, n_resamples, confidence, random_state
        As for `bootstrap_interval`.
    first, second : array-like or sequence of length n
        Predictions of the two systems, for the clips of `truth`.

    Returns
    -------
    Interval
        Of ``metric(truth, first) - metric(truth, second)``.

    Raises
    ------
    InputError, InputTypeError
        As for `bootstrap_interval`.

    Notes
    -----
    Source: as for `bootstrap_interval`.

    Examples
    --------
    >>> from sklearn.metrics import accuracy_score
    >>> from merclip.evaluation import paired_difference
    >>> truth = [0, 1] * 50
    >>> found = paired_difference(accuracy_score, truth, truth, [0] * 100, n_resamples=100)
    >>> found.value, found.lower > 0
    (0.5, True)
    """
    columns = {"truth": truth, "first": first, "second": second, "groups": groups}

    def difference(rows: Array) -> float:
        true = _take(truth, rows)
        values = [_number(metric, true, _take(system, rows)) for system in (first, second)]
        return values[0] - values[1]

    members = _members(groups, checks.equally_long(**columns))
    return _interval(difference, members, n_resamples, confidence, random_state)


def run_intervals(
    runs: Sequence[Any],
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    random_state: int | np.random.Generator = 0,
) -> dict[str, Interval]:
    """Return the interval of each measure's mean over several runs.

    Groups (clips where a run has no groups) are drawn from all that occur in any
    run, so that runs with one test part and several seeds are measured on the same
    resamples. A run counts by its share of what was drawn, which matters where
    folds are tested and of some fold little was drawn. The intervals say how much
    the numbers depend on which clips were measured, not on the seeds.

    Parameters
    ----------
    runs : sequence of Run
        Of one condition.
    n_resamples, confidence, random_state
        As for `bootstrap_interval`.

    Returns
    -------
    dict
        From the name of each measure that rests on predictions alone.

    Raises
    ------
    InputError
        There are fewer than two groups or clips, or a setting is out of range.
    """
    _check(n_resamples, confidence)
    owners = [run.ids if run.groups is None else run.groups for run in runs]
    names = sorted(set().union(*owners))
    if len(names) < 2:
        raise InputError("At least two clips or groups are needed to resample.")
    warn_of_few(len(names), "clips" if runs[0].groups is None else "groups")
    generator = np.random.default_rng(random_state)
    drawn = generator.integers(len(names), size=(n_resamples, len(names)))
    times = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    position = {name: index for index, name in enumerate(names)}
    weights, found = [], []
    for run, owner in zip(runs, owners, strict=True):
        columns = np.array([position[name] for name in owner])
        there = np.unique(columns)
        weights.append(times[:, there].sum(axis=1) / len(there))
        found.append(_resampled(run, times[:, columns]))
    return {
        name: _between(
            float(np.mean([run.metrics[name] for run in runs])),
            _weighted_mean(np.array([measures[name] for measures in found]), np.array(weights)),
            confidence,
        )
        for name in found[0]
    }


def warn_of_few(number: int, what: str) -> None:
    """Say that an interval rests on few groups or clips."""
    if number < FEW:
        warn(
            MerclipWarning(
                f"The interval rests on {number} {what}: with fewer than {FEW} it is probably too "
                "narrow."
            )
        )


def _resampled(run: Any, times: Array) -> dict[str, Array]:
    """Return each measure of resamples, in which clips occur so many times: shape (R,)."""
    blocks = run.kind.blocks(run.truth, run.probability, run.threshold)
    total = {
        name: (times @ block.reshape(len(block), -1)).reshape(len(times), *block.shape[1:])
        for name, block in blocks.items()
    }
    # A resample may have nothing of a fold; that fold has no weight then.
    with np.errstate(divide="ignore", invalid="ignore"):
        measures: dict[str, Array] = run.kind.from_sums(total)
    return measures


def _weighted_mean(values: Array, weights: Array) -> Array:
    """Return means over runs, of arrays of shape (n_runs, R)."""
    counted = np.where(weights > 0, values, 0.0)
    return np.asarray((counted * weights).sum(axis=0) / weights.sum(axis=0))


def _interval(
    measure: Callable[[Array], float],
    members: Sequence[Array],
    n_resamples: int,
    confidence: float,
    random_state: int | np.random.Generator,
) -> Interval:
    _check(n_resamples, confidence)
    value = measure(np.sort(np.concatenate(members)))
    draws = _resamples(members, n_resamples, np.random.default_rng(random_state))
    found = np.array([measure(rows) for rows in draws])
    return _between(value, found, confidence)


def _check(n_resamples: int, confidence: float) -> None:
    if n_resamples < 1 or not 0 < confidence < 1:
        raise InputError(
            "n_resamples is at least 1 and confidence lies between 0 and 1; "
            f"got {n_resamples!r} and {confidence!r}."
        )


def _between(value: float, found: Array, confidence: float) -> Interval:
    found = found[~np.isnan(found)]
    tail = (1 - confidence) / 2
    ends = (tail, 1 - tail)
    lower, upper = np.quantile(found, ends).tolist() if len(found) else (np.nan, np.nan)
    return Interval(value, lower, upper, len(found))


def _resamples(
    members: Sequence[Array], n_resamples: int, generator: np.random.Generator
) -> Iterator[Array]:
    for _ in range(n_resamples):
        drawn = generator.integers(len(members), size=len(members))
        yield np.concatenate([members[index] for index in drawn])


def _members(groups: Any, n_clips: int) -> list[Array]:
    """Return the rows of each group; without groups each clip is one."""
    names = np.arange(n_clips) if groups is None else np.array([str(group) for group in groups])
    owners = np.unique(names, return_inverse=True)[1]
    sizes = np.bincount(owners)
    if len(sizes) < 2:
        raise InputError(
            f"At least two {'clips' if groups is None else 'groups'} are needed to resample."
        )
    warn_of_few(len(sizes), "clips" if groups is None else "groups")
    return np.split(np.argsort(owners, kind="stable"), np.cumsum(sizes)[:-1])


def _take(column: Any, rows: Array) -> Any:
    if hasattr(column, "__array__"):
        return np.asarray(column)[rows]
    return [column[index] for index in rows.tolist()]


def _number(metric: Metric, truth: Any, predicted: Any) -> float:
    value = metric(truth, predicted)
    if isinstance(value, (dict, list, tuple)) or np.ndim(value):
        raise InputTypeError(
            f"metric returns one number, not {type(value).__name__}; take one of several, "
            'as in lambda *pair: multilabel_scores(*pair)["micro_f1"].'
        )
    return float(value)
