"""The list of the figures in a folder: which notebook made each of which data, when, with what, from which table."""

import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from helpers import paths


def enter(figure: Path, provenance: dict, label: str, table: Path | None) -> None:
    """Give `figure` its row in `manifest.csv` beside it; notebooks that do so at the same time wait for each other."""
    row = {
        "figure": figure.stem,
        # `series.py` names the notebook, or else Jupyter does.
        "notebook": Path(os.environ.get("CRNN_NOTEBOOK") or os.environ.get("JPY_SESSION_NAME", "")).stem,
        **{key: provenance[key] for key in ("dataset", "synthetic")},
        "label": label,
        "preset": paths.preset(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": f"matplotlib {matplotlib.__version__}, numpy {np.__version__}, pandas {pd.__version__}",
        "table_sha256": _checksum(table) if table else "",
    }
    manifest = figure.with_name("manifest.csv")
    place = hashlib.sha256(str(manifest.resolve()).encode()).hexdigest()[:16]
    # SQLite's lock works on all systems, and that of a process that has died is free again.
    with closing(sqlite3.connect(Path(tempfile.gettempdir(), f"crnn-{place}.lock"), timeout=60)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        known = pd.read_csv(manifest, keep_default_na=False) if manifest.exists() else pd.DataFrame({"figure": []})
        rows = pd.concat([known[known["figure"] != row["figure"]], pd.DataFrame([row])])[list(row)]
        with paths.atomic(manifest) as temporary:
            rows.sort_values("figure").to_csv(temporary, index=False, lineterminator="\n")


def tables(names: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield the tables of the figures `names` of all data sets, and the labels that the figures carry.

    Raises ValueError for a table that is missing or is not the one that its figure was drawn from.
    """
    for manifest in sorted(paths.FIGURES.glob("*/manifest.csv")):
        rows = pd.read_csv(manifest, keep_default_na=False).set_index("figure")
        for name, row in rows[rows.index.isin(names)].iterrows():
            table = manifest.with_name(f"{name}.csv")
            if not table.exists() or _checksum(table) != row["table_sha256"]:
                advice = f"restore it (git checkout) or run the notebook {row['notebook']}."
                raise ValueError(f"{table} is missing, or was changed since its figure was made: {advice}")
            yield table, row["label"]


def _checksum(table: Path) -> str:
    return hashlib.sha256(table.read_bytes().replace(b"\r\n", b"\n")).hexdigest()  # Git changes line ends on Windows
