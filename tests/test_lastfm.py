"""Reading and writing last.fm files: what a good one gives, and the reason given for each kind of bad one."""

import json

import pytest

from helpers.lastfm import read_tags, write_tags

SONG = {
    "artist": "Björk",
    "timestamp": "2011-08-12 10:52:26.737855",
    "similars": [["TRWLTHZ128E0791C5A", 1]],
    "tags": [["electronic", "100"], ["female vocalists", "61"], ["Mellow", "0"]],
    "track_id": "TRAAAAA128F0000001",
    "title": "Jóga",
}


def test_what_the_data_set_holds_and_what_is_written_is_read(tmp_path):
    (tmp_path / "real.JSON").write_bytes(json.dumps(SONG, ensure_ascii=False).encode())
    write_tags(tmp_path / "x" / "a.json", "TR1", "Nü", "Ö", [("rock", 100), ("a", 3), ("b", 2), ("a", 9)])
    write_tags(tmp_path / "z.json", "TR2", "t", "a", [])
    tags, broken = read_tags(tmp_path)
    assert broken.empty and list(tags.columns) == ["track_id", "title", "artist_name", "tags"]
    assert tags.to_numpy()[:2].tolist() == [
        ["TRAAAAA128F0000001", "Jóga", "Björk", [("electronic", 100), ("female vocalists", 61), ("Mellow", 0)]],
        ["TR1", "Nü", "Ö", [("rock", 100), ("a", 9), ("b", 2)]],  # a repeated tag once
    ]
    assert tags["tags"][2] == [] and json.loads((tmp_path / "z.json").read_text()).keys() == SONG.keys()
    with pytest.raises(ValueError, match="the count of tag 'rock' is not"):
        write_tags(tmp_path / "c.json", "TR3", "t", "a", [("rock", 101)])
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (json.dumps(SONG).encode()[:-40], "not JSON in UTF-8: "),
        (json.dumps(SONG, ensure_ascii=False).encode("latin-1"), "not JSON in UTF-8: "),
        ([SONG], "not a JSON object"),
        ({k: v for k, v in SONG.items() if k != "tags"}, "'tags' is missing or not a list"),
        (SONG | {"tags": ["a1"]}, "not a [tag, count] pair: a1"),
        (SONG | {"tags": [["rock", "101"]]}, "the count of tag 'rock' is not an integer from 0 to 100: 101"),
        (SONG | {"title": "half \ud83d a character"}, "a name or tag is not UTF-8"),
        (b'{"tags": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "cannot be read: "),
    ],
)
def test_reasons(tmp_path, content, reason):
    (tmp_path / "song.json").write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    tags, broken = read_tags(tmp_path, 1)
    assert tags.empty and len(broken) == 1 and broken["reason"][0].startswith(reason)


def test_real_files(real_data):
    tags, broken = read_tags(real_data / "msd_real" / "lastfm_subset")
    assert len(tags) == 9330 and len(broken) == 0 and (tags["tags"].str.len() == 0).sum() == 4497
    assert all(len(dict(row)) == len(row) for row in tags["tags"])
