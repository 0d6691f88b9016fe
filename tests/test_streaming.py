"""Inputs that stay on the disk: the same numbers, the same training, little memory."""

import functools
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers import models, streaming, training


@pytest.fixture
def files(tmp_path):
    """Three files of 5, 0 and 7 rows (12, 24) of chroma, with labels, and their contents as one array."""
    rng = np.random.default_rng(0)
    x = rng.random((12, 12, 24)).astype("float16")
    y = (rng.random((12, 3)) < 0.5).astype("uint8")
    found = []
    for i, part in enumerate([slice(0, 5), slice(5, 5), slice(5, 12)]):
        found.append(tmp_path / f"{i}.h5")
        with h5py.File(found[-1], "w") as file:
            file.create_dataset("pitches", data=x[part], chunks=(1, 12, 24), maxshape=(None, 12, 24))
            file["ids"] = np.array([f"id{n}" for n in range(12)][part], dtype=object).astype(h5py.string_dtype())
            file["labels"], file["tags"] = y[part], ["rock", "pop", "folk"]
    return found, x.astype("float32")[..., None], y


def test_rows_are_the_array_in_any_order(files):
    paths, x, y = files
    rows = streaming.Rows(paths, "pitches")
    assert rows.shape == x.shape and len(rows) == 12 and rows.dtype == x.dtype
    for index in (slice(None), slice(3, 9, 2), [11, 0, 5, 5], np.arange(12) % 3 == 0, 4, np.int64(4), []):
        expected = x[np.asarray(index, int) if isinstance(index, list) else index]
        assert np.array_equal(rows[index], expected) and rows[index].dtype == np.float32
    some = rows.take(np.array([11, 2, 7])).take(np.array([True, False, True]))
    assert np.array_equal(some[:], x[[11, 7]])
    table = streaming.labels(paths)
    assert np.array_equal(table, y) and list(table) == ["rock", "pop", "folk"] and table.index[11] == "id11"


def test_training_from_disk_is_training_from_memory(files, tmp_path):
    paths, x, y = files
    rows = streaming.Rows(paths, "pitches")
    build = functools.partial(models.mason_crnn, "small", 24, 3)
    settings = {"num_epochs": 2, "batch_size": 4, "folder": tmp_path / "results"}
    train, held_out = np.arange(10), np.arange(10, 12)
    _, expected = training.fit(build, (x[train], y[train]), (x[held_out], y[held_out]), "memory", **settings)
    streamed = (rows.take(train), y[train]), (rows.take(held_out), y[held_out])
    model, history = training.fit(build, *streamed, "disk", **settings)
    columns = ["loss", "streaming_auc", "macro_auc"]
    np.testing.assert_allclose(history[columns], expected[columns], atol=1e-5)
    np.testing.assert_allclose(training.predict(model, rows), training.predict(model, x), atol=1e-6)
    _, same = training.fit(build, *streamed, "disk", **settings)  # finished: loaded, not trained
    assert same["seconds"].tolist() == history["seconds"].tolist()


def test_augmented_batches_are_drawn_from_the_seed(files):
    paths, _, y = files
    rows = streaming.Rows(paths, "pitches")
    order = np.random.default_rng(0).permutation(12)
    batches = [
        training._arrays_or_batches((rows, y), order, 5, training.transpose, np.random.default_rng(seed))["x"]
        for seed in (1, 1, 2)
    ]
    assert len(batches[0]) == 3 and len(batches[0][2][0]) == 2
    assert np.array_equal(batches[0][1][0], batches[1][1][0])
    assert not np.array_equal(batches[0][1][0], batches[2][1][0])
    assert np.array_equal(batches[0][0][1], y[order[:5]])


def test_a_copy_elsewhere_has_the_same_digest(files, tmp_path):
    paths, *_ = files
    rows = streaming.Rows(paths, "pitches")
    copies = [Path(shutil.copy(path, tmp_path / f"copy-{path.name}")) for path in paths]
    assert streaming.Rows(copies, "pitches").digest() == rows.digest()
    assert rows.take(np.arange(11)).digest() != rows.digest()
    with h5py.File(copies[0], "r+") as file:
        file["pitches"][0] = 0
    assert streaming.Rows(copies, "pitches").digest() != rows.digest()


def test_bad_files_are_named(files, tmp_path):
    paths, *_ = files
    with pytest.raises(FileNotFoundError, match=r"none\.h5 is missing"):
        streaming.Rows([tmp_path / "none.h5"], "pitches")
    with pytest.raises(ValueError, match=r"0\.h5 has no 'mel'; it holds \['ids'"):
        streaming.Rows(paths, "mel")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(ValueError, match=r"text\.h5 is no HDF5 file"):
        streaming.Rows([tmp_path / "text.h5"], "pitches")
    with h5py.File(tmp_path / "wide.h5", "w") as file:
        file["pitches"], file["labels"], file["tags"], file["ids"] = (
            np.zeros((2, 12, 9)),
            np.zeros((2, 1)),
            ["a"],
            ["x", "y"],
        )
    with pytest.raises(ValueError, match="rows of shapes"):
        streaming.Rows([*paths, tmp_path / "wide.h5"], "pitches")
    with pytest.raises(ValueError, match="other tags than"):
        streaming.labels([*paths, tmp_path / "wide.h5"])
