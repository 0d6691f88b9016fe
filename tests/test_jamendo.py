"""MTG-Jamendo: the lists as published, and spectrograms of the published layout made from noise."""

from pathlib import Path

import h5py
import numpy as np

from helpers import audio, datasets


def test_counts_of_the_published_lists(real_data):
    labels, split = datasets.read(real_data / "mtg_jamendo")
    assert split.value_counts().to_dict() == {"train": 32_136, "valid": 10_888, "test": 11_356}
    first = split[split.index.str.startswith("00/")].value_counts()
    assert first.to_dict() == {"train": 339, "valid": 113, "test": 112}
    assert labels.shape[1] == 50 and list(labels) == sorted(labels) and labels.any(axis=1).all()
    assert labels.loc["41/241.mp3", "genre---rock"] == 1


def write_lists(folder, rows):
    for name in ("train", "validation", "test"):
        lines = ["TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS"]
        lines += [f"track_1\tartist_1\talbum_1\t{path}\t31.0\t{tags}" for path, tags in rows[name]]
        (folder / f"autotagging_top50tags-{name}.tsv").write_text("\n".join(lines) + "\n")


def test_published_spectrograms_are_taken_and_missing_ones_listed(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).normal(0, 0.1, 40 * audio.SR).astype("float32")
    whole = audio.log_mel(samples, squared_twice=True)
    (tmp_path / "00").mkdir()
    for name in ("1", "2", "3", "4"):
        np.save(tmp_path / f"00/{name}.npy", whole[:90] if name == "4" else whole)
    (tmp_path / "00/6.npy").touch()  # of a download that broke off
    rows = {"train": [("00/1.mp3", "genre---rock\tmood/theme---happy"), ("00/4.mp3", "genre---rock")]}
    rows |= {"validation": [("00/2.mp3", "genre---rock"), ("00/6.mp3", "genre---rock")]}
    rows |= {"test": [("00/3.mp3", "mood/theme---happy"), ("01/5.mp3", "genre---rock")]}
    write_lists(tmp_path, rows)
    labels, _ = datasets.read(tmp_path)
    assert list(labels) == ["genre---rock", "mood/theme---happy"] and len(labels) == 6
    for squared_twice in (False, True):
        out = tmp_path / f"{squared_twice}.h5"
        broken = audio.extract(tmp_path, out, labels, squared_twice)
        assert [Path(path).name for path in broken["path"]] == ["4.mp3", "6.mp3", "5.mp3"]
        assert "96 bands" in broken["reason"][0]
        with h5py.File(out) as file:
            mel, ids = file["mel"][0].astype(float), list(file["ids"].asstr())
        assert ids == ["00/1.mp3", "00/2.mp3", "00/3.mp3"] and mel.shape == (96, 1366)
        start = (whole.shape[1] - 1366) // 2
        own = audio.log_mel(samples[start * 256 : start * 256 + 349_440], squared_twice)
        # But for the frames at the cut, and where the floor follows another maximum.
        assert np.median(np.abs(mel - own)) < 0.1 and mel.max() - mel.min() <= 80.1
    monkeypatch.setattr(datasets.paths, "SNAPSHOTS", tmp_path / "snapshots")
    x, labels, _, folder = datasets.spectrograms(tmp_path)  # no recordings are needed
    assert folder == tmp_path and x.shape == (3, 96, 1366, 1) and len(labels) == 3
