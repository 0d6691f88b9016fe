"""Every exercise's solution against numbers found another way."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.metrics import roc_auc_score

from helpers import metrics, models, solutions


@pytest.fixture
def skewed():
    """Random labels of 4,000 songs whose 20 tags are carried by 30 % down to 2 % of them."""
    base_rates = np.geomspace(0.3, 0.02, 20)
    return base_rates, (np.random.default_rng(0).random((4000, 20)) < base_rates).astype(int)


def test_start_here_1_against_keras_and_our_metrics(skewed):
    _, labels = skewed
    found = solutions.start_here_1(np.c_[labels, np.zeros((len(labels), 1), int)])  # the empty tag is left out
    constant = np.tile(labels.mean(axis=0), (len(labels), 1))
    streaming = keras.metrics.AUC(num_thresholds=2000)
    streaming.update_state(labels, constant)
    assert found["flattened"] == pytest.approx(float(streaming.result()), abs=1e-3)
    assert found["macro"] == 0.5 == metrics.macro(labels, constant)["macro_auc"]


def test_start_here_2_against_simulated_labels(skewed):
    base_rates, labels = skewed
    constant = np.tile(base_rates, (len(labels), 1))
    simulated = roc_auc_score(labels, constant, average="micro")
    assert solutions.start_here_2(base_rates) == pytest.approx(simulated, abs=0.01)
    assert solutions.start_here_2(np.full(7, 0.1)) == pytest.approx(0.5)


@pytest.mark.parametrize(("size", "expected"), [("small", 81_134), ("large", 2_513_140)])
def test_build_models_1_against_layers(size, expected):
    filters, units = models.MASON_WIDTHS[size]
    model = models.mason_crnn(size)
    sequence = x = keras.Input((21, filters))
    for i in range(2):
        x = layers.GRU(units, return_sequences=i == 0, reset_after=False)(x)
    new = keras.Model(sequence, x).count_params()
    old = model.get_layer("gru1").count_params() + model.get_layer("gru2").count_params()
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert solutions.build_models_1(filters, units) == trainable - old + new == expected


def test_build_models_2_against_brute_force():
    assert solutions.build_models_2(12, 3) == [(2, 2, 3)]
    for bins, num_blocks in ((96, 4), (12, 2), (7, 2), (64, 3)):
        every = itertools.combinations_with_replacement(range(2, bins + 1), num_blocks)
        assert solutions.build_models_2(bins, num_blocks) == [pools for pools in every if np.prod(pools) == bins]


@pytest.mark.parametrize(("pools", "expected"), [((2, 2, 3), (26, 12)), ((3, 2), (14, 6)), ((2, 3, 4, 4), (162, 96))])
def test_build_models_3_against_impulses(pools, expected):
    """Send one impulse at each segment through positive kernels; see which of them reach a step in the middle."""
    length = 6 * expected[1]
    inputs = x = keras.Input((length, 1))
    for pool in pools:
        x = layers.Conv1D(1, 3, padding="same", kernel_initializer="ones")(x)
        x = layers.AveragePooling1D(pool)(x)
    steps = keras.Model(inputs, x).predict(np.eye(length)[..., None], verbose=0)[..., 0]
    reached = np.flatnonzero(steps[:, 2])
    assert solutions.build_models_3(pools) == (len(reached), np.flatnonzero(steps[:, 3])[0] - reached[0]) == expected
