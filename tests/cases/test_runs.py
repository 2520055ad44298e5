"""Run folders of strangers, and runs that were killed: one sentence, or the result of a run without interruption."""

import asyncio
import csv
import errno
import hashlib
import html
import io
import json
import multiprocessing
import os
import re
import shlex
import shutil
import tarfile
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from pictures import fill, picture

import advisor as package
import strategies
from advisor.report.advised import advice_values
from advisor.report.files import write_report
from advisor.report.terminal import plain
from advisor.report.text import result_parts, summarize
from strategies.data.loading import load_dataset
from strategies.errors import OutputError, RunError, UserError
from strategies.files import OWN, PLACING, check_output, filling, new_file, write_json
from strategies.training.checkpoint import Checkpoint, State
from strategies.training.run_files import CHECKPOINT, METRICS, PLAN, UNFINISHED, can_continue

NETWORK = ("MobileNet-0.25", "random", 32)
EXPORT = "export/keras.json"
READ_BY_REPORT = (PLAN, METRICS, "history.csv", "class_names.json", "fingerprint.json", "pictures.json", EXPORT)


@pytest.fixture(scope="module")
def advice(tmp_path_factory):
    """Advice for pictures of two classes, with a plan that is carried out in a moment."""
    root = tmp_path_factory.mktemp("runs") / "data"
    for kind, name in enumerate(("cat", "dog")):
        fill(root / name, 10, kind)
    return package.recommend(root, backbone="MobileNet-0.25", weights="random", image_size=32, recipe="head_only")


@pytest.fixture(scope="module")
def finished(advice, tmp_path_factory):
    """A finished run of that plan, with the record of an export."""
    run = tmp_path_factory.mktemp("finished") / "run"
    advice.train(run, command="advisor train data --out run", cache=False)
    (run / "export").mkdir()
    digest = hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    values = {"version": 1, "format": "keras", "path": "model.keras", "num_bytes": 9, "images": "synthetic images"}
    values |= {"num_images": 64, "num_unreadable": 0, "top1_agreement": 1.0, "largest_difference": 0.0}
    write_json(run / EXPORT, {**values, "runtime": "keras 3", "model_digest": digest})
    write_report(run)
    return run


@pytest.fixture(scope="module")
def loaded(finished):
    """That run, with its model loaded once."""
    return strategies.read_run(finished)


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run that a test may damage."""
    return shutil.copytree(finished, tmp_path / "run")


def test_a_class_that_is_never_answered_is_said_first(tmp_path):
    """Below the recipe as a danger, and below the accuracy as a fact: in texts, pages and notebooks alike."""
    for kind, (name, count) in enumerate({"normal": 110, "<rare>": 2}.items()):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(count):
            picture(kind, index, (20, 20)).save(tmp_path / "data" / name / f"{index}.png")
    advice = package.recommend(
        tmp_path / "data", backbone="MobileNet-0.25", weights="random", image_size=32, recipe="head_only"
    )
    advice.save(tmp_path / "advice")
    result = advice.train(tmp_path / "run", cache=False)
    said = "A model may never answer the smallest class, which has 2 images"
    fact = "'<rare>' was never answered: no test image got that class."
    assert summarize(advice).splitlines()[1].startswith(said)
    assert plain(result_parts(result)).splitlines()[1].startswith(fact)
    for page, text, before in (
        (advice._repr_html_(), said, "<table>"),
        ((tmp_path / "advice" / "report.html").read_text(), said, '<dl class="figures">'),
        ((tmp_path / "advice" / "report.md").read_text(), said, "## Why"),
        (result._repr_html_(), fact, "<table"),
        ((tmp_path / "run" / "report.html").read_text(), fact, '<dl class="figures">'),
        ((tmp_path / "run" / "report.md").read_text(), "was never answered", "## "),
    ):
        assert text in html.unescape(page.partition(before)[0])


def test_a_run_in_the_folder_of_its_images_needs_permission_and_keeps_them(advice, tmp_path):
    """Neither beside the classes nor in one."""
    data = shutil.copytree(advice.dataset.source, tmp_path / "data")
    images = {path: path.read_bytes() for path in data.rglob("*.jpg")}
    for folder in (data, data / "cat"):
        with pytest.raises(OutputError, match="which holds files"):
            advice.train(folder, cache=False)
    advice.train(data, cache=False, overwrite=True)
    assert {path: path.read_bytes() for path in data.rglob("*.jpg")} == images
    assert load_dataset(data).class_names == ("cat", "dog")


def test_beyond_the_study_the_advice_says_that_it_guesses():
    """Of a few images nobody knows what to expect: it is said, and the confidence is low."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), dtype="uint8")
    options = {"backbone": "MobileNet-0.25", "weights": "random", "image_size": 32}
    few, enough = (package.recommend((noise[:count], ["cat", "dog"] * (count // 2)), **options) for count in (8, 120))
    assert "what it expects is a guess" in summarize(few)
    assert few.confidence < 0.7
    assert "guess" not in summarize(enough)


@pytest.mark.parametrize(
    ("give", "count"),
    [
        (lambda paths, images: str(paths[0]), 1),
        (lambda paths, images: paths[0], 1),
        (lambda paths, images: paths, 2),
        (lambda paths, images: tuple(map(str, paths)), 2),
        (lambda paths, images: np.array([str(path) for path in paths]), 2),
        (lambda paths, images: pandas.Series(paths), 2),
        (lambda paths, images: str(paths[0].parent), 2),
        (lambda paths, images: f"{paths[0].parent}/*.png", 2),
        (lambda paths, images: np.asarray(images[0]), 1),
        (lambda paths, images: np.stack(images), 2),
        (lambda paths, images: np.stack(images).astype("float32"), 2),
        (lambda paths, images: list(map(np.asarray, images)), 2),
        (lambda paths, images: images[0], 1),
        (lambda paths, images: images, 2),
        (lambda paths, images: [image.convert("RGBA") for image in images], 2),
        (lambda paths, images: [images[0], np.asarray(images[1])], 2),
        (lambda paths, images: paths[0].read_bytes(), 1),
        (lambda paths, images: [path.read_bytes() for path in paths], 2),
    ],
)
def test_new_images_are_predicted_in_every_form(loaded, tmp_path, give, count):
    """Files, folders, patterns, arrays, PIL images and bytes of the same pixels get the same probabilities."""
    images = [picture(kind, 99, (32, 32)) for kind in (0, 1)]
    paths = [tmp_path / "new" / f"{kind}.png" for kind in (0, 1)]
    paths[0].parent.mkdir()
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    expected = strategies.predict(loaded, paths, all_classes=True)
    found = strategies.predict(loaded, give(paths, images), all_classes=True)
    assert len(found) == count
    assert found["p(cat)"].tolist() == pytest.approx(expected["p(cat)"][:count].tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("give", "received"),
    [
        (lambda path: np.zeros((2, 32, 32, 3)) + 0.5, "floats of at most 0.5"),
        (lambda path: str(path.parent / "none.jpg"), "which does not exist"),
        (lambda path: f"{path.parent}/*.png", "with none"),
        (lambda path: [], "an empty list"),
        (lambda path: None, "NoneType"),
        (lambda path: 5, "int"),
        (lambda path: [path.parent / "new" / "000.jpg", np.zeros((8, 8))], "ndarray"),
        (lambda path: [None], "NoneType"),
        (lambda path: b"photo.jpg", "text, not an image"),
        (lambda path: path.with_suffix(".csv"), "'test.csv', a table. Give the folder"),
    ],
)
def test_what_is_no_new_image_is_refused_in_one_sentence(loaded, tmp_path, monkeypatch, give, received):
    """And not with an error of Python."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "new", 1, 0)
    (tmp_path / "test.csv").write_text("path\nnew/000.jpg\n")
    given = give(Path("test.png"))
    with pytest.raises(UserError, match=r"^Expected .* Received: .*\.$") as caught:
        strategies.predict(loaded, given)
    assert received in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tflite", "Did you mean 'litert'?"),
        ("LiteRT", "Did you mean 'litert'?"),
        ("saved_model", "Did you mean 'savedmodel'?"),
        ("h5", "Known: hf, keras, litert, litert-int8, onnx, openvino, savedmodel."),
        ("torchscript", "Known: hf, keras, litert, litert-int8, onnx, openvino, savedmodel."),
    ],
)
def test_a_format_by_another_name_is_one_sentence(finished, advisor, name, sentence):
    """With the nearest format, where there is one."""
    code, out, err = advisor("export", finished, "--format", name)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert sentence in err


def test_threads_and_processes_do_not_change_the_result(advice, finished, tmp_path):
    """In a loop of asyncio in a thread, after a training in this process; in a process that is spawned after that."""

    async def inside():
        advice.train(tmp_path / "run", cache=False)

    thread = threading.Thread(target=lambda: asyncio.run(inside()))
    thread.start()
    thread.join()
    assert _without_times(tmp_path / "run" / METRICS) == _without_times(finished / METRICS)
    images = advice.dataset.source
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as spawned:
        frame = spawned.submit(strategies.predict, finished, images).result()
    assert frame.equals(strategies.predict(finished, images))


WRONG = ("null", "true", "-1", "1.5", '"x"', "[]", "{}", "9" * 4000, "NaN", "1e999", "[" * 90 + "]" * 90)
BYTES = {
    "empty": b"",
    "only a brace": b"{",
    "no text": b"\xff\xfe\x00",
    "nested": b"[" * 100_000,
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "half a character": b'"\\ud800"',
}


def _places(value, place=()):
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from _places(item, (*place, key))


def _with(value, place, new):
    if not place:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[place[0]] = _with(value[place[0]], place[1:], new)
    return changed


def _damages(content, is_json):
    """Yields damaged contents: as bytes, and with a wrong value in each field in turn."""
    yield from BYTES.values()
    yield content[: len(content) // 2]
    if is_json:
        value = json.loads(content)
        for number, place in enumerate(_places(value)):
            yield json.dumps(_with(value, place, "@")).replace('"@"', WRONG[number % len(WRONG)]).encode()
        return
    rows = list(csv.reader(io.StringIO(content.decode())))
    for column in range(len(rows[0])):
        yield "\n".join(",".join(row[:column] + row[column + 1 :]) for row in rows).encode()
        for cell in ("x", "-1", "nan", "9" * 400):
            changed = [rows[0], [*rows[1][:column], cell, *rows[1][column + 1 :]], *rows[2:]]
            yield "\n".join(",".join(row) for row in changed).encode()
    yield content + b"a,b\n"
    yield content + b"a," * 50


@pytest.mark.parametrize("name", READ_BY_REPORT)
def test_a_damaged_file_of_a_run_is_one_sentence_that_names_it(run, advisor, name):
    """Whatever stands in it; only a value that could be right is accepted."""
    content, refused = (run / name).read_bytes(), 0
    for damaged in _damages(content, name.endswith(".json")):
        (run / name).write_bytes(damaged)
        code, _, err = advisor("report", run)
        assert code in (0, 2), damaged[:300]
        if code == 2:
            refused += 1
            assert len(err.splitlines()) == 1, err
            assert os.path.basename(name) in err, err
            assert len(err) < 1000
    assert refused > len(BYTES) - (name == "class_names.json") * len(BYTES)


@pytest.mark.parametrize("command", ["predict", "evaluate", "export", "script"])
@pytest.mark.parametrize("name", [PLAN, "class_names.json", METRICS, "model.keras"])
def test_every_command_that_reads_a_run_names_the_damaged_file(run, advice, advisor, command, name):
    """Before the work, as far as the command reads the file."""
    arguments = {"export": ["--format", "keras"], "script": []}.get(command, [advice.dataset.source])
    reads = {"script": {PLAN}, "evaluate": {PLAN, "class_names.json", METRICS, "model.keras"}}
    if name not in reads.get(command, {PLAN, "class_names.json", "model.keras"}):
        return
    for damaged in (b"", b"{", b"[[", b'{"version": 1e999}'):
        (run / name).write_bytes(damaged)
        code, out, err = advisor(command, run, *arguments)
        assert (code, out) == (2, "")
        assert name in err
        assert "Traceback" not in err


@pytest.mark.parametrize("wrong", [True, 1.0, -1, None, [1]])
def test_a_count_in_the_confusion_matrix_is_a_whole_number(run, wrong):
    """Although lists of numbers are checked as a whole, because a matrix may have millions of them."""
    metrics = json.loads((run / METRICS).read_text())
    metrics["test"]["confusion"][1][0] = wrong
    write_json(run / METRICS, metrics)
    with pytest.raises(RunError, match="confusion"):
        write_report(run)


def test_a_ragged_confusion_matrix_is_refused(run):
    """Every row has a number for each class."""
    metrics = json.loads((run / METRICS).read_text())
    metrics["test"]["confusion"][1].pop()
    write_json(run / METRICS, metrics)
    with pytest.raises(RunError, match="confusion"):
        write_report(run)


def test_metrics_of_another_plan_are_refused(run):
    """A report never credits the results of one plan to another."""
    plan = json.loads((run / PLAN).read_text())
    write_json(run / PLAN, plan | {"label_smoothing": 0.25})
    with pytest.raises(RunError, match="belongs to another plan"):
        write_report(run)


class Killed(BaseException):
    """Ends a run as a signal would, at a moment that the test chooses."""


def _killed(monkeypatch, name, act):
    """Runs `act` until it puts a file of this name in place."""
    put = os.replace

    def replace_or_die(source, target):
        if os.path.basename(target) == name:
            raise Killed
        put(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_or_die)
        with pytest.raises(Killed):
            act()


def _without_times(path):
    return re.sub(r'"(seconds|extra_seconds)": [0-9.e-]+', "", path.read_text())


@pytest.mark.parametrize("name", [UNFINISHED, METRICS, "report.html"])
def test_a_run_that_was_killed_at_any_file_is_resumed_to_the_same_result(advice, finished, tmp_path, monkeypatch, name):
    """It counts as finished only when its report is there too, and nothing else is left."""
    run = tmp_path / "run"
    _killed(monkeypatch, name, lambda: advice.train(run, cache=False))
    (run / f"{OWN}999999999-model.keras").write_bytes(b"half")
    advice.train(run, cache=False, resume=True)
    assert {path.name for path in run.iterdir()} == {path.name for path in finished.iterdir()} - {"export"}
    assert _without_times(run / METRICS) == _without_times(finished / METRICS)
    with pytest.raises(OutputError, match="which is finished"):
        advice.train(run, resume=True)


def test_nothing_of_an_overwritten_run_is_left(run, advice, monkeypatch, advisor):
    """A run that is killed while it replaces another one is not taken for that one; the plan is not lost."""
    other = advice.with_plan(replace(advice.plan, label_smoothing=0.25))
    before = (run / PLAN).read_bytes()
    _killed(monkeypatch, PLAN, lambda: other.train(run, cache=False, overwrite=True))
    assert (run / PLAN).read_bytes() == before
    code, _, err = advisor("predict", run, advice.dataset.source)
    assert (code, "--resume" in err) == (2, True)
    assert advisor("report", run)[0] == 2
    assert not can_continue(run)
    other.train(run, cache=False, resume=True)
    assert json.loads((run / METRICS).read_text())["plan_digest"] == other.plan.digest()


def test_images_that_cannot_be_used_do_not_cost_the_earlier_run(run, advice):
    """Old results are removed only when the new run can begin."""
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(UserError):
        strategies.train(advice.plan, advice.dataset.source + "/cat", run, overwrite=True)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_a_folder_in_the_place_of_a_result_is_one_sentence(run, advice):
    """It is not ours to remove."""
    (run / METRICS).unlink()
    (run / METRICS).mkdir()
    with pytest.raises(OutputError, match=r"metrics\.json.*Remove it"):
        advice.train(run, cache=False, overwrite=True)


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x93NUMPY", None])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, damage):
    """It names the file, and says how to go on."""
    checkpoint = Checkpoint(tmp_path, {"plan": 1})
    checkpoint.write(State(arrays={"variables": [np.arange(300)]}, values={"phase": 0}))
    content = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(content[: len(content) // 2] if damage is None else damage)
    with pytest.raises(OutputError, match=r"checkpoint\.npz.*Delete it"):
        checkpoint.read()


def test_what_killed_processes_left_is_swept_and_is_no_file_of_the_user(tmp_path):
    """A folder with such remains alone counts as empty; files of running processes stay."""
    (tmp_path / f"{OWN}999999999-old.csv").write_text("half")
    (tmp_path / f"{OWN}999999999-new").mkdir()
    (tmp_path / f"{OWN}1-running.csv").write_text("half")
    check_output(tmp_path)
    with new_file(tmp_path / "rows.csv") as file:
        file.write("a\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{OWN}1-running.csv", "rows.csv"]


def _write_half(path):
    with new_file(path) as file:
        file.write("a\n")
        assert not path.exists()
        raise Killed


def _fill_half(folder):
    with filling(folder) as temporary:
        (temporary / "a.txt").write_text("half")
        raise Killed


def test_a_new_file_appears_only_when_it_is_complete(tmp_path):
    """Until then its name is free; a file that someone else creates meanwhile is kept."""
    with pytest.raises(Killed):
        _write_half(tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="exists already"), new_file(tmp_path / "rows.csv"):
        (tmp_path / "rows.csv").write_text("mine")
    assert (tmp_path / "rows.csv").read_text() == "mine"


def test_a_folder_is_filled_at_once(tmp_path):
    """A failure leaves neither a part of it nor a new folder; other files in it are kept."""
    with pytest.raises(Killed):
        _fill_half(tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("mine")
    with filling(tmp_path) as temporary:
        (temporary / "a.txt").write_text("whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"mine.txt": "mine", "a.txt": "whole"}


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_a_folder_that_was_being_filled_is_filled_again(tmp_path, monkeypatch, name):
    """A command that was killed between two of its files begins again. With other files, the folder is refused."""
    out = tmp_path / "out"

    def fill_it():
        with filling(check_output(out)) as temporary:
            for file in ("a.txt", "b.txt"):
                (temporary / file).write_text("whole")

    _killed(monkeypatch, name, fill_it)
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds files"):
        fill_it()
    (out / "mine.txt").unlink()
    fill_it()
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a.txt": "whole", "b.txt": "whole"}
    with pytest.raises(OutputError, match="holds files"):
        fill_it()


def test_the_mark_of_a_folder_that_is_being_filled_goes_last(tmp_path, monkeypatch):
    """Whatever is left after a kill, the folder is filled again."""
    out, removed = tmp_path / "out", {}
    remove = Path.unlink

    def record(path, **options):
        removed[path.name] = sorted(file.name for file in out.iterdir())
        remove(path, **options)

    monkeypatch.setattr(Path, "unlink", record)
    with filling(out) as temporary:
        (temporary / "a.txt").write_text("whole")
    assert removed[PLACING] == [PLACING, "a.txt"]
    assert [file.name for file in out.iterdir()] == ["a.txt"]


def test_an_export_that_was_killed_before_its_report_is_begun_again(run, advisor, monkeypatch):
    """It counts as finished only when the run's report shows it."""
    monkeypatch.setattr("strategies.runs.exporting._reloaded", lambda row, path, pixels: np.ones((len(pixels), 2)))
    shutil.rmtree(run / "export")
    arguments = ("export", run, "--format", "keras", "--json")
    for name in ("keras.json", "report.html"):
        _killed(monkeypatch, name, lambda: advisor(*arguments))
    code, out, err = advisor(*arguments)
    assert (code, json.loads(out)["export"]["format"]) == (0, "keras"), err
    assert {path.name for path in (run / "export").iterdir()} == {"keras", "keras.json"}
    assert {path.name for path in (run / "export" / "keras").iterdir()} == {"model.keras", "class_names.json"}
    code, _, err = advisor(*arguments)
    assert (code, "--overwrite" in err, "--resume" in err) == (2, True, False)


@pytest.mark.parametrize("command", ["recommend", "train", "compare", "check", "predict", "export", "evaluate"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(finished, advice, advisor, monkeypatch, command):
    """A file in the way of a folder; a full disk."""
    arguments = {
        "predict": [finished, advice.dataset.source],
        "evaluate": [finished, advice.dataset.source],
        "export": [finished, "--format", "keras"],
    }.get(command, [advice.dataset.source])
    code, out, err = advisor(command, *arguments, "--out", "/dev/null/out")
    assert (code, out) == (2, "")
    assert "/dev/null" in err
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(9, 9, 0))
    code, out, err = advisor(command, *arguments, "--out", finished.parent / "new")
    assert (code, out) == (2, "")
    assert "a full disk" in err
    assert len(err.splitlines()) == 1
    assert not (finished.parent / "new").exists()


def test_a_full_disk_behind_stdout_is_one_sentence(advice, advisor, monkeypatch):
    """Also where the output is written only at the end."""
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        code, _, err = advisor("profile", advice.dataset.source, "--json")
    assert code == 2
    assert "No space left on device" in err
    assert len(err.splitlines()) == 1


def test_a_full_temporary_folder_is_not_blamed_on_the_archive(advice, tmp_path, monkeypatch):
    """A compressed archive is unpacked there."""
    path = tmp_path / "data.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(advice.dataset.source, "data")
    assert len(load_dataset(path)) == 20

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(UserError, match="TMPDIR"):
        load_dataset(path)


def test_advice_does_not_go_into_the_folder_of_a_run(run, advice):
    """Its metrics would stand beside another plan."""
    with pytest.raises(OutputError, match="holds a training run"):
        advice.save(run, overwrite=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("advisor recommend data --out my/advice", "--plan my/advice/plan.json --out my/advice_again"),
        ("advisor train data --out=run/ --root=x", "--plan run/plan.json --out run_again --root=x"),
        ("advisor compare data --out results.csv", "--recipe head_only --backbone MobileNet-0.25 --weights random"),
    ],
)
def test_the_command_of_a_report_names_what_was_written(advice, command, words):
    """It can be copied as it is."""
    values = advice_values(advice, {"sample": [], "suspects": {}, "mistakes": []}, command)
    assert values["repeat"].startswith("advisor train ")
    assert words in values["repeat"]


@pytest.mark.parametrize("writes", ["recommend", "train"])
def test_the_command_of_a_report_runs_in_any_folder(advice, advisor, tmp_path, monkeypatch, writes):
    """Relative paths, with spaces in them, start from where the first command was typed."""
    here, elsewhere = tmp_path / "my work", tmp_path / "elsewhere"
    shutil.copytree(advice.dataset.source, here / "my photos")
    (here / "my photos" / "cat" / "damaged.jpg").write_bytes(b"damaged")
    elsewhere.mkdir()
    monkeypatch.chdir(here)
    options = dict(zip(("backbone", "weights", "image_size"), NETWORK, strict=True))
    made = package.recommend("my photos", recipe="head_only", max_unreadable=0.1, **options)
    command = f"advisor {writes} 'my photos' --max-unreadable 0.1 --out 'my out'"
    made.save("my out", command=command) if writes == "recommend" else made.train(
        "my out", command=command, cache=False
    )
    monkeypatch.chdir(elsewhere)
    page = html.unescape((here / "my out" / "report.html").read_text())
    (copied,) = {line for line in re.findall(r"<(?:pre|code)>(.*?)</", page) if line.startswith("cd ")}
    words = shlex.split(copied)
    assert words[0::2][:2] == ["cd", "&&"]
    monkeypatch.chdir(words[1])
    code, _, err = advisor(*words[4:], "--quiet")
    assert (words[3], code) == ("advisor", 0), err
    assert (here / "my out_again" / "model.keras").is_file()
    assert list(elsewhere.iterdir()) == []


def test_secrets_of_a_url_are_written_and_shown_nowhere():
    """Neither as the source of the images, nor in the names of unreadable ones, nor in messages."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("cat", "dog"):
        for number in range(2):
            memory.pipe_file(f"/anna:secret@photos/{name}/{number}.png", b"no image")
    dataset = load_dataset("memory://anna:secret@photos")
    assert dataset.source == "memory://***@photos"
    with pytest.raises(UserError) as problem:
        package.profile_images("memory://anna:secret@photos")
    assert "secret" not in str(problem.value)
    with pytest.raises(UserError) as problem:
        load_dataset("simplecache::https://anna:secret@host/photos?X-Amz-Signature=secret")
    assert "secret" not in str(problem.value)
