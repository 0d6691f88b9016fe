"""helpers.billboard: the McGill Billboard collection as MSD and last.fm files."""

import hashlib
import shutil
import tarfile

import numpy as np
import pytest

from helpers import billboard, download, joining, lastfm, msd, tags

INDEX = "id,chart_date,target_rank,actual_rank,title,artist,peak_rank,weeks_on_chart\n1,1961-07-03,9,,,,,\n"
CHORDS = "# title: x\n# metre: {metre}\n# tonic: C\n\n0.0\tA, intro, | C:sus4(b7,9) | C:maj |, ({lead}\n9.5\tend\n"


def chroma(bins, frames=90):
    """Return CSV text of `frames` frames; `bins`: 24 numbers a frame, the first of them of the bass's A."""
    rows = (",".join(["", f"{i * billboard.STEP:.9f}", *map(str, bins(i))]) for i in range(frames))
    return '"/tmp/audio.wav"' + "\n".join(rows) + "\n"


def loud(i):
    return [9, *[0] * 11, 1 + i % 6, 7, *[0] * 10]  # bass A; treble A from 1 to 6 and A sharp


def collection(folder, changes=()):
    """Write an unpacked collection of 17 songs; return its folder. `changes`: path below it -> text."""
    leads = ["guitar", "electric guitar)", "synth", "horns ", "voice"] + ["hammond organ)"] * 12
    files = {"billboard-2.0-index.csv": INDEX}
    for i, lead in enumerate(leads, start=3):
        files["billboard-2.0-index.csv"] += f'{i},1964-05-02,9,9,Song {i},"The Xs,Ys",9,9\n'
        files[f"McGill-Billboard/{i:04d}/bothchroma.csv"] = chroma(loud)
        metre = "12/8" if i == 4 else "4/4"
        files[f"McGill-Billboard/{i:04d}/salami_chords.txt"] = CHORDS.format(metre=metre, lead=lead)
    for name, text in {**files, **dict(changes)}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def pack(source, folder):
    """Write `source` as the two official archives, with names that would lead out of the folder, and the index."""
    folder.mkdir()
    (folder / billboard.INDEX).write_bytes((source / billboard.INDEX).read_bytes())
    for name, archive in billboard.ARCHIVES.items():
        with tarfile.open(folder / archive, "w:gz") as members:
            for path in sorted(source.rglob(name)):
                members.add(path, f"../../{path.relative_to(source)}")
    return folder


def read(out):
    tracks, broken = msd.read_tracks(out, fields=("segments_start", "segments_timbre", "duration", "year"))
    tag_table, broken_tags = lastfm.read_tags(out)
    assert broken.empty and broken_tags.empty
    return tracks, {row.track_id: [tag for tag, _ in row.tags] for row in tag_table.itertuples()}


def test_chroma_becomes_segments(tmp_path):
    silent = chroma(lambda i: [0] * 24 if i < 6 else loud(i), frames=95)
    source = collection(tmp_path / "in", {"McGill-Billboard/0003/bothchroma.csv": silent})
    tracks, _ = read(billboard.convert(source, tmp_path / "out"))
    song = tracks.iloc[0]
    assert tracks["track_id"].str.fullmatch("TR[A-Z0-9]{16}").all() and tracks["track_id"].is_unique
    assert (song["title"], song["artist_name"], song["year"]) == ("Song 3", "The Xs,Ys", 1964)
    assert song["num_segments"] == 15  # of six frames each; five are left over
    assert (song["segments_pitches"][0] == 1).all()  # silence
    expected = np.zeros(12, np.float32)
    expected[9:11] = 0.5, 1  # treble alone, from C; A has the mean of 1 to 6, of 7
    np.testing.assert_allclose(song["segments_pitches"][1:], np.tile(expected, (14, 1)))
    np.testing.assert_allclose(song["segments_start"], np.arange(15) * 6 * 2048 / 44100, atol=1e-8)
    assert song["duration"] == pytest.approx(95 * 2048 / 44100) and not song["segments_timbre"].any()


def test_tags(tmp_path):
    out = billboard.convert(collection(tmp_path / "in"), tmp_path / "out")
    first = [["guitar"], ["guitar", "triple metre"], ["synthesizer"], ["brass"], [], ["hammond organ"]]  # no voice
    assert list(read(out)[1].values())[:6] == [["60s", *others] for others in first]
    assert tags.vocabulary(out) == ["60s"]  # the others have fewer than 15 songs
    (out / "vocabulary.txt").write_bytes("\ufeffcafe\u0301\r\n\r\nrock\r\n".encode())  # changed by hand
    assert tags.vocabulary(out) == ["caf\xe9", "rock"]
    for content in ("rock".encode("utf-16"), b"\r\n", b"pop\npop"):
        (out / "vocabulary.txt").write_bytes(content)
        with pytest.raises(ValueError, match=r"vocabulary\.txt (is not in UTF-8|holds \d tags)"):
            tags.vocabulary(out)


def test_broken_chroma_is_listed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(billboard, "MIN_SONGS", 13)
    contents = [b"", chroma(loud)[:-30], chroma(loud, 5), chroma(lambda i: ["nan"] * 24)]
    files = {f"McGill-Billboard/{slot:04d}/bothchroma.csv": content for slot, content in enumerate(contents, 3)}
    tracks, _ = read(billboard.convert(collection(tmp_path / "in", files), tmp_path / "out"))
    assert list(tracks["title"]) == [f"Song {i}" for i in range(7, 20)]
    assert "13 songs, 1 tags, 4 broken files\n  0003 (Song 3): " in capsys.readouterr().out


def test_downloaded_and_converted_once_whole_or_not_at_all(tmp_path, monkeypatch):
    plain = collection(tmp_path / "in")
    source = pack(plain, tmp_path / "packed")
    monkeypatch.setattr(download, "BILLBOARD", [(path.name, "", 0, "") for path in source.iterdir()])
    shutil.copytree(source, tmp_path / "out-archives")  # the files are not fetched again
    out = download.billboard(tmp_path / "out")
    monkeypatch.setattr(download, "fetch", None)
    assert download.billboard(out) == out
    tracks = read(billboard.convert(plain, tmp_path / "plain"))[0]
    assert all(map(np.array_equal, tracks["segments_pitches"], read(out)[0]["segments_pitches"]))
    with pytest.raises(FileExistsError, match="delete it or name another folder"):
        billboard.convert(plain, out)
    archive = source / billboard.ARCHIVES["bothchroma.csv"]
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"chordino\.tar\.gz is damaged .*download it again"):
        billboard.convert(source, tmp_path / "new")
    archive.unlink()
    with pytest.raises(ValueError, match="no tag has 15 songs"):
        billboard.convert(source, tmp_path / "new")
    assert {p.name for p in tmp_path.iterdir()} == {"in", "out", "out-archives", "packed", "plain"}  # nothing else


def test_the_collection_itself(tmp_path, real_data):
    source = real_data / "billboard"
    if not (source / billboard.INDEX).is_file():
        pytest.skip("the McGill Billboard collection is not there")
    assert hashlib.md5((source / billboard.INDEX).read_bytes()).hexdigest() == download.BILLBOARD[0][3]
    out = billboard.convert(source, tmp_path / "billboard")
    tracks, carried = read(out)
    vocabulary = tags.vocabulary(out)
    kept = [len(joining.join(tracks, lastfm.read_tags(out)[0], vocabulary, n)[0]) for n in (12, 252, 512, 1024)]
    assert (len(tracks), *kept) == (742, 742, 742, 688, 85)
    assert {tag: sum(tag in song for song in carried.values()) for tag in vocabulary} == {
        **{"60s": 216, "70s": 260, "80s": 214, "90s": 31, "50s": 21, "triple metre": 50, "bass": 26},
        **{"guitar": 372, "synthesizer": 124, "piano": 76, "brass": 61, "drums": 55, "saxophone": 55},
        **{"strings": 52, "organ": 30, "harmonica": 19},
    }
    assert tracks["num_segments"].median() == 751
    assert all((song.max(axis=1) == 1).all() for song in tracks["segments_pitches"])
