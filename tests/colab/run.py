"""Runs the notebooks as on Colab: its packages, its folders, a stand-in for `google.colab`, and nothing installed.

`make test-colab` builds the environment and calls this. Each notebook gets a fresh machine, as each badge gives one;
then, in the test preset, snapshots lie on Drive, a session breaks off and is taken up again, and the project itself
lies on Drive. NOTEBOOKS="00 04" chooses; the preset of the first part is `CRNN_PRESET` or demo.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks"))
import series

HERE, ROOT = Path(__file__).resolve().parent, series.HERE.parent
PACKAGES = HERE / "packages-2026-08-19.txt"
NAME = "crnn-music-tagging"  # on Drive, and of the clone, whatever the fork is called
# Ends the kernel after the first epoch, as Colab ends a session.
BREAK_OFF = ("callbacks=[run]", "callbacks=[run, keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: os._exit(9))]")


def main() -> None:
    """Run the chosen notebooks, one line each; exit with 1 if one failed or if a package came, went or changed."""
    before = installed()
    missing = sorted({line for line in PACKAGES.read_text().split("\n") if "==" in line} - before)
    if missing or any(package.startswith("pip==") for package in before):
        raise SystemExit(f"Use make test-colab: {sys.prefix} has pip, or differs from {PACKAGES.name} in {missing}.")
    with tempfile.TemporaryDirectory() as folder:
        source, content = Path(folder).resolve() / "source", Path(folder).resolve() / "content"
        become_colab(source, content)
        chosen = os.environ.get("NOTEBOOKS", "").split() or [f"{number:02}" for number in range(100)]
        numbers = [path.name[:2] for path in sorted(source.glob("notebooks/*.ipynb")) if path.name[:2] in chosen]
        if not numbers:
            raise SystemExit(f"No notebook begins with one of {chosen}; write NOTEBOOKS='00 04'.")
        ran = {number: run(source, content, number, "fresh machine") for number in numbers}
        preset, os.environ["CRNN_PRESET"] = os.environ["CRNN_PRESET"], "test"
        if "04" in chosen:
            ran |= snapshots_and_sessions(source, content)
        if "00" in chosen:
            ran |= project_on_drive(source, content)
    ran["nothing installed"] = installed() == before
    failed = [name for name, passed in ran.items() if not passed]
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"As on Colab (Python {python}, {PACKAGES.stem}, preset {preset}): ", end="")
    print(f"{len(failed)} of {len(ran)} checks failed: {failed}." if failed else f"all {len(ran)} checks passed.")
    sys.exit(bool(failed))


def installed() -> set[str]:
    """Return "name==version" of every package of this environment."""
    return {f"{package.name}=={package.version}" for package in distributions()}


def become_colab(source: Path, content: Path) -> None:
    """Copy the project to `source` with `content` in the place of /content, and set what the kernels inherit."""
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "data", "results"))
    for path in (*source.glob("notebooks/*.ipynb"), *source.glob("helpers/*.py")):
        path.write_text(path.read_text(encoding="utf-8").replace("/content", content.as_posix()), encoding="utf-8")
    content.mkdir()
    series.HERE = content  # where a kernel starts, whatever notebook it runs
    # The set-up cell clones from GitHub; git takes the copy instead.
    git = ["git", "-C", str(source), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (
        ["init", "-q", "-b", series.REF],
        ["add", "-A"],
        ["commit", "-q", "--no-gpg-sign", "-m", "as on GitHub"],
    ):
        subprocess.run(git + command, check=True)
    os.environ |= {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{source.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": f"https://github.com/{series.REPO}",
        "PIP_NO_INDEX": "1",  # this environment has no pip; another one that is found would get nowhere
        "PYTHONPATH": str(HERE),  # for google.colab
    }
    os.environ.setdefault("CRNN_PRESET", "demo")
    for name in ("CRNN_DATA", "CRNN_ROOT"):
        os.environ.pop(name, None)


def snapshots_and_sessions(source: Path, content: Path) -> dict[str, bool]:
    """Train on the snapshots of 01 on Drive; break off, and go on on a new machine."""
    drive = content / "drive" / "MyDrive" / f"{NAME}-data"
    ran = {"01 keeps on Drive": run(source, content, "01", "Drive", USE_DRIVE=True)}
    named = {"USE_DRIVE": True, "SNAPSHOT": str(next(drive.glob("snapshots/*.pkl"), "none"))}
    broken_off = not run(source, content, "04", "Drive", BREAK_OFF, **named)
    histories = {path: path.read_text() for path in drive.glob("results/**/history.csv")}
    ran["04 breaks off"] = broken_off and len(histories) == 1
    ran["04 goes on"] = run(source, content, "04", "Drive", **named)
    # Its first epoch is still the one of the session before: the seconds that it took are the same.
    ran["04 keeps what was trained"] = all(seconds(path.read_text()) == seconds(old) for path, old in histories.items())
    return ran | {"no data set on Drive": not any(content.glob("drive/**/*.h5"))}


def seconds(history: str) -> str:
    """Return how long the first epoch took, to a microsecond, of the text of a `history.csv`."""
    names, first, *_ = [line.split(",") for line in history.splitlines()]
    return f"{float(first[names.index('seconds')]):.6f}"


def project_on_drive(source: Path, content: Path) -> dict[str, bool]:
    """Put the project itself on Drive, where no clone can be made, and open 00: its data are made elsewhere."""
    (source / ".git").rename(source / "git")
    root = content / "drive" / "MyDrive" / NAME
    shutil.copytree(source, root)
    ran = {"00 from Drive": run(source, content, "00", "copy on Drive")}
    return ran | {"demo set on the local disk": any(content.glob("data/demo/**/*.h5")) and not (root / "data").exists()}


def run(source: Path, content: Path, number: str, place: str, change: tuple = ("", ""), **fields) -> bool:
    """Run a notebook on a fresh machine that has Drive alone, with other values of form `fields`; True if it passed."""
    for path in content.iterdir():
        if path.name != "drive":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (path,) = source.glob(f"notebooks/{number}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(*change) if change[0] else cell.source
        for name, value in fields.items():
            cell.source = re.sub(rf"^{name} = \S+", f"{name} = {value!r}", cell.source, flags=re.M)
    copy = source / path.name
    nbformat.write(notebook, copy)
    try:
        taken = series.execute(copy)
    except RuntimeError as error:
        print(f"{path.name:32} {place:14}", "broken off" if change[0] else f"FAILED\n{error}", flush=True)
        return False
    print(f"{path.name:32} {place:14} {taken:6.0f} s", flush=True)
    return True


if __name__ == "__main__":
    main()
