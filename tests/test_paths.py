"""Folders, presets and atomic writing."""

import errno
import os
import subprocess
import sys
import time
from importlib.metadata import distributions

import pytest
from packaging.specifiers import SpecifierSet

from helpers import paths, session


def test_the_preset_is_the_variable_s_or_else_that_of_the_notebook_s_form(monkeypatch, capsys):
    monkeypatch.setattr(paths, "PRESET", paths.PRESET)
    monkeypatch.delenv("CRNN_PRESET", raising=False)
    assert paths.preset() == "demo"
    monkeypatch.setenv("CRNN_PRESET", "test")
    assert session.choose("paper") == paths.preset() == "test" and not capsys.readouterr().out
    monkeypatch.delenv("CRNN_PRESET")
    assert session.choose("paper") == paths.preset() == "paper" and not capsys.readouterr().out
    assert session.choose("demo") == "demo" and capsys.readouterr().out == "Preset: demo.\n"
    monkeypatch.setenv("CRNN_PRESET", "papr")
    with pytest.raises(ValueError, match="'papr'; use 'demo', 'paper' or 'test'"):
        paths.preset()


def test_use_drive_keeps_snapshots_and_results_there_and_nothing_else(monkeypatch):
    monkeypatch.syspath_prepend(paths.ROOT / "tests" / "colab")
    monkeypatch.setattr(pytest.importorskip("google.colab.drive"), "mount", lambda folder: None)
    for name in ("PRESET", "SNAPSHOTS", "RESULTS"):
        monkeypatch.setattr(paths, name, getattr(paths, name))
    session.choose("demo", use_drive=True)
    on_drive = [name for name, value in vars(paths).items() if str(value).startswith("/content/drive/MyDrive/")]
    assert on_drive == ["RESULTS", "SNAPSHOTS"]


def test_data_is_the_demo_set_unless_a_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("CRNN_DATA", raising=False)
    assert paths.data_folder() == paths.DEMO
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRNN_DATA", "music")
    with pytest.raises(FileNotFoundError, match=f"'music': {tmp_path / 'music'} is not a folder"):
        paths.data_folder()
    inside = tmp_path / "music" / "audio"
    inside.mkdir(parents=True)
    assert paths.data_folder() == tmp_path / "music"
    assert paths.provenance(inside) == {"dataset": "audio", "synthetic": False}
    for folder in (inside, inside.parent):
        (folder / paths.DEMO_MARKER).touch()
    assert paths.provenance(inside) == {"dataset": "music", "synthetic": True}
    (tmp_path / "demo").mkdir()
    monkeypatch.setenv("CRNN_DATA", "demo")  # real files, whose figures would lie among those of the demo set
    with pytest.raises(ValueError, match="figures/demo/ is the project's own; rename your folder"):
        paths.data_folder()
    monkeypatch.setenv("CRNN_DATA", "data")  # as data/billboard, whatever folder the kernel started in
    assert paths.data_folder() == paths.ROOT / "data"


def test_every_package_can_be_installed_with_the_oldest_python():
    pins = (paths.ROOT / "constraints.txt").read_text().lower().split()
    pinned = [package for package in distributions() if f"{package.name}=={package.version}".lower() in pins]
    needs = {package.name: package.metadata.get("Requires-Python", "") for package in pinned}
    assert not [name for name, python in needs.items() if "3.11.0" not in SpecifierSet(python)]


def test_atomic_shows_the_old_file_or_the_whole_new_one_and_names_it_when_the_disk_is_full(tmp_path):
    target = tmp_path / "sub" / "file.txt"
    with paths.atomic(target) as temporary:
        temporary.write_text("old")
        assert not target.exists() and temporary.suffix == ".txt"
    for error in (KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))):
        with pytest.raises(type(error)) as caught, paths.atomic(target) as temporary:
            temporary.write_text("half of the ne")
            raise error
        assert target.read_text() == "old" and list(target.parent.iterdir()) == [target]
    assert "No space left" in str(caught.value) and "file.txt" in str(caught.value)


WRITER = """
import sys
from helpers import paths
for i in range(10**6):
    with paths.atomic(sys.argv[1]) as temporary:
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
