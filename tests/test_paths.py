"""Folders, presets and atomic writing."""

import errno
import os
import subprocess
import sys
import time

import pytest

from helpers import paths, session


def test_the_preset_is_demo_unless_another_known_one_is_named(monkeypatch):
    monkeypatch.delenv("CRNN_PRESET", raising=False)
    assert paths.preset() == "demo"
    monkeypatch.setenv("CRNN_PRESET", "paper")
    assert paths.preset() == "paper"
    monkeypatch.setenv("CRNN_PRESET", "papr")
    with pytest.raises(ValueError, match="'papr'; use 'demo', 'paper' or 'test'"):
        paths.preset()


def test_a_notebook_s_form_chooses_the_preset_unless_the_variable_does(monkeypatch, capsys):
    monkeypatch.setattr(paths, "PRESET", "demo")
    monkeypatch.setenv("CRNN_PRESET", "test")
    assert session.choose("paper") == paths.preset() == "test" and not capsys.readouterr().out
    monkeypatch.delenv("CRNN_PRESET")
    assert session.choose("demo") == "demo" and session.choose("paper") == paths.preset() == "paper"
    assert capsys.readouterr().out == "Preset: demo.\nPreset: paper.\n"


def test_use_drive_keeps_snapshots_and_results_there_and_nothing_else(monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "colab")
    monkeypatch.setattr(pytest.importorskip("google.colab.drive"), "mount", lambda folder: None)
    for name in ("PRESET", "SNAPSHOTS", "RESULTS"):
        monkeypatch.setattr(paths, name, getattr(paths, name))
    session.choose("demo", use_drive=True)
    on_drive = [name for name, value in vars(paths).items() if str(value).startswith("/content/drive/MyDrive/")]
    assert on_drive == ["RESULTS", "SNAPSHOTS"]


def test_a_project_on_drive_makes_the_demo_set_on_the_local_disk(tmp_path):
    root = tmp_path / "content" / "drive" / "MyDrive" / "crnn"
    (root / "helpers").mkdir(parents=True)
    source = (paths.ROOT / "helpers" / "paths.py").read_text().replace("/content", f"{tmp_path}/content")
    (root / "helpers" / "paths.py").write_text(source)
    code = "import paths; print(paths.DEMO, paths.SNAPSHOTS, paths.RESULTS)"
    result = subprocess.run([sys.executable, "-c", code], cwd=root / "helpers", capture_output=True, text=True)
    local = tmp_path / "content" / "data" / "demo"
    assert result.stdout.split() == list(map(str, (local, root / "data" / "snapshots", root / "results")))


def test_data_is_the_demo_set_unless_a_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CRNN_DATA", raising=False)
    assert paths.data_folder() == paths.DEMO
    monkeypatch.setenv("CRNN_DATA", str(tmp_path))
    assert paths.data_folder() == tmp_path
    assert paths.provenance(tmp_path) == {"dataset": tmp_path.name, "synthetic": False}
    inside = tmp_path / "demo" / "audio"
    inside.mkdir(parents=True)
    for folder in (inside, inside.parent):
        (folder / paths.DEMO_MARKER).touch()
    assert paths.provenance(inside) == {"dataset": "demo", "synthetic": True}


def test_a_relative_data_folder_starts_at_the_current_one_and_is_named_in_full(monkeypatch, tmp_path):
    (tmp_path / "music").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRNN_DATA", "music")
    assert paths.data_folder() == tmp_path / "music"
    monkeypatch.chdir(tmp_path / "music")
    with pytest.raises(FileNotFoundError, match=f"'music': {tmp_path / 'music' / 'music'} is not a folder"):
        paths.data_folder()


def test_atomic_shows_the_old_file_or_the_whole_new_one(tmp_path):
    target = tmp_path / "sub" / "file.txt"
    with paths.atomic(target) as temporary:
        temporary.write_text("old")
        assert not target.exists() and temporary.suffix == ".txt"
    with pytest.raises(KeyboardInterrupt), paths.atomic(target) as temporary:
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and list(target.parent.iterdir()) == [target]
    (target.parent / "ordinary").write_text("")
    assert target.stat().st_mode == (target.parent / "ordinary").stat().st_mode


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(OSError, match=r"file\.txt") as caught, paths.atomic(target) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "No space left" in str(caught.value) and target.read_text() == "old" and os.listdir(tmp_path) == ["file.txt"]


WRITER = """
import sys
from pathlib import Path
from helpers import paths
for i in range(10**6):
    with paths.atomic(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(bytes([i % 256]) * 10**6)
"""


def test_a_killed_writer_leaves_a_whole_file_and_two_writers_do_not_mix(tmp_path):
    target = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, target], cwd=paths.ROOT) for _ in range(2)]
    try:
        while not target.exists():
            time.sleep(0.01)
        for _ in range(20):
            content = target.read_bytes()
            assert len(content) == 10**6 and len(set(content)) == 1
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert len(target.read_bytes()) == 10**6
