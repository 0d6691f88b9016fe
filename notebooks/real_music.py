"""Mason's questions put to real music, five folds by artist: `make real CRNN_DATA=<folder>`, as data/README.md says.

Stop it when you like; it goes on where it was. After each predictor its rows in three tables in `figures/<data set>/`
are replaced: `real_music_folds.csv` (a row a predictor and fold), `real_music_by_tag.csv` (a row a predictor and tag)
and `real_music_history.csv` (a row an epoch). Notebook 08 draws those of `billboard`.
"""

import functools
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers import joining, metrics, models, paths, snapshots, splits, tags, training

NUM_FOLDS = 5  # each network starts from the seed that is its fold's number
# Mason's networks and batch. 30 passes of 60 steps: too few for a momentum of .99 (notebook 04).
SETTINGS = {"num_epochs": 30, "batch_size": 10, "learning_rate": 1e-3, "momentum": 0.9}
# Predictor: segments that a song must have, segments that are seen.
NETWORKS = {
    "small CRNN": (252, 252),
    "small CRNN, shuffled in time": (252, 252),
    "small CRNN, permuted labels": (252, 252),
    "small CRNN, random keys": (252, 252),
    "small CRNN, random keys, shuffled in time": (252, 252),
    "small CRNN, dropout 0.5": (252, 252),
    "small CRNN, dropout 0.5, shuffled in time": (252, 252),
    "small CRNN, dropout 0.5, random keys": (252, 252),
    "small CRNN, long songs, 512 segments": (512, 512),
    "small CRNN, long songs, 252 segments": (512, 252),
    "large CRNN": (252, 252),
    "large CRNN, shuffled in time": (252, 252),
    "large CRNN, random keys": (252, 252),
    "large CRNN, random keys, shuffled in time": (252, 252),
}
LINEAR = {"ridge, mean": 1, "ridge, 36 sorted numbers": 3}


def linear(predictor: str, x: np.ndarray, y: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return the scores of a ridge regression of notebook 08, on all songs (songs, tags)."""
    rows = x[..., 0]
    numbers = [rows.mean(axis=2), rows.std(axis=2), np.abs(np.diff(rows)).mean(axis=2)][: LINEAR[predictor]]
    features = np.hstack([np.sort(each) for each in numbers] if "sorted" in predictor else numbers)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 4, 9)))
    return model.fit(features[train], y[train]).predict(features)


def of_mason(size: str, segments: int, num_tags: int, rate: float | None):
    """Return Mason's network; with a `rate`, that is the dropout in all four places (`build` in notebook 08)."""
    model = models.mason_crnn(size, segments, num_tags)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and rate:
            layer.rate = rate
    return model


def network(predictor: str, x, y, train, held_out, fold: int, **facts) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return the labels that a network was trained on, its scores of all songs, its history. `facts`: of `Run`."""
    options = {**SETTINGS, "seed": fold, "name": f"{facts['provenance']['dataset']}/{predictor.replace(' ', '-')}"}
    labels, segments, rate = y[train], x.shape[2], 0.5 if "dropout" in predictor else None
    if rate:
        options["num_epochs"] = 50  # it learns more slowly; so many are Mason's own
    if "shuffled in time" in predictor:  # one order for all songs
        x = x[:, :, np.random.default_rng(0).permutation(segments)]
    if "permuted labels" in predictor:
        labels = np.random.default_rng(fold).permutation(labels)
    if "random keys" in predictor:
        options["augment"] = training.transpose
    sides = (x[train], labels), (x[held_out], y[held_out])
    build = functools.partial(of_mason, "large" if "large" in predictor else "small", segments, y.shape[1], rate)
    model, history = training.fit(build, *sides, **facts, **options)
    return labels, models.predict(model, x), history.assign(segments=segments, fold=fold)


def of_tags(labels: list, scores: list, artists: list, vocabulary: list[str]) -> pd.DataFrame:
    """Return each tag's mean AUC over the folds, with a 95 % interval: artists are resampled within each fold."""
    folds = list(zip(labels, scores, artists, strict=True))
    resampled = np.nanmean([metrics.bootstrap_tags(*each, seed=i)[0] for i, each in enumerate(folds)], axis=0)
    table = pd.DataFrame({"tag": vocabulary, "num_positives": np.sum([each.sum(axis=0) for each in labels], axis=0)})
    table["auc"] = np.nanmean([metrics.tag_scores(*each[:2])[0] for each in folds], axis=0)
    spans = [metrics.interval(values, estimate=auc) for values, auc in zip(resampled.T, table["auc"], strict=True)]
    return table.assign(low=[low for low, _ in spans], high=[high for _, high in spans])


def keep(predictor: str, rows: pd.DataFrame, path: Path) -> None:
    """Put the rows of a predictor into a table, in place of older ones; the same scores keep their date."""
    rows = rows.assign(predictor=predictor).round(5)
    known = pd.read_csv(path) if path.exists() else rows.head(0)
    before = known[known["predictor"] == predictor]
    if "date" in rows and before["macro_auc"].tolist() == rows["macro_auc"].tolist():
        rows = before
    both = pd.concat([known.drop(before.index), rows])
    both = both.sort_values("predictor", key=lambda names: names.map([*LINEAR, *NETWORKS].index), kind="stable")
    with paths.atomic(path) as temporary:
        both.to_csv(temporary, index=False)


def main() -> None:
    """Score all predictors on all folds."""
    folder, date = paths.data_folder(), datetime.now(UTC).date().isoformat()
    if folder == paths.DEMO or paths.is_synthetic(folder):
        raise SystemExit("These are synthetic demo songs; set CRNN_DATA to a folder of real ones (data/README.md).")
    vocabulary = tags.vocabulary(folder)
    data = {count: snapshots.load(*snapshots.ensure(folder, vocabulary, (count,))) for count in (252, 512)}
    for predictor in [*LINEAR, *NETWORKS]:
        needed, segments = NETWORKS.get(predictor, (252, 252))
        songs, facts = data[needed], {"provenance": data[needed].attrs["provenance"], "tags": vocabulary}
        x, y = joining.pitches(songs)[:, :, :segments], joining.label_matrix(songs)
        artists, found = songs["artist_name"].map(joining.plain).to_numpy(), []
        tables = {"folds": [], "history": []}
        for fold, (train, held_out) in enumerate(splits.artist_folds(artists, NUM_FOLDS)):
            if predictor in LINEAR:
                learned, scores = y[train], linear(predictor, x, y, train)
            else:
                learned, scores, history = network(predictor, x, y, train, held_out, fold, **facts)
                tables["history"].append(history)
            found.append((y[held_out], scores[held_out], artists[held_out]))
            row = {"predictor": predictor, "fold": fold, "segments": segments, "songs": len(held_out)}
            row |= {f"train_{name}": value for name, value in metrics.macro(learned, scores[train]).items()}
            row |= metrics.macro(y[held_out], scores[held_out]) | {"hardware": training.hardware(), "date": date}
            tables["folds"].append(pd.DataFrame([row]))
        tables["by_tag"] = [of_tags(*zip(*found, strict=True), vocabulary)]
        for name, parts in tables.items():
            if parts:
                keep(predictor, pd.concat(parts), paths.FIGURES / folder.name / f"real_music_{name}.csv")
        print(f"{predictor}: {pd.concat(tables['folds'])['macro_auc'].mean():.3f}", flush=True)


if __name__ == "__main__":
    main()
