"""Held-out scores, intervals and a constant baseline. A tag that every song or none carries scores NaN, never 0.5."""

import numpy as np
import pandas as pd
from scipy import sparse, stats

BLOCK_CELLS = 2**19  # song weights held at a time, 4 MB: more would leave the cache, and fill memory


def tag_scores(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each tag's ROC AUC and average precision as scikit-learn has them, float64 (num_tags,) each.

    `labels`, 0 or 1, and `scores` are (num_songs, num_tags). Raises ValueError if they are not, or not finite.
    """
    aucs, precisions = _weighted(_curves(labels, scores), np.ones((len(labels), 1)))
    return aucs[0], precisions[0]


def tag_table(labels: np.ndarray, scores: np.ndarray, vocabulary: list[str]) -> pd.DataFrame:
    """Return one row a tag, also of those without a score: `tag`, `num_positives`, `auc`, `average_precision`."""
    aucs, precisions = tag_scores(labels, scores)
    table = {"tag": list(vocabulary), "num_positives": np.asarray(labels).sum(axis=0, dtype=int)}
    return pd.DataFrame(table | {"auc": aucs, "average_precision": precisions})


def macro(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return means over the `num_tags` scored tags: `macro_auc`, `average_precision`, `base_rate` (a constant's AP)."""
    aucs, precisions = tag_scores(labels, scores)
    table = pd.DataFrame({"macro_auc": aucs, "average_precision": precisions})
    table = table.assign(base_rate=pd.DataFrame(np.asarray(labels)).mean()).dropna()
    return table.mean().to_dict() | {"num_tags": len(table)}


def evaluate(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return `loss` and `streaming_auc` of probabilities `scores`, both Keras's, `num_songs`, and what `macro` does."""
    import keras  # here, for it loads TensorFlow

    auc, means = keras.metrics.AUC(), macro(labels, scores)
    auc.update_state(labels, scores)
    loss = keras.ops.mean(keras.ops.binary_crossentropy(np.float32(labels), np.float32(scores)))
    return {"loss": float(loss), "streaming_auc": float(auc.result()), **means, "num_songs": len(labels)}


def averages(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return what `macro` does, and `micro_auc` and `micro_average_precision` of all song-tag cells in one pot."""
    (auc,), (precision,) = tag_scores(*(np.asarray(values).reshape(-1, 1) for values in (labels, scores)))
    return macro(labels, scores) | {"micro_auc": float(auc), "micro_average_precision": float(precision)}


def constant(train_labels: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the `averages` of a predictor that gives every song the same scores: each tag's share in training."""
    return averages(labels, np.tile(np.mean(train_labels, axis=0), (len(labels), 1)))


def bootstrap(labels, scores, groups=None, num_resamples=1000, seed=0) -> dict[str, np.ndarray]:
    """Return `macro_auc` and `average_precision` of resampled songs, float64 (num_resamples,) each.

    `groups` (num_songs,), such as artists, are resampled as wholes. The same labels, groups and seed give the same
    resamples: two models' arrays can be subtracted. Means leave out tags that a resample holds in one class only.
    """
    aucs, precisions = bootstrap_tags(labels, scores, groups, num_resamples, seed)
    found = {"macro_auc": aucs, "average_precision": precisions}
    return {name: pd.DataFrame(values).mean(axis=1).to_numpy() for name, values in found.items()}


def bootstrap_tags(labels, scores, groups=None, num_resamples=1000, seed=0) -> tuple[np.ndarray, np.ndarray]:
    """Return each tag's AUC and average precision in the resamples of `bootstrap`, (num_resamples, num_tags) each."""
    groups = np.arange(len(labels)) if groups is None else np.asarray(groups)
    if len(groups) != len(labels) or not len(labels):
        raise ValueError(f"{len(labels)} songs in {len(groups)} groups: it takes one group a song, and songs.")
    curves = _curves(labels, scores)
    names, group = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    block, parts = max(1, BLOCK_CELLS // len(labels)), []
    for start in range(0, num_resamples, block):
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), min(block, num_resamples - start))
        parts.append(_weighted(curves, counts.T[group]))
    return tuple(map(np.concatenate, zip(*parts, strict=True)))


def interval(values: np.ndarray, level: float = 0.95, estimate: float | None = None) -> tuple[float, float]:
    """Return the central `level` interval of bootstrap `values`; (NaN, NaN) if over one in twenty has no score.

    With `estimate`, the songs' own score, the values are moved so that it is their mean: a resample repeats songs,
    which raises average precision. (On simulated songs some 94 of 100 such intervals hold the truth.)
    """
    defined = np.asarray(values)[~np.isnan(values)]
    if len(defined) < 0.95 * len(values):
        return np.nan, np.nan
    moved = defined if estimate is None else np.minimum(defined - defined.mean() + estimate, 1)  # no score is higher
    return tuple(np.quantile(moved, [(1 - level) / 2, (1 + level) / 2]).tolist())


@np.errstate(invalid="ignore")  # 0 / 0 where nothing varies: no interval
def over_seeds(estimates, resamples, num_groups: int) -> tuple[float, float, float]:
    """Return mean, low and high of a score, or a difference, over seeds: a 95 % t interval for luck of seeds and songs.

    `estimates` (num_seeds,); `resamples` (num_seeds, num_resamples): the `bootstrap` of each, the same resamples of
    `num_groups` songs or artists. The variances of both kinds add up (degrees of freedom: Welch, Satterthwaite).
    """
    estimates, of_songs = np.asarray(estimates, float), np.nanvar(np.mean(resamples, axis=0), ddof=1)
    of_seeds = estimates.var(ddof=1) / len(estimates) if len(estimates) > 1 else 0.0
    freedom = (of_seeds + of_songs) ** 2 / (of_seeds**2 / max(1, len(estimates) - 1) + of_songs**2 / (num_groups - 1))
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(of_seeds + of_songs)
    return tuple((estimates.mean() + np.array([0, -reach, reach])).tolist())


def _curves(labels, scores) -> list[sparse.csc_array]:
    """Return for each tag a 0/1 matrix that adds up song weights along the tag's curve: one sort for all resamples.

    The curve has k steps, the different scores of positives, best first. Rows of the matrix: negatives before the
    first step, on it, between it and the second, ... (2k + 1), then positives on each step (k).
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=float)
    if labels.shape != scores.shape or labels.ndim != 2:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape} must be the same (songs, tags) shape.")
    if not ((labels == 0) | (labels == 1)).all():
        raise ValueError("labels must be 0 or 1; are labels and scores in the right order?")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity; the model has diverged or its input is damaged.")
    curves, ones = [], np.ones(len(labels))
    for positive, negated in zip(labels.T == 1, -scores.T, strict=True):
        steps = np.unique(negated[positive])
        before, through = (np.searchsorted(steps, negated, side) for side in ("left", "right"))
        row = np.where(positive, 2 * len(steps) + 1 + before, before + through)
        curves.append(sparse.csc_array((ones, row, np.arange(len(row) + 1)), (3 * len(steps) + 1, len(row))))
    return curves


def _weighted(curves, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return AUCs and average precisions, (num_resamples, num_tags), of songs weighted (num_songs, num_resamples)."""
    weights = np.ascontiguousarray(weights, dtype=float)
    aucs, precisions = np.empty((2, weights.shape[1], len(curves)))
    for tag, curve in enumerate(curves):
        misses, hits = np.split(curve @ weights, [2 * (curve.shape[0] // 3) + 1])
        false, true = misses.cumsum(axis=0), hits.cumsum(axis=0)
        before, through = false[:-1:2], false[1::2]  # each step
        num_hits, num_misses = hits.sum(axis=0), false[-1]
        with np.errstate(invalid="ignore", divide="ignore"):
            # A hit beats every miss that comes later and half of those on its own step.
            aucs[:, tag] = (hits * (num_misses - (before + through) / 2)).sum(axis=0) / (num_hits * num_misses)
            precisions[:, tag] = (hits * np.nan_to_num(true / (true + through))).sum(axis=0) / num_hits
    return aucs, np.where(np.isnan(aucs), np.nan, precisions)
