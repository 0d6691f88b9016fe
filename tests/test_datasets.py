"""Collections of tagged recordings: labels and split from each layout, and the reason given for each malformed one."""

import csv
import io
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import audio, datasets, demo_audio, demo_data
from helpers.tags import CHOI_TOP50


def write_table(folder, text, name="tags.csv", **encoding):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(**encoding))
    return folder / name


def write_audio(path, seconds=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * 12_000))
    soundfile.write(path, samples, 12_000)


def check(labels, split):
    """What every reader must return."""
    assert (labels.dtypes == np.uint8).all() and labels.isin([0, 1]).all(axis=None)
    assert labels.index.name == "path" and labels.index.is_unique and split.name == "split"
    assert labels.index.equals(split.index) and split.isin(["train", "valid", "test"]).all()
    return labels, split


# --- MagnaTagATune -------------------------------------------------------------------------------------------

CLIPS = {  # path: tags
    "0/one-0-29.mp3": ["guitar", "slow"],
    "b/two-0-29.mp3": ["guitar"],
    "c/three-0-29.mp3": ["guitar", "no voice", "slow"],
    "d/four-0-29.mp3": ["weird"],
    "f/five-0-29.mp3": ["no voice"],
    "f/six-0-29.mp3": [],
}


def mtat(tags=("weird", "slow", "no voice", "guitar"), clips=CLIPS, quoted=True):
    """Return a table in the layout of annotations_final.csv."""
    rows = [["clip_id", *tags, "mp3_path"]]
    rows += [[i, *(int(tag in carried) for tag in tags), path] for i, (path, carried) in enumerate(clips.items())]
    file = io.StringIO()
    csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("quoted", [True, False])
def test_magnatagatune_keeps_the_most_frequent_tags_and_the_clips_that_have_one(tmp_path, quoted):
    write_table(tmp_path, mtat(quoted=quoted), "annotations_final.csv")
    labels, split = check(*datasets.read(tmp_path))
    assert list(labels) == ["guitar", "no voice", "slow", "weird"]  # by frequency, then by name
    assert list(labels.index) == [path for path, tags in CLIPS.items() if tags]
    assert labels.loc["c/three-0-29.mp3"].tolist() == [1, 1, 1, 0]
    assert split.to_dict() == dict(zip(labels.index, ["train", "train", "valid", "test", "test"], strict=True))
    labels, split = check(*datasets.magnatagatune(tmp_path, num_tags=2))
    assert list(labels) == ["guitar", "no voice"] and "d/four-0-29.mp3" not in labels.index and len(labels) == 4


def test_every_folder_of_magnatagatune_is_in_one_part(tmp_path):
    clips = {f"{folder}/clip.mp3": ["guitar"] for folder in "0123456789abcdef"}
    write_table(tmp_path, mtat(clips=clips), "annotations_final.csv")
    assert "".join(datasets.magnatagatune(tmp_path)[1].str[0]) == "t" * 12 + "v" + "t" * 3
    assert datasets.magnatagatune(tmp_path)[1].value_counts().to_dict() == {"train": 12, "valid": 1, "test": 3}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (mtat().replace("\t", ","), "tab-separated"),
        (mtat().replace("mp3_path", "path"), "tab-separated"),
        (mtat().replace('"1"\t"c/', '"2"\t"c/'), "neither 0 nor 1"),
        (mtat().replace('"1"\t"c/', '""\t"c/'), "neither 0 nor 1"),
        (mtat(quoted=False).rpartition("\t")[0], "the path ''"),  # cut off, as by a broken download
        (mtat(quoted=False).rpartition("\t")[0][:-3], "neither 0 nor 1"),
        (mtat().replace("f/five", "g/five"), "g/five-0-29.mp3 is in none of the folders"),
        (mtat().replace("f/five", "american/five"), "american/five-0-29.mp3 is in none of the folders"),
        (mtat().replace("f/five", "f/six"), "twice"),
        (mtat().replace("f/five", "../five"), "must be relative"),
        (mtat(tags=()), "tab-separated columns clip_id, one a tag, and mp3_path"),
    ],
)
def test_malformed_annotations(tmp_path, text, reason):
    source = write_table(tmp_path, text, "annotations_final.csv")
    with pytest.raises(ValueError, match="annotations_final") as error:
        datasets.read(tmp_path)
    assert reason in str(error.value) and str(source) in str(error.value)


def test_extraction_lists_the_clips_that_are_missing_or_empty(tmp_path):
    write_table(tmp_path, mtat(), "annotations_final.csv")
    for path in ["0/one-0-29.mp3", "c/three-0-29.mp3", "d/four-0-29.mp3"]:
        write_audio(tmp_path / path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/two-0-29.mp3").touch()
    labels, split = datasets.read(tmp_path)
    broken = audio.extract(tmp_path, tmp_path / "out.h5", labels, num_workers=1).set_index("path")["reason"]
    assert list(broken.index) == [str(tmp_path / "b/two-0-29.mp3"), str(tmp_path / "f/five-0-29.mp3")]
    assert "empty file" in broken.iloc[0] and "No such file" in broken.iloc[1]
    with h5py.File(tmp_path / "out.h5") as file:
        ids = list(file["ids"].asstr())
        assert list(file["tags"].asstr()) == list(labels) and file["mel"].shape == (3, 96, 1366)
        np.testing.assert_array_equal(file["labels"], labels.loc[ids])
    assert split[ids].tolist() == ["train", "valid", "test"]


# --- any folder with tags.csv --------------------------------------------------------------------------------

SONGS = """path,tags,artist,split
rock/a.wav,rock|loud,The Xs,train
./rock//b.wav,"rock | Loud, live| rock|",The Xs,valid
"c, d.flac",NA,NA,test
e.ogg,,The Ys,test
"""


def test_a_tagged_folder(tmp_path):
    write_table(tmp_path, SONGS)
    labels, split = check(*datasets.read(tmp_path))
    assert list(labels) == ["rock", "Loud, live", "NA", "loud"]  # by frequency, then by name; blanks do not count
    assert list(labels.index) == ["rock/a.wav", "rock/b.wav", "c, d.flac"]  # e.ogg has no tag
    assert labels.to_numpy().tolist() == [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]]
    assert split.tolist() == ["train", "valid", "test"]
    labels, _ = datasets.tagged_folder(tmp_path / "tags.csv", num_tags=1)
    assert list(labels) == ["rock"] and len(labels) == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_encodings_of_a_table(tmp_path, encoding, newline):
    write_table(tmp_path, "path,tags,split\nJóga.wav,glück,train\n".replace("\n", newline), encoding=encoding)
    labels, _ = check(*datasets.read(tmp_path))
    assert list(labels) == ["glück"] and list(labels.index) == ["Jóga.wav"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no column 'path'"),
        ("path,tags\n", "lists no recordings"),
        ("path,genre\na.wav,rock\n", "no column 'tags', only ['path', 'genre']"),
        ("path;tags\na.wav;rock\n", "commas"),
        ("path,tags\na.wav,\nb.wav,|\n", "0 tags"),
        ("path,tags\na.wav,rock\n./a.wav,pop\n", "'a.wav' twice"),
        ("path,tags\n../a.wav,rock\n", "must be relative"),
        ("path,tags\nb/../../a.wav,rock\n", "must be relative"),
        ("path,tags\n/a.wav,rock\n", "must be relative"),
        ("path,tags\nC:/a.wav,rock\n", "must be relative"),
        ("path,tags\nb\\a.wav,rock\n", "with '/'"),
        ("path,tags\n,rock\n", "must be relative"),
        ("path,tags\n.,rock\n", "must be relative"),
        ("path,tags\nb.wav,pop\na,1.wav,rock\n", "line 3"),
        ("path,tags\nb.wav\n", "line 2"),
        ('path,tags\n"b.wav,rock\n', "cannot be read"),
        ("path,tags\nJóga.wav,rock\n".encode("latin-1"), "UTF-8"),
        ("path,tags\na.wav,rock\n".encode("utf-16"), "UTF-8"),
        ("path,tags,split\na.wav,rock,validation\n", "the split of a.wav is 'validation'"),
        ("path,tags,split\na.wav,rock,train\nb.wav,rock,\n", "the split of b.wav is ''"),
        ("path,tags\na.wav,rock\nb.wav,pop\n", "2 artists"),
    ],
)
def test_malformed_tables(tmp_path, text, reason):
    source = write_table(tmp_path, text)
    with pytest.raises(ValueError, match="tags") as error:
        datasets.read(tmp_path)
    assert reason in str(error.value) and str(source) in str(error.value)


def test_no_tags_asked_for(tmp_path):
    with pytest.raises(ValueError, match="num_tags is 0"):
        datasets.tagged_folder(write_table(tmp_path, SONGS), num_tags=0)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(cells, st.lists(cells, max_size=4), cells), min_size=1, max_size=8))
def test_any_table_is_read_as_written_or_refused(tmp_path, rows):
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
        [("path", "tags", "artist"), *((path, "|".join(tags), artist) for path, tags, artist in rows)]
    )
    source = write_table(tmp_path, file.getvalue())
    try:
        labels, _ = check(*datasets.tagged_folder(source, num_tags=99))
    except ValueError as error:
        assert str(source) in str(error)
        return
    carried = {tuple(sorted({part.strip() for tag in tags for part in tag.split("|")} - {""})) for _, tags, _ in rows}
    assert {tuple(sorted(row.index[row == 1])) for _, row in labels.iterrows()} == carried - {()}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=60) | st.text('path,tags\n"|;/. \ufeff', max_size=60).map(str.encode))
def test_no_content_ends_in_another_error(tmp_path, content):
    for name, reader in [("tags.csv", datasets.tagged_folder), ("annotations_final.csv", datasets.magnatagatune)]:
        source = write_table(tmp_path, content, name)
        with pytest.raises(ValueError, match=name):
            reader(source if name == "tags.csv" else tmp_path)


# --- the split by artist -------------------------------------------------------------------------------------


def songs_of(num_artists, songs_each, spelt=str):
    rows = [(f"{a}_{s}.wav", "rock", spelt(f"Artist Ö{a}")) for a in range(num_artists) for s in range(songs_each)]
    return pd.DataFrame(rows, columns=["path", "tags", "artist"])


def split_of(folder, table):
    table.to_csv(folder / "tags.csv", index=False)
    return check(*datasets.read(folder))[1]


def test_an_artists_songs_are_on_one_side(tmp_path):
    table = songs_of(50, 4)
    split = split_of(tmp_path, table)
    sides = split.groupby(table.set_index("path")["artist"]).agg(["first", "nunique"])
    assert (sides["nunique"] == 1).all()
    assert sides["first"].value_counts().to_dict() == {"train": 32, "test": 10, "valid": 8}
    # Another order of the lines, other spellings and other tags move nothing.
    shuffled = split_of(tmp_path, table.sample(frac=1, random_state=0))
    pd.testing.assert_series_equal(shuffled.sort_index(), split.sort_index())
    for i, spelt in enumerate([str.upper, lambda name: name.replace("Ö", "o-"), lambda name: f" {name}."]):
        table.loc[i::4, "artist"] = table["artist"][i::4].map(spelt)
    pd.testing.assert_series_equal(split_of(tmp_path, table), split)


def test_the_split_is_the_same_everywhere(tmp_path):
    """ "artisto4" gives 017c..., "artisto2" 093a..., "artisto3" 2017..., "artisto6" 40e3...."""
    split = split_of(tmp_path, songs_of(10, 1))
    expected = {"2_0.wav": "test", "4_0.wav": "test", "3_0.wav": "valid", "6_0.wav": "valid"}
    assert dict(split[split != "train"]) == expected


@pytest.mark.parametrize("num_artists", [3, 4, 7])
def test_few_artists_still_fill_every_part(tmp_path, num_artists):
    counts = split_of(tmp_path, songs_of(num_artists, 2)).value_counts()
    assert set(counts.index) == {"train", "valid", "test"} and counts["train"] == counts.max()


def test_without_artists_each_recording_is_its_own(tmp_path):
    table = songs_of(5, 4)
    split = split_of(tmp_path, table.drop(columns="artist"))
    assert split.value_counts().to_dict() == {"train": 13, "test": 4, "valid": 3}
    pd.testing.assert_series_equal(split_of(tmp_path, table.assign(artist=" ")), split)


# --- Choi's split --------------------------------------------------------------------------------------------

SIZES = {"train": 6, "valid": 2, "test": 3}


@pytest.fixture
def choi(tmp_path):
    """Write the files of MSD_split_for_tagging, small; return (folder, the labels by part)."""
    labels, number = {}, 0
    for part, size in SIZES.items():
        numbers = range(number, number := number + size)
        (tmp_path / f"{part}_x_filename.txt").write_text("".join(f"{n % 10}/0/{n}.npy\n" for n in numbers))
        (tmp_path / f"{part}_x_msd_id.txt").write_text("".join(f"TRAAAAA128F{n:07}\n" for n in numbers))
        labels[part] = np.random.default_rng(size).random((size, 50)) < 0.1
        np.save(tmp_path / f"{part}_y.npy", labels[part])
    return tmp_path, labels


@pytest.mark.parametrize("dtype", [bool, "u1", "i8", "f4", "f8"])
def test_choi_split(choi, dtype):
    folder, expected = choi
    for part, y in expected.items():
        np.save(folder / f"{part}_y.npy", y.astype(dtype))
    labels, split = check(*datasets.read(folder))
    assert list(labels) == CHOI_TOP50 and labels.index[-1] == "0/0/10.clip.mp3"
    assert split.value_counts().to_dict() == SIZES
    for part, y in expected.items():
        np.testing.assert_array_equal(labels[split == part], y)
    tracks = datasets.choi_tracks(folder)
    assert tracks.index.equals(labels.index) and tracks["split"].equals(split)
    assert tracks.loc["0/0/10.clip.mp3", "track_id"] == "TRAAAAA128F0000010"


def test_other_lists_of_clips(choi):
    folder, expected = choi
    (folder / "valid_x_filename.txt").write_text("1/0/1.npy\r\nmy/8.wav")  # the first is in train, too
    labels, split = check(*datasets.read(folder))
    assert len(labels) == 10 and "my/8.wav" in labels.index and split["1/0/1.clip.mp3"] == "train"
    np.testing.assert_array_equal(labels.loc["1/0/1.clip.mp3"], expected["train"][1])
    assert list(datasets.choi_tracks(folder).loc["1/0/1.clip.mp3", "split"]) == ["train", "valid"]


def test_choi_split_with_a_file_missing(choi):
    (choi[0] / "train_y.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks train_y\.npy; see data/README\.md"):
        datasets.read(choi[0])


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (np.zeros((3, 50)), "(3, 50)"),
        (np.zeros((2, 49)), "(2, 49)"),
        (np.zeros(100), "(100,)"),
        (np.full((2, 50), 0.5), "zeros and ones"),
        (np.full((2, 50), np.nan), "zeros and ones"),
        (np.full((2, 50), "0"), "zeros and ones"),
        (np.full((2, 50), None), "cannot be read"),
        (b"", "cannot be read"),
        (b"not an array", "cannot be read"),
    ],
)
def test_malformed_choi_labels(choi, y, reason):
    source = choi[0] / "valid_y.npy"
    source.write_bytes(y) if isinstance(y, bytes) else np.save(source, y, allow_pickle=True)
    with pytest.raises(ValueError, match="valid_y") as error:
        datasets.read(choi[0])
    assert reason in str(error.value)


def test_a_cut_off_choi_file(choi):
    source = choi[0] / "test_y.npy"
    source.write_bytes(source.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"test_y\.npy cannot be read"):
        datasets.read(choi[0])
    (choi[0] / "valid_x_msd_id.txt").write_text("TRAAAAA128F0000001\n")
    with pytest.raises(ValueError, match=r"valid_x_filename\.txt has 2 lines, valid_x_msd_id\.txt 1"):
        datasets.read(choi[0])


# --- finding a collection ------------------------------------------------------------------------------------


def test_no_collection(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"annotations_final\.csv, tags\.csv, train_x_msd_id\.txt"):
        datasets.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        datasets.tagged_folder(tmp_path / "tags.csv")
    with pytest.raises(FileNotFoundError):
        datasets.audio_folder(tmp_path / "none")


@pytest.fixture
def asked(monkeypatch, tmp_path_factory):
    """Replace the demo's recordings; return the list of the folders for which they were asked."""
    asked = []
    monkeypatch.setattr(demo_audio, "ensure", lambda demo="the default": asked.append(demo) or f"audio of {demo}")
    return asked


def test_the_folder_with_recordings(tmp_path, asked, write_song):
    assert datasets.audio_folder(tmp_path) == "audio of the default"
    write_song(tmp_path / "A/song.h5")
    (tmp_path / "A/._song.mp3").touch()  # macOS leaves such
    assert datasets.audio_folder(tmp_path) == "audio of the default"
    (tmp_path / "A/B").mkdir()
    (tmp_path / "A/B/song.MP3").touch()
    assert datasets.audio_folder(str(tmp_path)) == tmp_path and asked == ["the default"] * 2


def test_the_demos_recordings(tmp_path, asked):
    demo = tmp_path / "demo"
    (demo / "audio").mkdir(parents=True)
    (demo / demo_data.paths.DEMO_MARKER).touch()
    write_audio(demo / "audio" / "song.flac")
    assert datasets.audio_folder(demo) == f"audio of {demo}" and asked == [demo]
    # Given the recordings' own folder, which is marked, too:
    shutil.copy(demo / demo_data.paths.DEMO_MARKER, demo / "audio")
    write_table(demo / "audio", "path,tags\nsong.flac,rock\n")
    assert datasets.audio_folder(demo / "audio") == demo / "audio" and asked == [demo]


def test_a_real_demo_set(tmp_path):
    demo_data.generate(tmp_path / "demo", num_tracks=15)
    labels, split = check(*datasets.read(datasets.audio_folder(tmp_path / "demo")))
    assert set(labels) <= set(CHOI_TOP50) and split.nunique() == 3


def test_real_folders(real_data, tmp_path, asked):
    assert datasets.audio_folder(real_data / "msd_real") == "audio of the default"
    folder = datasets.audio_folder(real_data / "audio_real")
    assert folder == real_data / "audio_real" and len(asked) == 1
    # A student's own table for the recordings there: awkward names, two of them broken.
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / name, tmp_path / name)
    pd.DataFrame({"path": names, "tags": "real"}).to_csv(tmp_path / "tags.csv", index=False)
    labels, split = check(*datasets.read(tmp_path))
    broken = audio.extract(tmp_path, tmp_path / "out.h5", labels, num_workers=1)
    assert sorted(broken["path"]) == [str(tmp_path / "broken" / name) for name in ("empty.mp3", "text_named.wav")]
    with h5py.File(tmp_path / "out.h5") as file:
        assert len(file["ids"]) == len(names) - 2 and set(file["ids"].asstr()) < set(split.index)


def test_spectrograms_come_with_their_labels_and_without_broken_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.paths, "SNAPSHOTS", tmp_path / "snapshots")
    folder = tmp_path / "mine"
    names = [f"{part}{i}.wav" for part in datasets.PARTS for i in range(3)]
    for name in names:
        write_audio(folder / name)
    (folder / "train0.wav").write_bytes(b"")
    rows = [f"{name},{'rock' if name[-5] == '1' else 'pop'},{name[:-5]}" for name in reversed(names)]
    write_table(folder, "\n".join(["path,tags,split", *rows]))
    x, labels, split, found = datasets.spectrograms(folder)
    assert found == folder and x.shape == (8, 96, 1366, 1) and x.dtype == np.float32
    assert list(labels.index) == list(split.index) == sorted(names[1:])
    assert (labels["rock"] == [name[-5] == "1" for name in labels.index]).all()
    expected = audio.log_mel(audio.load_clip(folder / labels.index[0]))
    np.testing.assert_allclose(x[0][:, :, 0], expected, atol=0.07)  # stored as float16
    x, labels, split, _ = datasets.spectrograms(folder, num_clips=1)
    assert len(x) == 3 and list(labels.index) == ["test0.wav", "train1.wav", "valid0.wav"]


def test_untagged_recordings_give_way_to_the_demo_songs(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.paths, "SNAPSHOTS", tmp_path / "snapshots")
    write_audio(tmp_path / "mine" / "a.wav")
    demo_data.generate(tmp_path / "demo", num_tracks=15)
    songs = demo_audio.ensure(tmp_path / "demo")
    monkeypatch.setattr(demo_audio, "ensure", lambda: songs)
    x, labels, _, found = datasets.spectrograms(tmp_path / "mine")
    assert found == songs and len(x) == len(labels) == len(list(songs.glob("*.flac")))
    soundfile.write(songs / labels.index[0], np.zeros(12_000), 12_000)  # as a newer generator might
    x, *_ = datasets.spectrograms(tmp_path / "mine")
    assert (x[0] == -100).all() and (tmp_path / "snapshots" / "demo_mel.h5").exists()
