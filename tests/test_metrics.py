"""Scores equal scikit-learn's, also with ties and under resampling."""

import numpy as np
import pytest
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


def test_macro_is_the_mean_over_tags_that_have_both_classes(data):
    labels, scores = data
    result = metrics.macro(labels, scores)
    assert result["num_tags"] == 5
    assert result["macro_auc"] == pytest.approx(roc_auc_score(labels[:, :5], scores[:, :5], average="macro"), abs=1e-12)
    assert result["base_rate"] == pytest.approx(labels[:, :5].mean())


def test_a_constant_predictor_scores_one_half_and_the_base_rate(data):
    labels, _ = data
    constant = np.tile(labels.mean(axis=0), (len(labels), 1))
    result = metrics.macro(labels, constant)
    assert result["macro_auc"] == 0.5
    assert result["average_precision"] == pytest.approx(result["base_rate"])


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


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        labels = (rng.random((150, 1)) < 0.4).astype(int)
        scores = rng.normal(size=(150, 1)) + labels  # true AUC: P(N(1, sqrt 2) > 0) = 0.760
        low, high = metrics.interval(metrics.bootstrap(labels, scores, num_resamples=200)["macro_auc"])
        hits += low <= 0.7602 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_two_songs_give_no_interval():
    values = metrics.bootstrap(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.2, 0.8]]))["macro_auc"]
    assert np.isnan(metrics.interval(values)).all()


def test_bad_input_is_refused(data):
    labels, scores = data
    with pytest.raises(ValueError, match="same"):
        metrics.macro(labels, scores[:, :3])
    with pytest.raises(ValueError, match="diverged"):
        metrics.macro(labels, np.full_like(scores, np.nan))


def test_nothing_to_score_is_nan_and_not_an_error():
    result = metrics.macro(np.zeros((3, 2)), np.zeros((3, 2)))
    assert np.isnan(result["macro_auc"]) and result["num_tags"] == 0
