"""Finding files, and reading them in parallel without losing one."""

import os
from functools import partial

import pytest

from helpers import reading
from helpers.reading import find_files, read_all


@pytest.fixture
def numbered(tmp_path):
    """Return the paths of 150 files; file i holds the number i."""
    for i in range(150):
        (tmp_path / f"{i:03}.txt").write_text(str(i))
    return find_files(tmp_path, ".txt")


def read_number(path, deadly=()):
    number = int(path.read_text())
    if number in deadly:
        os._exit(11)
    if number % 50 == 7:
        raise ValueError(f"{number} is not wanted")
    return {"track_id": number % 149, "process": os.getpid()}


def numbers(rows):
    return [row["track_id"] for row in rows]


def test_files_at_any_depth_in_order_without_hidden_ones(tmp_path):
    for name in ("b.h5", "a/z/y/x.h5", "a/b.h5", "a/._b.h5", "a/b.json", ".hidden/c.h5", "a b/ü.h5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path, ".h5")]
    assert found == ["a b/ü.h5", "a/b.h5", "a/z/y/x.h5", "b.h5"]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        find_files(tmp_path / "nowhere", ".h5")


def test_result_does_not_depend_on_the_number_of_workers(numbered):
    alone, broken = read_all(read_number, numbered, 1, "files")
    assert len(alone) + len(broken) == 150
    unwanted = ["7 is not wanted", "57 is not wanted", "107 is not wanted"]
    assert list(broken["reason"]) == [*unwanted, f"same track_id as {numbered[0]}"]
    assert broken["path"].iloc[0] == str(numbered[7])
    for num_workers in (None, 2, 3):
        rows, broken_too = read_all(read_number, numbered, num_workers, "files")
        assert numbers(rows) == numbers(alone) and broken_too.equals(broken)


def test_other_processes_are_used_when_it_is_worthwhile(numbered, monkeypatch):
    processes = {row["process"] for row in read_all(read_number, numbered, None, "files")[0]}
    assert processes == {os.getpid()}
    monkeypatch.setattr(reading, "WORTHWHILE", 0)
    monkeypatch.setattr(reading.joblib, "cpu_count", lambda: 2)
    assert len({row["process"] for row in read_all(read_number, numbered, None, "files")[0]}) >= 2


@pytest.mark.parametrize("deadly", [(70,), (0, 149)])
def test_a_file_that_kills_its_reader_is_the_only_one_lost(numbered, deadly):
    rows, broken = read_all(partial(read_number, deadly=deadly), numbered, 2, "files")
    died = broken[broken["reason"] == "the reader process died on this file"]
    assert list(died["path"]) == [str(numbered[i]) for i in deadly]
    assert len(rows) + len(broken) == 150


def test_a_bug_in_the_reader_is_not_taken_for_a_broken_file(numbered):
    def buggy(path):
        raise AssertionError("a bug")

    with pytest.raises(AssertionError):
        read_all(buggy, numbered, 1, "files")


def test_no_files_and_no_workers():
    rows, broken = read_all(read_number, [], None, "files")
    assert rows == [] and list(broken.columns) == ["path", "reason"] and broken.empty
    with pytest.raises(ValueError, match="num_workers is 0"):
        read_all(read_number, [], 0, "files")
