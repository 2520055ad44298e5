"""Ray: the same results on two workers as in this process, also if a worker is lost on the way."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from functools import partial

import numpy as np
import pytest

import strategies
from advisor.evidence.study import Cell, Run, carry_out
from advisor.race import run_race
from strategies.cluster import is_on_ray, map_images, on_ray, run_all
from strategies.data.decoding import decode_image
from strategies.data.encoded import UnreadableImage
from strategies.networks.network import PretrainedNetwork

REGION = "us-east-1"


@pytest.fixture(scope="session")
def storage():
    """An S3 server on this machine. Its address and credentials are in the environment, as those of any other."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        environment.setenv("AWS_ACCESS_KEY_ID", "tester")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-tester")
        environment.setenv("AWS_DEFAULT_REGION", REGION)
        yield
    server.stop()


@pytest.fixture(scope="session")
def cluster(storage, own_cache):
    """One cluster of two workers for all tests of a process."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def sources(photos, tmp_path):
    """The photos as a folder, a zip, a tar and a packed tar."""
    paths = [photos, tmp_path / "photos.zip", tmp_path / "photos.tar", tmp_path / "photos.tar.gz"]
    with zipfile.ZipFile(paths[1], "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos))
    for path, mode in ((paths[2], "w"), (paths[3], "w:gz")):
        with tarfile.open(path, mode) as archive:
            archive.add(photos, arcname=".")
    return paths


def test_features_are_the_same_to_the_last_bit(cluster, sources, small_network, monkeypatch):
    """From a folder, archives and arrays, and of a network that only this process has; paths may be relative."""
    monkeypatch.chdir(sources[0].parent)
    items = [item for path in sources for item in strategies.load_dataset(path).items]
    items = [*items, np.full((40, 30, 3), 7, dtype="uint8"), *strategies.load_dataset(sources[0].name).items]
    images = strategies.load_dataset(sources[0])
    images = type(images)(class_names=(), labels=np.full(len(items), -1), items=items, names=items, source="all")
    alone, together = (
        strategies.extract_features(images, "small", stages=["stem", "end"], image_size=32, cache=False, ray=ray)
        for ray in (None, "auto")
    )
    assert list(alone) == list(together) == ["stem", "end"]
    assert all(np.array_equal(alone[stage], together[stage]) for stage in alone)
    assert not is_on_ray()


def test_the_advice_on_object_storage_is_that_of_the_folder(
    cluster, photos, tmp_path, pretrained_weights, monkeypatch, advisor
):
    """Every number; and what the workers read from S3 is in the cache under the same keys as without a cluster."""
    s3fs = pytest.importorskip("s3fs")
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "china" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    files = s3fs.S3FileSystem()
    files.mkdir("bucket")
    files.put(str(tmp_path / "photos"), "bucket/photos", recursive=True)
    options = ["--backbone", "MobileNetV2-0.35", "--image-size", 96, "--every-image", "--max-unreadable", 0.1, "--json"]
    found, kept = [], []
    for name, source in (("alone", [tmp_path / "photos"]), ("together", ["s3://bucket/photos", "--ray", "auto"])):
        monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path / name))
        monkeypatch.setattr("strategies.features.extractor._REMEMBERED", {})
        code, out, err = advisor("recommend", *source, *options)
        assert code == 0
        assert "secret-of-the-tester" not in out + err
        advice = json.loads(out)
        advice["fingerprint"]["profile"]["source"] = ""
        found.append(advice)
        kept.append({path.name for path in (tmp_path / name).iterdir()})
    assert found[0]["fingerprint"]["profile"]["unreadable"][0]["path"] == "china/broken.png"
    assert found[1] == found[0]
    assert kept[1] == kept[0]


def test_predictions_are_the_same(cluster, small_run, photos, tmp_path, advisor):
    """Row by row, unreadable files included; stdout holds the table and nothing else."""
    run, *_ = small_run
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    command = ["predict", run, broken, photos, "--top", 2, "--all", "--csv"]
    alone, together = advisor(*command), advisor(*command, "--ray", "auto")
    assert alone[0] == together[0] == 0
    assert together[1] == alone[1]
    assert "1 of 41 images cannot be read" in together[2]


def _plans(dataset, recipes=("head_only", "fine_tune_all", "retrain_all")):
    make = partial(strategies.make_plan, backbone="small", class_names=dataset.class_names, num_train=24)
    return [make(recipe) for recipe in recipes]


def test_recipes_side_by_side_reach_the_same(cluster, photos, small_network, monkeypatch):
    """A race of a network that only this process has: the folds, the accuracies and the winner."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 160)
    dataset = strategies.split_dataset(strategies.load_dataset(photos), seed=0)
    alone = run_race(dataset, _plans(dataset), cache=False)
    with on_ray("auto"):
        together = run_race(dataset, _plans(dataset), cache=False)
    assert {**together.to_dict(), "seconds": 0} == {**alone.to_dict(), "seconds": 0}


def test_a_run_of_the_study_can_be_sent_to_a_worker(photos):
    """With its images and its network; cells are told apart by what names them."""
    network = PretrainedNetwork(backbone="MobileNetV2-0.35", image_size=32, weights="imagenet")
    data = strategies.split_dataset(strategies.load_dataset(photos), seed=0)
    cell = Cell(folder=photos.parent, dataset="photos", size="full", seed=0, network=network, data=data)
    sent = pickle.loads(pickle.dumps(Run(key=("photos", "full"), cell=cell, method="head_only")))
    assert sent.cell == cell
    assert sent.cell.data.items == data.items
    assert pickle.loads(pickle.dumps(carry_out)) is carry_out


def _dying_once(mark):
    """Returns a function that kills its process at number 40, the first time."""

    def square(number):
        if number == 40 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    return square


def test_what_a_lost_worker_did_is_done_again(cluster, tmp_path, capsys):
    """With the same results, in the same order for images; what Ray says about it is not on stdout."""
    numbers, expected = list(range(300)), [number**2 for number in range(300)]
    with on_ray("auto"):
        assert list(map_images(_dying_once(tmp_path / "images"), numbers, "")) == expected
        assert dict(run_all(_dying_once(tmp_path / "tasks"), numbers[30:50])) == dict(enumerate(expected[30:50]))
    assert capsys.readouterr().out == ""
    assert (tmp_path / "images").exists()
    assert (tmp_path / "tasks").exists()
    assert list(run_all(abs, [-1, -2])) == [(0, 1), (1, 2)]


def test_an_error_of_a_worker_is_that_of_this_process(cluster, photos, tmp_path):
    """With its own type and sentence: an unreadable image has its path and the reason."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(next(photos.rglob("*.png")).read_bytes()[:500])
    with on_ray("auto"):
        for results in (map_images(decode_image, [broken], ""), run_all(decode_image, [broken])):
            with pytest.raises(UnreadableImage, match="truncated") as raised:
                list(results)
            assert raised.value.path == str(broken)


def test_a_killed_command_leaves_no_file(cluster, small_run, photos, tmp_path):
    """What is half written is never taken for whole, and the cluster keeps running."""
    run, *_ = small_run
    out = tmp_path / "predictions.csv"
    command = [sys.executable, "-m", "advisor", "predict", run, photos, "--out", out, "--ray", "auto"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not (begun := any(tmp_path.iterdir())) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    assert begun
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    with on_ray("auto"):
        assert list(map_images(abs, [-1], "")) == [1]


def test_what_cannot_be_used_is_refused(photos, monkeypatch, advisor):
    """Without Ray, and where no cluster answers: one sentence that says what to do."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        code, out, err = advisor("profile", photos, "--ray", "local")
    assert (code, out) == (2, "")
    assert "pip install 'transfer-advisor[ray]'" in err
    assert err.count("\n") == 1
