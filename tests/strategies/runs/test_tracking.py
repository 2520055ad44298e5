"""A finished run is logged to MLflow with its plan, its metrics and its files; problems are one sentence."""

import json
import shutil

import pytest

import strategies
from strategies.errors import RunError, UserError
from strategies.runs import tracking
from strategies.runs.run_folder import read_history

mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A folder of MLflow, without a server."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    return tmp_path / "store"


def test_plan_metrics_history_and_files_come_back(small_run, store, capfd):
    """What MLflow gives back is what the run folder holds. Nothing is printed."""
    folder = small_run[0]
    logged = mlflow.MlflowClient().get_run(strategies.log_to_mlflow(folder))
    plan, metrics = (json.loads((folder / f"{name}.json").read_text()) for name in ("plan", "metrics"))
    assert logged.info.status == "FINISHED"
    for name in ("recipe", "backbone", "weights", "image_size", "seed", "batch_size"):
        assert logged.data.params[name] == str(plan[name])
    assert logged.data.metrics["test_accuracy"] == metrics["test"]["accuracy"]
    assert logged.data.metrics["seconds"] == metrics["seconds"]
    history = mlflow.MlflowClient().get_metric_history(logged.info.run_id, "val_accuracy")
    assert [row.value for row in history] == [float(row["val_accuracy"]) for row in read_history(folder)]
    kept = mlflow.artifacts.download_artifacts(run_id=logged.info.run_id, dst_path=str(store))
    for path in folder.iterdir():
        if path.is_file():
            assert (store / path.name).read_bytes() == path.read_bytes(), kept
    assert capfd.readouterr().out == ""


def test_train_logs_the_run(advisor, photos, small_network, store, tmp_path):
    """The ID is said on stderr; stdout is as without."""
    arguments = ("train", photos, "--backbone", "small", "--weights", "own", "--recipe", "head_only")
    code, out, err = advisor(*arguments, "--out", tmp_path / "run", "--mlflow", "--json")
    assert code == 0, err
    (run,) = mlflow.search_runs(output_format="list")
    assert f"Logged the run to MLflow: {run.info.run_id}" in err
    assert json.loads(out)["metrics"]["test"]["accuracy"] == run.data.metrics["test_accuracy"]


def test_what_cannot_be_logged_is_said_before_a_training(advisor, photos, small_run, store, tmp_path, monkeypatch):
    """A store that is not there, no MLflow, a run that is not finished."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no-such-store://here")
    code, _, err = advisor("train", photos, "--out", tmp_path / "run", "--mlflow")
    assert code == 2
    assert "MLFLOW_TRACKING_URI" in err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="no-such-store"):
        strategies.log_to_mlflow(small_run[0])
    shutil.copytree(small_run[0], tmp_path / "half")
    (tmp_path / "half" / "metrics.json").unlink()
    with pytest.raises(RunError):
        strategies.log_to_mlflow(tmp_path / "half")
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install mlflow"):
        tracking.check_mlflow()
    with pytest.raises(UserError, match="pip install mlflow"):
        strategies.log_to_mlflow(small_run[0])
