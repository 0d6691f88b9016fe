"""Every exercise's solution against numbers found another way."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from sklearn.metrics import f1_score, roc_auc_score
from test_models import count

import solutions
from helpers import audio, metrics, models


@pytest.fixture
def skewed():
    base_rates = np.geomspace(0.3, 0.02, 20)
    return base_rates, (np.random.default_rng(0).random((4000, 20)) < base_rates).astype(int)


def test_start_here_against_keras_scikit_learn_and_our_metrics(skewed):
    base_rates, labels = skewed
    found = solutions.start_here_1(np.c_[labels, np.zeros((len(labels), 1), int)])  # the empty tag is left out
    constant = np.tile(labels.mean(axis=0), (len(labels), 1))
    streaming = keras.metrics.AUC(num_thresholds=2000)
    streaming.update_state(labels, constant)
    assert found["flattened"] == pytest.approx(float(streaming.result()), abs=1e-3)
    assert found["macro"] == 0.5 == metrics.macro(labels, constant)["macro_auc"]
    simulated = roc_auc_score(labels, np.tile(base_rates, (len(labels), 1)), average="micro")
    assert solutions.start_here_2(base_rates) == pytest.approx(simulated, abs=0.01)
    assert solutions.start_here_2(np.full(7, 0.1)) == pytest.approx(0.5)


def test_spectrograms_against_bins_the_extractor_and_turned_chroma():
    tone = solutions.spectrogram_1(512)
    assert tone * 2 ** (1 / 12) - tone == pytest.approx(2 * 12_000 / 512)  # two bins, the semitone above
    rng = np.random.default_rng(0)
    samples = rng.normal(0, np.repeat([1, 0.3, 1e-3, 0], 6000)).astype(np.float32)
    expected = audio.log_mel(samples, squared_twice=True)
    np.testing.assert_allclose(solutions.spectrogram_2(audio.log_mel(samples)), expected, atol=1e-3)
    song, part = np.linspace(0, 1, 12) + rng.random((200, 12)), slice(50)
    assert [solutions.spectrogram_3(song[part], np.roll(song, up, axis=1)) for up in range(12)] == list(range(12))


@pytest.mark.parametrize(("size", "expected"), [("small", 81_134), ("large", 2_513_140)])
def test_build_models_1_against_layers(size, expected):
    filters, units = models.MASON_WIDTHS[size]

    def grus(**options):
        both = [layers.GRU(units, **options) for _ in range(2)]
        for gru, width in zip(both, (filters, units), strict=True):
            gru.build((None, 21, width))
        return sum(gru.count_params() for gru in both)

    one_bias = count(models.mason_crnn(size).trainable_weights) - grus() + grus(reset_after=False)
    assert solutions.build_models_1(filters, units) == one_bias == expected


def test_build_models_2_to_4_by_hand_and_against_built_networks():
    assert solutions.build_models_2(12, 3) == [(2, 2, 3)] and solutions.build_models_2(7, 2) == []
    assert solutions.build_models_2(12, 2) == [(2, 6), (3, 4)]
    assert solutions.build_models_3((2, 2, 3)) == (26, 12)  # 1, then 2 + 1, 4 + 2, 8 + 8 to convolve and pool
    for name, entries, length in (("k1c2", 1366, 4), ("k1c2_1x8", 0, 8)):
        budget = count(models.choi_network(name, "0.1M").trainable_weights)
        assert solutions.build_models_4(models.CHOI_WIDTHS[name][0], budget, entries) == length


def test_tag_against_networks_that_hear_loudness_or_key_and_ones_that_do_not():
    found = solutions.tag_1(np.array([0.3, 0.2, 0.1, 0.9]), np.array([0.3, 0.05, 0.05, 0]), list("abcd"), 3)
    assert found == {"b": 4.0, "c": 2.0, "a": 1.0}  # d is never given
    samples = np.full(12_000, 0.1, np.float32)
    assert solutions.tag_2(lambda samples: np.array([0, samples.max()]), samples) == 0.09
    assert solutions.tag_2(lambda samples: np.array([0, 0.5]), samples) == 0
    x = np.eye(12, dtype="float32")[None, :, 4:5, None]  # E
    inputs = keras.Input((12, 1, 1))
    keys, blind = (keras.Model(inputs, layer(inputs)) for layer in (layers.Flatten(), layers.GlobalMaxPooling2D()))
    assert solutions.tag_3(keys, x) == {"largest range": 1.0, "first tags": 12}
    assert solutions.tag_3(blind, x) == {"largest range": 0.0, "first tags": 1}


def of_run(*aucs):
    return pd.DataFrame({"split": ["train", "held_out"] * len(aucs), "macro_auc": np.ravel([(1, auc) for auc in aucs])})


def test_size_and_time_takes_the_quickest_good_one_and_counts_epochs_after_the_best(skewed):
    rows = [("crnn", "1M", 90, 0.8, 0.7, 0.9), ("k2c1", "3M", 9, 0.75, 0.6, 0.8), ("k2c1", "0.1M", 1, 0.69, 0.6, 0.8)]
    table = pd.DataFrame(rows, columns=["network", "budget", "seconds_2500", "macro_auc", "low", "high"])
    assert solutions.size_and_time_1(table) == "k2c1 3M"
    assert solutions.size_and_time_1(table.assign(low=np.nan, high=np.nan)) == "crnn 1M"
    runs = {"a": of_run(0.5, 0.6, 0.55, 0.5), "b": of_run(0.5, 0.6), "c": of_run(np.nan, 0.5, 0.4, 0.4)}
    assert solutions.size_and_time_2(runs) == 0.4
    scores = skewed[1][:800] + np.random.default_rng(1).normal(size=(800, 20))
    assert solutions.size_and_time_3(skewed[1][:800], scores) == pytest.approx(2**0.5, abs=0.25)


def test_per_tag_1_and_2_by_hand_and_against_scikit_learn():
    columns = {"network": ["k2c1"] * 3 + ["crnn"] * 3, "tag": ["rock", "pop", "sad"] * 2}
    columns |= {"category": ["genre", "genre", "mood"] * 2, "auc": [0.6, 0.8, 0.9, 0.9, np.nan, 0.7]}
    assert solutions.per_tag_1(pd.DataFrame(columns))["best"].to_dict() == {"genre": "crnn", "mood": "k2c1"}
    labels = pd.DataFrame((np.random.default_rng(0).random((300, 5)) < 0.2).astype(int), columns=list("abcde"))
    labels["b"] |= labels["a"]
    found = solutions.per_tag_2(labels, count=5)
    assert len(found) == 5 and {found.loc[0, "tag"], found.loc[0, "predicted_by"]} == {"a", "b"}
    for row in found.itertuples():
        others = {other: roc_auc_score(labels[row.tag], labels[other]) for other in labels if other != row.tag}
        assert row.predicted_by == max(others, key=others.get) and row.auc == pytest.approx(max(others.values()))


def test_per_tag_3_tells_a_better_network_from_one_that_is_as_good():
    rng = np.random.default_rng(0)
    labels, noise = (rng.random((80, 30)) < 0.3).astype(int), rng.normal(size=(2, 80, 30))
    equal = solutions.per_tag_3(labels, labels + noise[0], 50 * (labels + noise[1]), 100)  # another scale only
    assert 0 < equal["luck from"] <= equal["wins"] <= equal["luck to"] < 30
    assert solutions.per_tag_3(labels, 0.2 * labels + noise[0], 2 * labels + noise[1], 100)["wins"] == 30


def test_is_it_real_1_shuffling_leaves_what_a_constant_predictor_has(skewed):
    base_rates, labels = skewed
    scores = base_rates + 0.1 * labels + np.random.default_rng(1).normal(0, 0.02, labels.shape)
    found = solutions.is_it_real_1(labels, scores)
    constant = metrics.averages(labels, np.tile(scores.mean(axis=0), (len(labels), 1)))["micro_auc"]
    assert found["all cells"] == pytest.approx(roc_auc_score(labels, scores, average="micro"), abs=1e-3)
    assert found["shuffled"] == pytest.approx(constant, abs=0.02) and found["shuffled"] < found["all cells"] - 0.05
    assert found["macro, shuffled"] == pytest.approx(0.5, abs=0.02)


def test_is_it_real_2_and_3_by_hand():
    labels = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [0.5, 0.5]])
    known = np.array([True, True, False, False])
    assert solutions.is_it_real_2(labels, scores, known) == {"known artists": (2, 1.0), "others": (2, 0.5)}
    assert solutions.is_it_real_3(of_run(0.5, 0.6, 0.8, 0.7, 0.5, 0.1)) == pytest.approx(0.225)
    assert solutions.is_it_real_3(of_run(np.nan, 0.5, 0.6)) == pytest.approx(0.1)


def test_beyond_by_hand_and_against_a_network_that_hears_one_place():
    # Only the second half of a song tells the tag; two places hear it, the middle does not.
    labels = (np.random.default_rng(0).random((40, 3)) < 0.5).astype(int)
    songs = [np.r_[np.zeros((60, 12)), np.tile(np.resize(label, 12), (40, 1))] for label in labels]
    inputs = keras.Input((12, 10, 1))
    model = keras.Model(inputs, layers.Flatten()(layers.AveragePooling2D((1, 10))(inputs)[:, :3]))
    assert solutions.beyond_1(model, songs, labels, 2) == {1: 0.5, 2: 1.0}
    assert solutions.beyond_2(pd.DataFrame({"num_positives": [1, 2, 5, 9], "auc": [1.0, 0.2, 0.6, 0.5]})) == -1.0


def test_own_tags_hands_out_the_blocks_one_by_one_and_tries_every_threshold():
    values = np.repeat([[1, 2, 3, 4, 5]], [64, 128, 128, 128, 32], axis=1)
    found = solutions.own_tags_1(values, lambda part: part.mean() + part.shape[1] / 1000)
    expected = {"block 1": 1.064, "block 2": 2.128, "block 3": 3.128, "block 4": 4.128, "GRU": 5.032}
    assert found == pytest.approx(expected)
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, (30, 3)), rng.random((30, 3)).round(1)  # with ties
    grid = np.linspace(0, 1, 101)
    best = [max(f1_score(labels[:, i], scores[:, i] >= cut, zero_division=0) for cut in grid) for i in range(3)]
    assert solutions.own_tags_2(labels, scores) == pytest.approx(np.mean(best), abs=1e-3)
