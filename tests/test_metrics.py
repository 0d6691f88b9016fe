"""Scores equal scikit-learn's, also with ties and under resampling."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from helpers import metrics


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = (rng.random((80, 6)) < 0.3).astype(np.uint8)
    scores = np.round(rng.random((80, 6)) + 0.3 * labels, 1)  # rounding makes ties
    labels[:, 5] = 0
    return labels, scores


def test_tag_scores_equal_scikit_learn(data):
    labels, scores = data
    aucs, precisions = metrics.tag_scores(labels, scores)
    for tag in range(5):
        assert aucs[tag] == pytest.approx(roc_auc_score(labels[:, tag], scores[:, tag]), abs=1e-12)
        assert precisions[tag] == pytest.approx(average_precision_score(labels[:, tag], scores[:, tag]), abs=1e-12)
    assert np.isnan(aucs[5]) and np.isnan(precisions[5])


SCORES = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(-1e3, 1e3)  # few values make ties
SONGS = st.lists(st.tuples(st.integers(0, 1), SCORES, st.sampled_from([0, 1, 2, 0.3])), min_size=1, max_size=30)


@given(SONGS)
def test_weighted_scores_equal_scikit_learn_for_any_songs(songs):
    labels, scores, weights = map(np.array, zip(*songs, strict=True))
    curves = metrics._curves(labels[:, np.newaxis], scores[:, np.newaxis])
    (auc,), (precision,) = np.ravel(metrics._weighted(curves, weights[:, np.newaxis])).reshape(2, 1)
    if len(set(labels[weights > 0])) < 2:
        assert np.isnan(auc) and np.isnan(precision)
    else:
        assert auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12)
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert precision == pytest.approx(expected, abs=1e-12)


def test_averages_equal_scikit_learn(data):
    labels, scores = data
    result = metrics.averages(labels, scores)
    assert result == result | metrics.macro(labels, scores)
    assert result["micro_auc"] == pytest.approx(roc_auc_score(labels, scores, average="micro"), abs=1e-12)
    expected = average_precision_score(labels, scores, average="micro")
    assert result["micro_average_precision"] == pytest.approx(expected, abs=1e-12)
    some = (labels.sum(axis=1) > 0) & (labels.sum(axis=1) < 6)
    assert result["num_songs"] == some.sum() < len(labels)
    expected = roc_auc_score(labels[some], scores[some], average="samples")
    assert result["samplewise_auc"] == pytest.approx(expected, abs=1e-12)
    expected = average_precision_score(labels[some], scores[some], average="samples")
    assert result["samplewise_average_precision"] == pytest.approx(expected, abs=1e-12)


def test_the_tag_table_lists_every_tag_in_order(data):
    labels, scores = data
    labels[:, 2] = 1
    table = metrics.tag_table(labels, scores, list("abcdef"))
    assert list(table["tag"]) == list("abcdef")
    assert list(table["num_positives"]) == list(labels.sum(axis=0))
    assert (
        list(table["tag"][table["auc"].isna()]) == list(table["tag"][table["average_precision"].isna()]) == ["c", "f"]
    )
    np.testing.assert_array_equal(table[["auc", "average_precision"]].to_numpy().T, metrics.tag_scores(labels, scores))


def test_macro_is_the_mean_over_tags_that_have_both_classes(data):
    labels, scores = data
    result = metrics.macro(labels, scores)
    assert result["num_tags"] == 5
    assert result["macro_auc"] == pytest.approx(roc_auc_score(labels[:, :5], scores[:, :5], average="macro"), abs=1e-12)
    assert result["base_rate"] == pytest.approx(labels[:, :5].mean())


def test_the_constant_predictor_knows_which_tags_are_common():
    rng = np.random.default_rng(0)
    train, labels = (rng.random((n, 3)) < (0.6, 0.3, 0.02) for n in (500, 300))
    result = metrics.constant(train, labels)
    assert result["macro_auc"] == 0.5 and result["average_precision"] == pytest.approx(result["base_rate"])
    scores = np.tile(train.mean(axis=0), (300, 1))
    assert result["micro_auc"] == pytest.approx(roc_auc_score(labels.ravel(), scores.ravel()), abs=1e-12)
    assert result["micro_auc"] > 0.7 and result["samplewise_auc"] > 0.7
    # The shares of the held-out songs themselves would rank tags otherwise.
    assert metrics.constant(train[:, ::-1], labels)["micro_auc"] < 0.5


@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_equals_scoring_each_resample(data, grouped):
    labels, scores = data
    groups = np.arange(80) // 4 if grouped else None
    fast = metrics.bootstrap(labels, scores, groups, num_resamples=20, seed=3)
    members = [np.flatnonzero((groups if grouped else np.arange(80)) == g) for g in range(20 if grouped else 80)]
    rng = np.random.default_rng(3)
    counts = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=20)
    for i, row in enumerate(counts):
        drawn = np.concatenate([np.tile(rows, count) for rows, count in zip(members, row, strict=True)]).astype(int)
        result = metrics.macro(labels[drawn], scores[drawn])
        assert fast["macro_auc"][i] == pytest.approx(result["macro_auc"], abs=1e-12)
        assert fast["average_precision"][i] == pytest.approx(result["average_precision"], abs=1e-12)


def test_tags_resample_as_the_macro_scores_do(data, monkeypatch):
    labels, scores = data
    aucs, precisions = metrics.bootstrap_tags(labels, scores, num_resamples=50, seed=1)
    assert aucs.shape == precisions.shape == (50, 6)
    whole = metrics.bootstrap(labels, scores, num_resamples=50, seed=1)
    np.testing.assert_allclose(np.nanmean(aucs, axis=1), whole["macro_auc"], rtol=1e-14)
    assert np.isnan(aucs[:, 5]).all() and np.isnan(metrics.interval(aucs[:, 5])).all()
    low, high = metrics.interval(aucs[:, 0])
    assert low < metrics.tag_scores(labels, scores)[0][0] < high
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 80 * 7)  # seven resamples a block, and one left over
    np.testing.assert_array_equal(metrics.bootstrap_tags(labels, scores, num_resamples=50, seed=1)[0], aucs)


def test_differences_of_two_models_are_paired(data):
    labels, scores = data
    worse = scores + np.random.default_rng(1).normal(0, 0.05, scores.shape)
    groups = pd.Series(np.arange(80) // 2).map("artist {}".format)
    first, second, other = (
        metrics.bootstrap(labels, s, groups, num_resamples=200, seed=seed)["macro_auc"]
        for s, seed in ((scores, 0), (worse, 0), (worse, 1))
    )
    assert (first == metrics.bootstrap(labels, scores, groups, num_resamples=200)["macro_auc"]).all()
    assert (first - second).std() < 0.5 * (first - other).std()


def test_resampling_many_songs_holds_few_weights_at_a_time():
    rng = np.random.default_rng(0)
    labels = (rng.random((28_540, 1)) < 0.1).astype(np.uint8)  # as many songs as Choi's test set
    scores = rng.random(labels.shape)
    tracemalloc.start()
    metrics.bootstrap(labels, scores, num_resamples=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6 < 28_540 * 200 * 8


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        labels = (rng.random((150, 1)) < 0.4).astype(int)
        scores = rng.normal(size=(150, 1)) + labels  # true AUC: P(N(1, sqrt 2) > 0) = 0.760
        low, high = metrics.interval(metrics.bootstrap(labels, scores, num_resamples=200)["macro_auc"])
        hits += low <= 0.7602 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_corrected_interval_is_efron_s_and_takes_the_bias_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=2000)
    assert metrics.interval(values, estimate=np.median(values)) == pytest.approx(metrics.interval(values), abs=1e-3)
    # 84.1 % of the values lie below an estimate one deviation too high: z0 = 1, levels Phi(2 - 1.96) and Phi(2 + 1.96).
    low, high = metrics.interval(values, estimate=np.quantile(values, 0.8413))
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.516, 0.99996])), abs=0.01)
    assert np.isfinite(metrics.interval(values, estimate=99)).all()


def test_the_corrected_interval_covers_average_precision_where_the_plain_one_misses():
    rng, plain, corrected = np.random.default_rng(0), 0, 0

    def draw(num_songs):
        labels = (rng.random((num_songs, 1)) < 0.15).astype(int)
        return labels, rng.normal(size=(num_songs, 1)) + labels

    truth = metrics.macro(*draw(200_000))["average_precision"]
    for _ in range(200):
        labels, scores = draw(60)
        values = metrics.bootstrap(labels, scores, num_resamples=200)["average_precision"]
        estimate = metrics.macro(labels, scores)["average_precision"]
        for low, high, corrects in ((*metrics.interval(values), 0), (*metrics.interval(values, 0.95, estimate), 1)):
            plain += (1 - corrects) * (low <= truth <= high)
            corrected += corrects * (low <= truth <= high)
    assert plain < corrected and 0.91 <= corrected / 200 <= 0.98


@pytest.mark.parametrize(("num_seeds", "num_songs"), [(3, 40), (5, 200)])
def test_an_interval_over_seeds_covers_luck_of_seeds_and_of_songs(num_seeds, num_songs):
    """Each song has its own difficulty and each seed its own skill; the score is the mean over songs."""
    rng, hits, songs_alone = np.random.default_rng(0), 0, 0
    for _ in range(400):
        songs, seeds = rng.normal(size=num_songs), rng.normal(0, 0.15, num_seeds)
        by_song = songs + seeds[:, np.newaxis] + rng.normal(0, 0.3, (num_seeds, num_songs))
        drawn = rng.integers(num_songs, size=(200, num_songs))
        resamples = by_song[:, drawn].mean(axis=2)
        mean, low, high = metrics.over_seeds(by_song.mean(axis=1), resamples, num_songs)
        assert mean == pytest.approx(by_song.mean())
        hits += low <= 0 <= high
        low, high = np.quantile(resamples.mean(axis=0), [0.025, 0.975])
        songs_alone += low <= 0 <= high
    assert 0.92 <= hits / 400 <= 0.985
    assert songs_alone < hits


def test_one_seed_has_the_luck_of_the_songs_alone():
    resamples = np.random.default_rng(0).normal(0.7, 0.02, (1, 4000))
    mean, low, high = metrics.over_seeds([0.7], resamples, 1000)
    assert mean == 0.7 and high - low == pytest.approx(2 * 1.962 * 0.02, rel=0.05)


def test_two_songs_give_no_interval():
    values = metrics.bootstrap(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.2, 0.8]]))["macro_auc"]
    assert np.isnan(metrics.interval(values)).all()


def test_bad_input_is_refused(data):
    labels, scores = data
    with pytest.raises(ValueError, match="same"):
        metrics.macro(labels, scores[:, :3])
    with pytest.raises(ValueError, match="diverged"):
        metrics.macro(labels, np.full_like(scores, np.nan))
    with pytest.raises(ValueError, match="0 or 1"):
        metrics.macro(scores, labels)
    with pytest.raises(ValueError, match="80 songs in 79 groups"):
        metrics.bootstrap(labels, scores, np.arange(79))
    with pytest.raises(ValueError, match="0 songs"):
        metrics.bootstrap(labels[:0], scores[:0])


def test_nothing_to_score_is_nan_and_not_an_error():
    result = metrics.macro(np.zeros((3, 2)), np.zeros((3, 2)))
    assert np.isnan(result["macro_auc"]) and result["num_tags"] == 0
