"""The demo recordings: the same songs and labels as the demo MSD, audible tempo and harmony, the same bytes."""

import json
import shutil
from itertools import pairwise

import joblib
import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import audio, demo_audio, demo_data, lastfm, msd, paths
from helpers.tags import CHOI_TOP50


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return demo_data.generate(tmp_path_factory.mktemp("data") / "demo", num_tracks=80, seed=4)


@pytest.fixture(scope="module")
def recordings(demo):
    return demo_audio.ensure(demo)


@pytest.fixture(scope="module")
def table(recordings):
    return pd.read_csv(recordings / "tags.csv")


@pytest.fixture(scope="module")
def songs(demo, recordings, table):
    """Return what the MSD files say of each song that has a recording, with its samples and composition."""
    tracks, _ = msd.read_tracks(demo, fields=("tempo", "key", "mode", "bars_start"))
    styles = pd.read_csv(demo / "oracle.csv").set_index("track_id")["style"]
    tracks = tracks[(tracks["track_id"] + ".flac").isin(table["path"])]
    tracks["samples"] = [audio.load(recordings / f"{i}.flac") for i in tracks["track_id"]]
    numbers = [int(i[-7:], 16) for i in tracks["track_id"]]
    tracks["plan"] = [
        demo_data.draw_song(styles[i], np.random.default_rng([4, number]))[2]
        for i, number in zip(tracks["track_id"], numbers, strict=True)
    ]
    return tracks


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers(demo, recordings, tmp_path, monkeypatch):
    again = shutil.copytree(demo, tmp_path / "demo", ignore=shutil.ignore_patterns("audio"))
    monkeypatch.setattr(demo_audio, "Parallel", lambda n_jobs: joblib.Parallel(3, backend="threading"))
    assert contents(demo_audio.ensure(again)) == contents(recordings)


def test_recordings_are_30_seconds_of_sound_without_clipping(recordings, table):
    for name in table["path"]:
        info = soundfile.info(recordings / name)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", audio.SR, 1)
        samples = audio.load(recordings / name)
        assert samples.shape == (30 * audio.SR,)
        assert 0.05 < samples.std() < 0.6 and np.mean(np.abs(samples) > 0.999) < 1e-4
        assert abs(samples.mean()) < 0.01 and abs(samples[[0, -1]]).max() < 0.001  # no click where a player starts
        loudness = np.sqrt(np.mean(samples.reshape(30, -1) ** 2, axis=1))
        assert loudness.min() > 0.1 * loudness.max()  # no gaps


@pytest.mark.parametrize("style", demo_data.STYLES)
def test_render_gives_float32_between_minus_1_and_1_of_the_asked_length(style):
    song = demo_data.compose(style, 2, np.random.default_rng(0))  # two bars, so it is played again and again
    samples = demo_audio.render(style, song, np.random.default_rng(1), seconds=8.0)
    assert samples.dtype == np.float32 and samples.shape == (8 * audio.SR,)
    assert np.isfinite(samples).all() and np.abs(samples).max() <= 1
    other = demo_audio.render(style, song, np.random.default_rng(2), seconds=8.0)
    assert np.abs(samples - other).max() > 0.1  # every song is another recording


def test_the_table_holds_the_labels_of_the_json_files_and_the_artists_of_the_msd(demo, recordings, table):
    expected = {}
    for path in demo.rglob("*.json"):
        try:
            names = {name for name, _ in json.loads(path.read_text())["tags"]}
        except ValueError:
            continue  # the file that is broken on purpose
        if tags := [tag for tag in CHOI_TOP50 if tag in names]:
            expected[f"{path.stem}.flac"] = "|".join(tags)
    assert list(table.columns) == ["path", "artist", "tags"]
    assert table.set_index("path")["tags"].to_dict() == expected
    assert list(table["path"]) == sorted(path.name for path in recordings.glob("*.flac"))
    artists = msd.read_tracks(demo)[0].set_index("track_id")["artist_name"]
    known = table[table["path"].str[:-5].isin(artists.index)]
    assert len(known) >= len(table) - 3 and list(known["artist"]) == list(artists[known["path"].str[:-5]])
    assert len(lastfm.read_tags(demo)[0]) > len(table)


def test_the_oracle_of_the_demo_set_holds_for_the_recordings(demo, table):
    songs = pd.DataFrame({"track_id": table["path"].str[:-5]})
    songs.attrs["vocabulary"] = CHOI_TOP50
    assert 0.7 < demo_data.oracle(songs, demo)["auc"].mean() < 0.95


def test_the_composition_is_that_of_the_msd_file(songs):
    assert len(songs) > 15
    for song in songs.itertuples():
        assert (song.key, song.mode) == (song.plan["key"], song.plan["mode"])
        assert song.tempo == pytest.approx(song.plan["tempo"])
        assert song.bars_start[0] == pytest.approx(demo_audio.OFFSET)


def test_chroma_follows_the_chords(songs):
    right, wrong = [], []
    for song in songs.itertuples():
        chroma, chords = audio.chroma(song.samples), song.plan["chords"]
        starts = np.round(np.arange(0.1, 28, 240 / song.tempo) * audio.SR / audio.HOP_LENGTH).astype(int)
        for bar, (start, end) in enumerate(pairwise(starts)):
            mean, chord = chroma[:, start:end].mean(axis=1), chords[bar % len(chords)]
            right.append(np.corrcoef(mean, chord)[0, 1])
            wrong.append(np.corrcoef(mean, np.roll(chord, 1))[0, 1])
    assert np.mean(right) > 0.6 and np.mean(wrong) < 0.1


def test_the_tempo_of_the_msd_file_can_be_heard(songs):
    librosa = pytest.importorskip("librosa")
    excess = []
    for song in songs.itertuples():
        novelty = librosa.onset.onset_strength(S=audio.log_mel(song.samples), sr=audio.SR, hop_length=audio.HOP_LENGTH)
        novelty -= novelty.mean()
        repeats = np.correlate(novelty, novelty, "full")[len(novelty) - 1 :] / (novelty**2).sum()
        bar = 240 / song.tempo * audio.SR / audio.HOP_LENGTH
        nearby = repeats[round(0.8 * bar) : round(1.2 * bar)]
        excess.append(repeats[round(bar) - 1 : round(bar) + 2].max() - np.median(nearby))
    assert np.mean(excess) > 0.5 and np.mean(np.array(excess) > 0.2) > 0.85


def test_styles_sound_different():
    def brightness(style):
        """Return the mean spectral centroid of 12 songs in Hz."""
        songs = (demo_data.compose(style, 8, np.random.default_rng(i)) for i in range(12))
        played = [demo_audio.render(style, song, np.random.default_rng(i), 6.0) for i, song in enumerate(songs)]
        spectra = np.abs(np.fft.rfft(played))
        return np.mean(spectra @ (np.arange(spectra.shape[1]) / 6) / spectra.sum(axis=1))

    ambient, folk, metal = (brightness(style) for style in ("ambient", "folk", "metal"))
    assert ambient + 100 < folk and folk + 100 < metal


def test_recordings_are_labelled_synthetic_and_made_once(demo, recordings, monkeypatch):
    marker = json.loads((recordings / paths.DEMO_MARKER).read_text())
    assert paths.is_synthetic(recordings) and marker["version"] == demo_audio.VERSION and "Synthetic" in marker["note"]
    monkeypatch.setattr(demo_audio, "render", None)  # would fail if called
    assert demo_audio.ensure(demo) == recordings


def test_recordings_of_an_older_version_are_replaced(tmp_path, monkeypatch):
    demo = demo_data.generate(tmp_path / "demo", num_tracks=15)
    (demo_audio.ensure(demo) / "old.flac").touch()
    monkeypatch.setattr(demo_audio, "VERSION", demo_audio.VERSION + 1)
    assert not (demo_audio.ensure(demo) / "old.flac").exists()


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    demo = demo_data.generate(tmp_path / "demo", num_tracks=15)
    before = set(demo.iterdir())
    monkeypatch.setattr(demo_audio, "_master", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        demo_audio.ensure(demo)
    assert set(demo.iterdir()) == before


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no demo set"):
        demo_audio.ensure(tmp_path)
    demo = demo_data.generate(tmp_path / "demo", num_tracks=15)
    (demo / "audio").mkdir()
    (demo / "audio" / "precious.flac").write_text("mine")
    with pytest.raises(FileExistsError, match="move them elsewhere"):
        demo_audio.ensure(demo)
    assert (demo / "audio" / "precious.flac").read_text() == "mine"
