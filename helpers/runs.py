"""A training run that is kept: a Keras callback which scores, records, resumes and stops early."""

import functools
import inspect
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
import types
from datetime import UTC, datetime
from pathlib import Path

import joblib
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import metrics, paths, streaming


class Run(keras.callbacks.Callback):
    """A run of a compiled model: `model.fit(run.batches, epochs=, initial_epoch=run.epochs_done, callbacks=[run])`.

    `train` and `held_out` are (x, y): float32 inputs (n, ...), or `streaming.Rows`, and 0/1 labels (n, num_tags).
    `history` has a row an epoch and `split` ("train", "held_out"): `epoch` (from 1), what `evaluate` gives in inference
    mode ("train": `loss` and `streaming_auc` with dropout on), `seconds` of training, and `constant_auc`, Keras's AUC
    if every song gets the tags' shares in training. `patience`: epochs without a higher held-out macro AUC after which
    training ends, with the best epoch's weights (Choi et al. 2017, section 3). `augment(x, rng)` changes each batch.

    `results/<name>-<hash of network, settings, data, tags>/` keeps it all. A killed run goes on from its last whole
    epoch to the same end, a finished one is loaded. Raises ValueError for data that do not fit and a damaged folder.
    """

    def __init__(self, name, model, train, held_out, num_epochs, batch_size=10, seed=0, patience=None, augment=None,
                 provenance=None, tags=None, folder=None):  # fmt: skip
        super().__init__()
        self.sides, self.num_epochs, self.patience = {"train": train, "held_out": held_out}, int(num_epochs), patience
        for side, (x, y) in self.sides.items():
            if not len(x) or np.shape(y) != (len(x), model.output_shape[-1]) or not np.isin(y, (0, 1)).all():
                shapes = f"{len(x)} inputs, labels {np.shape(y)}, {model.output_shape[-1]} outputs"
                raise ValueError(f"{name}, {side}: {shapes}; give some inputs, each with a 0 or 1 for every output.")
        self.batches = Batches(*train, int(batch_size), int(seed), augment)
        shares = np.mean(train[1], axis=0)
        self.constant = [evaluate(y, np.tile(shares, (len(y), 1)))["streaming_auc"] for _, y in self.sides.values()]
        settings = {"num_epochs": self.num_epochs, "batch_size": int(batch_size), "seed": int(seed)}
        settings |= {"patience": patience and int(patience), "backend": keras.backend.backend()}
        tags = None if tags is None else [str(tag) for tag in tags]
        content = [settings, tags, _identity(augment), *map(_content, (*train, *held_out))]
        self.folder = Path(folder or paths.RESULTS) / f"{name}-{joblib.hash([*_network(model), *content])[:8]}"
        self.record = {"settings": settings | model.get_compile_config(), "data": provenance or {}, "tags": tags}
        # Without Adam's variables there is nowhere to load them to; and TensorFlow would trace its first step twice.
        model.optimizer.build(model.trainable_variables)
        self.history = pd.DataFrame()
        self._load(model)

    @property
    def epochs_done(self) -> int:
        """The epoch to go on from, counted from 0: `num_epochs` too where `patience` has ended the run."""
        return (
            self.num_epochs if self.patience and self._epochs_since_best() >= self.patience else len(self.history) // 2
        )

    def _epochs_since_best(self):
        if self.history.empty:
            return 0
        aucs = self.history["macro_auc"][self.history["split"] == "held_out"].fillna(-1)  # undefined is never the best
        return len(aucs) - 1 - int(aucs.argmax())

    def on_train_begin(self, logs=None):
        self._load(self.model)  # in place of what an interrupted epoch left
        if self.history.empty and int(self.model.optimizer.iterations):
            raise ValueError(f"{self.folder.name}: the network is trained already; build and compile it anew.")
        self.bar = tqdm(desc=self.folder.name, total=self.num_epochs, initial=self.epochs_done, unit="epoch")

    def on_epoch_begin(self, epoch, logs=None):
        if not epoch == self.epochs_done < self.num_epochs:
            raise ValueError(f"Call fit with epochs={self.num_epochs} and initial_epoch=run.epochs_done.")
        self.batches.begin(epoch)
        random.seed(f"{self.batches.seed} {epoch}")  # by which Keras shuffles batches
        states = [variable for variable in self.model.variables if variable.path.endswith("seed_generator_state")]
        for i, state in enumerate(states):  # of dropout; Keras does not save them
            state.assign(np.random.SeedSequence([self.batches.seed, epoch, i]).generate_state(2))
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds, rows = time.perf_counter() - self.began, []
        for (side, (x, y)), constant in zip(self.sides.items(), self.constant, strict=True):
            row = {"epoch": epoch + 1, "split": side, **evaluate(y, predict(self.model, x)), "seconds": seconds}
            rows.append(row | {"constant_auc": constant})
        rows[0] |= {name: float(logs[name]) for name in ("loss", "streaming_auc") if name in logs}
        self.history = pd.concat([self.history, pd.DataFrame(rows)], ignore_index=True)
        self.bar.update()
        self._save()
        self.model.stop_training = self.epochs_done == self.num_epochs

    def on_train_end(self, logs=None):
        self.bar.close()
        if self.patience:
            self.model.load_weights(self.folder / "best.keras")

    def _load(self, model):
        if not (self.folder / "model.keras").exists():
            return
        try:
            model.load_weights(self.folder / "model.keras")
            history = pd.read_csv(self.folder / "history.csv")
            # The model is written last: a run killed before that trains its last epoch again.
            self.history = history[history["epoch"] <= int(model.optimizer.iterations) // len(self.batches)]
        except Exception as error:  # a damaged zip, HDF5 or CSV file raises any of a dozen kinds
            raise ValueError(f"{self.folder} is damaged ({error!r}); delete that folder to train again.") from error

    def _save(self):
        """Write the history, what the run was, and the model: each whole or not at all."""
        versions = {name: sys.modules[name].__version__ for name in ("keras", "numpy", keras.backend.backend())}
        self.record |= {"versions": versions, "hardware": hardware(), "parameters": self.model.count_params()}
        self.record["seconds"] = round(float(self.history["seconds"].sum() / 2), 1)
        self.record["date"] = datetime.now(UTC).isoformat(timespec="seconds")
        with paths.atomic(self.folder / "history.csv") as temporary:
            self.history.to_csv(temporary, index=False)
        with paths.atomic(self.folder / "run.json") as temporary:
            temporary.write_text(json.dumps(self.record, indent=2) + "\n")
        best = ["best.keras"] if self.patience and self._epochs_since_best() == 0 else []
        for name in [*best, "model.keras"]:
            with paths.atomic(self.folder / name) as temporary:
                self.model.save(temporary)


class Batches(keras.utils.PyDataset):
    """Batches of (x, y), in an order that depends on seed and epoch alone; Keras reads ahead in a thread."""

    def __init__(self, x, y, batch_size, seed, augment):
        super().__init__()
        self.x, self.y, self.batch_size, self.seed, self.augment = x, np.float32(y), batch_size, seed, augment
        self.begin(0)

    def begin(self, epoch):
        """Shuffle. `Run` calls it: Keras does not tell a data set which epoch it is."""
        self.epoch, self.order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.x))

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, i):
        rows = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        x = self.x[rows]
        x = self.augment(x, np.random.default_rng([self.seed, self.epoch, i])) if self.augment else x
        return np.asarray(x, np.float32), self.y[rows]


def _network(model):
    """Return what tells a compiled network from another: its JSON, and sums that tell initial weights apart."""
    network = json.loads(model.to_json())
    network["compile_config"].pop("jit_compile", None)  # a GPU's run is found again without one
    # Two digits: the last bits differ between machines.
    start = [round(float(np.sum(weights, dtype=float)), 2) for weights in model.get_weights()]
    return json.dumps(_numbered(network, {})), start


def _numbered(config, numbers):
    """Return a Keras config with names as numbers in order: `dense_1`, `dense_2` depend on what was built before."""
    match config:
        case dict():
            if "name" in config and len(config) > 1:  # a dtype policy's config is its name alone
                config = config | {"name": numbers.setdefault(config["name"], len(numbers))}
            return {key: _numbered(value, numbers) for key, value in config.items()}
        case [str(name), int(), int()]:  # an output of a layer
            return [numbers.setdefault(name, len(numbers)), *config[1:]]
        case list():
            return [_numbered(value, numbers) for value in config]
    return config


def _content(data):
    return data.fingerprint() if isinstance(data, streaming.Rows) else np.ascontiguousarray(data, np.float32)


def _identity(value):
    """Return what tells functions apart: code, constants, defaults, closure, globals, arguments of a partial one."""
    if isinstance(value, functools.partial):
        value = [value.func, value.args, value.keywords]
    elif isinstance(value, types.FunctionType):
        used = inspect.getclosurevars(value)
        known = {name: each for name, each in used.globals.items() if isinstance(each, (int, float, str, np.ndarray))}
        value = [value.__code__, value.__defaults__, value.__kwdefaults__, used.nonlocals, known]
    elif isinstance(value, types.CodeType):
        value = [value.co_code, value.co_names, value.co_consts]
    return [_identity(each) for each in value] if isinstance(value, (list, tuple)) else value


def predict(model: keras.Model, x: np.ndarray | streaming.Rows) -> np.ndarray:
    """Return `model`'s scores, float32 (n, num_tags), in batches of about half a million input values."""
    row_size = int(np.prod(x.shape[1:]))
    parts = streaming.blocks(len(x), 4 * row_size) if isinstance(x, streaming.Rows) else [slice(None)]
    return np.concatenate([model.predict(x[part], max(1, 2**19 // row_size), verbose=0) for part in parts])


def evaluate(y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return losses and scores of probabilities `scores` for labels `y`, (n, num_tags); `streaming_auc` is Keras's."""
    auc, macro = keras.metrics.AUC(), metrics.macro(y, scores)
    auc.update_state(y, scores)
    loss = keras.ops.mean(keras.ops.binary_crossentropy(np.float32(y), np.float32(scores)))
    found = {name: macro[name] for name in ("macro_auc", "average_precision", "num_tags")}
    return {"loss": float(loss), "streaming_auc": float(auc.result()), **found, "num_songs": len(y)}


def hardware() -> str:
    """Return the names of the GPUs, if there are any, or the processor's and its number of cores."""
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        names = subprocess.run(query, capture_output=True, check=True, timeout=20).stdout
        return ", ".join(names.decode(errors="replace").strip().split("\n")) or "GPU"
    except (OSError, subprocess.SubprocessError):
        cpuinfo = Path("/proc/cpuinfo")
        names = re.findall(r"model name\s*: (.+)", cpuinfo.read_text() if cpuinfo.exists() else "")
        return f"{(names or [platform.machine()])[0]}, {os.cpu_count()} cores"
