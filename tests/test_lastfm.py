"""Reading last.fm files: what a good one gives, and the reason given for each kind of bad one."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.lastfm import MAX_BYTES, read_tags

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
