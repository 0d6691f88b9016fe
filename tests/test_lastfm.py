"""Reading last.fm files: what a good one gives, and the reason given for each kind of bad one."""

import json
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import joining, msd
from helpers.lastfm import MAX_BYTES, read_database, read_tags

SONG = {
    "artist": "Björk",
    "timestamp": "2011-08-12 10:52:26.737855",
    "similars": [["TRWLTHZ128E0791C5A", 1], ["TRHPRYG128F9307FC4", 0.5]],
    "tags": [["electronic", "100"], ["female vocalists", "61"], ["Mellow", "0"]],
    "track_id": "TRAAAAA128F0000001",
    "title": "Jóga",
}


def read_one(folder, content):
    folder.mkdir(exist_ok=True)
    (folder / "song.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    tags, broken = read_tags(folder, num_workers=1)
    assert len(tags) + len(broken) == 1
    return tags, broken


@pytest.mark.parametrize("escaped", [True, False])
def test_a_good_file(tmp_path, escaped):
    tags, broken = read_one(tmp_path, json.dumps(SONG, ensure_ascii=escaped).encode())
    assert broken.empty and list(tags.columns) == ["track_id", "title", "artist_name", "tags"]
    row = tags.iloc[0]
    assert (row["track_id"], row["title"], row["artist_name"]) == ("TRAAAAA128F0000001", "Jóga", "Björk")
    assert row["tags"] == [("electronic", 100), ("female vocalists", 61), ("Mellow", 0)]


def test_repeated_tag_is_kept_once_with_its_higher_count(tmp_path):
    tags, _ = read_one(tmp_path, SONG | {"tags": [["rock", "100"], ["a", "3"], ["b", "2"], ["a", "9"], ["b", "1"]]})
    assert tags["tags"][0] == [("rock", 100), ("a", 9), ("b", 2)]


def test_no_tags_and_no_files(tmp_path):
    tags, _ = read_one(tmp_path / "song", SONG | {"tags": []})
    assert tags["tags"][0] == []
    (tmp_path / "empty").mkdir()
    empty, broken = read_tags(tmp_path / "empty")
    assert list(empty.columns) == list(tags.columns) and len(empty) == len(broken) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "not JSON: "),
        (json.dumps(SONG).encode()[:-40], "not JSON: "),
        (json.dumps(SONG, ensure_ascii=False).encode("latin-1"), "not UTF-8"),
        ([SONG], "not a JSON object"),
        ({k: v for k, v in SONG.items() if k != "tags"}, "no key 'tags'"),
        ({k: v for k, v in SONG.items() if k != "artist"}, "no key 'artist'"),
        (SONG | {"title": 7}, "'title' is not a string"),
        (SONG | {"track_id": None}, "'track_id' is not a string"),
        (SONG | {"track_id": ""}, "the track_id is empty"),
        (SONG | {"tags": {"rock": "100"}}, "'tags' is not a list"),
        (SONG | {"tags": ["a1"]}, "not a [tag, count] pair: a1"),
        (SONG | {"tags": [["rock", "100", "x"]]}, "not a [tag, count] pair"),
        (SONG | {"tags": [[None, "100"]]}, "not a [tag, count] pair"),
        (SONG | {"tags": [["rock", "101"]]}, "the count of tag 'rock' is not an integer from 0 to 100: 101"),
        (SONG | {"tags": [["rock", "-1"]]}, "the count of tag 'rock' is not"),
        (SONG | {"tags": [["rock", "5.5"]]}, "the count of tag 'rock' is not"),
        (SONG | {"tags": [["rock", True]]}, "the count of tag 'rock' is not"),
        (SONG | {"title": "half \ud83d a character"}, "a name or tag is not UTF-8"),
        (SONG | {"tags": [["\udc00", "1"]]}, "a name or tag is not UTF-8"),
        (json.dumps(SONG).encode() + b" " * MAX_BYTES, "10,000,271 bytes: not the file of a single song"),
        (b'{"tags": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "nested too deeply"),
    ],
)
def test_reasons(tmp_path, content, reason):
    tags, broken = read_one(tmp_path, content)
    assert tags.empty and broken["reason"][0].startswith(reason)


def test_ten_thousand_levels(tmp_path):
    """Deep enough for some Python versions to refuse it, not for others: broken in both."""
    tags, _ = read_one(tmp_path, b'{"track_id": "TR", "tags": ' + b"[" * 10**4 + b"]" * 10**4 + b"}")
    assert tags.empty


def test_a_song_in_two_files_is_kept_once(tmp_path):
    for name, title in (("b", "second"), ("a", "first")):
        (tmp_path / f"{name}.json").write_text(json.dumps(SONG | {"title": title}))
    tags, broken = read_tags(tmp_path)
    assert list(tags["title"]) == ["first"]
    assert broken.values.tolist() == [[str(tmp_path / "b.json"), f"same track_id as {tmp_path / 'a.json'}"]]


@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 10**6), max_size=5), st.integers(0, 400))
def test_damaged_copies_give_a_sound_row_or_a_reason(tmp_path, flips, cut):
    damaged = bytearray(json.dumps(SONG, ensure_ascii=False).encode())
    for flip in flips:
        damaged[flip // 8 % len(damaged)] ^= 1 << flip % 8
    tags, _ = read_one(tmp_path, bytes(damaged[: len(damaged) - cut if cut < 200 else None]))
    for row in tags.itertuples():
        assert all(isinstance(tag, str) and 0 <= count <= 100 for tag, count in row.tags)
        assert row.track_id and (row.title + row.artist_name).encode()


def test_real_files(real_data):
    tags, broken = read_tags(real_data / "msd_real" / "lastfm_subset")
    assert len(tags) == 9330 and len(broken) == 0
    assert (tags["tags"].str.len() == 0).sum() == 4497
    names = [[name for name, _ in row] for row in tags["tags"]]
    assert all(len(set(row)) == len(row) for row in names)
    again, _ = read_tags(real_data / "msd_real" / "lastfm_subset", 2)
    assert again.equals(tags)


# --- The database --------------------------------------------------------------------------------------------


def write_database(path, songs, extra=()):
    """Write {track_id: [(tag, count)]} in the layout of lastfm_tags.db; `extra` are rows of tid_tag."""
    names = dict.fromkeys(tag for tags in songs.values() for tag, _ in tags)
    number = {name: i for i, name in enumerate(names, 1)}
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tids (tid TEXT)")
        connection.execute("CREATE TABLE tags (tag TEXT)")
        connection.execute("CREATE TABLE tid_tag (tid INT, tag INT, val FLOAT)")
        connection.executemany("INSERT INTO tids VALUES (?)", [(track_id,) for track_id in songs])
        connection.executemany("INSERT INTO tags VALUES (?)", [(name,) for name in names])
        rows = [(i, number[tag], n) for i, tags in enumerate(songs.values(), 1) for tag, n in tags]
        connection.executemany("INSERT INTO tid_tag VALUES (?, ?, ?)", [*rows, *extra])
    connection.close()
    return path


def test_the_database(tmp_path):
    songs = {"TRB": [("rock", 43.0), ("électro", 100.0), ("Love", 0.5)], "TRA": [("rock", 100.0)], "TRC": []}
    (tmp_path / "a #1? b").mkdir()
    path = write_database(tmp_path / "a #1? b" / "lastfm_tags.db", songs)
    path.chmod(0o400)
    tags, broken = read_database(path)
    assert broken.empty and list(tags.columns) == ["track_id", "tags"]
    assert tags.to_numpy().tolist() == [
        ["TRA", [("rock", 100)]],
        ["TRB", [("électro", 100), ("rock", 43), ("Love", 0.5)]],
        ["TRC", []],
    ]
    assert read_tags(tmp_path)[0].equals(tags)
    some, _ = read_database(path, ["TRC", "TRB", "TRX", "' OR 1 --"])
    assert list(some["track_id"]) == ["TRB", "TRC"] and some["tags"][0] == tags["tags"][1]
    assert read_database(path, [])[0].empty
    (tmp_path / "song.json").write_text(json.dumps(SONG))  # the files know names: they go first
    assert list(read_tags(tmp_path)[0]["track_id"]) == [SONG["track_id"]]


def test_bad_rows_of_the_database_are_listed(tmp_path):
    songs = {f"TR{i}": [("rock", count)] for i, count in enumerate([100, 101, -1, "many", None, 7])}
    songs |= {"TR6": [("rock", 3.0), ("rock", 5.0)]}
    path = write_database(tmp_path / "lastfm_tags.db", songs, [(6, 99, 5.0)])
    tags, broken = read_database(path)
    assert tags.to_numpy().tolist() == [["TR0", [("rock", 100)]], ["TR6", [("rock", 5)]]]
    assert set(broken["path"]) == {str(path)}
    number = "the count of tag 'rock' is not a number from 0 to 100: "
    assert broken["reason"].tolist() == [
        f"TR1: {number}101.0",
        f"TR2: {number}-1.0",
        f"TR3: {number}many",
        f"TR4: {number}None",
        "TR5: there is no tag number 99",
    ]
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO tids VALUES ('TR0')")
    connection.close()
    again, broken = read_database(path)
    assert again.equals(tags) and broken["reason"].iloc[-1] == "TR0: there is another row of it"


def test_tags_of_the_database_that_are_not_utf8(tmp_path):
    path = write_database(tmp_path / "lastfm_tags.db", {"TR1": [("rock", 1)], "TR2": [("pop", 1)]})
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE tags SET tag = CAST(x'E974E9' AS TEXT) WHERE tag = 'rock'")
    connection.close()
    tags, broken = read_database(path)
    assert list(tags["track_id"]) == ["TR2"] and broken["reason"].tolist() == ["TR1: a name or tag is not UTF-8"]


def test_what_is_no_such_database(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.db is missing"):
        read_database(tmp_path / "none.db")
    path = write_database(tmp_path / "lastfm_tags.db", {f"TR{i:04}": [("rock", 100)] for i in range(999)})
    raw = path.read_bytes()
    for content in (b"", b"<html>404</html>" * 99, raw[: len(raw) // 3], raw[:100] + bytes(len(raw) - 100)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"lastfm_tags\.db is no last\.fm database that can be read"):
            read_database(path)


def test_tags_without_names_join_by_track_id_only(tmp_path, write_song, real_data):
    tracks, _ = msd.read_tracks(real_data / "msd_real", 1)
    files, _ = read_tags(real_data / "msd_real", 1)
    songs = dict(zip(files["track_id"], files["tags"], strict=True))
    tags, broken = read_database(write_database(tmp_path / "lastfm_tags.db", songs))
    assert broken.empty and len(tags) == 9330
    expected, report = joining.join(tracks, files, ["rock", "pop"], 252, "track_id")
    found, report_too = joining.join(tracks, tags, ["rock", "pop"], 252, "track_id")
    assert found["track_id"].equals(expected["track_id"]) and report_too["steps"].equals(report["steps"])
    assert len(report["mismatches"]) and report_too["mismatches"].empty
    with pytest.raises(ValueError, match="hold no names to compare"):
        joining.join(tracks, tags, ["rock", "pop"], 252)
