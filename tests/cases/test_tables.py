"""Tables as people have them: separators, headers, spellings, and labels that are no classes."""

from pathlib import Path

import numpy as np
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


def _without_header(rows, separator=","):
    return separator.join(rows[0]), rows[1:]


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
        ("sep=;\r\n" + _table("path;label", ROWS, ";"), "utf-8", "semicolons"),
        (_table("path,label,", [(*row, "") for row in ROWS]), "utf-8", ""),
        (_table("path,label", [(*row, "") for row in ROWS]), "utf-8", ""),
        (_table("path label", ROWS, " "), "utf-8", "spaces"),
        (_table("path\tlabel", ROWS, "\t"), "utf-16-le", "tabs"),
        (_table("path,label", ROWS), "utf-32", ""),
        (_table(*_without_header(ROWS)), "utf-8", "column 1 as the path, column 2 as the label are taken;"),
        (_table(*_without_header([(kind, path) for path, kind in ROWS])), "utf-8", "column 2 as the path"),
        (_table(*_without_header(ROWS, " "), " "), "utf-8", "column 1 as the path"),
        (_table("path,label", [*ROWS[:3], *[(f" {p}".replace("/", "\\"), k) for p, k in ROWS[3:]]]), "utf-8", "Back"),
        (_table("path,label", [*ROWS[:3], *[(p[:-4], k) for p, k in ROWS[3:]]]), "utf-8", "'dog/000.jpg'"),
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
        (
            _table(
                "path,label,is_valid,is_test", [(*row, "1", "10"[index % 2]) for index, row in enumerate(ROWS)]
            ).replace("1,0", "0,0", 1),
            "one split",
        ),
        (_labels(*(f"id{index}" for index in range(6))), "only one image of 'id0'"),
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


@pytest.mark.parametrize(
    ("header", "flags", "splits"),
    [
        ("is_valid", ["True", "False", "False"], ("val", "train", "train")),
        ("Is Test", ["1", "0", "0"], ("test", "train", "train")),
        ("is_train", ["yes", "yes", "no"], ("train", "train", "test")),
        ("valid", ["1.0", "0.0", "0.0"], ("val", "train", "train")),
        ("train,validation", ["1,0", "0,1", "0,0"], ("train", "val", "test")),
        ("is_train,is_val,is_test", ["TRUE,FALSE,FALSE", "FALSE,TRUE,FALSE", "FALSE,FALSE,TRUE"], None),
    ],
)
def test_flags_are_a_split(header, flags, splits, root):
    """In files and DataFrames, beside a label or one-hot columns; the findings say what was taken."""
    rows = [(*row, flags[index % 3]) for index, row in enumerate(ROWS)]
    (root / "table.csv").write_text(_table(f"path,label,{header}", rows), encoding="utf-8")
    tables = [(root / "table.csv", {}), (pandas.read_csv(root / "table.csv"), {"root": root})]
    if "is" in header:
        rows = [(path, str(int(kind == "cat")), str(int(kind == "dog")), flag) for path, kind, flag in rows]
        (root / "one_hot.csv").write_text(_table(f"path,cat,dog,{header}", rows), encoding="utf-8")
        tables.append((root / "one_hot.csv", {}))
    for table, options in tables:
        dataset = load_dataset(table, **options)
        assert dataset.class_names == ("cat", "dog")
        assert dataset.split == (splits or ("train", "val", "test")) * 2
        assert "The split is taken from" in " ".join(dataset.notes)


@pytest.mark.parametrize(
    ("header", "cat", "dog"),
    [("label,valid", "cat,1", "dog,1"), ("label,valid", "cat,maybe", "dog,0"), ("train,bus", "1,0", "0,1")],
)
def test_flags_that_tell_no_split_are_left_alone(header, cat, dog, root):
    """All of one kind, other words, or a class called train where there are no labels."""
    rows = [(path, cat if kind == "cat" else dog) for path, kind in ROWS]
    (root / "table.csv").write_text(_table(f"path,{header}", rows), encoding="utf-8")
    dataset = load_dataset(root / "table.csv")
    assert dataset.split is None
    assert len(dataset.class_names) == 2


GERMAN, CZECH, RUSSIAN, JAPANESE = ("Käfer", "Meißel"), ("kočka", "kůň"), ("кошка", "собака"), ("ネコ", "イヌ")


@pytest.mark.parametrize(
    ("words", "encoding", "named", "right"),
    [
        (GERMAN, "cp1252", None, True),
        (GERMAN, "latin-1", None, True),
        (("l’Été", "Öl 20°"), "cp1252", None, True),
        (GERMAN, "mac_roman", None, False),
        (GERMAN, "cp850", None, False),
        (("żółw", "gęś"), "cp1250", None, False),
        (RUSSIAN, "cp1251", None, False),
        (RUSSIAN, "koi8-r", None, False),
        (JAPANESE, "shift-jis", None, False),
        (("猫猫", "狗狗"), "gbk", None, False),
        (GERMAN, "mac_roman", "mac_roman", True),
        (CZECH, "cp1250", "cp1250", True),
        (RUSSIAN, "cp1251", "cp1251", True),
        (JAPANESE, "shift-jis", "cp932", True),
        (GERMAN, "cp1252", "utf-8", False),
        (GERMAN, "utf-8", "no such", False),
    ],
)
def test_a_table_of_another_encoding_is_read_right_or_asks(words, encoding, named, right, root):
    """No class gets a name that is misread; Windows-1252 is said."""
    text = _labels(*(words[kind == "dog"] for _, kind in ROWS))
    (root / "table.csv").write_bytes(text.encode(encoding))
    if right:
        dataset = load_dataset(root / "table.csv", encoding=named)
        assert dataset.class_names == tuple(sorted(words))
        assert ("read as Windows-1252, as in" in " ".join(dataset.notes)) == (named is None)
    else:
        with pytest.raises(DatasetError, match=r"^Expected a table in .* Received: .*--encoding.*\.$"):
            load_dataset(root / "table.csv", encoding=named)


def test_the_command_line_names_the_encoding(root, advisor):
    """As Python does."""
    (root / "table.csv").write_bytes(_labels(*(RUSSIAN[kind == "dog"] for _, kind in ROWS)).encode("cp1251"))
    code, out, err = advisor("profile", root / "table.csv", "--encoding", "cp1251")
    assert (code, "собака" in out) == (0, True), err
    code, _, err = advisor("profile", root, "--encoding", "cp1251")
    assert (code, "'encoding' for a class folder" in err) == (2, True)


def _pixels(names, first, channels=(), label="label"):
    """Four gradients of 8 x 8 pixels as a table of text."""
    images = [np.arange(64 * (3 if channels else 1)) + index for index in range(4)]
    rows = [[str(index // 2), *map(str, image)] for index, image in enumerate(images)]
    header = [label, *names(len(images[0]))]
    return "\n".join(",".join(row) for row in ([header] if first else []) + rows)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        (_pixels(lambda count: [f"pixel{place}" for place in range(count)], True), (8, 8)),
        (_pixels(lambda count: [f"{place // 8 + 1}x{place % 8 + 1}" for place in range(count)], True), (8, 8)),
        (_pixels(lambda count: [f"pixel{place:04}" for place in range(count)], True, (3,)), (8, 8, 3)),
        (_pixels(lambda count: [str(place) for place in range(count)], True), (8, 8)),
        (_pixels(lambda count: [], False), (8, 8)),
        (
            "emotion,pixels,Usage\n"
            + "\n".join(
                f"{index // 2},{' '.join(str(index + place) for place in range(64))},{usage}"
                for index, usage in enumerate(("Training", "PublicTest", "Training", "PrivateTest"))
            ),
            (8, 8),
        ),
    ],
)
def test_pixels_may_be_the_cells_of_a_table(text, shape, tmp_path):
    """As in the tables of MNIST, with and without a header, and of FER2013. Files and DataFrames are read alike."""
    (tmp_path / "table.csv").write_text(text)
    found = [load_dataset(tmp_path / "table.csv")]
    if text[0].isalpha():
        found.append(load_dataset(pandas.read_csv(tmp_path / "table.csv")))
    for dataset in found:
        assert dataset.class_names == ("0", "1")
        assert dataset.labels.tolist() == [0, 0, 1, 1]
        assert dataset.split == (("train", "val", "train", "test") if "Usage" in text else None)
        for index, item in enumerate(dataset.items):
            assert item.dtype == "uint8"
            assert (item == (np.arange(np.prod(shape)) + index).reshape(shape)).all()
        assert "are taken as the pixels of 8 x 8 images" in " ".join(dataset.notes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("label,pixels\n0," + " ".join("1" * 60), "60 values in a row"),
        ("label,pixels\n0,one two", "'one two'"),
        ("label," + ",".join(f"p{place}" for place in range(65)), "Expected a column 'path'"),
        ("label," + ",".join(f"pixel{place}" for place in range(65)) + "\n0" + ",1" * 65, "65 values in a row"),
        ("label," + ",".join(f"pixel{place}" for place in range(64)) + "\n0" + ",300" * 64, "values from 300 to 300"),
        ("1,2,3\n4,5,6", "no names in the first line, but the columns 1 ('1')"),
        ("cat/000.jpg,cat,red\ncat/001.jpg,cat,red", "3 ('red')"),
        ("path,label\ncat/000.jpg,cat,red", "more cells than the first line"),
    ],
)
def test_a_table_that_cannot_be_told_is_refused(text, sentence, root):
    """In one sentence that names what is there."""
    (root / "table.csv").write_text(text)
    with pytest.raises(DatasetError, match=r"^Expected .* Received: .*\.$") as caught:
        load_dataset(root / "table.csv")
    assert sentence in str(caught.value)


def test_files_that_are_missing_are_named(root):
    """A few are left out; of many, the dataset is refused. No other file is taken for them."""
    rows = [(path, kind) for path, kind in ROWS for _ in range(7)]
    for rest, sentence in (
        ([("dog/x.jpg", "dog")], ""),
        ([(f"sub/cat/00{index}.jpg", "dog") for index in range(9)], "to be unreadable"),
    ):
        (root / "table.csv").write_text(_table("path,label", [*rows, *rest]))
        if sentence:
            with pytest.raises(DatasetError, match=sentence):
                profile_images(root / "table.csv")
        else:
            (image,) = profile_images(root / "table.csv").unreadable
            assert image == {"path": "dog/x.jpg", "reason": "No such file or directory"}


def test_a_table_without_a_header_may_have_splits(root):
    """As the import files of Vertex AI; the columns may also be named by their number."""
    rows = [(split, *row) for split, row in zip(("TRAIN", "TRAIN", "TEST") * 2, ROWS, strict=True)]
    (root / "table.csv").write_text(_table(*_without_header(rows)))
    for columns in ({}, {"path_column": "2", "label_column": "3", "split_column": "1"}):
        dataset = load_dataset(root / "table.csv", **columns)
        assert dataset.class_names == ("cat", "dog")
        assert dataset.split == ("train", "train", "test") * 2


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
