"""Training: one `fit` that measures held-out songs at every epoch, records where it came from, and resumes."""

import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from helpers import metrics, models, paths, streaming
from helpers.splits import last as split_last  # noqa: F401


def fast_dtype_policy() -> str:
    """Return "mixed_bfloat16" where the CPU computes bfloat16 natively (it helps the large network), else "float32"."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if native and not has_gpu() else "float32"


def has_gpu() -> bool:
    """Return True if Keras's backend sees a GPU."""
    if keras.backend.backend() == "torch":  # for which Keras lists no devices
        import torch

        return torch.cuda.is_available()
    try:
        return bool(keras.distribution.list_devices("gpu"))
    except RuntimeError:  # JAX without one
        return False


def use_all_devices() -> int:
    """Let Keras share every batch among all GPUs (`keras.distribution.DataParallel`); return their number.

    Call it before a network is built. Keras distributes on the JAX backend only; with others one GPU is used.
    """
    if keras.backend.backend() != "jax" or len(devices := keras.distribution.list_devices()) == 1:
        return 1
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)


def _num_shares() -> int:
    """Return among how many devices a batch is shared; its size must be a multiple of that."""
    distribution = keras.distribution.distribution()
    return distribution.device_mesh.devices.size if distribution else 1


def fit(
    build: Callable[[], keras.Model],
    train: tuple[np.ndarray | streaming.Rows, np.ndarray],
    held_out: tuple[np.ndarray | streaming.Rows, np.ndarray],
    name: str,
    num_epochs: int,
    batch_size: int = 10,
    learning_rate: float = 1e-3,
    seed: int = 0,
    dtype_policy: str = "float32",
    patience: int | None = None,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    provenance: dict | None = None,
    folder: Path | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train with Adam and binary cross-entropy; return the model and its history (Mason 2020, section "Results").

    `train` and `held_out` are (x, y): float32 inputs (n, ...) and 0/1 labels (n, num_tags). Inputs that are
    `streaming.Rows` stay on the disk: a batch is read while the one before trains. `build` makes the network that
    `name` stands for. `provenance` (of a snapshot: `songs.attrs["provenance"]`) is recorded.
    With `patience` training stops when the held-out macro AUC has not risen for so many epochs, and the model is
    that of the best epoch (Choi et al. 2017, section 3: one epoch); without, that of the last epoch.

    The history is tidy, one row an epoch and split ("train", "held_out"), in order: `epoch` (from 1), `split`,
    `loss`, `streaming_auc` (`keras.metrics.AUC` as Mason plots it: all song-tag cells together, 200 thresholds,
    and while training with dropout on), `macro_auc`, `average_precision` (inference mode), `num_tags` that had
    both classes, and `seconds` of training.

    Against memorising: `weight_decay` of Adam, `label_smoothing` of the loss, `augment(x, rng)`, which returns
    changed training inputs for each epoch, such as `transpose`.

    The run lives in `results/<name>-<digest of settings and data>/`: `history.csv`, `run.json`, `model.keras`
    and, with `patience`, `best.keras`. A run killed half-way goes on from its last whole epoch to the same end;
    a finished one is loaded.
    """
    shares = _num_shares()
    batch_size = -(-batch_size // shares) * shares
    settings = {
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
        "dtype_policy": dtype_policy,
        "patience": patience,
        "weight_decay": weight_decay,
        "label_smoothing": label_smoothing,
        "augment": augment.__name__ if augment else None,
        "backend": keras.backend.backend(),
    }
    run = Path(folder or paths.RESULTS) / f"{name}-{_digest(settings, *train, *held_out)}"
    num_rows = len(train[0]) // shares * shares  # of each epoch; the few left out are others each time
    steps = -(-num_rows // batch_size)  # rounded up: the last batch may be smaller
    model, history = _load_or_build(run, build, settings, steps)
    done = len(history) // 2
    with tqdm(total=num_epochs * steps, initial=done * steps, desc=name, unit="batch", leave=False) as bar:
        progress = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: bar.update())
        for epoch in range(done, num_epochs):
            if patience and _epochs_since_best(history) >= patience:
                break
            # The order depends on seed and epoch alone, so a resumed run sees what an unbroken one would.
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(len(train[0]))[:num_rows]
            data = _arrays_or_batches(train, order, batch_size, augment, rng)
            _seed_dropout(model, seed, epoch)
            start = time.perf_counter()
            log = model.fit(**data, shuffle=False, verbose=0, callbacks=[progress]).history
            seconds = time.perf_counter() - start
            rows = [
                {"epoch": epoch + 1, "split": split, **evaluate(y, predict(model, x)), "seconds": seconds}
                for split, (x, y) in {"train": train, "held_out": held_out}.items()
            ]
            rows[0] |= {"loss": log["loss"][0], "streaming_auc": log["streaming_auc"][0]}
            history = pd.concat([history, pd.DataFrame(rows)], ignore_index=True)
            bar.set_postfix(held_out_macro_auc=f"{rows[1]['macro_auc']:.3f}", seconds_per_epoch=f"{seconds:.0f}")
            _save(run, model, history, settings, provenance)
    return (keras.saving.load_model(run / "best.keras") if patience else model), history


def _arrays_or_batches(train, order, batch_size, augment, rng) -> dict:
    """Return what Keras's `fit` takes for one epoch: the inputs in that order, or a reader of them."""
    x, y = train
    if isinstance(x, streaming.Rows):
        return {"x": _Batches(x, y, order, batch_size, augment, rng)}
    inputs = augment(x[order], rng) if augment else x[order]
    return {"x": inputs, "y": y[order], "batch_size": batch_size}


class _Batches(keras.utils.PyDataset):
    """Batches of Rows in a given order; Keras reads them ahead in a thread."""

    def __init__(self, x, y, order, batch_size, augment, rng):
        super().__init__(workers=1, max_queue_size=4)
        self.x, self.y, self.order, self.batch_size, self.augment = x, y, order, batch_size, augment
        self.seed = rng.integers(2**63)

    def __len__(self):
        return -(-len(self.order) // self.batch_size)

    def __getitem__(self, i):
        rows = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        x = self.x[rows]
        return self.augment(x, np.random.default_rng([self.seed, i])) if self.augment else x, self.y[rows]


def transpose(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return songs (n, 12, segments, 1), each in a key drawn by chance: its pitch classes turn by 0 to 11 semitones."""
    turned = (np.arange(12) - rng.integers(12, size=(len(x), 1))) % 12
    return np.take_along_axis(x, turned[:, :, None, None], axis=1)


# `fit`'s settings for Mason's networks, by preset and size; "paper" is "Initial training", at batches of ten. The demo
# set is a tenth of the paper's: it takes smaller batches and larger steps to learn something in a few epochs.
MASON_SETTINGS = {
    "test": {"small": {"num_epochs": 2}, "large": {"num_epochs": 1}},
    "demo": {
        "small": {"num_epochs": 10, "batch_size": 5, "learning_rate": 4e-3},
        "large": {"num_epochs": 3, "batch_size": 4, "learning_rate": 2e-3, "dtype_policy": "fast"},
    },
    "paper": {"small": {"num_epochs": 50}, "large": {"num_epochs": 50}},
}


def fit_mason(size: str, segments: int, train: tuple, held_out: tuple, provenance: dict, **changes):
    """Train Mason's "small" or "large" network as the series does by default; return what `fit` returns.

    `changes` replace or add arguments of `fit`. Notebooks that ask for the same run get the same finished run.
    """
    settings = {"name": f"{provenance['dataset']}/{size}-{segments}", **MASON_SETTINGS[paths.preset()][size], **changes}
    if settings.get("dtype_policy") == "fast":
        settings["dtype_policy"] = fast_dtype_policy()
    build = functools.partial(models.mason_crnn, size, segments, train[1].shape[1])
    return fit(build, train, held_out, provenance=provenance, **settings)


# `fit`'s settings for Choi's networks, by preset. The paper (section 3) gives the patience; the rest is ours.
CHOI_SETTINGS = {
    "test": {"num_epochs": 1, "batch_size": 8, "patience": 1},
    "demo": {"num_epochs": 3, "batch_size": 4, "learning_rate": 1e-2, "patience": 2},
    "paper": {"num_epochs": 100, "batch_size": 32, "patience": 1},
}


def fit_choi(network: str, budget: str, parts: dict, provenance: dict) -> tuple[keras.Model, pd.DataFrame]:
    """Train one of Choi's networks by the one protocol of the series, stopped early; return what `fit` returns.

    `parts` gives (x, y) of "train" and "valid": float32 (clips, 96, 1366, 1) and labels (clips, num_tags).
    Notebooks that ask for the same network get the same finished run.
    """

    def build():
        model = models.choi_network(network, budget, parts["train"][1].shape[1])
        for layer in model.layers:
            if paths.preset() != "paper" and hasattr(layer, "momentum"):
                layer.momentum = 0.9  # with Keras's 0.99 the averages of the norms lag behind in so few steps
        return model

    name = f"{provenance['dataset']}/{network}-{budget}"
    settings = dict(CHOI_SETTINGS[paths.preset()])
    settings["batch_size"] = batch_that_fits(build(), 0.75 * device_bytes(), settings["batch_size"])
    return fit(build, parts["train"], parts["valid"], name=name, provenance=provenance, **settings)


def batch_that_fits(model: keras.Model, num_bytes: float, at_most: int) -> int:
    """Return the largest batch, up to `at_most`, whose training step is likely to fit into `num_bytes` of memory.

    Training keeps the output of every layer for the way back, and holds gradients beside them; both are float32 here.
    Measured on a CPU, a step of Choi's networks takes 0.95 to 1.3 times that.
    """
    values = sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
    return max(1, min(at_most, int(num_bytes / (2 * 4 * values))))


def device_bytes() -> int:
    """Return the memory of the device that trains, in bytes: the smallest GPU's, or the machine's."""
    if has_gpu() and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        return min(map(int, subprocess.run(query, capture_output=True, text=True).stdout.split())) * 2**20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def predict(model: keras.Model, x: np.ndarray | streaming.Rows) -> np.ndarray:
    """Return `model`'s scores, float32 (n, num_tags), in batches of about half a million input values."""
    row_size, shares = int(np.prod(x.shape[1:])), _num_shares()
    batch_size = -(-max(1, 2**19 // row_size) // shares) * shares
    scores = []
    for part in streaming.blocks(len(x), 4 * row_size) if isinstance(x, streaming.Rows) else [slice(None)]:
        rows = x[part]
        padded = np.concatenate([rows, rows[:1].repeat(-len(rows) % shares, axis=0)]) if len(rows) % shares else rows
        scores.append(model.predict(padded, batch_size=batch_size, verbose=0)[: len(rows)])
    return np.concatenate(scores)


def seconds_per_clip(model: keras.Model, batch_size: int = 4, num_steps: int = 3) -> float:
    """Return the seconds that one training step takes a clip: the fastest of `num_steps`, after one to warm up.

    The clips are noise; a network's speed does not depend on what it hears. Changes the weights of `model`.
    """
    _compile(model, learning_rate=1e-3)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch_size, *model.input_shape[1:])).astype("float32")
    y = (rng.random((batch_size, *model.output_shape[1:])) < 0.1).astype("float32")
    model.train_on_batch(x, y)
    seconds = []
    for _ in range(num_steps):
        start = time.perf_counter()
        model.train_on_batch(x, y)  # returns the loss as a number, so it waits for a GPU to finish
        seconds.append(time.perf_counter() - start)
    return min(seconds) / batch_size


def evaluate(y: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Return loss, streaming AUC (as Keras reports it), macro AUC and average precision of predicted `scores`.

    `y` and `scores` are (n, num_tags): 0/1 labels and probabilities.
    """
    streaming = keras.metrics.AUC()
    streaming.update_state(y, scores)
    macro = metrics.macro(y, scores)
    return {
        "loss": float(keras.ops.mean(keras.ops.binary_crossentropy(y.astype("float32"), scores))),
        "streaming_auc": float(streaming.result()),
        "macro_auc": macro["macro_auc"],
        "average_precision": macro["average_precision"],
        "num_tags": macro["num_tags"],
    }


def hardware() -> str:
    """Return what computes: the GPU's name, or the processor's and its number of cores."""
    if has_gpu() and shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return ", ".join(subprocess.run(query, capture_output=True, text=True).stdout.split("\n")).strip(", ")
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return f"{(names or [platform.machine()])[0]}, {os.cpu_count()} cores"


def _digest(settings: dict, *arrays: np.ndarray | streaming.Rows) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in arrays:
        digest.update(array.digest() if isinstance(array, streaming.Rows) else np.ascontiguousarray(array))
    return digest.hexdigest()[:8]


def _load_or_build(run: Path, build, settings: dict, steps: int) -> tuple[keras.Model, pd.DataFrame]:
    if (run / "model.keras").exists():
        try:
            model = keras.saving.load_model(run / "model.keras")
            history = pd.read_csv(run / "history.csv")
            # The model is written after the history: a run killed between the two trains its last epoch again.
            return model, history[history["epoch"] <= int(model.optimizer.iterations) // steps]
        except Exception as error:  # a zip, JSON, HDF5 or CSV that is damaged raises any of a dozen kinds
            raise ValueError(f"{run} is damaged ({error!r}); delete that folder to train again.") from error
    keras.utils.set_random_seed(settings["seed"])
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings["dtype_policy"])
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(before)
    _compile(model, settings["learning_rate"], settings["weight_decay"], settings["label_smoothing"])
    return model, pd.DataFrame()


def _compile(model: keras.Model, learning_rate: float, weight_decay: float = 0.0, label_smoothing: float = 0.0) -> None:
    model.compile(
        keras.optimizers.Adam(learning_rate, weight_decay=weight_decay or None),
        keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing),
        metrics=[keras.metrics.AUC(name="streaming_auc")],
        # XLA makes these networks several times slower on a CPU; JAX has nothing else.
        jit_compile=False if keras.backend.backend() == "tensorflow" and not has_gpu() else "auto",
    )
    # If Adam made its variables in the first step, TensorFlow would trace that step twice: some 2 s a network.
    model.optimizer.build(model.trainable_variables)


def _epochs_since_best(history: pd.DataFrame) -> int:
    """Return how many epochs ago the best held-out macro AUC was; an undefined one is never the best."""
    if history.empty:
        return 0
    aucs = history.loc[history["split"] == "held_out", "macro_auc"].fillna(-1).to_numpy()
    return len(aucs) - 1 - int(aucs.argmax())


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the state of each random layer from seed and epoch: Keras does not keep it in the saved model."""
    for i, layer in enumerate(model.layers):
        if generator := getattr(layer, "seed_generator", None):
            generator.state.assign(np.random.SeedSequence([seed, epoch, i]).generate_state(2))


def _save(run: Path, model: keras.Model, history: pd.DataFrame, settings: dict, provenance: dict | None) -> None:
    """Write the history, then what the run was, then the model: each whole or not at all."""
    record = {
        "settings": settings,
        "data": provenance or {},
        "parameters": model.count_params(),
        "versions": {"python": platform.python_version()} | _versions("keras", "tensorflow", "jax", "torch", "numpy"),
        "hardware": hardware(),
        "seconds": round(float(history["seconds"].sum() / 2), 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with paths.atomic(run / "history.csv") as temporary:
        history.to_csv(temporary, index=False)
    with paths.atomic(run / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    if settings["patience"] and _epochs_since_best(history) == 0:
        with paths.atomic(run / "best.keras") as temporary:
            model.save(temporary)
    with paths.atomic(run / "model.keras") as temporary:
        model.save(temporary)


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
