"""Trains Choi's networks on the data at hand until early stopping decides, cheapest first, over hours: `make long`.

Stop it when you like; it goes on where it was. After each network these files beside the figures are written anew:
`choi_long_run.csv` (a row a network), `choi_long_run_epochs.csv` (a row an epoch: macro AUC on validation clips) and
`choi_long_run_scores.npz` (an array a network: its scores of the test clips). Notebooks 06 and 07 draw from them.
One seed gives other weights with another backend of Keras, so a run goes by network, budget, seed and backend.
"""

import functools
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from helpers import datasets, metrics, models, paths, training

# network, budget, seed: "crnn_mean" is the CRNN with a mean over time in place of its GRUs.
RUNS = [(network, budget, 0) for budget in ("0.1M", "0.25M") for network in ("k2c1", "k1c2")]
RUNS += [(network, "0.1M", 0) for network in ("k2c2", "crnn_mean", "crnn")]
RUNS += [(network, "0.25M", 0) for network in ("k2c2", "crnn")]
RUNS += [(network, "0.1M", seed) for seed in (1, 2) for network in ("k2c1", "k1c2", "k2c2", "crnn_mean", "crnn")]
RUNS += [(network, budget, 0) for budget in models.CHOI_BUDGETS[2:] for network in ("k2c1", "k1c2", "k2c2", "crnn")]


def build(network: str, budget: str, num_tags: int) -> keras.Model:
    """Return one of Choi's networks, or "crnn_mean": the convolutions of the CRNN and a mean over their 15 steps."""
    if network != "crnn_mean":
        return models.choi_network(network, budget, num_tags)
    crnn = models.choi_network("crnn", budget, num_tags)
    mean = keras.layers.GlobalAveragePooling1D(name="mean")(crnn.get_layer("sequence").output)
    outputs = keras.layers.Dense(num_tags, activation="sigmoid", name="tags")(mean)
    return keras.Model(crnn.input, outputs, name=f"choi_crnn_mean_{budget}")


def row_of(y: np.ndarray, scores: np.ndarray) -> dict:
    """Return the scores of the test clips (clips, tags), mean over the tags, with 95 % intervals."""
    score, row = metrics.macro(y, scores), {}
    for name, values in metrics.bootstrap(y, scores).items():
        short = "ap_" if name == "average_precision" else ""
        low, high = metrics.interval(values, estimate=score[name])
        row |= {name: score[name], f"{short}low": low, f"{short}high": high}
    return row


def keep(folder: Path, run: dict, y: np.ndarray, scores: np.ndarray, aucs: np.ndarray) -> None:
    """Put the row of a run, those of its epochs and its scores of the test clips into the files, for older ones."""
    about = {name: run[name] for name in ("network", "budget", "seed", "backend")}
    epochs = pd.DataFrame({**about, "epoch": range(1, len(aucs) + 1), "valid_macro_auc": aucs})
    key = "-".join(map(str, about.values()))
    for name, new in {"choi_long_run": pd.DataFrame([run]), "choi_long_run_epochs": epochs}.items():
        path = folder / f"{name}.csv"
        known = pd.read_csv(path) if path.exists() else new.head(0)
        same = known[list(about)].astype(str).agg("-".join, axis=1) == key
        with paths.atomic(path) as temporary:
            pd.concat([known[~same], new]).round(6).to_csv(temporary, index=False)
    path = folder / "choi_long_run_scores.npz"
    known = dict(np.load(path)) if path.exists() else {}
    known = known if np.array_equal(known.get("labels"), y) else {"labels": y.astype(np.uint8)}  # of other clips
    with paths.atomic(path) as temporary:
        np.savez_compressed(temporary, **known | {key: scores.astype(np.float16)})


def main() -> None:
    """Train all of `RUNS` that are not finished."""
    x, labels, split, folder = datasets.spectrograms(paths.data_folder())
    y, provenance, vocabulary = labels.to_numpy("float32"), paths.provenance(folder), list(labels.columns)
    parts = {part: (x.take(split == part), y[split == part]) for part in datasets.PARTS}
    for network, budget, seed in RUNS:
        name = f"{provenance['dataset']}/{network}-{budget}"
        options = {**training.CHOI_SETTINGS[paths.preset()], "num_epochs": 150, "patience": 10}  # none is cut short
        options |= {"seed": seed, "provenance": provenance, "tags": vocabulary}
        make = functools.partial(build, network, budget, len(vocabulary))
        model, history = training.fit(make, parts["train"], parts["valid"], name, **options)
        scores = models.predict(model, parts["test"][0])
        aucs = history.query("split == 'held_out'")["macro_auc"].to_numpy()
        parameters = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        run = {"network": network, "budget": budget, "seed": seed, "backend": keras.backend.backend()}
        run |= {"parameters": parameters, **row_of(parts["test"][1], scores)}
        run |= {"epochs": len(aucs), "best_epoch": int(np.nanargmax(aucs)) + 1, "stopped": "early stopping"}
        run |= {"training_seconds": history["seconds"].sum() / 2, "hardware": training.hardware(), **provenance}
        run |= {f"{part}_clips": len(parts[part][0]) for part in parts}
        run |= {"date": datetime.now(UTC).date().isoformat(), "preset": paths.preset()}
        keep(paths.FIGURES / provenance["dataset"], run, parts["test"][1], scores, aucs)
        print(f"{name}, seed {seed}: {len(aucs)} epochs, macro AUC on test clips {run['macro_auc']:.3f}", flush=True)


if __name__ == "__main__":
    main()
