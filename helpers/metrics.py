"""Held-out scores: macro ROC AUC and average precision, with bootstrap intervals and a constant baseline.

Macro means: one score a tag, then the mean over tags. A tag that every song or no song carries has no score.
"""

import numpy as np


def tag_scores(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each tag's ROC AUC and average precision, two float64 arrays (num_tags,).

    `labels` is (num_songs, num_tags) of 0 and 1, `scores` the same shape, higher meaning "more likely".
    Tags with one class only are NaN. Equal to scikit-learn's `roc_auc_score` and `average_precision_score`.
    """
    aucs, precisions = _resampled(labels, scores, np.ones((1, len(labels))))
    return aucs[0], precisions[0]


def macro(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return `macro_auc`, `average_precision` (means over the tags that have a score) and `num_tags`.

    A constant predictor has a macro AUC of 0.5; its average precision is `base_rate`, also returned.
    """
    aucs, precisions = tag_scores(labels, scores)
    defined = ~np.isnan(aucs)
    return {
        "macro_auc": _nanmean(aucs),
        "average_precision": _nanmean(precisions),
        "base_rate": float(np.asarray(labels)[:, defined].mean()) if defined.any() else np.nan,
        "num_tags": int(defined.sum()),
    }


def bootstrap(labels, scores, groups=None, num_resamples=1000, seed=0) -> dict[str, np.ndarray]:
    """Return `macro_auc` and `average_precision` of resampled songs, two float64 arrays (num_resamples,).

    `groups` (num_songs,), such as artists, makes whole groups the unit that is resampled. The same labels,
    groups and seed give the same resamples, so two models' arrays can be subtracted: a paired difference.
    """
    _, group = np.unique(np.arange(len(labels)) if groups is None else groups, return_inverse=True)
    num_groups = group.max() + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=num_resamples)
    aucs, precisions = _resampled(labels, scores, counts[:, group].astype(float))
    return {
        "macro_auc": np.array([_nanmean(row) for row in aucs]),
        "average_precision": np.array([_nanmean(row) for row in precisions]),
    }


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the central `level` interval of bootstrap `values`.

    It is (NaN, NaN) if more than one resample in twenty has no score at all: there are too few songs to say.
    """
    if np.isnan(values).mean() > 0.05:
        return float("nan"), float("nan")
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _nanmean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _resampled(labels, scores, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return AUC and average precision, (num_resamples, num_tags), of songs weighted (num_resamples, num_songs).

    Drawing a song twice is the same as giving it weight 2, so one sort a tag serves every resample.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.shape != scores.shape or labels.ndim != 2:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be the same (songs, tags) shape.")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity; the model has diverged or its input is damaged.")
    aucs = np.full((len(weights), labels.shape[1]), np.nan)
    precisions = aucs.copy()
    for tag in range(labels.shape[1]):
        positive = labels[:, tag] > 0
        if not positive.any() or positive.all():
            continue
        order = np.argsort(-scores[:, tag], kind="stable")
        # Songs with equal scores are one step of the curve.
        starts = np.flatnonzero(np.r_[True, np.diff(scores[order, tag]) != 0])
        weight = weights[:, order]
        hits = np.add.reduceat(weight * positive[order], starts, axis=1)
        misses = np.add.reduceat(weight * ~positive[order], starts, axis=1)
        true, false = hits.cumsum(axis=1), misses.cumsum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            # A hit beats every miss that comes later and half of those on its own step.
            aucs[:, tag] = (hits * (false[:, -1:] - false + misses / 2)).sum(1) / (true[:, -1] * false[:, -1])
            precision = np.nan_to_num(true / (true + false))
            precisions[:, tag] = (hits * precision).sum(1) / true[:, -1]
    return aucs, np.where(np.isnan(aucs), np.nan, precisions)
