"""Training as the papers do it: the settings of the series, and one `fit`."""

import functools

import keras
import numpy as np

from helpers import models, paths
from helpers.runs import Run, hardware  # noqa: F401 - notebooks find all of training here

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
