"""The demo set: deterministic, in the real layout, with the real quirks, audible, and with an oracle that is right."""

from itertools import cycle, pairwise

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.metrics import roc_auc_score

from helpers import audio, demo, joining, lastfm, msd, paths
from helpers.tags import CHOI_TOP50, MASON_TOP50

SEED = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return demo.ensure(tmp_path_factory.mktemp("data") / "demo", 250, SEED)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory):
    return demo.ensure(tmp_path_factory.mktemp("data") / "demo", 45, SEED, sound=True)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_the_same_seed_gives_the_same_bytes_and_times(tmp_path, monkeypatch):
    first, other = (demo.ensure(tmp_path / name, 12, seed, sound=True) for name, seed in (("a", 1), ("c", 2)))
    monkeypatch.setattr(demo, "Parallel", lambda n_jobs: list)  # whatever the workers
    monkeypatch.setattr(demo, "delayed", lambda work: work)
    msd._template.cache_clear()
    again = demo.ensure(tmp_path / "b", 12, 1, sound=True)
    assert contents(first) == contents(again) != contents(other)


def test_the_standard_set_is_the_one_that_was_reported():
    song = demo.songs.names(1400, 1).iloc[1000]
    pitches = demo._fields(song, 1)["segments_pitches"]
    assert (song["track_id"], song["style"], pitches.shape) == ("TRAVZUR128F00003E8", "metal", (949, 12))
    assert pitches[:3, :3].ravel() == pytest.approx([0.869, 0.517, 0.071, 0.335, 0.761, 0.447, 0.035, 0.283, 0.198])


def test_a_set_is_made_once_and_again_for_other_settings_or_versions(tmp_path, monkeypatch):
    folder = demo.ensure(tmp_path / "demo", 12, 3)
    assert paths.is_synthetic(folder) and "Synthetic" in (folder / paths.DEMO_MARKER).read_text()
    (folder / "witness").touch()
    for settings in ((), (12, 3), (None, 3)):
        assert (demo.ensure(folder, *settings) / "witness").exists()
    assert not (demo.ensure(folder, 13, 3) / "witness").exists() and len(list(folder.rglob("*.h5"))) == 13
    (folder / "witness").touch()
    monkeypatch.setitem(demo.ABOUT, "version", 99)
    assert not (demo.ensure(folder) / "witness").exists()
    monkeypatch.setattr(demo.sound, "render", lambda *_: np.zeros(1000, np.float32))
    for marker, kept in ((None, True), ("{}", False)):  # recordings of another set are made anew too
        audio_folder = demo.ensure(folder, sound=True) / "audio"
        (audio_folder / "witness").touch()
        if marker:
            (audio_folder / paths.DEMO_MARKER).write_text(marker)
        assert (demo.ensure(folder, sound=True) / "audio" / "witness").exists() == kept


def test_an_interrupted_generation_leaves_nothing_and_other_files_are_never_replaced(tmp_path, monkeypatch):
    for broken in ("_write_files", "_write_sound"):
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(demo, broken, lambda *arguments, **more: 1 / 0)
            demo.ensure(tmp_path / "demo", 12, sound=True)
        assert not list(tmp_path.rglob("*audio*")) and not list(tmp_path.glob(".*"))
        assert (tmp_path / "demo").exists() == (broken == "_write_sound")
    (tmp_path / "precious.h5").write_text("mine")
    (tmp_path / "demo" / "audio").mkdir()
    (tmp_path / "demo" / "audio" / "precious.flac").write_text("mine")
    for folder in (tmp_path, tmp_path / "demo"):
        with pytest.raises(FileExistsError, match="holds files that are not demo data; move them elsewhere"):
            demo.ensure(folder, sound=True)
    assert {path.name for path in tmp_path.rglob("precious*")} == {"precious.h5", "precious.flac"}


def test_quirks_have_about_the_real_shares(folder):
    tracks, broken = msd.read_tracks(folder, fields=("segments_timbre", "segments_start", "duration"))
    tags, broken_json = lastfm.read_tags(folder)
    assert (len(tracks), len(broken), len(broken_json)) == (247, 3, 1)
    assert 0.88 < len(tags) / 250 < 0.98 and 0.40 < (tags["tags"].str.len() > 0).mean() < 0.64
    songs, report = joining.join(tracks, tags, MASON_TOP50, 252)
    kept = report["steps"].set_index("step")["kept"]
    assert 0.65 < kept["names match"] / kept["in last.fm"] < 0.82 and 0.15 < len(songs) / 250 < 0.33
    assert {"case", "punctuation", "artist differs"} <= set(report["mismatches"]["kind"])
    assert tracks["num_segments"].min() < 252 and tracks["num_segments"].median() == pytest.approx(770, rel=0.2)
    for song in tracks.itertuples():
        assert (song.segments_pitches.max(axis=1) == 1).all() and song.segments_timbre.std() > 10
        assert (np.diff([0, *song.segments_start, song.duration]) >= 0).all()
    # 1,400 songs and their sound stay below 150 MB: arrays that nothing reads take no space.
    assert np.mean([path.stat().st_size for path in folder.rglob("*.h5")]) < 75_000


def test_labels_follow_the_stated_probabilities():
    probability = demo.songs.tag_probabilities().loc["jazz"]
    song = pd.Series({"number": 1, "track_id": "TRAAAAA128F0000001", "title": "a", "artist_name": "b"})
    rng = np.random.default_rng(0)
    drawn = [dict(demo.songs.lastfm_song(song, probability, rng)[2]) for _ in range(1500)]
    tagged = pd.DataFrame([probability.index.isin(tags) for tags in drawn if demo.songs.TAGS & tags.keys()])
    expected = probability / (1 - np.prod(1 - probability))  # drawn until it has a tag
    assert np.abs(tagged.mean().to_numpy() - expected).max() < 0.08


def test_the_oracle_knows_its_tags_and_leaves_room_for_learning(folder):
    for vocabulary in (MASON_TOP50, CHOI_TOP50):
        songs, _ = joining.join(msd.read_tracks(folder)[0], lastfm.read_tags(folder)[0], vocabulary, 252)
        oracle = demo.oracle(songs, folder)
        assert list(oracle["tag"]) == vocabulary
        assert 0.7 < oracle["auc"].mean() < 0.95 and oracle["auc"].between(0.49, 1).all()
    songs.attrs["vocabulary"] = ["rock", "no such tag"]
    assert np.isnan(demo.oracle(songs, folder)["auc"][1])
    assert demo.oracle(songs.assign(track_id="TR of another set"), folder)["auc"].isna().all()
    songs = pd.read_csv(folder / "oracle.csv").query("style == 'rock'")
    songs.attrs["vocabulary"] = MASON_TOP50
    assert demo.oracle(songs, folder)["auc"].to_numpy() == pytest.approx(0.5)  # nothing tells them apart


def test_the_oracle_is_the_mean_auc_of_the_true_probabilities_on_songs_that_have_a_tag(folder):
    """Songs without a tag of the vocabulary are not in the table: with few tags that changes much."""
    vocabulary = ["rock", "jazz", "folk"]
    songs = pd.read_csv(folder / "oracle.csv")
    songs.attrs["vocabulary"] = vocabulary
    probability = demo.songs.tag_probabilities().loc[songs["style"], vocabulary].to_numpy()
    rng, aucs = np.random.default_rng(0), []
    for _ in range(80):
        labels = rng.random(probability.shape) < probability
        while (without := ~labels.any(axis=1)).any():  # the song is another one of its style
            labels[without] = rng.random((without.sum(), 3)) < probability[without]
        true = probability / (1 - np.prod(1 - probability, axis=1, keepdims=True))
        aucs.append([roc_auc_score(labels[:, i], true[:, i]) for i in range(3)])
    assert demo.oracle(songs, folder)["auc"].to_numpy() == pytest.approx(np.mean(aucs, axis=0), abs=0.015)


def test_the_table_holds_the_labels_of_the_json_files_the_artists_of_the_msd_and_a_split_by_artist(sounding):
    table = pd.read_csv(sounding / "audio" / "tags.csv")
    assert list(table["path"]) == sorted(path.name for path in (sounding / "audio").glob("*.mp3"))
    tags = lastfm.read_tags(sounding)[0].set_index("track_id")["tags"].map(dict)
    expected = ["|".join(tag for tag in CHOI_TOP50 if tag in song) for song in tags[table["path"].str[:-4]]]
    assert list(table["tags"]) == expected and len(table) == sum(any(t in song for t in CHOI_TOP50) for song in tags)
    artists = msd.read_tracks(sounding)[0].set_index("track_id")["artist_name"]
    known = table[table["path"].str[:-4].isin(artists.index)]
    assert len(known) >= len(table) - 3 and list(known["artist"]) == list(artists[known["path"].str[:-4]])
    assert (table.groupby("artist")["split"].nunique() == 1).all()
    assert set(table["split"]) == {"train", "valid", "test"}


def test_recordings_are_30_seconds_of_sound_of_the_msd_file_whose_chroma_follows_its_chords(sounding):
    tracks = msd.read_tracks(sounding, fields=("tempo", "key", "mode"))[0].set_index("track_id")
    styles = pd.read_csv(sounding / "oracle.csv").set_index("track_id")["style"]
    right, wrong = [], []
    for path in (sounding / "audio").glob("*.mp3"):
        info, samples = soundfile.info(path), audio.load(path)
        assert (info.format, info.samplerate, info.channels) == ("MP3", audio.SR, 1)
        assert len(samples) == pytest.approx(30 * audio.SR, abs=audio.SR / 5)
        assert 0.05 < samples.std() < 0.6 and np.mean(np.abs(samples) > 0.999) < 0.03  # without clipping
        loudness = samples[: 29 * audio.SR].reshape(29, -1).std(axis=1)
        assert loudness.min() > 0.1 * loudness.max()  # no gaps
        if path.stem not in tracks.index:
            continue  # its MSD file is one of those that are broken on purpose
        rng = np.random.default_rng([SEED, int(path.stem[-7:], 16)])
        plan = demo.songs.draw_song(styles[path.stem], rng)[2]
        assert tracks.loc[path.stem, ["tempo", "key", "mode"]].tolist() == [plan[n] for n in ("tempo", "key", "mode")]
        chroma = audio.chroma(samples)
        starts = np.arange(demo.sound.OFFSET, 28, 240 / plan["tempo"]) * audio.SR / audio.HOP_LENGTH
        for (start, end), chord in zip(pairwise(np.round(starts).astype(int)), cycle(plan["chords"]), strict=False):
            mean = chroma[:, start:end].mean(axis=1)
            right.append(np.corrcoef(mean, chord)[0, 1])
            wrong.append(np.corrcoef(mean, np.roll(chord, 1))[0, 1])
    assert np.mean(right) > 0.6 and np.mean(wrong) < 0.1
