"""Training: honest scores, one tidy history, runs found by their content, and the same end after any interruption."""

import functools
import json
import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from helpers import metrics, models, paths, training

BUILD = functools.partial(models.mason_crnn, "small", 24)
FACTS = {"dataset": "test", "synthetic": np.bool_(True)}
COLUMNS = "epoch split loss streaming_auc macro_auc average_precision base_rate num_tags num_songs seconds constant_auc"


def make_data():
    rng = np.random.default_rng(0)
    x = rng.random((40, 12, 24, 1), dtype=np.float32)
    y = (rng.random((40, 50)) < 0.3).astype(np.uint8)
    return (x[:28], y[:28]), (x[28:], y[28:])


def tiny(units=0):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(units)(inputs) if units else inputs
    return keras.Model(inputs, keras.layers.Dense(3, activation="sigmoid")(x))


def tiny_data():
    rng = np.random.default_rng(0)
    return rng.random((12, 4), np.float32), (rng.random((12, 3)) < 0.5).astype(np.uint8)


@pytest.fixture
def fit_tiny(tmp_path):
    """Return `fit_tiny(build=tiny, data=..., **settings)`: trains an epoch, returns the run's folder if it is new."""

    def call(build=tiny, data=None, **settings):
        data, before = data or tiny_data(), set(tmp_path.iterdir())
        training.fit(build, data, data, "tiny", folder=tmp_path, **{"num_epochs": 1, **settings})
        return next(iter(set(tmp_path.iterdir()) - before), None)

    return call


def assert_same(first, second):
    pd.testing.assert_frame_equal(first[1].drop(columns="seconds"), second[1].drop(columns="seconds"), rtol=1e-6)
    for ours, theirs in zip(first[0].get_weights(), second[0].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    settings = dict(seed=3, provenance=FACTS, tags=list(map(str, range(50))), folder=folder)
    return *training.fit(BUILD, *make_data(), "run", 6, **settings), folder


def test_the_papers_settings():
    paper = {"num_epochs": 50, "batch_size": 10, "learning_rate": 1e-3, "momentum": 0.99}
    assert training.MASON_SETTINGS["paper"] == {"small": paper, "large": paper}
    assert training.CHOI_SETTINGS["paper"]["patience"] == 1
    assert set(training.MASON_SETTINGS) == set(training.CHOI_SETTINGS) == {"test", "demo", "paper"}


def test_the_history_is_tidy_and_the_run_says_what_it_was(whole):
    _, history, folder = whole
    assert sorted(history) == sorted(COLUMNS.split())
    assert history.groupby("split")["epoch"].agg(list).to_dict() == {"held_out": [5, 6], "train": [1, 2, 3, 4, 5, 6]}
    (run,) = folder.iterdir()
    pd.testing.assert_frame_equal(pd.read_csv(run / "history.csv"), history)
    record = json.loads((run / "run.json").read_text())
    settings = record["settings"]
    assert record["data"] == FACTS and record["parameters"] == 81_698 and record["tags"] == list(map(str, range(50)))
    assert record["versions"]["keras"] == keras.__version__ and record["hardware"]
    assert [settings[name] for name in ("seed", "batch_size", "loss")] == [3, 10, "binary_crossentropy"]
    assert settings["optimizer"]["class_name"] == "Adam"
    assert settings["optimizer"]["config"]["learning_rate"] == pytest.approx(1e-3)


def test_the_scores_are_scikit_learn_s_and_keras_s(whole):
    model, history, _ = whole
    (_, y_train), (x, y) = make_data()
    scores, last = model.predict(x, verbose=0), history.iloc[-1]
    both = (y.sum(axis=0) > 0) & (y.sum(axis=0) < len(y))
    assert last["macro_auc"] == pytest.approx(roc_auc_score(y[:, both], scores[:, both]), abs=1e-6)
    assert last["average_precision"] == pytest.approx(average_precision_score(y[:, both], scores[:, both]), abs=1e-6)
    assert (last["num_tags"], last["num_songs"]) == (both.sum(), 12)
    theirs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert {name: last[name] for name in ("loss", "streaming_auc")} == pytest.approx(theirs, abs=1e-5)
    constant = keras.metrics.AUC()
    constant.update_state(y, np.tile(y_train.mean(axis=0), (12, 1)))
    assert last["constant_auc"] == pytest.approx(float(constant.result()))


def test_fit_is_a_reader_s_compile_and_fit_in_one_call(whole):
    """The lines of notebook 04, with other layer names in between, find the run that `fit` made."""
    tiny(5)
    keras.utils.set_random_seed(3)
    model = BUILD()
    adam, auc = keras.optimizers.Adam(1e-3), keras.metrics.AUC(name="streaming_auc")
    model.compile(adam, "binary_crossentropy", metrics=[auc])
    run = training.Run("run", model, *make_data(), 6, batch_size=10, seed=3, tags=range(50), folder=whole[2])
    assert run.epochs_done == 6 and len(list(whole[2].iterdir())) == 1
    model.fit(run.batches, epochs=6, initial_epoch=run.epochs_done, callbacks=[run], verbose=0)
    assert_same((model, run.history), whole)
    with pytest.raises(ValueError, match=r"initial_epoch=run\.epochs_done"):
        model.fit(run.batches, epochs=6, callbacks=[run], verbose=0)


def test_a_cell_run_again_after_an_interrupt_forgets_the_broken_epoch(tmp_path):
    def stop(batch, logs):
        raise KeyboardInterrupt

    data, model = tiny_data(), tiny()
    model.compile("adam", "binary_crossentropy")
    run = training.Run("run", model, data, data, 3, folder=tmp_path)
    interrupt = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(run.batches, epochs=3, callbacks=[run, interrupt], verbose=0)
    with pytest.raises(ValueError, match="build and compile the network anew"):
        model.fit(run.batches, epochs=3, callbacks=[run], verbose=0)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
import test_training as t
replace, writes = os.replace, []

def replace_until_the_second(source, destination):
    writes.append(str(destination).endswith(sys.argv[2]))
    if sum(writes) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, destination)

os.replace = replace_until_the_second
t.training.fit(t.BUILD, *t.make_data(), "run", 6, seed=3, folder=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("target", ["history.csv", "model.keras"])
def test_a_process_killed_at_any_write_resumes_to_the_same_end(whole, target, tmp_path):
    command, environment = [sys.executable, "-c", KILLED, tmp_path, target], {"PYTHONPATH": str(paths.ROOT)}
    assert subprocess.run(command, cwd=paths.ROOT, env=os.environ | environment).returncode == -signal.SIGKILL
    assert_same(training.fit(BUILD, *make_data(), "run", 6, seed=3, folder=tmp_path), whole)


def test_patience_stops_after_the_best_epoch_gives_its_weights_and_trains_no_more(tmp_path):
    train, held_out = make_data()
    model, history = training.fit(BUILD, train, held_out, "run", 30, patience=np.int64(2), folder=tmp_path)
    aucs = history.query("split == 'held_out'")["macro_auc"].to_numpy()
    best = int(aucs.argmax())
    assert len(aucs) == best + 1 + 2 < 30, "chance labels cannot improve thirty times"
    assert metrics.macro(held_out[1], models.predict(model, held_out[0]))["macro_auc"] == pytest.approx(aucs[best])
    again = training.fit(BUILD, train, held_out, "run", 30, patience=2, folder=tmp_path)
    assert_same(again, (model, history))


def test_any_other_ingredient_makes_another_run_the_same_none(fit_tiny):
    def pretrained(value):
        model = tiny()
        model.set_weights([np.full_like(weights, value) for weights in model.get_weights()])
        return model

    x, y = tiny_data()
    changed = np.where(np.arange(48).reshape(12, 4) == 30, x + 1e-6, x)  # one number of one row
    assert fit_tiny() and fit_tiny(num_epochs=np.int64(1), batch_size=np.int64(10), seed=np.int64(0)) is None
    assert fit_tiny(learning_rate=0.5) and fit_tiny(learning_rate=np.float32(0.5), momentum=np.float32(0.9)) is None
    builds = [functools.partial(*each) for each in ((tiny, 5), (tiny, 6), (pretrained, 0.1), (pretrained, 0.2))]
    for change in (
        *({"build": build} for build in builds), {"data": (changed, y)}, {"data": (x, 1 - y)},
        {"tags": ["a", "b", "c"]}, {"seed": 1}, {"batch_size": 5}, {"learning_rate": 2e-3}, {"patience": 1},
        {"augment": lambda x, rng: x * 0}, {"augment": lambda x, rng: x + rng.random()},
    ):  # fmt: skip
        assert fit_tiny(**change), change


def test_inputs_and_labels_that_do_not_fit_are_refused_before_training(tmp_path):
    x, y = good = tiny_data()
    for bad in ((x[:0], y[:0]), (x, y[1:]), (x, y[:, 1:]), (x, y * 0.9), (x, np.where(y, np.nan, 0)), (x + np.inf, y)):
        for side, data in (("train", (bad, good)), ("held_out", (good, bad))):
            with pytest.raises(ValueError, match=f"tiny, {side}: .* (give a 0 or 1 for each of 3 tags|hold NaN)"):
                training.fit(tiny, *data, "tiny", 1, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.keras", "history.csv"])
def test_a_damaged_run_is_named(name, fit_tiny):
    run = fit_tiny()
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2] if name == "model.keras" else b"\0")
    with pytest.raises(ValueError, match=rf"{run.name} is damaged .* delete that folder"):
        fit_tiny()


def test_transposing_turns_each_song_and_keeps_its_notes():
    x = make_data()[0][0]
    turned = training.transpose(x, np.random.default_rng(0))
    rolled = [[np.array_equal(np.roll(a, k, axis=0), b) for k in range(12)] for a, b in zip(x, turned, strict=True)]
    assert all(map(any, rolled)) and len({shifts.index(True) for shifts in rolled}) > 6
