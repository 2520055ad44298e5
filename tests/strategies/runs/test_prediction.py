"""A run's model on files: the same pixels, the same figures, whatever the files are called."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support import ROOT

import strategies
from advisor.report.predictions import as_json, as_table
from strategies.errors import DatasetError, RunError
from strategies.runs import prediction


def test_the_test_images_of_a_run_give_its_test_accuracy(small_run):
    """Not nearly: every image gets the class that the evaluation gave it."""
    folder, dataset, result = small_run
    test = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    frame = strategies.predict(folder, test.items)
    truth = np.array(test.class_names)[test.labels]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (frame["class"] == truth).mean() == metrics["test"]["accuracy"]
    assert frame["class"].tolist() == [test.class_names[index] for index in result.predicted]


def test_real_photos_give_the_accuracy_of_the_report(test_data, imagenet_weights, tmp_path):
    """The same on a hundred JPEGs of many sizes, of which some are misjudged."""
    dataset = strategies.load_dataset(test_data / "flowers5")
    dataset = dataset.subset(np.random.default_rng(0).permutation(len(dataset))[:100])
    dataset = strategies.split_dataset(dataset, seed=0, test_fraction=0.5)
    plan = strategies.make_plan(
        "head_only", "MobileNetV2-0.35", class_names=dataset.class_names, num_train=40, image_size=96
    )
    result = strategies.train(plan, dataset, tmp_path / "run")
    test = dataset.subset(np.flatnonzero(np.array(dataset.split) == "test"))
    frame = strategies.predict(tmp_path / "run", test.items)
    assert (frame["class"] == np.array(test.class_names)[test.labels]).mean() == result.test.accuracy < 1


def test_a_fresh_process_says_the_same_to_the_last_digit(small_run, photos):
    """What `advisor predict --csv` prints is what this process computes."""
    folder, *_ = small_run
    command = [sys.executable, "-m", "advisor", "predict", folder, photos, "--all", "--csv"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert done.stdout == strategies.predict(folder, photos, all_classes=True).to_csv(index=False)


def test_new_images_are_resized_as_the_plan_says(small_run, tmp_path):
    """In prediction and evaluation; a run whose plan says nonsense is refused."""
    folder, run = small_run[0], tmp_path / "run"
    shutil.copytree(folder, run)
    values = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps({**values, "resize": "crop"}))
    wide = np.random.default_rng(0).integers(0, 256, (12, 24, 40, 3), dtype="uint8")
    wide[::2, :, 8:32] //= 2
    labels = ["china", "flower"] * 6
    frame = strategies.predict(run, wide)
    assert frame.equals(strategies.predict(folder, wide[:, :, 8:32]))
    assert not frame.equals(strategies.predict(folder, wide))
    accuracy = strategies.evaluate_run(run, (wide, labels)).evaluation.accuracy
    assert accuracy == pytest.approx((frame["class"] == labels).mean())
    (run / "plan.json").write_text(json.dumps({**values, "resize": ["crop"]}))
    with pytest.raises(RunError, match="Expected 'resize' in a plan"):
        strategies.predict(run, wide)


def test_files_folders_and_patterns_name_the_same_images(small_run, photos, tmp_path):
    """In the order given; in a folder only what ends like an image, and no hidden file."""
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    (tmp_path / "photos" / "china" / ".hidden.png").write_bytes(b"")
    files = sorted((tmp_path / "photos").glob("*/[!.]*.png"))
    found = prediction.find_images
    assert len(files) == 40
    assert found(tmp_path / "photos") == files
    assert found(f"{tmp_path}/photos/*/*.png") == files
    assert found(f"{tmp_path}/photos/**") == found(f"{tmp_path}/ph*") == files
    assert found([files[3], str(files[1]), tmp_path / "photos" / "flower"]) == [files[3], files[1], *files[20:]]
    frame = strategies.predict(small_run[0], [files[3], files[1], files[3]])
    assert frame["path"].tolist() == [str(files[3]), str(files[1]), str(files[3])]
    assert frame["probability"][0] == frame["probability"][2]


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("nowhere.png", "does not exist"),
        ("*.gif", "a pattern with none"),
        ("empty", "a folder with none"),
        ("x" * 5000, "does not exist"),
        ([], "an empty list"),
    ],
)
def test_what_names_no_image_is_refused(name, received, tmp_path, monkeypatch):
    """Before the model is loaded."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=received):
        prediction.find_images(name)


def test_the_most_probable_classes_are_those_of_all_probabilities(small_run, photos, advisor):
    """The best first, in Python, as CSV, as JSON and in the table; more than there are gets a sentence."""
    image = photos / "china" / "00.png"
    row = strategies.predict(small_run[0], image, top=2, all_classes=True).loc[0]
    assert row["probability"] == max(row["p(china)"], row["p(flower)"]) == row[f"p({row['class']})"]
    assert row["probability_2"] == row[f"p({row['class_2']})"] < row["probability"]
    (written,) = csv.DictReader(io.StringIO(advisor("predict", small_run[0], image, "--top", 2, "--csv")[1]))
    assert [written["class"], written["class_2"]] == [row["class"], row["class_2"]]
    (values,) = json.loads(advisor("predict", small_run[0], image, "--top", 2, "--json")[1])["predictions"]
    assert [best["class"] for best in values["top"]] == [row["class"], row["class_2"]]
    assert values["top"][0] == {"class": values["class"], "probability": values["probability"]}
    head, line = advisor("predict", small_run[0], image, "--top", 2)[1].splitlines()
    assert head.split() == ["class", "probability", "class_2", "probability_2", "path"]
    assert line.split()[::2] == [row["class"], row["class_2"], str(image)]
    for wrong in (0, 3):
        code, out, err = advisor("predict", small_run[0], image, "--top", wrong)
        assert (code, out) == (2, "")
        assert f"from 1 to 2, the number of classes of the model. Received: {wrong}" in err


def test_unreadable_files_keep_their_row_and_say_why(small_run, photos, tmp_path, advisor):
    """In the table, in JSON and on stderr; where no file can be read it is an error."""
    broken = tmp_path / "broken.png"
    broken.write_bytes((photos / "china" / "00.png").read_bytes()[:500])
    frame = strategies.predict(small_run[0], [photos / "china" / "00.png", broken, photos / "china" / "01.png"])
    assert frame["unreadable"].isna().tolist() == [True, False, True]
    assert frame["class"].isna().tolist() == frame["probability"].isna().tolist() == [False, True, False]
    code, out, err = advisor("predict", small_run[0], photos / "china", broken, "--json", "--top", 2)
    rows = json.loads(out)["predictions"]
    assert code == 0
    assert len(rows) == 21
    assert rows[-1]["class"] is rows[-1]["probability"] is rows[-1]["top"] is None
    assert rows[-1]["unreadable"]
    assert "1 of 21 images cannot be read" in err
    assert "broken.png" in err
    code, out, err = advisor("predict", small_run[0], broken)
    assert (code, out) == (2, "")
    assert "broken.png" in err


HOSTILE = ["a,b.png", 'quo"te.png', "line\nbreak.png", "\x1b[31mred.png", "-dash.png", "[1].png", "*.png", "ünï 码.png"]


def test_names_of_files_are_data(small_run, photos, tmp_path, advisor, monkeypatch):
    """Commas, quotes, line breaks, escape sequences, patterns and leading dashes: one row each, under its own name."""
    monkeypatch.chdir(tmp_path)
    for name in HOSTILE:
        shutil.copy(photos / "china" / "00.png", tmp_path / name)
    names = ["--", *HOSTILE]
    code, out, err = advisor("predict", small_run[0], "--csv", *names)
    assert code == 0, err
    assert [row["path"] for row in csv.DictReader(io.StringIO(out, newline=""))] == HOSTILE
    out = advisor("predict", small_run[0], "--json", *names)[1]
    assert [row["path"] for row in json.loads(out)["predictions"]] == HOSTILE
    out = advisor("predict", small_run[0], *names)[1]
    assert len(out.splitlines()) == 1 + len(HOSTILE)
    assert "\x1b" not in out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text_is_read_and_written(small_run, photos, tmp_path):
    """Bytes that are not UTF-8 are shown by their numbers."""
    shutil.copy(photos / "china" / "00.png", os.fsencode(tmp_path) + b"/\xff.png")
    frame = strategies.predict(small_run[0], tmp_path)
    assert frame["path"].tolist() == [f"{tmp_path}/\\xff.png"]
    frame.to_csv(tmp_path / "predictions.csv")


def test_any_number_of_images_passes_in_parts(small_run, photos, monkeypatch, advisor):
    """Parts of 16 images give the same rows, and CSV and JSON are whole."""
    whole = strategies.predict(small_run[0], photos, all_classes=True)
    monkeypatch.setattr(prediction, "PART", 16)
    parts = list(prediction.predict_in_parts(small_run[0], photos, all_classes=True))
    assert [len(part) for part in parts] == [16, 16, 8]
    together = pd.concat(parts, ignore_index=True)
    assert together[["path", "class"]].equals(whole[["path", "class"]])
    np.testing.assert_allclose(together["p(china)"], whole["p(china)"], rtol=0, atol=1e-6)
    rows = list(csv.DictReader(io.StringIO(advisor("predict", small_run[0], photos, "--csv")[1])))
    assert [row["path"] for row in rows] == whole["path"].tolist()
    values = json.loads(advisor("predict", small_run[0], photos, "--json", "--all")[1])
    assert len(values["predictions"]) == 40
    assert all(abs(sum(row["probabilities"].values()) - 1) < 1e-5 for row in values["predictions"])


def test_classes_may_be_called_like_columns():
    """A class `path`, or one that looks like a column of probabilities, is a class."""
    names = ["path", "class", "p(p)"]
    part = pd.DataFrame({"path": ["x.png"], "class": ["path"], "probability": [0.5], "unreadable": [None]})
    part = part.assign(**{f"p({name})": 0.5 for name in names})
    assert set(json.loads("".join(as_json([part])))["predictions"][0]["probabilities"]) == set(names)
    head, row = "".join(as_table([part], names)).splitlines()
    assert head.split() == ["class", "probability", *names, "path"]
    assert row.split() == ["path", *["50.0%"] * 4, "x.png"]


def test_out_is_a_new_file_whose_ending_says_the_format(small_run, photos, tmp_path, advisor):
    """Nothing goes to stdout; a file that exists is left alone; a failure leaves no file."""
    arguments = ("predict", small_run[0], photos / "china", "--out")
    for name in ("rows.csv", "rows.json", "rows.txt"):
        code, out, err = advisor(*arguments, tmp_path / name)
        assert (code, out) == (0, ""), err
        assert "Wrote 20 predictions" in err
    assert len(pd.read_csv(tmp_path / "rows.csv")) == len(
        json.loads((tmp_path / "rows.json").read_text())["predictions"]
    )
    before = (tmp_path / "rows.csv").read_bytes()
    code, _, err = advisor(*arguments, tmp_path / "rows.csv")
    assert code == 2
    assert "new file" in err
    assert (tmp_path / "rows.csv").read_bytes() == before
    (tmp_path / "broken.png").write_bytes(b"")
    assert advisor("predict", small_run[0], tmp_path / "broken.png", "--out", tmp_path / "none.csv")[0] == 2
    assert not (tmp_path / "none.csv").exists()
    assert advisor("predict", small_run[0], photos, "--csv", "--json")[0] == 2


def test_pixels_are_those_of_training(small_run, tmp_path):
    """A photo that is stored on its side, by EXIF, is judged upright, as its upright copy is."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype="uint8")
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "side.png", exif=exif)
    image.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    frame = strategies.predict(small_run[0], [tmp_path / "side.png", tmp_path / "upright.png"])
    assert frame["probability"][0] == frame["probability"][1]


def test_an_image_of_no_class_is_unsure_with_every_engine(small_run, photos, tmp_path, advisor, monkeypatch):
    """Noise is neither of the two photos, most of whose tiles are kept; as a table, CSV, JSON and DataFrame."""
    noise, broken = tmp_path / "noise.png", tmp_path / "broken.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype="uint8")).save(noise)
    broken.write_bytes(b"no image")
    frames = []
    for engine in ("auto", "keras"):
        monkeypatch.setenv("ADVISOR_ENGINE", engine)
        frames.append(strategies.predict(small_run[0], [photos, noise, broken], unsure=True))
    frame, keras_frame = frames
    np.testing.assert_allclose(frame["novelty"], keras_frame["novelty"], rtol=1e-3)
    assert frame["unsure"].tolist()[-2:] == [True, None]
    assert frame["novelty"].isna().tolist() == [False] * 41 + [True]
    assert not frame["unsure"][:40].astype(bool).mean() > 0.2
    images = (photos / "china" / "00.png", noise, broken)
    head, *rows = advisor("predict", small_run[0], *images, "--unsure")[1].splitlines()
    assert head.split()[:4] == ["class", "probability", "unsure", "novelty"]
    assert [row.split()[2] for row in rows] == ["no", "yes", "–"]
    rows = list(csv.DictReader(io.StringIO(advisor("predict", small_run[0], *images, "--unsure", "--csv")[1])))
    assert [row["unsure"] for row in rows] == ["False", "True", ""]
    rows = json.loads(advisor("predict", small_run[0], *images, "--unsure", "--json")[1])["predictions"]
    assert [row["unsure"] for row in rows] == [False, True, None]
    assert rows[2]["novelty"] is None


def test_the_recipe_of_the_guide_gives_the_same_novelty(small_run, photos):
    """With Keras and NumPy alone, from the exported model and the file of the run."""
    guide = (ROOT / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "novelty.npz" in block]
    photo = photos / "china" / "00.png"
    for said, here in (
        ("exported/model.keras", small_run[0] / "model.keras"),
        ("python_run/", f"{small_run[0]}/"),
        ("photos/china/00.png", photo),
    ):
        assert said in code
        code = code.replace(said, str(here))
    names: dict = {}
    exec(code, names)
    expected = strategies.predict(small_run[0], photo, unsure=True)["novelty"][0]
    assert names["novelty"] == pytest.approx(expected, rel=1e-3)
