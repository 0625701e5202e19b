"""A real notebook: what its reader sees in the cells."""

import os
import sys

import nbclient
import nbformat
import pytest

from perdure.reporting.base import TableOptions
from perdure.reporting.notebook import NotebookDisplay

SET_UP = """\
from perdure import tune
def train(config):
    print("rate", config["lr"])
    if config["lr"] == 3:
        raise ValueError("rate too large")
    for step in range(3):
        tune.report({"loss": config["lr"] * (step + 1)})
def fit(name, **options):
    return tune.Tuner(
        train,
        param_space={"lr": tune.grid_search([1, 2, 3])},
        tune_config=tune.TuneConfig(metric="loss", mode="min"),
        run_config=tune.RunConfig(name=name, storage_path=STORAGE, **options),
    ).fit()
"""
REPORTER = "tune.JupyterNotebookReporter(overwrite=False, max_progress_rows=1, metric_columns={'loss': 'the loss'})"


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """The outputs of each cell, run in a kernel of its own."""
    storage = tmp_path_factory.mktemp("notebook")
    sources = [
        f"STORAGE = {str(storage)!r}\n{SET_UP}",
        "grid = fit('plain')",
        f"fit('reporter', progress_reporter={REPORTER}); None",
        "fit('silent', verbose=0); None",
        "grid.plot('best_so_far')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "IPYTHONDIR": str(storage / "ipython")}
    client = nbclient.NotebookClient(
        notebook, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(storage)}}
    )
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    return [cell.outputs for cell in notebook.cells]


def html(outputs):
    return [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]


def test_one_table_replaced_in_place(cells):
    (shown,) = html(cells[1])
    assert shown.count("<tr") == 4  # headings, and three trials
    assert "3 trials, 2 terminated, 1 error" in shown
    assert "Best loss" in shown
    assert "ValueError: rate too large" in shown
    assert "raise ValueError(&quot;rate too large&quot;)" in shown, "the cell's line"
    printed = "".join(output.text for output in cells[1] if output.output_type == "stream")
    assert printed.count("rate") == 3


def test_a_reporter_steers_the_table(cells):
    shown = html(cells[2])
    assert len(shown) > 1  # overwrite=False
    assert ["Results are in" in table for table in shown] == [False] * (len(shown) - 1) + [True]
    assert "<th>the loss</th>" in shown[-1]
    assert shown[-1].count("<tr") == 2  # headings, and one trial
    assert "2 more trials" in shown[-1]


def test_silence(cells):
    assert not html(cells[3])


def test_a_plot_is_shown(cells):
    (output,) = cells[4]
    assert "image/png" in output.data


@pytest.mark.parametrize(("verbose", "told"), [(1, []), (2, ["iteration 1: a 1, b 2, c 3, d 4, e 5, f 6, and 1 more"])])
def test_verbose_tells_every_result(story, info, verbose, told):
    shown = []
    display = NotebookDisplay(show=shown.append, verbose=verbose, threaded=False, options=TableOptions())
    display.start(info, state=story.state)
    story.display = display
    story.start(0)
    story.report(0, 1, a=1, b=2, c=3, d=4, e=5, f=6, g=7)
    display.close()
    lines = shown[-1].split("<pre>")[1].split("\n")
    assert [line.removeprefix("train_t0 ") for line in lines if "iteration 1:" in line and "a 1" in line] == told
