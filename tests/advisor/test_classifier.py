"""The advice and the training as a classifier of scikit-learn."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import InputTags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

import strategies
from advisor import TransferClassifier, recommend
from strategies.errors import DatasetError, OutputError, UserError


def _paths(folder):
    """Returns the files of a class folder, in the order in which it is read, and their classes."""
    paths = sorted(folder.glob("*/*"))
    return paths, [path.parent.name for path in paths]


@pytest.fixture(scope="module")
def options(small_network, pretrained_weights):
    """Arguments for a head on a small network."""
    return {**small_network, "recipe": "head_only"}


@pytest.fixture(scope="module")
def fitted(photos, options):
    """A classifier that was fitted to every second photo, and the others: `(classifier, paths, labels)`."""
    paths, labels = _paths(photos)
    return TransferClassifier(**options).fit(paths[::2], labels[::2]), paths[1::2], labels[1::2]


@pytest.mark.parametrize(
    ("form", "convert"),
    [
        ("paths", lambda paths: paths),
        ("texts", lambda paths: np.array([str(path) for path in paths])),
        ("a Series", lambda paths: pd.Series([str(path) for path in paths], index=range(90, 90 - len(paths), -1))),
        ("a column", lambda paths: pd.DataFrame({"path": [str(path) for path in paths]})),
        ("an array", lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths])),
        ("PIL images", lambda paths: [Image.open(path) for path in paths]),
        ("a Series of PIL images", lambda paths: pd.Series([Image.open(path) for path in paths])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images_of_every_form_get_the_same_answer(fitted, form, convert):
    """Paths, pixels and PIL images, in what a table or a fold holds."""
    classifier, paths, _ = fitted
    expected = classifier.predict_proba(paths[8:13])
    np.testing.assert_allclose(classifier.predict_proba(convert(paths[8:13])), expected, atol=1e-6)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)


def test_it_is_as_accurate_as_train_on_the_same_split(fitted, photos, options):
    """The same images give the same advice, split, plan and weights, and so the same answers."""
    classifier, paths, labels = fitted
    others = [path for path in _paths(photos)[0] if path not in paths]
    advice = recommend((others, [path.parent.name for path in others]), **options)
    result = advice.train()
    metrics = strategies.evaluate_run(classifier.run_, (paths, labels))
    assert classifier.plan_ == result.plan
    assert classifier.score(paths, labels) == metrics.evaluation.accuracy
    np.testing.assert_array_equal(classifier.run_.model.get_weights()[-1], result.model.get_weights()[-1])


def test_labels_come_back_as_they_were(photos, options, tmp_path):
    """Also where the names of the classes in the run, without spaces, stand in another order than the labels."""
    paths, names = _paths(photos)
    labels = [name.replace("flower", " flower") for name in names]
    classifier = TransferClassifier(**options, run_dir=tmp_path / "run").fit(paths, labels)
    assert classifier.classes_.tolist() == [" flower", "china"]
    assert classifier.run_.class_names == ("china", "flower")
    assert classifier.score(paths, labels) > 0.9
    assert classifier.run_.path == tmp_path / "run"
    with pytest.raises(OutputError, match="Expected a new or empty output folder"):
        classifier.fit(paths, labels)
    del classifier
    assert (tmp_path / "run" / "model.keras").is_file()


def test_labels_that_differ_in_spaces_only_are_refused(photos, options):
    """They would be one class of the run."""
    paths, names = _paths(photos)
    with pytest.raises(DatasetError, match=r"3 labels that are 2 classes: 'china', 'flower'\. Remove the spaces"):
        TransferClassifier(**options).fit(paths, ["china ", "china ", *names[2:]])


@pytest.mark.parametrize(
    "copied", [lambda classifier: pickle.loads(pickle.dumps(classifier)), copy.deepcopy], ids=["pickle", "deepcopy"]
)
def test_a_pickle_or_copy_answers_alike_from_a_folder_of_its_own(fitted, copied):
    """It holds the files of the run, and removes its folder with itself."""
    classifier, paths, _ = fitted
    other = copied(classifier)
    folder = other.run_.path
    assert folder != classifier.run_.path
    assert {file.name for file in folder.iterdir()} == {file.name for file in classifier.run_.path.iterdir()}
    assert other.plan_ == classifier.plan_
    np.testing.assert_array_equal(other.predict_proba(paths), classifier.predict_proba(paths))
    del other
    assert not folder.exists()


def test_a_clone_is_not_fitted(fitted):
    """It has the arguments only."""
    with pytest.raises(NotFittedError):
        clone(fitted[0]).predict(fitted[1])


def test_it_is_cross_validated_as_the_end_of_a_pipeline(photos, options):
    """The step before it opens the images, here in gray."""
    paths, labels = _paths(photos)
    opened = FunctionTransformer(lambda paths: [Image.open(path).convert("L") for path in paths])
    pipeline = Pipeline([("open", opened), ("classify", TransferClassifier(**options))])
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    assert cross_val_score(pipeline, paths, labels, cv=folds, error_score="raise").mean() > 0.7


def test_a_search_compares_recipes(photos, options, monkeypatch):
    """And fits the best one to all images."""
    monkeypatch.setattr("strategies.plans.planning.FEWEST_SEEN", 160)
    paths, labels = _paths(photos)
    grid = {"recipe": ["head_only", "fine_tune_all"]}
    search = GridSearchCV(TransferClassifier(**options), grid, cv=2, error_score="raise").fit(paths, labels)
    assert search.best_estimator_.plan_.recipe == search.best_params_["recipe"]
    assert search.predict(paths).shape == (40,)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "an empty list"),
        (["missing.png"], "does not exist"),
        (np.zeros((2, 3)), "one array of shape"),
        (pd.DataFrame({"path": ["a"], "size": [1]}), r"DataFrame of shape \(1, 2\)\. Choose the column"),
        ("photos", r"str of shape \(\)"),
    ],
)
def test_other_input_is_refused(fitted, images, message):
    """With one sentence."""
    with pytest.raises(DatasetError, match=message):
        fitted[0].predict(images)


def test_every_entry_is_one_image_that_can_be_decoded(fitted, photos, tmp_path):
    """An answer is never missing, and never stands for another image."""
    classifier, paths, _ = fitted
    with pytest.raises(DatasetError, match="1 entries that name 20 images"):
        classifier.predict([photos / "china"])
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"1 of 2 that cannot, for example '.*broken\.png'"):
        classifier.predict([paths[0], tmp_path / "broken.png"])


def test_arguments_are_checked_by_fit(photos, options):
    """As those of `recommend` and `train` are; the constructor only keeps them."""
    paths, labels = _paths(photos)
    for wrong in ({"recipe": "head"}, {"backbone": "none"}, {"minutes": -1}):
        with pytest.raises(UserError):
            TransferClassifier(**{**options, **wrong}).fit(paths, labels)


class OfRows(TransferClassifier):
    """Takes rows of numbers, as the checks of scikit-learn give them, and draws each as an image."""

    def fit(self, X, y):
        """Draws the rows and fits."""
        X, y = validate_data(self, X, y)
        return super().fit(_drawn(X), y)

    def predict_proba(self, X):
        """Draws the rows and predicts."""
        check_is_fitted(self)
        return super().predict_proba(_drawn(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = InputTags()
        return tags


def _drawn(rows):
    """Returns an image of 32 px for each row: bands whose colors are three numbers each, under spots of its own."""
    rows = np.pad(rows.astype(float), ((0, 0), (0, -rows.shape[1] % 3)))
    images = []
    for row in rows:
        bands = 127.5 + 80 * np.sin(0.7 * row.reshape(-1, 1, 3))  # never all white or all black
        spots = np.random.default_rng(np.frombuffer(row.tobytes(), "uint32")).integers(-40, 41, (8, 8, 1))
        images.append(
            np.resize(np.repeat(bands, 32 // len(bands), axis=0), (32, 1, 3)) + np.kron(spots, np.ones((4, 4, 1)))
        )
    return np.clip(images, 0, 255).astype("uint8")


NOT_FOR_IMAGES = {"check_fit2d_1sample": "the message says that a class has too few images, not that there is 1 sample"}


@parametrize_with_checks(
    [OfRows("small", weights="own", image_size=32, recipe="head_only")],
    expected_failed_checks=lambda _: NOT_FOR_IMAGES,
)
def test_the_checks_of_scikit_learn_pass(options, estimator, check):
    """On rows of numbers that are drawn as images, since the checks know no others."""
    check(estimator)
