"""Training as the papers do it: the settings of the series, one `fit`, and the callback that keeps a run."""

import functools
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import joblib
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import metrics, models, paths
from helpers.streaming import Rows

# Arguments of `fit` by preset. "paper": Mason 2020, "Initial training"; Choi et al. 2017, section 3, gives the
# patience, the rest is ours. The demo set is small: smaller batches and larger steps make more of it.
PAPER = dict(num_epochs=50, batch_size=10, learning_rate=1e-3, momentum=0.99)
MASON_SETTINGS = {
    "test": {"small": dict(num_epochs=2, momentum=0.9), "large": dict(num_epochs=1, momentum=0.9)},
    "demo": {
        "small": dict(num_epochs=60, batch_size=5, learning_rate=4e-3, momentum=0.9),
        "large": dict(num_epochs=20, batch_size=5, learning_rate=2e-3, momentum=0.9),
    },
    "paper": {"small": PAPER, "large": PAPER},
}
CHOI_SETTINGS = {
    "test": dict(num_epochs=1, batch_size=8, momentum=0.9, patience=1),
    "demo": dict(num_epochs=40, batch_size=8, learning_rate=2e-3, momentum=0.9, patience=5),
    "paper": dict(num_epochs=100, batch_size=32, learning_rate=1e-3, momentum=0.99, patience=1),
}


def fit(build, train, held_out, name, num_epochs, batch_size=10, learning_rate=1e-3, momentum=0.99, seed=0, **kept):
    """Return `build()`, trained as the papers do, and `Run.history` (`attrs`: its `folder`); `kept`: those of `Run`."""
    keras.utils.set_random_seed(int(seed))
    model = build()
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = float(momentum)
    auc = keras.metrics.AUC(name="streaming_auc")  # Mason's
    model.compile(keras.optimizers.Adam(float(learning_rate)), "binary_crossentropy", metrics=[auc])
    run = Run(name, model, train, held_out, num_epochs, batch_size, seed, **kept)
    model.fit(run.batches, epochs=run.num_epochs, initial_epoch=run.epochs_done, callbacks=[run], verbose=0)
    run.history.attrs["folder"] = str(run.folder)
    return model, run.history


def fit_mason(size: str, segments: int, train: tuple, held_out: tuple, provenance: dict, **changes):
    """Train Mason's "small" or "large" network with `MASON_SETTINGS`, or `changes` of them, as `fit`."""
    settings = {"name": f"{provenance['dataset']}/{size}-{segments}", **MASON_SETTINGS[paths.preset()][size], **changes}
    build = functools.partial(models.mason_crnn, size, segments, train[1].shape[1])
    return fit(build, train, held_out, provenance=provenance, **settings)


def fit_choi(network: str, budget: str, parts: dict, provenance: dict, **changes):
    """Train one of Choi's networks with `CHOI_SETTINGS`, or `changes` of them, on `parts` "train" and "valid"."""
    settings = {"name": f"{provenance['dataset']}/{network}-{budget}", **CHOI_SETTINGS[paths.preset()], **changes}
    build = functools.partial(models.choi_network, network, budget, parts["train"][1].shape[1])
    return fit(build, parts["train"], parts["valid"], provenance=provenance, **settings)


def transpose(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return songs (n, 12, segments, 1), each in a random key: its pitch classes turn by 0 to 11 semitones."""
    turned = (np.arange(12) - rng.integers(12, size=(len(x), 1))) % 12
    return np.take_along_axis(x, turned[:, :, None, None], axis=1)


class Run(keras.callbacks.Callback):
    """A run of a compiled model: `model.fit(run.batches, epochs=, initial_epoch=run.epochs_done, callbacks=[run])`.

    `train`, `held_out`: (x, y), float32 inputs (n, ...) or `streaming.Rows`, and 0/1 labels (n, num_tags). `history`
    has a row an `epoch` (from 1) and `split`, with what `metrics.evaluate` gives ("train": `loss` and `streaming_auc`
    as Keras says them, dropout on), `seconds` of training, and `constant_auc`: if every song gets the tags' shares.
    Every fifth epoch and the last are scored. With `patience` all are, and after so many without a higher held-out
    macro AUC training ends, with the best one's weights (Choi et al. 2017, sec. 3). `augment(x, rng)` changes each
    batch. `results/<name>-<hash of network, settings, data, tags>/` keeps it all: a killed run goes on to the same end,
    a finished one is loaded. ValueError for data that do not fit and for a damaged folder.
    """

    def __init__(self, name, model, train, held_out, num_epochs, batch_size=10, seed=0, patience=None, augment=None,
                 provenance=None, tags=None, folder=None):  # fmt: skip
        super().__init__()
        self.sides, shares = {}, np.mean(train[1], axis=0)
        for side, (x, y) in {"train": train, "held_out": held_out}.items():
            if not len(x) or np.shape(y) != (len(x), model.output_shape[-1]) or not np.isin(y, (0, 1)).all():
                found = f"{len(x)} inputs, labels {np.shape(y)}"
                raise ValueError(f"{name}, {side}: {found}; give a 0 or 1 for each of {model.output_shape[-1]} tags.")
            if not isinstance(x, Rows) and not np.isfinite(x).all():  # pooling can lose a NaN, and nothing be learned
                raise ValueError(f"{name}, {side}: the inputs hold NaN or infinity; mend or leave out those songs.")
            self.sides[side] = x, y, metrics.evaluate(y, np.tile(shares, (len(y), 1)))["streaming_auc"]
        self.num_epochs, self.patience = int(num_epochs), patience and int(patience)
        self.history = pd.DataFrame({"split": [], "macro_auc": []})
        self.batches = Batches(*train, int(batch_size), int(seed), augment)
        settings = {"num_epochs": self.num_epochs, "batch_size": int(batch_size), "seed": int(seed)}
        settings |= {"patience": self.patience, "backend": keras.backend.backend()}
        tags = None if tags is None else [str(tag) for tag in tags]
        augmented = augment and [joblib.hash(self.batches[i][0]) for i in range(len(self.batches))]  # of one epoch
        content = [*_network(model), settings, tags, augmented]
        for data in (*train, *held_out):
            content.append(data.fingerprint() if isinstance(data, Rows) else np.ascontiguousarray(data, np.float32))
        self.folder = Path(folder or paths.RESULTS) / f"{name}-{joblib.hash(content)[:8]}"
        self.record = {"settings": settings | model.get_compile_config(), "data": provenance or {}, "tags": tags}
        versions = {name: sys.modules[name].__version__ for name in ("keras", "numpy", keras.backend.backend())}
        self.record |= {"versions": versions, "hardware": hardware(), "parameters": model.count_params()}
        # Without Adam's variables there is nowhere to load them to; and TensorFlow would trace its first step twice.
        model.optimizer.build(model.trainable_variables)
        try:
            if (self.folder / "model.keras").exists():
                model.load_weights(self.folder / "model.keras")
                history = pd.read_csv(self.folder / "history.csv")
                # The model is written last: a run killed before that trains its last epoch again.
                self.history = history[history["epoch"] <= int(model.optimizer.iterations) // len(self.batches)]
        except Exception as error:  # a damaged zip, HDF5 or CSV file raises any of a dozen kinds
            raise ValueError(f"{self.folder} is damaged ({error!r}); delete that folder to train again.") from error

    @property
    def epochs_done(self) -> int:
        """The epoch to go on from, counted from 0: `num_epochs` too where `patience` has ended the run."""
        done = int((self.history["split"] == "train").sum())
        return self.num_epochs if self.patience and self._since_best() >= self.patience else done

    def _since_best(self):
        aucs = [-2, *self.history["macro_auc"][1::2].fillna(-1)]  # of no epoch, held-out ones; undefined is never best
        return len(aucs) - 1 - int(np.argmax(aucs))

    def on_train_begin(self, logs=None):
        self.bar = tqdm(desc=self.folder.name, total=self.num_epochs, initial=self.epochs_done, unit="epoch")

    def on_epoch_begin(self, epoch, logs=None):
        done, trained = self.epochs_done, int(self.model.optimizer.iterations)
        if not epoch == done < self.num_epochs or trained != done * len(self.batches):
            right = f"epochs={self.num_epochs}, initial_epoch=run.epochs_done"
            raise ValueError(f"{self.folder.name}: build and compile the network anew, make its Run, fit with {right}.")
        self.batches.begin(epoch)
        random.seed(f"{self.batches.seed} {epoch}")  # by which Keras shuffles batches
        states = [variable for variable in self.model.variables if variable.path.endswith("seed_generator_state")]
        for i, state in enumerate(states):  # of dropout; Keras does not save them
            state.assign(np.random.SeedSequence([self.batches.seed, epoch, i]).generate_state(2))
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds, rows = time.perf_counter() - self.began, []
        scored = self.patience or (epoch + 1) % 5 == 0 or epoch + 1 == self.num_epochs  # scoring takes long
        for side, (x, y, constant) in self.sides.items():
            row = {"epoch": epoch + 1, "split": side, "num_songs": len(y), "seconds": seconds, "constant_auc": constant}
            rows.append(row | (metrics.evaluate(y, models.predict(self.model, x)) if scored else {}))
        rows[0] |= {name: float(logs[name]) for name in ("loss", "streaming_auc") if name in logs}
        self.history = pd.DataFrame([*self.history.to_dict("records"), *rows[: 2 if scored else 1]])
        if scored or seconds > 5 or epoch == 0:  # saving takes as long as a short epoch; the first shows a full disk
            with paths.atomic(self.folder / "history.csv") as temporary:
                self.history.to_csv(temporary, index=False)
            with paths.atomic(self.folder / "run.json") as temporary:
                temporary.write_text(json.dumps(self.record, indent=2, default=np.generic.item) + "\n")
            best = ["best.keras"] if self.patience and self._since_best() == 0 else []
            for name in [*best, "model.keras"]:
                with paths.atomic(self.folder / name) as temporary:
                    self.model.save(temporary)
        self.bar.update()
        self.model.stop_training = self.epochs_done == self.num_epochs

    def on_train_end(self, logs=None):
        self.bar.close()
        if self.patience:
            self.model.load_weights(self.folder / "best.keras")


class Batches(keras.utils.PyDataset):
    """Batches of (x, y), in an order that depends on seed and epoch alone."""

    def __init__(self, x, y, batch_size, seed, augment):
        super().__init__()
        self.x, self.y, self.batch_size, self.seed, self.augment = x, np.float32(y), batch_size, seed, augment
        self.begin(0)

    def begin(self, epoch):  # Keras does not tell a data set which epoch it is
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
    text = json.dumps(network)
    # Names of layers as numbers in order: `dense_1`, `dense_2` depend on what was built before. Those of dtypes stay.
    for i, name in enumerate(dict.fromkeys(re.findall(r'"name": ("(?!(?:mixed_)?b?float)[^"]+")', text))):
        text = text.replace(f'"name": {name}', f'"name": {i}').replace(f"[{name}, ", f"[{i}, ")
    return text, [round(float(np.sum(weights, dtype=float)), 2) for weights in model.get_weights()]  # last bits differ


def hardware() -> str:
    """Return the names of the GPUs, if Keras computes on one, or the processor's and the number of cores in use."""
    if re.search("gpu|cuda|mps", str(keras.ops.zeros(1).device), re.IGNORECASE):
        failed, said = subprocess.getstatusoutput("nvidia-smi --query-gpu=name --format=csv,noheader")
        return f"{platform.machine()}, its GPU" if failed else said.replace("\n", ", ")
    name = [*re.findall("model name\\s*: (.+)", subprocess.getoutput("cat /proc/cpuinfo")), platform.machine()][0]
    used = os.environ.get("TF_NUM_INTRAOP_THREADS", os.cpu_count())  # which `series.py` sets
    return f"{name}, {used} of {os.cpu_count()} cores"
