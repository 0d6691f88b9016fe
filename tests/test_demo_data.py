"""The demo set: deterministic, in the real layout, with the real quirks, and with an oracle that is right."""

import hashlib
import json

import h5py
import numpy as np
import pandas as pd
import pytest

from helpers import demo_data, joining, lastfm, msd, paths
from helpers.tags import CHOI_TOP50, MASON_TOP50


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return demo_data.generate(tmp_path_factory.mktemp("data") / "demo", num_tracks=250)


def digest(folder):
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second, other = (
        digest(demo_data.generate(tmp_path / name, num_tracks=15, seed=seed))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second != other


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_data, "_break_files", lambda root: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        demo_data.generate(tmp_path / "demo", num_tracks=15)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "precious.h5").write_text("mine")
    with pytest.raises(FileExistsError, match="choose another folder"):
        demo_data.generate(tmp_path, num_tracks=15)
    assert (tmp_path / "precious.h5").read_text() == "mine"


def layout(path):
    """Describe every group, dataset and attribute of a file, values of data and row counts aside."""
    found = {}

    def describe(name, item):
        attrs = {
            k: (v.dtype.kind, v.dtype.itemsize if v.dtype.kind != "S" else bytes(v)) for k, v in item.attrs.items()
        }
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype, item.shape[1:], item.maxshape, item.chunks, item.compression,
                           item.compression_opts, item.shuffle, attrs)  # fmt: skip
        else:
            found[name] = attrs

    with h5py.File(path) as file:
        describe("/", file)
        file.visititems(describe)
    return found


def test_files_have_the_layout_of_real_ones(demo, real_data):
    ours = next(p for p in sorted(demo.rglob("*.h5")) if p.stat().st_size > 50_000)
    real = next((real_data / "msd_real" / "MillionSongSubset").rglob("*.h5"))
    assert layout(ours) == layout(real)
    assert sum(isinstance(value, tuple) for value in layout(ours).values()) == 24


def test_pytables_reads_a_demo_file_as_the_msd_tools_do(demo):
    tables = pytest.importorskip("tables")
    path = next(p for p in sorted(demo.rglob("*.h5")) if p.stat().st_size > 50_000)
    with tables.open_file(str(path)) as h5:
        assert h5.root.analysis.songs.nrows == 1
        assert h5.root.analysis.songs.cols.track_id[0].decode() == path.stem
        assert h5.root.metadata.songs.cols.title[0]
        pitches = h5.root.analysis.segments_pitches.read()
    assert pitches.shape[1] == 12 and (pitches.max(axis=1) == 1).all()


def test_quirks_have_about_the_real_shares(demo):
    tracks, broken = msd.read_tracks(demo)
    tags, broken_json = lastfm.read_tags(demo)
    assert (len(tracks), len(broken), len(broken_json)) == (247, 3, 1)
    assert 0.88 < len(tags) / 250 < 0.98
    assert 0.40 < (tags["tags"].str.len() > 0).mean() < 0.64
    songs, report = joining.join(tracks, tags, MASON_TOP50, 252)
    kept = report["steps"].set_index("step")["kept"]
    assert 0.65 < kept["names match"] / kept["in last.fm"] < 0.82
    assert 0.15 < len(songs) / 250 < 0.33
    assert {"case", "punctuation", "artist differs"} <= set(report["mismatches"]["kind"])
    assert not tracks["title"].str.isascii().all()
    assert tracks["num_segments"].min() < 252 and tracks["artist_name"].duplicated().any()
    assert tracks["num_segments"].median() == pytest.approx(770, rel=0.2)


def test_a_few_files_repeat_a_tag_and_counts_are_strings(demo):
    rows = [json.loads(p.read_text())["tags"] for p in demo.rglob("*.json") if p.stat().st_size > 60]
    names = [[name for name, _ in row] for row in rows]
    assert any(len(set(row)) < len(row) for row in names)
    assert all(isinstance(count, str) and 0 <= int(count) <= 100 for row in rows for _, count in row)


def test_labels_follow_the_stated_probabilities():
    probabilities = demo_data.tag_probabilities()
    song = pd.DataFrame({"number": [1], "track_id": ["TRAAAAA128F0000001"], "title": ["a"], "artist_name": ["b"]}).iloc[
        0
    ]
    rng, counts, num_songs = np.random.default_rng(0), pd.Series(0, probabilities.columns), 0
    for _ in range(3000):
        names = {name for name, _ in demo_data._lastfm_song(song, probabilities.loc["jazz"], rng)["tags"]}
        num_songs += bool(names & set(demo_data.TAGS))
        counts[[name for name in names if name in counts]] += 1
    # A song is drawn anew until it has a tag, which makes every tag a little more likely.
    expected = probabilities.loc["jazz"] / (1 - np.prod(1 - probabilities.loc["jazz"]))
    assert np.abs(counts / num_songs - expected).max() < 0.06


@pytest.mark.parametrize("vocabulary", [MASON_TOP50, CHOI_TOP50])
def test_the_oracle_knows_every_tag_and_leaves_room_for_learning(demo, vocabulary):
    songs, _ = joining.join(msd.read_tracks(demo)[0], lastfm.read_tags(demo)[0], vocabulary, 252)
    oracle = demo_data.oracle(songs, demo)
    assert list(oracle["tag"]) == vocabulary
    assert 0.7 < oracle["auc"].mean() < 0.95 and oracle["auc"].between(0.49, 1).all()


def test_expected_auc_is_the_mean_auc_of_drawn_labels():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    probability = rng.choice([0.1, 0.3, 0.8], 300)
    drawn = rng.random((500, 300)) < probability
    aucs = [roc_auc_score(labels, probability) for labels in drawn]
    assert demo_data._expected_auc(probability) == pytest.approx(np.mean(aucs), abs=0.005)


def test_the_oracle_says_nothing_about_unknown_tags(demo):
    songs, _ = joining.join(msd.read_tracks(demo)[0], lastfm.read_tags(demo)[0], ["rock", "no such tag"], 252)
    assert demo_data.oracle(songs, demo)["auc"].isna().tolist() == [False, True]


def test_only_generated_folders_count_as_synthetic(demo, tmp_path):
    assert paths.is_synthetic(demo) and not paths.is_synthetic(tmp_path)
