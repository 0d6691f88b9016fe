"""JAX and PyTorch: the networks' answers, training, and one batch shared by two devices.

`make test-backends` installs JAX and runs these; a backend that is not installed is skipped. Each runs in a process of
its own, because Keras chooses its backend when it is imported.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import test_choi

from helpers import paths

FORWARD = """
import sys, numpy as np
from helpers import models, pretrained
rng = np.random.default_rng(0)

def scores(model, x):
    shapes = [w.shape for w in model.get_weights()]
    model.set_weights([rng.normal(0, 0.2, s) if len(s) > 1 else np.full(s, 0.7) for s in shapes])
    return model.predict(x, verbose=0)

clips = rng.normal(0, 1, (2, 96, 1366, 1)).astype("float32")
found = [scores(models.choi_network(name, "0.1M"), clips) for name in ("k1c2", "k2c1", "k2c2", "crnn")]
found.append(pretrained.choi_crnn_2016(sys.argv[2]).predict(clips, verbose=0))
songs = rng.random((2, 12, 48, 1), dtype="float32")
mason = models.mason_crnn("small", 48)
found.append(scores(mason, songs))
songs[:, :, 30:] = 0
found.append(models.masked(mason).predict(songs, verbose=0))
np.save(sys.argv[1], np.concatenate([f.ravel() for f in found]))
"""
TRAINING = """
import functools, sys, numpy as np
from pathlib import Path
from helpers import models, training
rng = np.random.default_rng(0)
y = (rng.random((41, 3)) < 0.5).astype("float32")
x = rng.random((41, 12, 24, 1), dtype="float32")
x[:, :3] *= y[:, :, None, None]  # three pitch classes that say which tags a song has
build = functools.partial(models.mason_crnn, "small", 24, 3)
print("devices", training.use_all_devices())
_, history = training.fit(build, (x[:32], y[:32]), (x[32:], y[32:]), "run", 6, 4, 5e-3, folder=Path(sys.argv[1]))
history.to_csv(sys.argv[2], index=False)
"""


def need(backend):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed; see make test-backends")


def run(code, backend, *arguments, **environment):
    """Run `code` on a backend and return what it printed."""
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(paths.ROOT)} | environment
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def train(backend, folder, **environment):
    """Return the number of devices and the history of a small training run, as an array without its seconds."""
    table = folder / "history.csv"
    printed = run(TRAINING, backend, folder / "results", table, **environment)
    history = np.genfromtxt(table, delimiter=",", names=True, usecols=("loss", "streaming_auc", "macro_auc"))
    return int(printed.split()[-1]), np.array(history.tolist())


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_all_networks_give_the_same_answers(backend, tmp_path):
    need(backend)
    weights, answers = test_choi.write_weights(tmp_path / "weights.h5"), []
    for name in ("tensorflow", backend):
        run(FORWARD, name, tmp_path / f"{name}.npy", weights)
        answers.append(np.load(tmp_path / f"{name}.npy", allow_pickle=False))
    np.testing.assert_allclose(*answers, atol=1e-4)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_training_learns(backend, tmp_path):
    need(backend)
    _, history = train(backend, tmp_path)
    losses = history[::2, 0]
    assert len(history) == 12 and losses[-1] < 0.9 * losses[0], losses


def test_two_devices_train_as_one(tmp_path):
    pytest.importorskip(
        "jax", reason="Keras shares batches on JAX only, which is not installed; see make test-backends"
    )
    found = []
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        devices = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
        found.append(train("jax", tmp_path / str(count), **devices))
    assert [count for count, _ in found] == [1, 2]
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-3)
