"""Runs the notebooks as on Colab: its packages, its folders, a stand-in for `google.colab`, and nothing installed.

`make test-colab` builds the environment and calls this. NOTEBOOKS="00 04" chooses; the preset is `CRNN_PRESET` or demo.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "notebooks"))
import series

HERE, ROOT = Path(__file__).resolve().parent, series.HERE.parent
PACKAGES = HERE / "packages-2026-08-19.txt"
ON_DRIVE = ("00", "04")  # run once more from a copy on Drive; 04 keeps its results there


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
        paths = [path for path in sorted(source.glob("notebooks/*.ipynb")) if path.name[:2] in chosen]
        if not paths:
            raise SystemExit(f"No notebook begins with one of {chosen}; write NOTEBOOKS='00 04'.")
        ran = {f"{path.stem} (clone)": run(path, "clone") for path in paths}
        move_to_drive(source, content)
        ran |= {f"{path.stem} (Drive)": run(path, "Drive") for path in paths if path.name[:2] in ON_DRIVE}
        if "04" in chosen:
            ran["results kept on Drive"] = any(content.glob("drive/MyDrive/*-data/results/**/history.csv"))
    ran["nothing installed"] = installed() == before
    failed = [name for name, passed in ran.items() if not passed]
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"As on Colab (Python {python}, {PACKAGES.stem}, preset {os.environ['CRNN_PRESET']}): ", end="")
    print(f"{len(failed)} of {len(ran)} checks failed: {failed}." if failed else f"all {len(ran)} checks passed.")
    sys.exit(bool(failed))


def installed() -> set[str]:
    """Return "name==version" of every package of this environment."""
    return {f"{package.name}=={package.version}" for package in distributions()}


def become_colab(source: Path, content: Path) -> None:
    """Copy the project to `source` with `content` in the place of /content, and set what the kernels inherit."""
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "data", "figures", "results"))
    for path in (*source.glob("notebooks/*.ipynb"), source / "helpers" / "session.py"):
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


def move_to_drive(source: Path, content: Path) -> None:
    """Put the project on Drive, where no clone can be made, and let the notebooks keep their results there."""
    shutil.rmtree(content / series.REPO.split("/")[-1], ignore_errors=True)
    shutil.rmtree(source / ".git")
    shutil.copytree(source, content / "drive" / "MyDrive" / series.REPO.split("/")[-1])
    for path in source.glob("notebooks/*.ipynb"):
        path.write_text(path.read_text(encoding="utf-8").replace("USE_DRIVE = False", "USE_DRIVE = True"), "utf-8")


def run(path: Path, place: str) -> bool:
    """Run one notebook in a fresh kernel and print its seconds or its error; return True if it passed."""
    try:
        seconds = series.execute(path)
    except RuntimeError as error:
        print(f"{path.name:32} {place:6} FAILED\n{error}", flush=True)
        return False
    print(f"{path.name:32} {place:6} {seconds:6.0f} s", flush=True)
    return True


if __name__ == "__main__":
    main()
