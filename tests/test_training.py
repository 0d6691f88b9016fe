"""Training: honest scores, one tidy history, and the same end after any interruption."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from helpers import metrics, models, paths, training

BUILD = functools.partial(models.mason_crnn, "small", 24)
FACTS = {"dataset": "test", "synthetic": True}


def make_data():
    rng = np.random.default_rng(0)
    x = rng.random((40, 12, 24, 1), dtype=np.float32)
    y = (rng.random((40, 50)) < 0.3).astype(np.uint8)
    return (x[:28], y[:28]), (x[28:], y[28:])


def same(first, second):
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"), rtol=1e-6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return *training.fit(BUILD, *make_data(), "run", 4, seed=3, provenance=FACTS, folder=folder), folder


def test_mason_s_split_trains_on_2243_of_2362_songs():
    train, held_out = training.split_last(2362, 0.05)
    assert (len(train), len(held_out)) == (2243, 119)
    assert held_out[0] == 2243 and held_out[-1] == 2361
    with pytest.raises(ValueError, match="cannot be split"):
        training.split_last(1, 0.05)


def test_the_history_is_tidy_and_the_run_says_where_it_came_from(whole):
    _, history, folder = whole
    assert history[["epoch", "split"]].values.tolist() == [[e, s] for e in (1, 2, 3, 4) for s in ("train", "held_out")]
    (run,) = folder.iterdir()
    same(pd.read_csv(run / "history.csv"), history)
    record = json.loads((run / "run.json").read_text())
    assert record["settings"]["seed"] == 3 and record["data"] == FACTS and record["parameters"] == 81_698
    assert record["versions"]["keras"] == keras.__version__ and record["hardware"] and record["seconds"] > 0


def test_scores_are_scikit_learn_s_and_keras_s(whole):
    model, history, _ = whole
    x, y = make_data()[1]
    scores = model.predict(x, verbose=0)
    last = history[history["split"] == "held_out"].iloc[-1]
    both = (y.sum(axis=0) > 0) & (y.sum(axis=0) < len(y))
    assert last["macro_auc"] == pytest.approx(roc_auc_score(y[:, both], scores[:, both]), abs=1e-6)
    assert last["average_precision"] == pytest.approx(average_precision_score(y[:, both], scores[:, both]), abs=1e-6)
    model.compile(loss="binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    theirs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert last["streaming_auc"] == pytest.approx(theirs["auc"], abs=1e-5)
    assert last["loss"] == pytest.approx(theirs["loss"], abs=1e-5)


def test_a_finished_run_is_loaded_and_other_settings_make_another_run(whole):
    model, history, folder = whole
    again_model, again = training.fit(BUILD, *make_data(), "run", 4, seed=3, folder=folder)
    same(again, history)
    np.testing.assert_array_equal(again_model.get_weights()[0], model.get_weights()[0])
    assert len(list(folder.iterdir())) == 1
    training.fit(BUILD, *make_data(), "run", 1, seed=4, folder=folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("target", ["history.csv", "run.json", "model.keras"])
def test_a_run_stopped_at_any_write_ends_the_same(whole, target, tmp_path, monkeypatch):
    replace, writes = os.replace, []

    def stop_at_the_second(source, destination):
        writes.append(str(destination).endswith(target))
        if sum(writes) == 2 and writes[-1]:
            raise KeyboardInterrupt
        replace(source, destination)

    monkeypatch.setattr(os, "replace", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        training.fit(BUILD, *make_data(), "run", 4, seed=3, folder=tmp_path)
    monkeypatch.undo()
    model, history = training.fit(BUILD, *make_data(), "run", 4, seed=3, folder=tmp_path)
    same(history, whole[1])
    for ours, theirs in zip(model.get_weights(), whole[0].get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
import test_training as t
t.training.fit(t.BUILD, *t.make_data(), "run", 4, seed=3, folder=Path(sys.argv[1]))
"""


def test_a_killed_process_resumes_to_the_same_end(whole, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], cwd=paths.ROOT, env=environment)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("*/model.keras")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob("*/model.keras")), "the process ended before its first checkpoint"
    _, history = training.fit(BUILD, *make_data(), "run", 4, seed=3, folder=tmp_path)
    same(history, whole[1])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces")
def test_the_training_step_is_traced_once(tmp_path, monkeypatch):
    step, traces = keras.Model.train_step, []
    monkeypatch.setattr(keras.Model, "train_step", lambda self, data: traces.append(data) or step(self, data))
    training.fit(BUILD, *make_data(), "run", 2, folder=tmp_path)
    assert len(traces) == 1


def test_the_dtype_policy_is_used_and_then_put_back(tmp_path):
    model, history = training.fit(BUILD, *make_data(), "run", 1, dtype_policy="mixed_bfloat16", folder=tmp_path)
    assert model.get_layer("conv2").compute_dtype == "bfloat16" and model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32" and history["macro_auc"].notna().all()
    assert training.fast_dtype_policy() in ("float32", "mixed_bfloat16")


def test_patience_stops_after_the_best_epoch_returns_its_model_and_resumes(tmp_path):
    train, held_out = make_data()
    model, history = training.fit(BUILD, train, held_out, "run", 30, patience=2, folder=tmp_path)
    aucs = history.query("split == 'held_out'")["macro_auc"].to_numpy()
    best = int(aucs.argmax())
    assert len(aucs) == best + 1 + 2 < 30, "chance labels cannot improve thirty times"
    assert metrics.macro(held_out[1], training.predict(model, held_out[0]))["macro_auc"] == pytest.approx(aucs[best])
    _, again = training.fit(BUILD, train, held_out, "run", 30, patience=2, folder=tmp_path)
    same(history, again)


def test_an_undefined_score_is_never_the_best():
    def since(aucs):
        return training._epochs_since_best(pd.DataFrame({"split": "held_out", "macro_auc": aucs}))

    assert [since([0.5, 0.6, 0.6]), since([0.5, np.nan]), since([np.nan, 0.5]), since([np.nan] * 2)] == [1, 1, 0, 1]
    assert training._epochs_since_best(pd.DataFrame()) == 0


def test_a_wider_network_takes_longer_a_clip():
    slow, fast = (training.seconds_per_clip(models.choi_network("k1c2", budget), 1) for budget in ("3M", "0.1M"))
    assert slow > fast > 0


def test_transposing_turns_each_song_and_keeps_its_notes():
    x = make_data()[0][0]
    turned = training.transpose(x, np.random.default_rng(0))
    shifts = [
        next(k for k in range(12) if np.array_equal(np.roll(a, k, axis=0), b)) for a, b in zip(x, turned, strict=True)
    ]
    assert len(set(shifts)) > 6


@pytest.mark.parametrize("option", [{"weight_decay": 0.5}, {"label_smoothing": 0.3}, {"augment": training.transpose}])
def test_each_cure_changes_the_run_and_is_recorded(option, whole, tmp_path):
    _, history = training.fit(BUILD, *make_data(), "run", 1, seed=3, folder=tmp_path, **option)
    assert not np.isclose(history["loss"][1], whole[1]["loss"][1], rtol=1e-6)
    ((name, value),) = option.items()
    (run,) = tmp_path.iterdir()
    assert json.loads((run / "run.json").read_text())["settings"][name] == getattr(value, "__name__", value)


def test_the_batch_shrinks_to_the_memory():
    small, large = (models.choi_network("crnn", budget) for budget in ("0.1M", "3M"))
    assert training.batch_that_fits(small, 1e15, at_most=32) == 32
    assert training.batch_that_fits(small, 1, at_most=32) == 1
    t4 = 15 * 2**30  # bytes
    assert training.batch_that_fits(small, t4, 32) == 32 > training.batch_that_fits(large, t4, 32) > 4
    assert training.device_bytes() > 2**28


@pytest.mark.parametrize("name", ["model.keras", "history.csv"])
def test_a_damaged_run_is_named(name, tmp_path):
    training.fit(BUILD, *make_data(), "run", 1, folder=tmp_path)
    (run,) = tmp_path.iterdir()
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2] if name == "model.keras" else b"\0")
    with pytest.raises(ValueError, match=rf"{run.name} is damaged .* delete that folder"):
        training.fit(BUILD, *make_data(), "run", 1, folder=tmp_path)
