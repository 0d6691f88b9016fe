"""The notebooks: their anatomy, their stored outputs, and that they run top to bottom in a fresh kernel."""

import os
import re
import shutil
import statistics
import subprocess
import sys

import nbformat
import pytest

from helpers import demo_data, paths

sys.path.insert(0, str(paths.ROOT / "notebooks"))
import series

NOTEBOOKS = series.notebooks()


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_anatomy(path, notebook):
    titles = [
        line
        for c in notebook.cells
        if c.cell_type == "markdown"
        for line in c.source.splitlines()
        if re.match(r"# \S", line)
    ]
    assert len(titles) == 1 and notebook.cells[0].source.startswith(titles[0])
    first, last = tagged(notebook, "navigation")
    assert notebook.cells[1] is first and notebook.cells[-1] is last
    assert f"/notebooks/{path.name})" in first.source and "colab-badge" in first.source
    assert "**You will learn**" in notebook.cells[2].source
    assert len(notebook.cells) <= 46
    assert "## In this notebook" in notebook.cells[-2].source


def test_code_cells_are_short_and_touch_nothing_outside(notebook):
    cells = [cell for cell in code_cells(notebook) if "setup" not in cell.metadata.get("tags", [])]
    lengths = [len(cell.source.splitlines()) for cell in cells]
    assert max(lengths) <= 25 and statistics.median(lengths) <= 8
    for cell in cells:
        assert not re.search(r"^\s*[!%]", cell.source, re.M), "no shell commands or magics"
        assert "import matplotlib" not in cell.source and "/home/" not in cell.source


def test_stored_outputs_are_of_one_linear_run_and_small(path, notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert path.stat().st_size < 500_000
    text = "".join(
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in outputs
    )
    assert not re.search(r"(/root|/home|/tmp|/work|/Users)/", text), "a path of the author's machine"
    assert "Data: demo (synthetic demo data" in text or "models" in path.name


def test_the_set_up_cell_is_the_same_everywhere(notebook):
    (cell,) = tagged(notebook, "setup")
    assert cell.source == series.SETUP.format(repo=series.REPO, ref=series.REF)


def test_every_badge_opens_its_own_notebook_of_this_repository(path, notebook):
    here = f"https://colab.research.google.com/github/{series.REPO}/blob/{series.REF}/notebooks/{path.name}"
    text = "".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert re.findall(r"\]\((https://colab[^)]*/github/[^)]*)\)", text) == [here]
    rows = [line for line in (paths.ROOT / "README.md").read_text().splitlines() if f"(notebooks/{path.name})" in line]
    assert len(rows) == 1 and rows[0].endswith(f"[Colab]({here}) |")


def test_stamping_changes_badges_and_nothing_else(tmp_path, monkeypatch):
    copies = tmp_path / "notebooks"
    shutil.copytree(series.HERE, copies)
    shutil.copy(paths.ROOT / "README.md", tmp_path)
    monkeypatch.setattr(series, "HERE", copies)
    series.stamp("reader/fork", "try")
    readme = (tmp_path / "README.md").read_text()
    assert 'REPO, REF = "reader/fork", "try"' in (copies / "series.py").read_text()
    for source in NOTEBOOKS:
        assert f"colab.research.google.com/github/reader/fork/blob/try/notebooks/{source.name})" in readme
        before, after = nbformat.read(source, 4), nbformat.read(copies / source.name, 4)
        assert f"github/reader/fork/blob/try/notebooks/{source.name}" in tagged(after, "navigation")[0].source
        assert "https://github.com/reader/fork" in tagged(after, "setup")[0].source
        shared = [c.source for c in before.cells if not c.metadata.get("tags")]
        assert shared == [c.source for c in after.cells if not c.metadata.get("tags")]


# --- The set-up cell, started from wherever Jupyter may be -------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a small demo set, so that nothing here touches the checkout."""
    root = tmp_path_factory.mktemp("project") / "crnn"
    ignored = shutil.ignore_patterns(
        "demo", "snapshots", "results", ".venv*", ".git", "figures", "msd-subset", "__pycache__"
    )
    shutil.copytree(paths.ROOT, root, ignore=ignored)
    for name in ("tiny", "demo"):  # where real files have no recordings, notebooks take the demo's
        demo_data.generate(root / "data" / name, num_tracks=150)
    return root


def run_setup(project, folder, code="", content="/nowhere", **environment):
    """Run `code` and the set-up cell, with `content` in the place of Colab's folder."""
    script = series.SETUP.format(repo="o/r", ref="b").replace("/content", str(content))
    script = f"{code.replace('SETUP', script)}{script}\nprint(session.__file__, len(sys.path))"
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CRNN_ROOT", "CRNN_PRESET")}
    settings = clean | {"CRNN_DATA": str(project / "data" / "tiny")} | environment
    return subprocess.run([sys.executable, "-c", script], cwd=folder, env=settings, capture_output=True, text=True)


@pytest.mark.parametrize("place", [".", "notebooks", "tests"])
def test_set_up_finds_the_project_from_inside(project, place):
    result = run_setup(project, project / place)
    assert str(project / "helpers" / "session.py") in result.stdout, result.stderr
    assert "Data: tiny (synthetic demo data" in result.stdout


def test_set_up_finds_the_project_by_its_variable_and_else_says_what_to_do(project, tmp_path):
    assert run_setup(project, tmp_path, CRNN_ROOT=str(project)).returncode == 0
    result = run_setup(project, tmp_path)
    assert result.returncode and "set CRNN_ROOT" in result.stderr


@pytest.mark.parametrize("code", ["", "import helpers, helpers.paths\n"])
def test_somebody_else_s_helpers_is_not_used(project, tmp_path, code):
    decoy = tmp_path / "helpers"
    decoy.mkdir()
    for name in ("__init__", "paths", "session"):
        (decoy / f"{name}.py").write_text("raise_if_used = True\n")
    result = run_setup(project, project / "notebooks", code, PYTHONPATH=str(tmp_path))
    assert str(project / "helpers" / "session.py") in result.stdout, result.stderr


def test_set_up_runs_twice_in_one_kernel(project):
    result = run_setup(project, project, "SETUP\n")
    assert result.returncode == 0 and result.stdout.count("Data: tiny") == 2, result.stderr


@pytest.fixture
def content(tmp_path):
    folder = tmp_path / "content"
    folder.mkdir()
    return folder


def test_on_colab_set_up_clones_once_and_a_new_kernel_finds_the_work_done(project, content, tmp_path):
    git, asked = tmp_path / "bin" / "git", tmp_path / "asked"
    git.parent.mkdir()
    git.write_text(f'#!/bin/sh\necho "$@" > {asked}; for last; do :; done; cp -r {project} "$last"\n')
    git.chmod(0o755)
    work = "SETUP\nfrom helpers import snapshots\n(made,) = snapshots.ensure(data_folder, ['rock'], (252,))\n"
    work += "print('made', made, made.stat().st_mtime_ns)\n"
    first = run_setup(project, content, work, content, PATH=f"{git.parent}:{os.environ['PATH']}", CRNN_DATA="")
    root = content / "crnn-music-tagging"
    assert str(root / "helpers" / "session.py") in first.stdout, first.stderr
    assert {"b", "https://github.com/o/r"} < set(asked.read_text().split())
    made = re.search(rf"made {root}/data/.*", first.stdout)[0]
    restarted = run_setup(project, content, work, content, PATH="", CRNN_DATA="")  # no git: a second clone would fail
    assert made in restarted.stdout, restarted.stderr


def test_on_colab_set_up_finds_the_project_on_drive(project, content):
    drive = content / "drive" / "MyDrive"
    drive.mkdir(parents=True)
    (drive / "crnn-music-tagging").symlink_to(project)
    result = run_setup(project, content, content=content, PATH="")
    assert f"{drive}/crnn-music-tagging/helpers/session.py" in result.stdout, result.stderr


def test_importing_helpers_loads_no_network_library(project):
    code = "import sys; from helpers import session, plots, snapshots, download, joining; print('keras' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert result.stdout.strip() == "False", result.stderr


# --- Running ---------------------------------------------------------------------------------------------


@pytest.fixture
def runner(project, monkeypatch):
    monkeypatch.setattr(series, "HERE", project / "notebooks")
    monkeypatch.setenv("CRNN_PRESET", "test")
    return project


def test_every_notebook_runs_on_demo_data(path, runner, monkeypatch):
    monkeypatch.setenv("CRNN_DATA", str(runner / "data" / "tiny"))
    series.execute(runner / "notebooks" / path.name)


def test_every_notebook_runs_on_real_data(path, runner, real_data, monkeypatch):
    monkeypatch.setenv("CRNN_DATA", str(real_data / "msd_real"))
    series.execute(runner / "notebooks" / path.name)
    drawn = list((runner / "figures" / "msd_real").glob("*.svg"))
    assert not any("synthetic" in figure.read_text() for figure in drawn)
