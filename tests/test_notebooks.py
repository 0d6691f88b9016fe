"""The notebooks: their anatomy, their stored outputs, and that they run top to bottom in a fresh kernel."""

import os
import re
import shutil
import statistics
import subprocess
import sys

import nbformat
import pytest

import series
from helpers import demo, paths

NOTEBOOKS = series.notebooks()


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_anatomy(path):
    notebook = nbformat.read(path, as_version=4)
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert [bool(re.match(r"# \S", line)) for source in text for line in source.splitlines()].count(True) == 1
    assert notebook.cells[0].source.startswith("# ") and "**You will learn**" in notebook.cells[2].source
    first, last = tagged(notebook, "navigation")
    assert notebook.cells[1] is first and notebook.cells[-1] is last and len(notebook.cells) <= 45
    assert "## In this notebook" in notebook.cells[-2].source and "> **On Colab:** " in notebook.cells[2].source
    (setup,) = tagged(notebook, "setup")
    assert setup.source == series.setup_cell(series.REPO, series.REF)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell is not setup]
    lengths, code = [len(source.splitlines()) for source in cells], "\n".join(cells)
    assert max(lengths) <= 20 and statistics.median(lengths) <= 9
    assert not re.search(r"^\s*[!%]|/home/|paths\.preset", code, re.M)
    form = 'USE_DRIVE = False  # @param {type:"boolean"}\nPRESET = "demo"  # @param ["demo", "paper", "test"]\n'
    assert (form in code) == ("session.choose(PRESET, USE_DRIVE)" in code) == (path.name[:2] not in ("00", "03"))
    assert ('\nSNAPSHOT = ""  # @param' in code) == (path.name[:2] in ("04", "05", "06", "08"))
    here = f"https://colab.research.google.com/github/{series.REPO}/blob/{series.REF}/notebooks/{path.name}"
    assert re.findall(r"\]\((https://colab[^)]*/github/[^)]*)\)", "".join(text)) == [here]
    readme = (paths.ROOT / "README.md").read_text().splitlines()
    rows = [line for line in readme if line.startswith(f"| [{path.stem}](notebooks/{path.name})")]
    assert len(rows) == 1 and f"({here})" in rows[0]


def test_stored_outputs_are_of_one_linear_run_and_small(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert path.stat().st_size < 300_000
    text = "".join(str(out.get("text", "")) + str(out.get("data", {}).get("text/plain", "")) for out in outputs)
    assert not re.search(r"(/root|/home|/tmp|/work|/Users)/", text), "a path of the author's machine"
    assert "Data: demo (synthetic demo data" in text


def test_stamping_changes_badges_and_nothing_else(tmp_path, monkeypatch):
    copies = tmp_path / "notebooks"
    shutil.copytree(series.HERE, copies)
    shutil.copy(paths.ROOT / "README.md", tmp_path)
    monkeypatch.setattr(series, "HERE", copies)
    repo, ref = "a-reader/a-fork-with-quite-a-long-name", "branch/with-a-long-one"
    series.stamp(repo, ref)
    assert f'REPO, REF = "{repo}", "{ref}"' in (copies / "series.py").read_text()
    lint = [sys.executable, "-m", "ruff", "format", "--check", "--config", paths.ROOT / "pyproject.toml", copies]
    assert subprocess.run(lint, capture_output=True).returncode == 0
    for source in NOTEBOOKS:
        badge = f"github/{repo}/blob/{ref}/notebooks/{source.name}"
        before, after = nbformat.read(source, 4), nbformat.read(copies / source.name, 4)
        assert badge in (tmp_path / "README.md").read_text() and badge in tagged(after, "navigation")[0].source
        assert f'"-b {ref} https://github.com/{repo}"' in tagged(after, "setup")[0].source
        shared = [c.source for c in before.cells if not c.metadata.get("tags")]
        assert shared == [c.source for c in after.cells if not c.metadata.get("tags")]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a small demo set, so that nothing here touches the checkout."""
    root = tmp_path_factory.mktemp("project") / "crnn"
    ignored = shutil.ignore_patterns("data", "results", ".venv*", ".git", "figures", "__pycache__")
    shutil.copytree(paths.ROOT, root, ignore=ignored)
    for table in (paths.FIGURES / "billboard").glob("real_music_*.csv"):  # notebook 08 draws from them
        (root / "figures" / "billboard").mkdir(parents=True, exist_ok=True)
        shutil.copy(table, root / "figures" / "billboard")
    for name in ("tiny", "demo"):  # where real files have no recordings, notebooks take the demo's
        demo.ensure(root / "data" / name, num_tracks=150)
    return root


def run_setup(project, folder, code="", content="/nowhere", **environment):
    """Run `code` and the set-up cell, with `content` in the place of Colab's folder."""
    script = series.setup_cell("o/crnn-music-tagging", "b").replace("/content", str(content))
    script = f"{code.replace('SETUP', script)}{script}\nprint(session.__file__); import solutions"
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CRNN_ROOT", "CRNN_PRESET")}
    settings = clean | {"CRNN_DATA": str(project / "data" / "tiny")} | environment
    return subprocess.run([sys.executable, "-c", script], cwd=folder, env=settings, capture_output=True, text=True)


def test_set_up_finds_the_project_from_inside_or_by_its_variable_and_else_says_what_to_do(project, tmp_path):
    for place in (".", "notebooks"):
        result = run_setup(project, project / place, "SETUP\n")  # twice in one kernel
        assert str(project / "helpers" / "session.py") in result.stdout, result.stderr
        assert result.returncode == 0 and result.stdout.count("Data: tiny (synthetic demo data") == 2
    assert run_setup(project, tmp_path, CRNN_ROOT=str(project)).returncode == 0
    result = run_setup(project, tmp_path)  # an editable installation is found from everywhere, and is no notebook's
    assert result.returncode and re.search(r"wrong helpers: \S+|No module named 'helpers'", result.stderr)
    assert "Start Jupyter inside the project, or set CRNN_ROOT" in series.SETUP  # where the traceback points
    decoy = tmp_path / "helpers"
    decoy.mkdir()
    for name in ("__init__", "paths", "session"):
        (decoy / f"{name}.py").touch()
    result = run_setup(project, project / "notebooks", "import helpers.session\n", PYTHONPATH=str(tmp_path))
    assert "wrong helpers" in result.stderr and str(decoy) in result.stderr


def test_on_colab_set_up_clones_once_and_finds_the_work_done_or_the_project_on_drive(project, tmp_path):
    content, git, asked = tmp_path / "content", tmp_path / "bin" / "git", tmp_path / "asked"
    content.mkdir()
    git.parent.mkdir()
    git.write_text(f'#!/bin/sh\necho "$@" > {asked}\ncp -r {project} "$2/crnn-music-tagging"\n')
    git.chmod(0o755)
    work = "SETUP\nfrom helpers import snapshots\n(made,) = snapshots.ensure(data_folder, ['rock'], (252,))\n"
    work += "print('made', made, made.stat().st_mtime_ns)\n"
    first = run_setup(project, content, work, content, PATH=f"{git.parent}:{os.environ['PATH']}", CRNN_DATA="")
    root = content / "crnn-music-tagging"
    assert str(root / "helpers" / "session.py") in first.stdout, first.stderr
    assert {"b", "https://github.com/o/crnn-music-tagging"} < set(asked.read_text().split())
    made = re.search(rf"made {root}/data/.*", first.stdout)[0]
    restarted = run_setup(project, content, work, content, PATH="", CRNN_DATA="")  # no git: nothing is cloned
    assert made in restarted.stdout, restarted.stderr
    drive = content / "drive" / "MyDrive" / root.name
    drive.parent.mkdir(parents=True)
    root.rename(drive)
    assert f"{drive}/helpers" in run_setup(project, content, content=content, PATH="").stdout


@pytest.mark.parametrize("data", ["demo", "msd_real"])
def test_every_notebook_runs(path, project, data, tmp_path, monkeypatch, request):
    if data == "msd_real" and path.name[:2] in ("02", "03", "07", "11"):
        pytest.skip("it reads recordings or nothing: the real MSD files change nothing")
    monkeypatch.setattr(series, "HERE", project / "notebooks")
    monkeypatch.setenv("CRNN_PRESET", "test")
    monkeypatch.chdir(project)  # relative to where the command was called
    folder = "data/tiny" if data == "demo" else str(request.getfixturevalue("real_data") / data)
    monkeypatch.setenv("CRNN_DATA", folder)
    series.execute(project / "notebooks" / path.name)
    if path.name[:2] == "06" and data == "demo":  # it takes recordings alone, too
        monkeypatch.setenv("CRNN_DATA", str(tmp_path))
        series.execute(project / "notebooks" / path.name)
    drawn = (project / "figures" / "msd_real").glob("*.svg")
    assert not any("synthetic" in figure.read_text() for figure in drawn)


def small_series(folder, **cells):
    """Copy the runner to `folder` with one notebook of one code cell for each keyword, such as nb00="print(1)"."""
    folder.mkdir()
    shutil.copy(series.__file__, folder)
    for name, source in cells.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(notebook, folder / f"{name[2:]}_x.ipynb")
    command = [sys.executable, str(folder / "series.py"), "run", "--save"]
    return lambda *names: subprocess.run([*command, *names], capture_output=True, text=True, timeout=120)


def test_the_runner_knows_every_notebook_waits_for_what_one_needs_and_says_what_failed(tmp_path):
    assert set(series.AFTER) >= {path.name[:2] for path in NOTEBOOKS}
    wait = "import pathlib, time\nwhile not pathlib.Path('other').exists(): time.sleep(0.1)"
    made = "import pathlib\npathlib.Path('other').touch()"
    failing = "raise ValueError('no such song ' * 20_000)"  # more than a pipe holds
    run = small_series(tmp_path / "n", nb00="1", nb01=wait, nb02=made, nb06="assert open('other')", nb08=failing)
    result = run("00", "01", "02", "06")  # 01 and 02 end only if they run side by side, 06 only after 02
    assert result.returncode == 0, result.stderr
    first, *names, last = [line.split()[0] for line in result.stdout.splitlines()]
    assert first == "00_x.ipynb" and last == "Ran" and len(names) == 3
    assert names.index("02_x.ipynb") < names.index("06_x.ipynb")
    assert nbformat.read(tmp_path / "n" / "06_x.ipynb", 4).cells[0].execution_count == 1
    assert "begins with 77" in run("77").stderr
    result = run("08")
    assert result.returncode == 1 and "08_x.ipynb failed" in result.stderr and "no such song" in result.stderr
