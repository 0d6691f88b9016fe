"""Collections of tagged recordings: labels and split from each layout, and the reason given for each malformed one."""

import csv

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import audio, datasets, demo, paths


def write_table(folder, text, name="tags.csv", encoding="utf-8"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return folder / name


def check(labels, split):
    assert (labels.dtypes == np.uint8).all() and labels.isin([0, 1]).all(axis=None)
    assert labels.index.equals(split.index) and set(split) == {"train", "valid", "test"}
    return labels, split


CLIPS = {"0/one.mp3": ["guitar", "slow"], "b/two.mp3": ["guitar"], "c/three.mp3": ["guitar", "no voice", "slow"],
         "d/four.mp3": ["weird"], "f/five.mp3": ["no voice"], "f/six.mp3": []}  # fmt: skip


def mtat(tags=("weird", "never", "slow", "no voice", "guitar"), clips=CLIPS):
    rows = [["clip_id", *tags, "mp3_path"]]
    rows += [[i, *(int(tag in carried) for tag in tags), path] for i, (path, carried) in enumerate(clips.items())]
    return pd.DataFrame(rows).to_csv(sep="\t", index=False, header=False, quoting=csv.QUOTE_ALL)


def test_magnatagatune_keeps_the_most_frequent_tags_and_the_clips_that_have_one(tmp_path):
    write_table(tmp_path, mtat(), "annotations_final.csv")
    labels, _ = check(*datasets.read(tmp_path))
    assert list(labels) == ["guitar", "no voice", "slow", "weird", "never"]  # by frequency, then by name
    assert list(labels.index) == [path for path, tags in CLIPS.items() if tags]
    assert labels.loc["c/three.mp3"].tolist() == [1, 1, 1, 0, 0]
    assert datasets.magnatagatune(tmp_path, num_tags=2)[0].shape == (4, 2)
    clips = {f"{folder}/clip.mp3": ["guitar"] for folder in "0123456789abcdef"}
    write_table(tmp_path, mtat(clips=clips), "annotations_final.csv")
    assert list(datasets.read(tmp_path)[1]) == ["train"] * 12 + ["valid"] + ["test"] * 3


SONGS = """path,tags,artist,split
rock/Jo\u0301ga.wav,Cafe\u0301|loud,The Xs,train
./rock//b.wav,"Caf\u00e9 | Loud, live| Caf\u00e9|",The Xs,valid
"c, d.flac",NA,NA,test
e.ogg,,The Ys,test
"""


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8", "\n"), ("utf-8-sig", "\r\n")])
def test_a_tagged_folder(tmp_path, encoding, newline):
    write_table(tmp_path, SONGS.replace("\n", newline), encoding=encoding)
    labels, split = check(*datasets.read(tmp_path))
    assert list(labels) == ["Caf\u00e9", "Loud, live", "NA", "loud"]  # by frequency, then by name; blanks do not count
    assert list(labels.index) == ["rock/J\u00f3ga.wav", "rock/b.wav", "c, d.flac"]  # e.ogg has no tag
    assert labels.to_numpy().tolist() == [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]]
    assert split.tolist() == ["train", "valid", "test"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        ("path,genre\na.wav,rock\n", "no column 'tags', only ['path', 'genre']"),
        ("path,tags,tags\na.wav,rock,pop\n", "two columns 'tags'"),
        ("path,tags\na.wav,\nb.wav,|\n", "no recording with a tag"),
        ("path,tags\nJo\u0301ga.wav,rock\n./J\u00f3ga.wav,pop\n", "J\u00f3ga.wav' twice"),
        *[(f"path,tags\n{path},rock\n", "must be relative") for path in ("b/../../a.wav", "/a.wav", "C:/a", "b\\a")],
        ("path,tags\nb.wav,pop\na,1.wav,rock\n", "in line 3"),
        ("path,tags\nJóga.wav,rock\n".encode("latin-1"), "UTF-8"),
        ("path,tags,split\na.wav,rock,train\nb.wav,rock\n", "part of b.wav is ''"),
        ("path,tags,split\na.wav,rock,train\nb.wav,,valid\nc.wav,rock,test\n", "is in 'valid'"),
        (mtat().rpartition("\t")[0], "must be relative"),  # cut off, as by a broken download
        (mtat().replace("f/five", "g/five"), "g/five.mp3 is"),
    ],
)
def test_malformed_tables(tmp_path, text, reason):
    source = write_table(tmp_path, text, "annotations_final.csv" if "clip_id" in str(text) else "tags.csv")
    with pytest.raises(ValueError) as error:
        datasets.read(tmp_path)
    assert reason in str(error.value) and str(source) in str(error.value)


def split_of(folder, num_artists, songs_each, spelt=str):
    rows = [(f"{a}_{s}.wav", "rock", f"Artist Ö{a}") for a in range(num_artists) for s in range(songs_each)]
    table = pd.DataFrame(rows, columns=["path", "tags", "artist"])
    table.loc[::2, "artist"] = table["artist"][::2].map(spelt)
    table.sample(frac=1, random_state=0).to_csv(folder / "tags.csv", index=False)
    return check(*datasets.read(folder))[1].sort_index()


def test_an_artists_songs_are_on_one_side_however_it_is_spelt_and_on_the_same_everywhere(tmp_path):
    split = split_of(tmp_path, 50, 4, lambda name: f" {name.upper().replace('Ö', 'o-')}.")
    sides = split.groupby(split.index.str.split("_").str[0]).agg(["first", "nunique"])
    assert (sides["nunique"] == 1).all()
    assert sides["first"].value_counts().to_dict() == {"train": 32, "test": 10, "valid": 8}
    # "artisto4" gives 017c..., "artisto2" 093a..., "artisto3" 2017..., "artisto6" 40e3....
    split = split_of(tmp_path, 10, 1)
    assert dict(split[split == "test"]) == {"2_0.wav": "test", "4_0.wav": "test"}
    assert dict(split[split == "valid"]) == {"3_0.wav": "valid", "6_0.wav": "valid"}
    assert split_of(tmp_path, 3, 2).value_counts().to_dict() == {"train": 2, "test": 2, "valid": 2}
    # A recording without an artist is its own.
    assert set(split_of(tmp_path, 1, 20, lambda name: "")) == set(datasets.PARTS)


def test_the_folder_with_recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ensure", lambda folder, sound=False: folder if sound else None)
    monkeypatch.setattr(paths, "DEMO", tmp_path / "demo")
    (tmp_path / "._song.mp3").touch()  # macOS leaves such
    assert datasets.audio_folder(tmp_path) == tmp_path / "demo" / "audio"
    with pytest.raises(FileNotFoundError, match=r"none of annotations_final\.csv, autotagging.*, tags\.csv"):
        datasets.read(tmp_path)
    (tmp_path / "song.MP3").touch()
    assert datasets.audio_folder(str(tmp_path)) == tmp_path
    (tmp_path / paths.DEMO_MARKER).touch()
    assert datasets.audio_folder(tmp_path) == tmp_path / "audio"  # made there


def test_spectrograms_come_with_their_labels_and_anew_when_something_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets.paths, "SNAPSHOTS", tmp_path / "snapshots")
    folder = tmp_path / "mine"
    folder.mkdir()
    names = [f"{part}{i}.wav" for part in datasets.PARTS for i in range(4)]
    for name in names[1:]:
        soundfile.write(folder / name, np.random.default_rng(0).normal(0, 0.1, 12_000), 12_000)
    (folder / "train0.wav").write_bytes(b"")
    rows = [f"{name},{'rock' if name[-5] == '1' else 'pop'},{name[:-5]}" for name in reversed(names)]
    write_table(folder, "\n".join(["path,tags,split", *rows]))
    x, labels, split, found = datasets.spectrograms(folder)
    assert found == folder and x.shape == (11, 96, 1366, 1) and "1 of 12 recordings left out" in capsys.readouterr().out
    assert list(labels.index) == list(split.index) == sorted(names[1:])
    assert (labels["rock"] == [name[-5] == "1" for name in labels.index]).all()
    expected = audio.log_mel(audio.load_clip(folder / labels.index[0]))
    np.testing.assert_allclose(x[0][:, :, 0], expected, atol=0.07)  # stored as float16
    x, labels, _, _ = datasets.spectrograms(folder, num_clips=2)  # from everywhere in the sorted paths
    assert list(labels.index) == ["test1.wav", "test3.wav", "train2.wav", "train3.wav", "valid1.wav", "valid3.wav"]
    (folder / "train0.wav").write_bytes((folder / "train1.wav").read_bytes())  # repaired
    assert len(again := datasets.spectrograms(folder)[0]) == 12 and again.fingerprint()[0] != x.fingerprint()[0]
    for i in range(4):
        (folder / f"valid{i}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mine, leaving out what cannot be read: .* 'valid'"):
        datasets.spectrograms(folder)


def test_artists_are_those_of_each_layout_or_else_the_path(tmp_path):
    write_table(tmp_path, "path,artist,tags\na.mp3,The Xs,slow\nb.mp3, THE XS!,slow\nc.mp3, ,slow\n")
    recordings = pd.Index(["c.mp3", "b.mp3", "a.mp3"])
    assert datasets.artists(tmp_path, recordings).to_dict() == {"c.mp3": "c.mp3", "b.mp3": "thexs", "a.mp3": "thexs"}
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    line = "track_1\tartist_7\talbum_2\t15/215.mp3\t151.4\tgenre---metal\tgenre---rock\n"
    write_table(tmp_path, header + line, "autotagging_top50tags-test.tsv")
    assert datasets.artists(tmp_path, pd.Index(["15/215.mp3"])).tolist() == ["artist7"]
    write_table(tmp_path, mtat(), "annotations_final.csv")
    clip = "f/some_band-an_album-01-song-30-59.mp3"
    assert datasets.artists(tmp_path, pd.Index([clip])).to_dict() == {clip: "someband"}
