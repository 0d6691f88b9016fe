"""Figures: each is drawn from its table alone, saved with it, redrawn from it, and says what its data are."""

import shutil
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from helpers import audio, models, paths, plots


@pytest.fixture(autouse=True)
def figures(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    plt.switch_backend("agg")
    plots.style()
    yield tmp_path
    plt.close("all")


def make_history():
    rows = [
        (epoch, split, size, segments, seed, 0.6 + epoch / 50, 0.5 + epoch / 50 + seed / 10, constant, songs)
        for size in ("small", "large")
        for segments, num_held_out in ((252, 12), (1024, 7))
        for seed in (0, 1)
        for epoch in range(1, 4 - seed)  # the second run is shorter
        for split, songs, constant in (("train", 40, 0.7), ("held_out", num_held_out, 0.6))
    ]
    names = "epoch split size segments seed streaming_auc macro_auc constant_auc num_songs"
    return pd.DataFrame(rows, columns=names.split())


def test_every_figure_of_the_papers_is_redrawn_from_its_table(figures):
    for name in ("demo", "models"):
        files = shutil.ignore_patterns("*.png", "*.svg")
        shutil.copytree(paths.ROOT / "figures" / name, figures / name, ignore=files)
    first = [path.read_bytes() for path in sorted(figures.glob("*/*.csv"))]
    assert sorted(path.stem for path in plots.redraw()) == sorted(plots.FIGURES)
    stamped = {path.stem for path in figures.glob("*/*.svg") if "synthetic demo data" in path.read_text()}
    assert stamped == {path.stem for path in figures.glob("demo/*.png")} - {"choi_table_1_time"}  # times show no data
    assert [path.read_bytes() for path in sorted(figures.glob("*/*.csv"))] == first
    table = figures / "demo" / "mason_figure_3_segment_counts.csv"
    table.write_text(table.read_text() + "1\n")  # it is not the run's any more
    with pytest.raises(ValueError, match=r"segment_counts\.csv .*changed since"):
        plots.redraw()


def test_the_manifest_says_where_figures_came_from_and_real_ones_how_many_songs_they_show(figures, monkeypatch):
    monkeypatch.setenv("CRNN_NOTEBOOK", "05_repeatability")
    table = pd.DataFrame({"num_segments": [252, 512, 1024]})
    for name, saved in (("again", table), ("extra", None), ("again", table)):
        plots.save(plots.segment_histogram(table)[0], name, dict(dataset="real", synthetic=False, num_songs=999), saved)
    rows = pd.read_csv(figures / "real" / "manifest.csv", keep_default_na=False)
    assert rows["figure"].tolist() == ["again", "extra"] and set(rows["notebook"]) == {"05_repeatability"}
    assert rows["table_sha256"].str.len().tolist() == [64, 0]
    assert rows["label"].tolist() == ["real, n = 999"] * 2 and "n = 999" in (figures / "real/again.svg").read_text()


def test_two_notebooks_that_save_at_once_lose_no_row(figures):
    code = "import sys; from pathlib import Path; from matplotlib import pyplot; from helpers import paths, plots\n"
    code += "paths.FIGURES, fig = Path(sys.argv[1]), pyplot.figure(figsize=(1, 1))\nfor i in range(8): "
    code += "plots.save(fig, f'{sys.argv[2]}_{i}', {'dataset': 'demo', 'synthetic': False})"
    jobs = [subprocess.Popen([sys.executable, "-c", code, figures, name], cwd=paths.ROOT) for name in "ab"]
    assert [job.wait() for job in jobs] == [0, 0]
    assert len(pd.read_csv(figures / "demo" / "manifest.csv")) == len(list((figures / "demo").glob("*.png"))) == 16


@pytest.mark.filterwarnings("error")
def test_names_of_any_kind_can_be_drawn():
    with plt.rc_context(plt.rcParamsDefault):  # also before `style`
        assert plots.plain("a$") == r"a\$"
    names = ["$\\frac$", "日本の音楽", "Motörhead $5", "A\x13B\x1b[31m", "\u202e&<b>"]
    table = pd.DataFrame({"tag": names, "auc": 0.7, "low": 0.6, "high": 0.8})
    fig, ax = plots.score_intervals(table, "tag", score="auc", oracle=0.9)
    assert [path.vertices[:, 0].tolist() for path in ax.collections[0].get_paths()] == [[0.6, 0.8]] * 5
    plots.show_pitches(np.eye(12), " ".join(names))[0].canvas.draw()
    plots.save(fig, "names", {"dataset": "demo", "synthetic": True})
    drawn = [label.get_text().replace(r"\$", "$") for label in ax.get_yticklabels()]
    assert drawn[0] == "$\\frac$" and drawn[2:4] == ["Motörhead $5", r"A\x13B\x1b[31m"] and "&<b>" in drawn[4]
    has_fonts = any(name in plt.rcParams["font.family"] for name in plots.FONTS if "CJK" in name)
    assert has_fonts or drawn[1] == r"\u65e5\u672c\u306e\u97f3\u697d"


def test_parameters_under_the_drawn_layers_add_up():
    table = pd.read_csv(paths.ROOT / "figures" / "models" / "choi_figure_1_networks.csv")
    for title, parameters in table.groupby("network")["parameters"].sum().items():
        model = models.choi_network(title.split(":")[0], "0.1M")
        assert parameters == sum(np.prod(weight.shape) for weight in model.trainable_weights)


def test_curves_show_runs_their_mean_and_the_constant_predictor_of_the_same_songs():
    fig, axes = plots.training_curves(make_history())
    assert [len(ax.lines) for ax in axes] == [16, 8, 8]  # 1,024 segments: too few to draw
    for ax, constant in zip(axes, (0.7, 0.6, 0.5), strict=True):
        assert ax.lines[3].get_ydata() == pytest.approx([constant] * 2)
        assert [ax.lines[i].get_linestyle() for i in (2, -2)] == ["-", "--"]
    np.testing.assert_allclose(axes[2].lines[2].get_ydata(), [0.57, 0.59])  # the second run has no third epoch
    shown = [text.get_text() for text in fig.legends[0].get_texts()]
    assert "1,024 segments: 40 training songs; 7 held-out songs, too few to draw" in shown
    assert "dropout on" in axes[0].get_title() and "dropout off" in axes[1].get_title()
    _, axes = plots.training_curves(make_history().query("seed == 0"))
    assert all(line.get_linewidth() for ax in axes for line in ax.lines)  # dashes of no width stop matplotlib 3.10


def test_songs_and_sound_have_their_frequencies_and_seconds_in_the_right_place():
    spectrum = audio.log_mel(np.sin(2 * np.pi * 1000 * np.arange(36_000) / 12_000).astype(np.float32))
    _, ax = plots.show_mel(spectrum)
    edges = ax.collections[0].get_coordinates()[:, 0, 1]  # of the bands, in Hz
    band = spectrum[:, 70].argmax()
    assert edges[band : band + 2].mean() == pytest.approx(1000, abs=40)  # librosa's axis is within a band
    assert ax.get_xlim()[1] == pytest.approx(3, abs=0.02)
    _, ax = plots.show_pitches(np.eye(12), starts=np.arange(12) / 6)
    assert ax.collections[0].get_coordinates()[0, -1, 0] == pytest.approx(2) and ax.get_xlabel() == "seconds"
