"""Runs the notebooks, two at a time, and keeps what they share the same: navigation, badges, the set-up cell.

python notebooks/series.py run                 run all on the data at hand, write figures/ (what `make figures` does)
python notebooks/series.py run --save 04 05    run these two and keep the outputs in the notebooks
python notebooks/series.py stamp --repo owner/name --ref branch     write navigation, badges, set-up cells
"""

import argparse
import base64
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from PIL import Image

HERE = Path(__file__).resolve().parent
SETUP = """\
# Finds the project, on Colab a clone of it or one on Drive, and refuses another package that is called `helpers`.
import os
import sys

source = "-b {ref} https://github.com/{repo}"
if os.path.isdir("/content"):  # on Colab; git leaves a clone that is there as it is
    os.system(f"git -C /content clone -q --depth 1 {source} crnn-music-tagging")
places = (os.environ.get("CRNN_ROOT", "."), "..", "crnn-music-tagging", "drive/MyDrive/crnn-music-tagging")
root = next((os.path.abspath(place) for place in places if os.path.isfile(f"{place}/helpers/session.py")), "")
sys.path[:0] = [root, f"{root}/notebooks"]
from helpers import session  # not found or wrong? Start Jupyter inside the project, or set CRNN_ROOT to its folder

assert root and os.path.samefile(session.__file__, f"{root}/helpers/session.py"), f"wrong helpers: {session.__file__}"
data_folder = session.start(seed=0)"""
REPO, REF = "crnn-music-tagging/crnn-music-tagging", "main"
# Which notebooks use what another one has made, in the order in which they start if they can: longest chains first.
AFTER = {
    "00": [],  # makes the demo set
    "01": ["00"],  # makes the snapshots of 04, 05, 06, 08 and 09
    "05": ["01"],  # trains networks that 08 uses
    "08": ["05"],
    "04": ["01"],  # trains the chroma network of 06 and 09
    "02": ["00"],  # makes the recordings of 06, 07 and 09, and their features
    "07": ["02"],  # trains networks that 06 uses
    "06": ["02", "04", "07"],
    "10": ["00"],
    "11": ["02", "07"],  # where both need the demo's recordings, 07 extracts them
    "03": ["00"],
    "09": ["02", "04"],
}
SIDE_BY_SIDE = 2
# Each its share of the cores: where both trained on all, small networks took a quarter more of the processor's time.
THREADS = {"TF_NUM_INTRAOP_THREADS": str(max(1, os.cpu_count() // SIDE_BY_SIDE))}


def notebooks(names: list[str] = ()) -> list[Path]:
    """Return the numbered notebooks in order, or those whose file names begin with one of `names`."""
    found = {name: sorted(HERE.glob(f"{name}*.ipynb")) for name in names or ["[0-9][0-9]_"]}
    if unknown := [name for name, paths in found.items() if not paths]:
        raise SystemExit(f"No notebook in {HERE} begins with {' or '.join(unknown)}.")
    return sorted({path for paths in found.values() for path in paths})


def run(names: list[str], save: bool) -> None:
    """Execute notebooks, each in a process of its own, one line each; if one fails, stop the others and exit with 1."""
    start, chosen = time.perf_counter(), notebooks(names)
    # Fills numba's cache: two processes that do so at once can mix their files, and every later one then crashes.
    subprocess.run([sys.executable, "-c", "import librosa.onset, librosa.feature"], check=True)
    # A notebook that `AFTER` does not know, such as a fork's, comes last, after all others.
    waiting = sorted(chosen, key=lambda path: [*AFTER, path.name[:2]].index(path.name[:2]))
    running: dict[Path, subprocess.Popen] = {}
    shared = len(chosen) > 1 and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    environment = THREADS | os.environ if shared else None
    try:
        while waiting or running:
            busy = {path.name[:2] for path in [*waiting, *running]}
            ready = [path for path in waiting if not busy & set(AFTER.get(path.name[:2], AFTER))]
            for path in ready[: SIDE_BY_SIDE - len(running)]:
                waiting.remove(path)
                command = [sys.executable, __file__, "one", path.name, *["--save"] * save]
                running[path] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
            for path, process in list(running.items()):
                try:  # also reads what it says: into a full pipe it would wait for ever
                    _, errors = process.communicate(timeout=0.1)
                except subprocess.TimeoutExpired:
                    continue
                del running[path]
                if process.returncode:
                    raise SystemExit(errors or f"{path.name}: its process was ended ({process.returncode}).")
    finally:
        for process in running.values():
            process.terminate()
            process.communicate()
    minutes = (time.perf_counter() - start) / 60
    print(f"Ran {len(chosen)} notebooks in {minutes:.1f} minutes; figures/<data set>/ has what they drew.")


def execute(path: Path, save: bool = False) -> float:
    """Execute one notebook in a fresh kernel and return the seconds it took; `save` keeps its outputs.

    Raises RuntimeError with the failing cell and its error.
    """
    notebook = nbformat.read(path, as_version=4)
    # A progress bar is for a person who watches. The name is for the manifest of the figures.
    environment = os.environ | {"TQDM_DISABLE": "1", "CRNN_NOTEBOOK": path.stem}
    if os.path.isdir(data := os.path.expanduser(os.environ.get("CRNN_DATA", ""))):  # the kernel starts elsewhere
        environment["CRNN_DATA"] = os.path.abspath(data)
    start = time.perf_counter()
    client = NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(HERE)}})
    try:
        # What a cell prints is in the notebook; what the kernel itself says (TensorFlow's greeting) helps nobody.
        client.execute(stderr=subprocess.DEVNULL, env=environment)
    except (CellExecutionError, DeadKernelError) as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # the kernel's traceback is coloured
        raise RuntimeError(f"{path.name} failed:\n{plain}") from None
    seconds = time.perf_counter() - start
    if save:
        for cell in notebook.cells:
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":  # without TensorFlow's greeting, which no setting of its own turns off
                cell.outputs = [output for output in cell.outputs if "absl::" not in output.get("text", "")]
                for data in (output.data for output in cell.outputs if "image/png" in output.get("data", {})):
                    data["image/png"] = smaller(data["image/png"])
        nbformat.write(notebook, path)
    return seconds


def smaller(png: str) -> str:
    """Return a PNG file in base64 with at most 256 colours, which none will miss in a plot: a third of the size."""
    picture, file = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    picture.quantize(dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def setup_cell(repo: str, ref: str) -> str:
    """Return the set-up cell of all notebooks: on Colab it clones branch or tag `ref` of `repo`, "owner/name"."""
    return SETUP.replace("{repo}", repo).replace("{ref}", ref)


def stamp(repo: str, ref: str) -> None:
    """Write navigation lines, Colab badges and set-up cells into the notebooks, and the links of the README."""
    paths, readme = notebooks(), HERE.parent / "README.md"
    text = readme.read_text(encoding="utf-8")
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
        setup.source = setup_cell(repo, ref)
        nbformat.write(notebook, path)
    readme.write_text(text, encoding="utf-8")
    # A fork's next stamp, and the tests, start from here.
    script, names = HERE / "series.py", f'REPO, REF = "{repo}", "{ref}"'
    own = re.sub(r"^REPO, REF = .*$", names, script.read_text(encoding="utf-8"), flags=re.M)
    script.write_text(own, encoding="utf-8")
    print(f"Stamped {len(paths)} notebooks with {repo}, {ref}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "one", "stamp"], help="one: a notebook in this process, as run does")
    parser.add_argument("names", nargs="*", help="beginnings of file names, such as 04; none means all")
    parser.add_argument("--save", action="store_true", help="keep the outputs in the notebooks")
    parser.add_argument("--repo", default=REPO, help="GitHub owner/name for the badges")
    parser.add_argument("--ref", default=REF, help="branch or tag for the badges")
    options = parser.parse_intermixed_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended before it was done."))  # and with it what it has started
    if options.action == "run":
        run(options.names, options.save)
    elif options.action == "one":
        (name,) = options.names
        try:
            print(f"{name:32} {execute(HERE / name, options.save):6.0f} s")
        except RuntimeError as error:
            raise SystemExit(str(error)) from None
    else:
        stamp(options.repo, options.ref)


if __name__ == "__main__":
    main()
