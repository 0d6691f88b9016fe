"""Scores equal scikit-learn's, also with ties and under resampling; intervals cover what they say."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from helpers import metrics


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = (rng.random((80, 6)) < 0.3).astype(np.uint8)
    scores = np.round(rng.random((80, 6)) + 0.3 * labels, 1)  # rounding makes ties
    labels[:, 4], labels[:, 5] = np.arange(80) == 7, 0  # many a resample lacks the one song with tag 4
    return labels, scores


def test_scores_of_tags_and_their_averages_equal_scikit_learn(data):
    labels, scores = data
    table, result = metrics.tag_table(labels, scores, list("abcdef")), metrics.averages(labels, scores)
    assert list(table["num_positives"]) == list(labels.sum(axis=0))
    for name, score in {"auc": roc_auc_score, "average_precision": average_precision_score}.items():
        expected = [score(labels[:, tag], scores[:, tag]) for tag in range(5)]
        np.testing.assert_allclose(table[name], [*expected, np.nan], rtol=1e-12)
        assert result[{"auc": "macro_auc"}.get(name, name)] == pytest.approx(np.mean(expected), abs=1e-12)
        assert result[f"micro_{name}"] == pytest.approx(score(labels, scores, average="micro"), abs=1e-12)
    assert result["num_tags"] == 5 and result["base_rate"] == pytest.approx(labels[:, :5].mean())


def test_the_constant_predictor_knows_which_tags_are_common():
    rng = np.random.default_rng(0)
    train, labels = (rng.random((n, 3)) < (0.6, 0.3, 0.02) for n in (500, 300))
    result = metrics.constant(train, labels)
    assert result["macro_auc"] == 0.5 and result["average_precision"] == pytest.approx(result["base_rate"])
    # The shares of the held-out songs themselves would rank tags otherwise.
    assert result["micro_auc"] > 0.7 and metrics.constant(train[:, ::-1], labels)["micro_auc"] < 0.5


@pytest.mark.parametrize("size", [1, 4])
def test_bootstrap_equals_scoring_each_resample_of_songs_or_of_artists(data, size, monkeypatch):
    labels, scores = data
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 80 * 7)  # seven resamples a block, and some left over
    artists = pd.Series([f"artist {i // size:02}" for i in range(80)])
    fast = metrics.bootstrap(labels, scores, artists if size > 1 else None, num_resamples=20, seed=3)
    members = np.arange(80).reshape(-1, size)
    counts = np.random.default_rng(3).multinomial(len(members), np.full(len(members), 1 / len(members)), size=20)
    for i, row in enumerate(counts):
        drawn = np.repeat(members, row, axis=0).ravel()
        result = metrics.macro(labels[drawn], scores[drawn])
        for name in ("macro_auc", "average_precision"):
            assert fast[name][i] == pytest.approx(result[name], abs=1e-12)


def test_the_interval_around_an_estimate_holds_the_average_precision_that_resampling_raises():
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        found.append((labels := (rng.random((60, 10)) < 0.12) * 1, labels + rng.normal(0, 1.2, (60, 10))))
    scores = np.array([metrics.macro(*each)["average_precision"] for each in found])
    resampled = [metrics.bootstrap(*each, num_resamples=200)["average_precision"] for each in found[:100]]
    spans = [metrics.interval(values, estimate=score) for values, score in zip(resampled, scores, strict=False)]
    assert np.mean([low < scores.mean() < high for low, high in spans]) > 0.88
    assert metrics.interval(np.array([0.5, 1.0, 1.0, 1.0]), estimate=0.95)[1] == 1  # no score is higher


@pytest.mark.parametrize(("num_seeds", "num_songs"), [(3, 40), (5, 200)])
def test_an_interval_over_seeds_covers_luck_of_seeds_and_of_songs(num_seeds, num_songs):
    """Each song has its own difficulty and each seed its own skill; the score is the mean over songs."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        songs, seeds = rng.normal(size=num_songs), rng.normal(0, 0.15, num_seeds)
        by_song = songs + seeds[:, np.newaxis] + rng.normal(0, 0.3, (num_seeds, num_songs))
        resamples = by_song[:, rng.integers(num_songs, size=(200, num_songs))].mean(axis=2)
        mean, low, high = metrics.over_seeds(by_song.mean(axis=1), resamples, num_songs)
        assert mean == pytest.approx(by_song.mean())
        hits += low <= 0 <= high
    assert 0.92 <= hits / 400 <= 0.985
    mean, low, high = metrics.over_seeds([0.7], rng.normal(0.7, 0.02, (1, 4000)), 1000)  # the luck of the songs alone
    assert mean == 0.7 and high - low == pytest.approx(2 * 1.962 * 0.02, rel=0.05)


def test_bad_input_is_refused_and_what_cannot_be_scored_is_nan(data):
    labels, scores = data
    for arguments, reason in (
        ((labels, scores[:, :3]), "same"),
        ((labels, np.full_like(scores, np.nan)), "diverged"),
        ((scores, labels), "0 or 1"),
        ((labels, scores, np.arange(79)), "80 songs in 79 groups"),
        ((labels[:0], scores[:0]), "0 songs"),
    ):
        with pytest.raises(ValueError, match=reason):
            metrics.bootstrap(*arguments)
    assert np.isnan(metrics.macro(np.zeros((3, 2)), np.zeros((3, 2)))["macro_auc"])
    values = metrics.bootstrap(np.eye(2), np.array([[0.9, 0.1], [0.2, 0.8]]))["macro_auc"]
    assert np.isnan(metrics.interval(values)).all()  # most resamples of two songs hold one alone
