"""Figures: each is drawn, saved with its table, and says when its data are synthetic."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import models, paths, plots


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    plots.style()
    yield tmp_path
    plt.close("all")


def make_history():
    rng = np.random.default_rng(0)
    rows = [
        {"epoch": e, "split": split, "size": size, "segments": segments, "seed": seed,
         "streaming_auc": rng.random(), "macro_auc": rng.random()}
        for e in (1, 2, 3) for split in ("train", "held_out") for size in ("small", "large")
        for segments in (252, 1024) for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


REMAINING = pd.DataFrame({"segments": [252, 512], "training songs": [20, 10], "held-out songs": [5, 3]})
FIGURES = {
    "pitches": lambda: plots.show_pitches(np.random.default_rng(0).random((40, 12))),
    "histogram": lambda: plots.segment_histogram(np.array([5, 300, 700, 1500])),
    "remaining": lambda: plots.songs_remaining(REMAINING),
    "layers": lambda: plots.layer_diagram(models.mason_crnn("small", 252)),
    "curves": lambda: plots.learning_curves(make_history().query("size == 'small'"), "macro_auc", {"macro_auc": 0.5}),
    "by size": lambda: plots.curve_grid(make_history().query("seed == 0"), "size", {"streaming_auc": 0.7}),
    "by segments": lambda: plots.curve_grid(make_history().query("size == 'small'"), "segments"),
    "difference": lambda: plots.paired_difference(np.random.default_rng(0).normal(size=200), ("512", "252")),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_labelled_and_saved(name, figures):
    fig, axes = FIGURES[name]()
    if name != "layers":
        assert all(ax.get_xlabel() or ax.get_shared_x_axes() for ax in np.ravel(axes))
        assert any(ax.get_ylabel() for ax in np.ravel(axes))
    path = plots.save(fig, name, {"dataset": "demo", "synthetic": True}, pd.DataFrame({"a": [1]}))
    assert path == figures / "demo" / f"{name}.png" and path.stat().st_size > 2000
    assert "synthetic demo data" in path.with_suffix(".svg").read_text().replace("\n", " ") or fig.get_supxlabel()
    assert path.with_suffix(".csv").read_text() == "a\n1\n"


@pytest.mark.parametrize("synthetic", [True, False])
def test_the_label_stands_on_synthetic_data_and_only_there(synthetic):
    fig, _ = FIGURES["histogram"]()
    plots.save(fig, "x", {"dataset": "d", "synthetic": synthetic})
    assert (fig.get_supxlabel() == "synthetic demo data") is synthetic


def test_curves_show_every_run_their_mean_and_the_constant_predictor():
    history = make_history().query("size == 'small' and segments == 252")
    _, ax = plots.learning_curves(history, "macro_auc", {"macro_auc": 0.5})
    assert len(ax.lines) == 2 * (2 + 1) + 1  # two splits of two runs and their mean, and the constant
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), 0.5)
    expected = history.query("split == 'held_out'").groupby("epoch")["macro_auc"].mean()
    np.testing.assert_allclose(ax.lines[2].get_ydata(), expected)


def test_a_given_axes_is_drawn_into():
    fig, ax = plt.subplots()
    assert plots.songs_remaining(REMAINING, ax) == (fig, ax)
