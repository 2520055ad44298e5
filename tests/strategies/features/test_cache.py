"""The cache of features: damaged entries are never used, and other files are never touched."""

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT

from strategies.data.digests import content_digest, weights_digest
from strategies.data.encoded import UnreadableImage
from strategies.errors import UserError
from strategies.features.cache import MAX_BYTES, SUFFIX, TEMPORARY_SUFFIX, FeatureCache, cached, default_cache, make_key

KEY = make_key(name="one")
DAY = 24 * 60 * 60


@pytest.fixture
def cache(tmp_path):
    """A cache of a megabyte, in a folder that does not exist yet."""
    return FeatureCache(tmp_path / "deep" / "cache", 1_000_000)


def _rows(num_rows=4, num_features=16, dtype="float32"):
    return np.random.default_rng(0).normal(size=(num_rows, num_features)).astype(dtype)


def _equal(left, right):
    return len(left) == len(right) and all(
        array.dtype == wanted.dtype and array.shape == wanted.shape and array.tobytes() == wanted.tobytes()
        for array, wanted in zip(left, right, strict=True)
    )


def _files(cache):
    return sorted(path.name for path in cache.folder.iterdir())


def _run(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    "arrays",
    [
        [_rows()],
        [_rows(), _rows(4, 3, "float16"), _rows().astype("uint8"), np.arange(4)],
        [np.zeros((4, 2, 3, 5), dtype="float32")],
        [np.asfortranarray(_rows()), _rows(8)[::2], _rows().astype(">f8")],
        [np.array([[np.nan, -0.0], [np.inf, 1e-45]] * 2, dtype="float32")],
        [np.empty((4, 0), dtype="float32"), _rows()],
    ],
    ids=["one", "several types", "feature maps", "any layout", "odd numbers", "no columns"],
)
def test_what_is_stored_comes_back_bit_for_bit(cache, arrays, capsys):
    """Number, order, types, shapes and bits of the arrays; nothing is printed."""
    assert cache.load(KEY, num_rows=4) is None
    assert cache.store(KEY, arrays)
    assert _equal(cache.load(KEY, num_rows=4), arrays)
    assert cache.load(make_key(name="another"), num_rows=4) is None
    assert capsys.readouterr().err == ""


def test_features_of_no_images_are_stored_too(cache):
    """Arrays of zero rows."""
    arrays = [np.empty((0, 16), dtype="float32")]
    assert cache.store(KEY, arrays)
    assert _equal(cache.load(KEY, num_rows=0), arrays)


def test_the_last_to_store_wins(cache):
    """There is one file per key."""
    cache.store(KEY, [_rows()])
    cache.store(KEY, [_rows() + 1])
    assert _equal(cache.load(KEY, num_rows=4), [_rows() + 1])
    assert _files(cache) == [KEY + SUFFIX]


def test_an_entry_truncated_anywhere_is_not_used(cache):
    """At every byte, also between two arrays. The entry is removed, and the next run stores it again."""
    cache.store(KEY, [_rows(2, 3), _rows(2, 5)])
    path = cache.folder / (KEY + SUFFIX)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.load(KEY, num_rows=2) is None
        assert not path.exists()
    path.write_bytes(whole)
    assert _equal(cache.load(KEY, num_rows=2), [_rows(2, 3), _rows(2, 5)])


def test_an_entry_with_a_flipped_bit_anywhere_is_not_used(cache):
    """Any bit of any byte, including the checksum."""
    cache.store(KEY, [_rows(2, 3), _rows(2, 5)])
    path = cache.folder / (KEY + SUFFIX)
    whole = path.read_bytes()
    for index, bit in itertools.product(range(len(whole)), range(8)):
        damaged = bytearray(whole)
        damaged[index] ^= 1 << bit
        path.write_bytes(damaged)
        assert cache.load(KEY, num_rows=2) is None
        assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"a file of someone else", os.urandom(1000)], ids=["empty", "text", "noise"])
def test_a_foreign_file_is_not_used(cache, content, capsys):
    """A file that has the name of an entry, but is none, is removed; one line says so."""
    cache.folder.mkdir(parents=True)
    path = cache.folder / (KEY + SUFFIX)
    path.write_bytes(content)
    assert cache.load(KEY, num_rows=4) is None
    assert not path.exists()
    said = capsys.readouterr().err
    assert said.startswith("Removed a damaged entry from the cache")
    assert str(path) in said
    assert said.count("\n") == 1


def test_an_entry_under_another_key_or_with_more_bytes_is_not_used(cache):
    """The checksum covers the key and the file up to its end."""
    other = make_key(name="another")
    cache.store(KEY, [_rows()])
    path = cache.folder / (KEY + SUFFIX)
    (cache.folder / (other + SUFFIX)).write_bytes(path.read_bytes())
    assert cache.load(other, num_rows=4) is None
    assert cache.load(KEY, num_rows=4) is not None
    path.write_bytes(path.read_bytes() + b"\0")
    assert cache.load(KEY, num_rows=4) is None


@pytest.mark.parametrize("arrays", [[_rows(5)], [_rows(4), _rows(5)], [np.array(4.0)]], ids=["all", "one", "none"])
def test_an_entry_of_another_number_of_images_is_not_used(cache, arrays, capsys):
    """Each array must have a row per image."""
    cache.store(KEY, arrays)
    assert cache.load(KEY, num_rows=4) is None
    assert "do not have 4 rows" in capsys.readouterr().err
    assert _files(cache) == []


def test_an_entry_that_cannot_be_opened_is_left_alone(cache, capsys):
    """A folder in its place is reported, but neither read nor replaced."""
    (cache.folder / (KEY + SUFFIX)).mkdir(parents=True)
    assert cache.load(KEY, num_rows=4) is None
    assert not cache.store(KEY, [_rows()])
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in said] == [
        "The cache could not be read",
        "Features were not kept in the cache",
    ]
    assert _files(cache) == [KEY + SUFFIX]


def _pipe(path, cache):
    os.mkfifo(path)


def _link(path, cache):
    cache.store(KEY, [_rows()])
    path.rename(cache.folder / "target")
    os.utime(cache.folder / "target", (1, 1))
    path.symlink_to(cache.folder / "target")


def _of_another_user(path, cache):
    cache.store(KEY, [_rows()])
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 12345, -1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes, and files have no owners")
@pytest.mark.parametrize("make", [_pipe, _link, _of_another_user])
def test_only_regular_files_of_ones_own_are_read(make, cache, capsys):
    """Nothing is waited for and no link is followed; the entry is made again and replaces what is there."""
    cache.folder.mkdir(parents=True)
    path = cache.folder / (KEY + SUFFIX)
    make(path, cache)
    assert not cache.holds(KEY)
    assert cache.load(KEY, num_rows=4) is None
    assert capsys.readouterr().err.startswith("The cache could not be read (")
    assert os.path.lexists(path)
    if path.is_symlink():
        assert path.stat().st_mtime == 1
    assert cache.store(KEY, [_rows() + 1])
    assert not path.is_symlink()
    assert _equal(cache.load(KEY, num_rows=4), [_rows() + 1])
    if make is _link:
        assert (cache.folder / "target").stat().st_mtime == 1


def test_the_least_recently_used_entries_are_removed_first(tmp_path):
    """Loading counts as use. The folder stays within its limit."""
    cache = FeatureCache(tmp_path, 50_000)
    keys = [make_key(number=number) for number in range(5)]
    for age, key in enumerate(keys[:4]):
        assert cache.store(key, [_rows(100, 25)])
        os.utime(tmp_path / (key + SUFFIX), (time.time() - 1000 + age,) * 2)
    assert len(_files(cache)) == 4
    assert cache.load(keys[0], num_rows=100) is not None
    cache.store(keys[4], [_rows(100, 25)])
    assert [key for key in keys if cache.load(key, num_rows=100)] == [keys[0], keys[2], keys[3], keys[4]]
    for key in keys:
        cache.store(key, [_rows(100, 25)])
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= cache.max_bytes
        assert cache.load(key, num_rows=100) is not None


def test_an_entry_larger_than_a_quarter_is_not_kept(tmp_path, capsys):
    """One dataset must not push out all others."""
    cache = FeatureCache(tmp_path, 4000)
    assert cache.store(KEY, [_rows(25, 10)])
    assert not cache.store(make_key(name="large"), [_rows(25, 10), _rows(1, 1)])
    assert capsys.readouterr().err.count("\n") == 1
    assert _files(cache) == [KEY + SUFFIX]


def test_only_files_of_the_cache_are_counted_and_removed(tmp_path):
    """Never the user's files, folders and links, whatever their names are."""
    cache = FeatureCache(tmp_path, 5000)
    big = bytes(10_000)
    for name in ("photo.jpg", "mine.features", f"x{SUFFIX}.jpg", "mine.tmp"):
        (tmp_path / name).write_bytes(big)
    (tmp_path / "target").write_bytes(big)
    (tmp_path / f"link{SUFFIX}").symlink_to(tmp_path / "target")
    (tmp_path / f"folder{SUFFIX}").mkdir()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0), follow_symlinks=False)
    foreign = _files(cache)
    for number in range(6):
        assert cache.store(make_key(number=number), [_rows(25, 10)])
    assert set(foreign) < set(_files(cache))
    assert (tmp_path / "photo.jpg").read_bytes() == big
    assert len(set(_files(cache)) - set(foreign)) == 4


def test_what_a_killed_writer_left_is_removed_after_a_day(cache):
    """Not earlier, since the writer may still be running."""
    cache.folder.mkdir(parents=True)
    for name, age in (("old", 2 * DAY), ("new", DAY / 2)):
        path = cache.folder / (name + TEMPORARY_SUFFIX)
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    cache.store(KEY, [_rows()])
    assert _files(cache) == sorted([KEY + SUFFIX, "new" + TEMPORARY_SUFFIX])


def test_a_folder_that_cannot_be_created_is_only_reported(tmp_path, capsys):
    """The work continues without a cache. A file where the folder should be simulates a read-only disk."""
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        cache = FeatureCache(folder, 1_000_000)
        assert cache.load(KEY, num_rows=4) is None
        assert capsys.readouterr().err == ""
        assert not cache.store(KEY, [_rows()])
        said = capsys.readouterr().err
        assert said.startswith("Features were not kept in the cache")
        assert str(folder) in said
        assert said.count("\n") == 1
        assert _equal(cached(cache, lambda: KEY, 4, lambda: [_rows()]), [_rows()])
        capsys.readouterr()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_is_full_leaves_nothing_behind(cache):
    """No half entry, no temporary file, no exception. A limit on the size of files simulates a full disk."""
    pytest.importorskip("resource")
    code = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path; from strategies.features.cache import FeatureCache\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "cache = FeatureCache(Path(sys.argv[1]), 1_000_000)\n"
        "assert not cache.store(sys.argv[2], [np.zeros((100, 100), dtype='float32')])\n"
        "assert cache.store(sys.argv[2], [np.zeros((100, 10), dtype='float32')])\n"
    )
    process = _run(code, cache.folder, KEY)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.startswith(b"Features were not kept in the cache")
    assert said.count(b"\n") == 1
    assert _files(cache) == [KEY + SUFFIX]


def test_numbers_that_the_format_cannot_name_are_not_kept(cache, capsys):
    """Such as bfloat16 and objects, which would be read back as something else."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for array in (_rows().astype(ml_dtypes.bfloat16), np.array([{}, None, 1, "x"], dtype=object)):
        assert not cache.store(KEY, [array])
        assert str(array.dtype) in capsys.readouterr().err
    assert cache.load(KEY, num_rows=4) is None


def test_processes_may_store_and_load_the_same_key_at_once(cache):
    """A reader always gets a complete entry of one of the writers."""
    code = (
        "import sys, numpy as np; from pathlib import Path; from strategies.features.cache import FeatureCache\n"
        "cache = FeatureCache(Path(sys.argv[1]), 1_000_000)\n"
        "for turn in range(100):\n"
        "    assert cache.store(sys.argv[2], [np.full((100, 100), float(sys.argv[3]), dtype='float32')])\n"
        "    cache.store(sys.argv[2] + str(turn % 40), [np.zeros((100, 600), dtype='float32')])\n"
    )
    writers = [_run(code, cache.folder, KEY, number) for number in (1, 2)]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        arrays = cache.load(KEY, num_rows=100)
        if arrays is not None:
            seen.add((float(arrays[0].min()), float(arrays[0].max())))
    for writer in writers:
        _, said = writer.communicate()
        assert (writer.returncode, said) == (0, b"")
    assert seen
    assert seen <= {(1.0, 1.0), (2.0, 2.0)}
    assert cache.load(KEY, num_rows=100) is not None
    assert not [name for name in _files(cache) if name.endswith(TEMPORARY_SUFFIX)]


def test_features_are_computed_once(cache, capsys):
    """The first time they are stored, the second time they are read; one line says which."""
    calls = []

    def compute():
        calls.append("compute")
        return [_rows(1000, 50), _rows(1000, 5)]

    for verb, place in (("Kept", "in"), ("Read", "from")):
        assert _equal(cached(cache, lambda: KEY, 1000, compute), [_rows(1000, 50), _rows(1000, 5)])
        said = f"{verb} features of 1,000 images {place} the cache (0.2 MB in {cache.folder})\n"
        assert capsys.readouterr() == ("", said)
    assert calls == ["compute"]


def test_a_damaged_entry_is_computed_again(cache, capsys):
    """And stored again."""
    cached(cache, lambda: KEY, 4, lambda: [_rows()])
    (cache.folder / (KEY + SUFFIX)).write_bytes(b"damaged")
    capsys.readouterr()
    assert _equal(cached(cache, lambda: KEY, 4, lambda: [_rows()]), [_rows()])
    assert [line.split()[0] for line in capsys.readouterr().err.splitlines()] == ["Removed", "Kept"]
    assert _equal(cache.load(KEY, num_rows=4), [_rows()])


def test_without_a_cache_no_key_is_made(tmp_path, capsys):
    """Nothing is read, written or printed. The same holds for a cache of size 0."""
    for cache in (None, FeatureCache(tmp_path / "cache", 0)):
        assert _equal(cached(cache, lambda: pytest.fail("key was called"), 4, lambda: [_rows()]), [_rows()])
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_the_environment_sets_folder_and_size(tmp_path, monkeypatch):
    """The folder is `ADVISOR_CACHE`, or lies in `XDG_CACHE_HOME`, or in `~/.cache`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("ADVISOR_CACHE", "~/mine")
    assert default_cache() == FeatureCache(tmp_path / "mine", 2 * 2**30)
    monkeypatch.setenv("ADVISOR_CACHE", "")
    assert default_cache().folder == tmp_path / "xdg" / "transfer-advisor" / "features"
    monkeypatch.delenv("ADVISOR_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache().folder == tmp_path / ".cache" / "transfer-advisor" / "features"
    for text, size in (("5000", 5000), ("0", 0), ("", MAX_BYTES)):
        monkeypatch.setenv("ADVISOR_CACHE_BYTES", text)
        assert default_cache().max_bytes == size
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["2GB", "-1", "1.5", "1e9", "1_000", " 5", "5\n", "٣", "9" * 5000])
def test_a_size_that_is_not_a_whole_number_is_refused(monkeypatch, text):
    """The message says what was received and what to do."""
    monkeypatch.setenv("ADVISOR_CACHE_BYTES", text)
    with pytest.raises(UserError, match=r"whole number of bytes .* Received: .* unset it\."):
        default_cache()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 300)
    | st.floats()
    | st.text("ab1: é😀\ud800", max_size=3)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
PARTS = st.dictionaries(st.text("ab", max_size=2), VALUES, max_size=3)


def _typed(value):
    """What a key must distinguish: values with their types, and dictionaries regardless of their order."""
    if isinstance(value, dict):
        return ("dict", frozenset((name, _typed(part)) for name, part in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, tuple(map(_typed, value)))
    return (type(value).__name__, value.hex() if isinstance(value, float) else value)


@settings(deadline=None)
@given(left=PARTS, right=PARTS)
def test_keys_are_equal_if_the_parts_are(left, right):
    """And only then."""
    assert (make_key(**left) == make_key(**right)) == (_typed(left) == _typed(right))


@settings(deadline=None)
@given(parts=PARTS, data=st.data())
def test_the_order_of_names_does_not_matter(parts, data):
    """Neither that of keyword arguments nor that of dictionaries."""
    shuffled = dict(data.draw(st.permutations(list(parts.items()))))
    assert make_key(**parts) == make_key(**shuffled)
    assert make_key(parts=parts) == make_key(parts=shuffled)


def test_values_that_look_alike_have_different_keys():
    """They differ in type, in nesting, or in where a value ends and the next begins."""
    alike = [
        {},
        *({"a": value} for value in (None, False, 0, 0.0, -0.0, "", b"", (), [], {}, "0", b"0", "None", "a")),
        *({"a": value} for value in (True, 1, 1.0, "1", b"1", ("1",), ["1"], [1], [[1]], [1, []], [[], 1], {"1": 1})),
        *({"a": value} for value in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), "abc")),
        *(
            {"a": value}
            for value in (12, (1, 2), ((1,), 2), (1, (2,)), float("inf"), float("nan"), "int 1:1", "\ud800")
        ),
        {"b": 1},
        {"a": 1, "b": 1},
        {"a": {"a": 1, "b": 1}},
    ]
    keys = [make_key(**parts) for parts in alike]
    assert len(set(keys)) == len(alike)
    assert all(len(key) == 64 and set(key) <= set("0123456789abcdef") for key in keys)


@pytest.mark.parametrize("value", [np.int64(1), np.zeros(3), {1, 2}, Path("x"), object()])
def test_a_key_of_anything_else_is_refused(value):
    """Also nested values: no key is made from their text."""
    with pytest.raises(TypeError, match="Expected None, bool"):
        make_key(a=[{"b": value}])


def test_a_key_is_the_same_in_every_process():
    """Otherwise no entry would be found again. This key must change only with the format."""
    assert make_key(a=1, b=("x", 2.5)) == "5e3464940e2370a1320aa77b1ed4bae40825743c7a86d2699c3c04e46a902f4b"


def test_the_digest_of_an_image_depends_only_on_its_content(tmp_path):
    """Not on the name or the date of its file, nor on the memory layout of its array."""
    for name, content in (("a.png", b"same"), ("b.png", b"same"), ("c.png", b"other")):
        (tmp_path / name).write_bytes(content)
    first, copy, different = (content_digest(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    assert first == copy == content_digest(str(tmp_path / "a.png"))
    assert first != different
    assert len(first) == 32

    image = np.arange(24, dtype="uint8").reshape(2, 4, 3)
    assert content_digest(image) == content_digest(np.asfortranarray(image))
    different = [image, image.reshape(4, 2, 3), image.astype("int8"), image.astype("float32"), image + 1, image[:1]]
    assert len({content_digest(array) for array in different}) == len(different)


def test_an_image_that_does_not_exist_is_named(tmp_path):
    """Like any other image that cannot be read."""
    with pytest.raises(UnreadableImage, match=r"gone\.png"):
        content_digest(tmp_path / "gone.png")


def test_the_digest_of_weights_depends_on_all_arrays():
    """On their values, shapes, types, order and boundaries."""
    arrays = [np.arange(6, dtype="float32"), np.ones((2, 2), dtype="float32"), np.float32(3).reshape(())]
    changed = [array.copy() for array in arrays]
    changed[1][1, 1] = np.nextafter(np.float32(1), np.float32(2))
    assert weights_digest(iter(arrays)) == weights_digest([array.copy(order="F") for array in arrays])
    different = [
        arrays,
        changed,
        arrays[::-1],
        arrays[:2],
        [],
        [np.empty(0, dtype="float32")],
        [arrays[0].reshape(2, 3), *arrays[1:]],
        [arrays[0].astype("float16"), *arrays[1:]],
        [arrays[0][:4], np.concatenate([arrays[0][4:], arrays[1].ravel()]), arrays[2]],
    ]
    assert len({weights_digest(arrays) for arrays in different}) == len(different)


def test_importing_it_loads_nothing_heavy():
    """It needs only NumPy."""
    process = _run(
        "import sys, strategies.features.cache\n"
        "assert not {'keras', 'tensorflow', 'sklearn', 'pandas', 'PIL'} & set(sys.modules)\n"
    )
    _, said = process.communicate()
    assert process.returncode == 0, said
