"""Tables as people have them: separators, headers, spellings, and labels that are no classes."""

from pathlib import Path

import pandas
import pytest
from pictures import fill

from advisor.measure.profile import profile_images
from strategies.data.loading import load_dataset
from strategies.data.sources.paths import SPLIT_NAMES
from strategies.errors import DatasetError

ROWS = [(f"{kind}/{index:03d}.jpg", kind) for kind in ("cat", "dog") for index in range(3)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Three pictures of each of two classes."""
    folder = tmp_path_factory.mktemp("tables")
    fill(folder / "cat", 3, 0)
    fill(folder / "dog", 3, 1)
    return folder


def _table(header, rows, separator=","):
    return "\n".join([header, *(separator.join(row) for row in rows)])


def _labels(*labels):
    return _table("path,label", [(path, f'"{label}"') for (path, _), label in zip(ROWS, labels, strict=True)])


@pytest.mark.parametrize(
    ("text", "encoding", "note"),
    [
        (_table("path,label", ROWS), "utf-8", ""),
        (_table("path;label", ROWS, ";"), "utf-8-sig", "semicolons"),
        (_table("path\tlabel", ROWS, "\t"), "utf-8", "tabs"),
        (_table("path\tlabel", ROWS, "\t"), "utf-16", "tabs"),
        (_table("path|label", ROWS, "|"), "utf-8", "bars"),
        (_table("Image Path,CLASS", ROWS), "utf-8", "'CLASS' is taken as the label"),
        (_table("file_name,target", ROWS), "utf-8", "'file_name' is taken as the path"),
        (_table("image_id,label", [(path[:-4], kind) for path, kind in ROWS]), "utf-8", "cat/000.jpg"),
        (_table("path,label", [(path.replace("/", "\\"), kind) for path, kind in ROWS]), "utf-8", "Backslashes"),
        (_table("path,label", [(f" {path} ", kind) for path, kind in ROWS]), "utf-8", "Spaces around the paths"),
        (
            _table("path,label", [(f"C:\\me\\{p.replace('/', chr(92))}", k) for p, k in ROWS]),
            "utf-8",
            "begin with 'C:/me/'",
        ),
        (
            _table("path,label", [(f"/content/data/{path}", kind) for path, kind in ROWS]),
            "utf-8",
            "begin with '/content",
        ),
        (_table("image,cat,dog", [(p, str(int(k == "cat")), str(int(k == "dog"))) for p, k in ROWS]), "utf-8", "ones"),
        (_labels("cat", "cat ", " cat", "dog", "dog", "dog "), "utf-8", "Spaces around labels"),
    ],
)
def test_a_table_is_read_and_what_was_assumed_is_said(text, encoding, note, root):
    """The same six images and two classes, whatever the dialect."""
    path = root / ("table.tsv" if "\t" in text else "table.csv")
    path.write_text(text, encoding=encoding)
    dataset = load_dataset(path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert all(Path(item).exists() for item in dataset.items)
    assert note in " ".join(dataset.notes)
    assert bool(note) == bool(dataset.notes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (_labels("A|B", "B|A", "A|B", "B|A", "A", "A"), "multi-label"),
        (_labels("A, B", "A", "A", "B", "B", "A, B"), "multi-label"),
        (_labels("A;B", "A", "A", "B", "B", "A;B"), "multi-label"),
        (_labels("20.25", "21.25", "20.25", "21.25", "22", "22"), "measurements"),
        (_table("path,label,class", [(*row, row[1]) for row in ROWS]).replace("label", "category"), "one column"),
        (_table("path,cat,dog", [(path, "1", "1") for path, _ in ROWS]), "multi-label"),
    ],
)
def test_what_is_no_class_is_refused_in_one_sentence(text, sentence, root):
    """In a file and in a DataFrame alike."""
    (root / "table.csv").write_text(text, encoding="utf-8")
    frame = pandas.read_csv(root / "table.csv")
    for source, options in ((root / "table.csv", {}), (frame, {"root": root})):
        with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
            load_dataset(source, **options)
        assert sentence in str(caught.value)


def test_labels_that_differ_in_case_are_named_in_the_findings(root):
    """They are not merged: the profile asks."""
    (root / "table.csv").write_text(_labels("cat", "Cat", "cat", "Cat", "dog", "dog"), encoding="utf-8")
    (finding,) = [found for found in profile_images(root / "table.csv").findings if found.code == "notes"]
    assert "'Cat', 'cat' differ in spelling only" in finding.message


def test_words_for_splits(root):
    """Training, VALIDATION and testing are train, val and test."""
    words = ["Training", "VALIDATION", "testing"] * 2
    rows = [(*row, word) for row, word in zip(ROWS, words, strict=True)]
    (root / "table.csv").write_text(_table("path,label,split", rows), encoding="utf-8")
    assert load_dataset(root / "table.csv").split == ("train", "val", "test") * 2


def test_a_name_may_end_with_a_space(tmp_path):
    """Only labels lose the spaces around them."""
    for name in ("a", "b ", "c", "d"):
        fill(tmp_path / name, 1, 0)
    rows = [(f"{name}/000.jpg", label) for name, label in (("a", "cat"), ("b ", "cat"), ("c", "dog"), ("d", "dog"))]
    (tmp_path / "table.csv").write_text(_table("path,label", rows))
    assert load_dataset(tmp_path / "table.csv").names == tuple(path for path, _ in rows)


@pytest.mark.parametrize(("word", "split"), SPLIT_NAMES.items())
def test_a_word_for_a_split_means_the_same_in_a_table_as_in_a_folder(root, tmp_path, word, split):
    """Whatever its case; one list holds the words."""
    parts = ["train", "train", word.upper()] * 2
    table = root / f"{tmp_path.name}.csv"
    table.write_text(_table("path,label,split", [(*row, part) for row, part in zip(ROWS, parts, strict=True)]))
    folder = tmp_path / "data"
    for (path, _), part in zip(ROWS, parts, strict=True):
        place = folder / part / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes((root / path).read_bytes())
    read = {Path(name).name: part for name, part in zip(*_names_and_splits(table), strict=True)}
    assert read["002.jpg"] == split
    if word not in ("train", "training"):
        assert set(zip(*_names_and_splits(folder), strict=True)) >= {(f"{word.upper()}/cat/002.jpg", split)}


def _names_and_splits(source):
    dataset = load_dataset(source)
    return dataset.names, dataset.split
