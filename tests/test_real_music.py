"""The study on real music: what each predictor is given, and how folds are scored."""

import numpy as np
import pandas as pd

import real_music
from helpers import models, training

RNG = np.random.default_rng(0)
X, Y = RNG.random((24, 12, 30, 1), np.float32), RNG.integers(0, 2, (24, 3))
TRAIN, HELD_OUT = np.arange(16), np.arange(16, 24)


def test_sorted_numbers_know_neither_key_nor_the_order_of_pitch_classes():
    turned = X[:, RNG.permutation(12)]
    one_song_turned = np.concatenate([X[:20], turned[20:]])
    for predictor, knows in (("ridge, 36 sorted numbers", False), ("ridge, mean", True)):
        before, after = (real_music.linear(predictor, x, Y, TRAIN) for x in (X, one_song_turned))
        assert before.shape == Y.shape and np.allclose(before, after, atol=1e-6) != knows


def test_each_control_changes_one_thing(monkeypatch):
    given = {}

    def fit(build, train, held_out, **options):
        model = build()
        rates = {layer.rate for layer in model.layers if hasattr(layer, "rate")}
        given[options["name"]] = train, held_out, options | {"model": model.name, "rates": rates}
        return None, pd.DataFrame({"epoch": [1]})

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(models, "predict", lambda model, x: np.zeros(Y.shape))
    fixed = (X, Y, TRAIN, HELD_OUT, 2)
    facts = {"provenance": {"dataset": "d"}, "tags": list("abc")}
    learned = {predictor: real_music.network(predictor, *fixed, **facts)[0] for predictor in real_music.NETWORKS}
    (x, y), (x_held_out, y_held_out), options = given["d/small-CRNN"]
    assert np.array_equal(x, X[TRAIN]) and np.array_equal(y_held_out, Y[HELD_OUT])
    assert options["seed"] == 2 and "augment" not in options
    assert given["d/large-CRNN"][2] == options | {"name": "d/large-CRNN", "model": "mason_crnn_large_30"}
    strong = {"name": (name := "d/small-CRNN,-dropout-0.5"), "rates": {0.5}, "num_epochs": 50}
    assert given[name][2] == options | strong and options["rates"] == {0.1, 0.3} and options["num_epochs"] == 30
    (shuffled, _), (shuffled_held_out, _), _ = given["d/small-CRNN,-shuffled-in-time"]
    assert not np.array_equal(shuffled, x)  # the order is one for all songs, of either side
    order = [x[0, 0, :, 0].tolist().index(value) for value in shuffled[0, 0, :, 0]]
    np.testing.assert_array_equal(shuffled, x[:, :, order])
    np.testing.assert_array_equal(shuffled_held_out, x_held_out[:, :, order])
    (same, permuted), (_, true), _ = given["d/small-CRNN,-permuted-labels"]
    assert np.array_equal(same, x) and np.array_equal(true, y_held_out) and not np.array_equal(permuted, y)
    assert sorted(permuted.tolist()) == sorted(y.tolist()) and learned["small CRNN, permuted labels"] is permuted
    assert given["d/small-CRNN,-random-keys"][2]["augment"] is training.transpose


def test_a_tag_is_scored_within_folds_not_across_them():
    labels = [RNG.integers(0, 2, (12, 2)) for _ in range(3)]
    scores = [each + 10.0 * fold for fold, each in enumerate(labels)]  # in one pot these would be wrong
    artists = [np.arange(12)] * 3
    table = real_music.of_tags(labels, scores, artists, ["a", "b"])
    assert (table[["auc", "low", "high"]] == 1).all(axis=None)
    assert table["num_positives"].tolist() == np.concatenate(labels).sum(axis=0).tolist()


def test_a_predictor_that_is_scored_again_takes_its_old_place_and_the_same_scores_keep_their_date(tmp_path):
    def row(auc, date):
        return pd.DataFrame([{"fold": 0, "macro_auc": auc, "date": date}])

    for predictor, auc, date in (("small CRNN", 0.6, "a"), ("ridge, mean", 0.5, "a"), ("small CRNN", 0.6, "b")):
        real_music.keep(predictor, row(auc, date), tmp_path / "folds.csv")
    table = pd.read_csv(tmp_path / "folds.csv")
    assert table[["predictor", "date"]].values.tolist() == [["ridge, mean", "a"], ["small CRNN", "a"]]
