"""Runs the notebooks in order and keeps what they share the same: navigation, badges, the set-up cell.

python notebooks/series.py run            run all on the data at hand, write figures/ (what `make figures` does)
python notebooks/series.py run --save     the same, and keep the outputs in the notebooks
python notebooks/series.py stamp --repo owner/name --ref branch     write navigation, badges, set-up cells
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
SETUP = """\
# Finds the project from wherever Jupyter was started, and makes sure that `helpers` is this project's own.
import os
import subprocess
import sys
from pathlib import Path

COLAB = Path("/content").is_dir()
places = [Path(os.environ.get("CRNN_ROOT", ".")).resolve()]
places += [Path("/content/crnn-music-tagging"), Path("/content/drive/MyDrive/crnn-music-tagging")] if COLAB else []
folders = [folder for place in places for folder in (place, *place.parents)]
root = next((folder for folder in folders if (folder / "helpers" / "session.py").is_file()), None)
if root is None and COLAB:
    root = places[1]
    url = "https://github.com/{repo}"
    subprocess.run(["git", "clone", "--depth", "1", "--branch", "{ref}", url, str(root)], check=True)
assert root, "Start Jupyter inside the project, or set CRNN_ROOT to its folder."
sys.path.insert(0, str(root))
for name in [name for name in sys.modules if name.split(".")[0] == "helpers"]:
    del sys.modules[name]  # somebody else's package of that name, or an older state of ours
from helpers import session

assert Path(session.__file__).parent == root / "helpers", f"wrong helpers: {{session.__file__}}"
data_folder = session.start(seed=0)"""
REPO, REF = "crnn-music-tagging/crnn-music-tagging", "main"


def notebooks() -> list[Path]:
    """Return the numbered notebooks in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.ipynb"))


def run(save: bool) -> None:
    """Execute every notebook in a fresh kernel, one line each; stop with the failing cell's error."""
    start = time.perf_counter()
    for path in notebooks():
        seconds = execute(path, save)
        print(f"{path.name:32} {seconds:6.0f} s", flush=True)
    count = len(list((HERE.parent / "figures").rglob("*.png")))
    minutes = (time.perf_counter() - start) / 60
    print(f"Ran {len(notebooks())} notebooks in {minutes:.1f} minutes; figures/ holds {count} figures as PNG and SVG.")


def execute(path: Path, save: bool = False) -> float:
    """Execute one notebook in a fresh kernel and return the seconds it took; `save` keeps its outputs."""
    notebook = nbformat.read(path, as_version=4)
    # A progress bar is for a person who watches; in a stored output it is noise.
    os.environ["TQDM_DISABLE"] = "1"
    os.environ["CRNN_NOTEBOOK"] = path.stem  # for the manifest of the figures
    start = time.perf_counter()
    client = NotebookClient(notebook, timeout=7200, resources={"metadata": {"path": str(HERE)}})
    try:
        # What a cell prints is in the notebook; what the kernel itself says (TensorFlow's greeting) helps nobody.
        client.execute(stderr=subprocess.DEVNULL)
    except CellExecutionError as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # the kernel's traceback is coloured
        raise SystemExit(f"{path.name} failed:\n{plain}") from None
    seconds = time.perf_counter() - start
    if save:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":  # without TensorFlow's greeting, which no setting of its own turns off
                cell.outputs = [output for output in cell.outputs if "absl::" not in output.get("text", "")]
        nbformat.write(notebook, path)
    return seconds


def stamp(repo: str, ref: str) -> None:
    """Write navigation lines, Colab badges and set-up cells into the notebooks, and the links of the README."""
    paths, readme = notebooks(), HERE.parent / "README.md"
    text = readme.read_text()
    for i, path in enumerate(paths):
        badge = "https://colab.research.google.com/assets/colab-badge.svg"
        target = f"https://colab.research.google.com/github/{repo}/blob/{ref}/notebooks/{path.name}"
        text = re.sub(rf"https://colab\.research\.google\.com/github/[^)]*/{path.name}", target, text)
        links = [f"[← {paths[i - 1].stem}]({paths[i - 1].name})"] if i else []
        links += ["[index](../README.md)"]
        links += [f"[{paths[i + 1].stem} →]({paths[i + 1].name})"] if i + 1 < len(paths) else []
        notebook = nbformat.read(path, as_version=4)
        first, last = (cell for cell in notebook.cells if "navigation" in cell.metadata.get("tags", []))
        last.source = " · ".join(links)
        first.source = f"{last.source} · [![Open in Colab]({badge})]({target})"
        (setup,) = (cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", []))
        setup.source = SETUP.format(repo=repo, ref=ref)
        nbformat.write(notebook, path)
    readme.write_text(text)
    # A fork's next stamp, and the tests, start from here.
    script, names = HERE / "series.py", f'REPO, REF = "{repo}", "{ref}"'
    script.write_text(re.sub(r"^REPO, REF = .*$", names, script.read_text(), flags=re.M))
    print(f"Stamped {len(paths)} notebooks with {repo}, {ref}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "stamp"])
    parser.add_argument("--save", action="store_true", help="keep the outputs in the notebooks")
    parser.add_argument("--repo", default=REPO, help="GitHub owner/name for the badges")
    parser.add_argument("--ref", default=REF, help="branch or tag for the badges")
    options = parser.parse_args()
    if options.action == "run":
        run(options.save)
    else:
        stamp(options.repo, options.ref)


if __name__ == "__main__":
    sys.exit(main())
