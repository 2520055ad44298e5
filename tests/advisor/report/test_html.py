"""Reports as pages: whole in themselves, inert whatever the names, readable at every width, in light and in dark."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
import screenshots
from PIL import Image
from support import ROOT

import advisor as package
from advisor.comparison import Comparison
from advisor.outcomes import Outcome
from advisor.report.files import write_report
from strategies.display.charts import confusion_matrix, learning_charts
from strategies.display.html import printable
from strategies.files import check_schema
from strategies.plans.planning import with_budget
from strategies.recipes import RECIPES
from strategies.runs.exporting import Export

CLASS = '</title></style><script>alert(1)</script>"\u202e'
FILE = '"><svg onload=alert(2)>\x1b[31m.png'
WIDE = "w" * 200
VOID = {"meta", "link", "img", "br", "circle", "rect", "line", "polyline", "path"}
ADVICE = ("why", "place", "images", "health", "depth", "more", "freeze", "sure", "do")
RUN = ("beside", "course", "confusion", "classes", "metrics", "reliability", "mistakes", "export", "again")


class Page(HTMLParser):
    """Tags with their attributes, the text outside of styles, and whether every tag is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open, self.wrong = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        """Notes a tag and that it is open."""
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        """Notes a tag that closes itself."""
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        """Notes a tag that closes another than the last one."""
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        """Notes text that is shown."""
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, *names):
        """Returns the attributes of every tag of these names."""
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An advised run on noise, whose classes, files and copies are hostile; with an export, as its folder."""
    root = tmp_path_factory.mktemp("html")
    generator = np.random.default_rng(0)
    rows = []
    for index in range(48):
        name = {0: FILE, 1: f"{WIDE}.png"}.get(index, f"{index}.png")
        pixels = generator.integers(0, 256, (40, 40, 3), dtype="uint8")
        if index in (4, 5):  # the same picture in two classes
            pixels = np.random.default_rng(9).integers(0, 256, (40, 40, 3), dtype="uint8")
        Image.fromarray(pixels).save(root / name)
        rows.append({"path": name, "label": (CLASS, "dog", WIDE)[index % 3]})
    advice = package.recommend(
        pd.DataFrame(rows), root=root, backbone="MobileNet-0.25", weights="random", image_size=64, recipe="retrain_all"
    )
    advice = advice.with_plan(with_budget(advice.plan, 0.03))
    result = advice.train(root / "run")
    digest = hashlib.sha256((root / "run" / "model.keras").read_bytes()).hexdigest()
    export = Export(
        format="onnx", path=f"{CLASS}.onnx", num_bytes=900_000, images="test images", num_images=9, num_unreadable=0,
        top1_agreement=1.0, largest_difference=1e-6, runtime="onnxruntime 1", model_digest=digest,
    )  # fmt: skip
    (root / "run" / "export").mkdir()
    (root / "run" / "export" / "onnx.json").write_text(json.dumps(export.to_dict()))
    write_report(root / "run")
    advice.save(root / "advice")
    return root, advice, result


@pytest.fixture(scope="module")
def comparison(folder):
    """A comparison in which each of the four recipes has the result of that run, with other accuracies and times."""
    _, advice, result = folder
    outcomes = [
        Outcome(
            recipe=recipe,
            plan=advice.plan,
            share=0.5,
            metrics={"accuracy": right, "val_accuracy": right, "val_loss": 1.0, "seconds": seconds},
            test=replace(result.test, accuracy=right, low=right - 0.1, high=right + 0.1),
            correct=np.arange(10) < 10 * right,
        )
        for recipe, right, seconds in zip(RECIPES, (0.5, 0.6, 0.8, 0.7), (2.0, 20.0, 50.0, 70.0), strict=True)
    ]
    return Comparison(advice=advice, outcomes=tuple(outcomes))


@pytest.fixture(scope="module")
def paths(folder, comparison):
    """The three reports as files."""
    root = folder[0]
    path = comparison.save_html(root / "compare.html")
    return {"advice": root / "advice" / "report.html", "run": root / "run" / "report.html", "compare": path}


@pytest.fixture(scope="module", params=["advice", "run", "compare"])
def page(request, paths):
    """Each report: its name, its text, and what a browser would make of it."""
    text = paths[request.param].read_text(encoding="utf-8")
    return request.param, text, Page(text)


def test_a_page_is_whole_in_itself(page):
    """Under 3 MB; nothing is loaded from anywhere, and nothing runs."""
    _, text, found = page
    assert len(text.encode()) < 3_000_000
    assert text.startswith("<!doctype html>")
    assert (found.wrong, found.open) == ([], [])
    assert not found.all("script", "iframe", "object", "embed", "form", "base", "audio", "video")
    assert not re.search(r"url\(|@import|https?://", text)
    for tag, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert "srcset" not in attributes
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    assert "default-src 'none'" in found.all("meta")[2]["content"]


def test_every_section_is_there_and_linked(page):
    """And no link leads nowhere."""
    name, _, found = page
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    expected = {"advice": ADVICE, "run": (*RUN, *ADVICE), "compare": ("cost", *ADVICE)}[name]
    assert [attributes["id"] for attributes in found.all("section")] == list(expected)
    links = [attributes["href"][1:] for attributes in found.all("a")]
    assert set(links) <= set(ids)
    assert len(links) > 8
    assert len(found.all("svg")) >= {"advice": 1, "run": 4, "compare": 2}[name]


def test_paper_shows_what_is_folded(page):
    """Nobody can open it there."""
    assert "details::details-content { content-visibility: visible" in page[1].split("@media print")[-1]


def test_a_page_can_be_read_aloud(page):
    """Landmarks, one first heading, a name for every picture, a direction for every header of a table."""
    _, _, found = page
    assert found.all("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1", "title"):
        assert len(found.all(landmark)) == 1, landmark
    assert all(attributes["alt"] for attributes in found.all("img"))
    assert all(attributes.get("aria-label") or attributes.get("aria-hidden") for attributes in found.all("svg"))
    assert all(attributes.get("scope") in ("row", "col") for attributes in found.all("th"))
    regions = [attributes for attributes in found.all("div") if attributes.get("role") == "region"]
    assert all(attributes["aria-label"] and attributes["tabindex"] == "0" for attributes in regions)


def test_hostile_names_are_text(page):
    """They are shown with their markup and control characters visible, and stand nowhere else."""
    _, text, found = page
    said = " ".join("".join(found.text).split())
    assert printable(CLASS) in said
    assert FILE not in text
    assert "<script" not in text
    assert "<svg onload" not in text
    assert not re.search("[\u202e\x1b]", text)
    assert "\\u202e" in said


def test_pictures_are_small_and_follow_their_schema(folder):
    """A sample of every class, the suspects with what they are copies of, the mistakes with their heat."""
    root = folder[0]
    pictures = json.loads((root / "run" / "pictures.json").read_text(encoding="utf-8"))
    check_schema(pictures, "pictures", package="advisor")
    assert {picture["class"] for picture in pictures["sample"]} == {CLASS, "dog", WIDE}
    assert all(picture["other"] for picture in pictures["suspects"]["duplicates_across_classes"])
    assert all(picture["heat"] for picture in pictures["mistakes"])
    assert len(pictures["mistakes"]) == len(folder[2].test.mistakes)
    for picture in (*pictures["sample"], *pictures["mistakes"]):
        with Image.open(io.BytesIO(base64.b64decode(picture["jpeg"]))) as image:
            assert (image.format, image.size) == ("JPEG", (96, 96))


def test_without_its_pictures_a_report_leaves_them_out(folder, tmp_path):
    """A run folder of an earlier version, or one that was sent without them."""
    root = folder[0]
    for name in ("plan.json", "fingerprint.json"):
        (tmp_path / name).write_bytes((root / "advice" / name).read_bytes())
    write_report(tmp_path)
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not found.all("img")
    assert [attributes["id"] for attributes in found.all("section")] == list(ADVICE)


def test_a_notebook_shows_advice_result_and_comparison(folder, comparison):
    """As fragments of the same parts, in which names are text too."""
    _, advice, result = folder
    for shown, said in ((advice, advice.recipe), (result, "test accuracy"), (comparison, "Following the advice")):
        text = shown._repr_html_()
        found = Page(text)
        assert (found.wrong, found.open) == ([], [])
        assert said in "".join(found.text)
        assert not found.all("script", "html", "body")
        assert "\u202e" not in text
        assert len(text) < 60_000


def test_what_carries_a_plan_out_again_keeps_the_options_of_the_data(folder):
    """A command where one was typed, else Python; without the options that the plan holds already."""
    root = folder[0]
    found = json.loads((root / "advice" / "fingerprint.json").read_text(encoding="utf-8"))
    before = (root / "advice" / "report.html").read_text(encoding="utf-8")
    assert "strategies.train(strategies.read_plan(" in before
    found["command"] = "advisor recommend 'my photos' --seed 3 --group-by 'p[0-9]' --column=label=kind --out advice/"
    (root / "advice" / "fingerprint.json").write_text(json.dumps(found), encoding="utf-8")
    write_report(root / "advice")
    said = "".join(Page((root / "advice" / "report.html").read_text(encoding="utf-8")).text)
    assert found["command"] in said
    assert "--plan advice/plan.json --out advice_again --group-by 'p[0-9]' --column=label=kind\n" in said


def _palettes():
    text = files("strategies.display").joinpath("templates", "style.css").read_text(encoding="utf-8")
    light, dark = text.split("prefers-color-scheme: dark")
    colors = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in (light, dark)]
    return {"light": colors[0], "dark": colors[0] | colors[1]}


def _luminance(color):
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_color_can_be_told_from_what_it_stands_on(scheme):
    """Text by 4.5 to 1, lines and points by 3 to 1: level AA of the accessibility guidelines."""
    palette = _palettes()[scheme]
    text = [(color, ground) for color in ("ink", "muted", "accent") for ground in ("paper", "soft")]
    text += [(f"on-{color}", color) for color in ("frozen", "trained", "new", "warn")] + [("ink", "heat")]
    drawn = ("second", "third", "fourth", "edge-frozen", "edge-trained", "edge-new", "edge-warn")
    for least, pairs in ((4.5, text), (3.0, [(color, "paper") for color in drawn])):
        for color, ground in pairs:
            bright, dim = sorted((_luminance(palette[color]), _luminance(palette[ground])), reverse=True)
            assert (bright + 0.05) / (dim + 0.05) >= least, (color, ground)


def test_of_many_classes_those_with_errors_are_shown():
    """A matrix that cannot be read is no picture."""
    counts = np.diag([5] * 50)
    counts[40, 41] = 3
    found = confusion_matrix([f"class {index}" for index in range(50)], counts.tolist())
    assert {"class 40", "class 41"} <= set(found["names"])
    assert (len(found["rows"]), found["left_out"]) == (20, 30)


def test_phases_follow_one_another_in_the_learning_curves():
    """Steps are counted through; a missing value is a gap, one row has no course, and a phase without steps no mark."""
    row = {"phase": "head", "step": "0", "loss": "1", "accuracy": "0.5", "val_loss": "", "val_accuracy": ""}
    more = [row | {"phase": "whole", "step": str(step), "val_loss": "0.9"} for step in (10, 20)]
    assert learning_charts([row]) == []
    assert learning_charts([row, row | {"phase": "refit_head"}]) == []  # neither has steps
    accuracy, loss = learning_charts([row, *more, row | {"phase": "last", "step": "5"}])
    assert [x for x, _ in accuracy.series[0].points] == [0, 10, 20, 25]
    assert [(mark.value, mark.label) for mark in accuracy.marks] == [(0, "whole"), (20, "last")]
    assert len(accuracy.series) == 1
    assert len(loss.series[1].points) == 2


def test_a_comparison_is_written_into_a_new_file_alone(comparison, paths):
    """As the other outputs of a single file."""
    with pytest.raises(ValueError, match="new file"):
        comparison.save_html(paths["compare"])


@pytest.fixture(scope="module")
def browser():
    """A Chromium, where there is one."""
    found = screenshots.find_browser()
    if found is None:
        pytest.skip("no Chromium here")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_every_page_at_every_width(scheme, browser, paths):
    """No message on the console, nothing wider than the page, every picture there, the scheme as asked for."""
    found = screenshots.inspect(browser, list(paths.values()), scheme=scheme)
    assert len(found) == 9
    for page in found:
        assert page["wrong"] == [], (page["page"], page["width"])
        assert page["images"] >= 24
    red, green, blue = map(int, re.findall(r"\d+", found[0]["background"])[:3])
    assert (red + green + blue > 600) == (scheme == "light")


def test_the_browser_finds_what_is_wrong(browser, tmp_path):
    """A page that is too wide, lacks a picture, runs a script and asks the network."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<!doctype html><body><main><p style="width:900px">wide</p><img alt="gone" src="data:image/png;base64,AAAA">'
        '<script>console.error("said")</script><img alt="far" src="http://localhost:9/x.png"></main>'
    )
    (found,) = screenshots.inspect(browser, [bad], widths=(400,))
    said = "\n".join(found["wrong"])
    for fault in ("px wide", "does not show gone", "does not show far", "holds <script>", "said"):
        assert fault in said


def test_the_picture_in_the_readme_is_there():
    """Small, and made of scikit-learn's digits by the command that `tests/screenshots.py` names."""
    root = ROOT
    (name,) = re.findall(r"\]\((docs/[\w.-]+\.webp)\)", (root / "README.md").read_text(encoding="utf-8"))
    assert (root / name).stat().st_size < 150_000
    with Image.open(root / name) as image:
        assert (image.format, image.width) == ("WEBP", 1000)
    assert "--widths 1000 --schemes light" in screenshots.__doc__
