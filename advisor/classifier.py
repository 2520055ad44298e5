"""The advice and the training as a classifier of scikit-learn, for its pipelines and its searches."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from advisor.recommendation import recommend
from advisor.time_limit import begin
from strategies.data.loading import load_dataset
from strategies.data.sources.arrays import check_arrays
from strategies.errors import DatasetError, few
from strategies.files import check_output
from strategies.runs.prediction import predict
from strategies.runs.run_folder import RunFolder, read_run
from strategies.training.run_files import PLAN, RESULTS

ADVISED = "advised"


class TransferClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of images for scikit-learn: `fit` asks `advisor.recommend` for a plan and trains it.

    `fit` splits the images that it gets as `recommend` and `strategies.train` do: 15% of each class validate, 15% are
    tested on once, at the end, and the others are trained on. So it reaches the accuracy that these reach.

    Images are given as one of these, with one entry per image:

    - paths of image files;
    - an array of pixels 0-255, shape `(num_images, height, width[, channels])`;
    - PIL images, or arrays of different sizes.

    Paths, PIL images and arrays stand in a list, an object array, a pandas Series or a DataFrame of one column. Images
    have no features, so there is no `n_features_in_`. Labels are text, whole numbers or booleans.

    A fitted classifier can be pickled. The pickle holds the files of its run: the model, the list of images, and the
    report with its small pictures.

    Args:
        backbone: As in `advisor.recommend`.
        weights: As in `advisor.recommend`.
        image_size: As in `advisor.recommend`.
        recipe: One of the four recipes, or `"advised"`: the one that `advisor.recommend` advises.
        minutes: Time for `fit`; what does not fit is left out, as by `Recommendation.train`. Default: no limit.
        random_state: Seed of all random choices: a whole number, or what else scikit-learn takes.
        run_dir: Folder for the run, new or empty, so that `fit` can be called once. Default: a temporary folder, which
            is removed together with the classifier.

    Attributes:
        classes_: The labels, sorted, shape `(num_classes,)`.
        plan_: The plan that was carried out; `plan_.recipe` is the recipe, and `plan_.advice` says why.
        run_: The finished run, for `strategies.evaluate_run`, `strategies.export` and so on. `run_.path` is its folder,
            with the report, and `run_.model` the Keras model.

    Raises:
        DatasetError: If images or labels cannot be used. `fit` leaves out up to 5% of files that cannot be decoded, as
            `recommend` does; `predict` refuses any.
        OutputError: If `run_dir` holds files.
        UserError: As in `advisor.recommend` and `Recommendation.train`.

    Example:
        >>> import numpy as np
        >>> from advisor import TransferClassifier
        >>> generator = np.random.default_rng(0)
        >>> dark, light = (generator.integers(low, low + 128, (10, 32, 32, 3), dtype="uint8") for low in (0, 128))
        >>> X, y = np.concatenate([dark, light]), ["night"] * 10 + ["day"] * 10
        >>> classifier = TransferClassifier("MobileNetV2-0.35", weights="bundled", image_size=32, recipe="head_only")
        >>> classifier.fit(X, y).predict(X[8:12]).tolist()
        ['night', 'night', 'day', 'day']
    """

    def __init__(
        self,
        backbone: str | None = None,
        *,
        weights: str = "auto",
        image_size: int | None = None,
        recipe: str = ADVISED,
        minutes: float | None = None,
        random_state: Any = 0,
        run_dir: str | Path | None = None,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.recipe = recipe
        self.minutes = minutes
        self.random_state = random_state
        self.run_dir = run_dir

    def fit(self, X: Any, y: Any) -> TransferClassifier:
        """Measures the images, plans the training and carries it out.

        Args:
            X: Images, one entry each.
            y: Their labels, shape `(num_images,)`.
        """
        limit = None if self.minutes is None else begin(self.minutes)
        if self.run_dir is not None:
            check_output(self.run_dir, overwrite=None)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        dataset = load_dataset((_images(X), y))
        classes, first = np.unique(y, return_index=True)
        outputs = dataset.labels[first]  # the output of the model for each class
        if len(dataset.class_names) < len(classes):
            raise DatasetError(
                f"Expected labels that differ as text. Received: {len(classes)} labels that are "
                f"{len(dataset.class_names)} classes: {few(dataset.class_names)}. Remove the spaces around them."
            )
        advice = recommend(
            dataset,
            backbone=self.backbone,
            weights=self.weights,
            image_size=self.image_size,
            recipe=None if self.recipe == ADVISED else self.recipe,
            seed=_seed(self.random_state),
        )
        run, temporary = self.run_dir, None
        if run is None:
            temporary = _TemporaryFolder()
            run = temporary.path
        self.plan_ = advice.train(run, minutes=limit).plan
        self.run_, self._temporary = _read_run(run), temporary
        self.classes_, self._outputs = classes, outputs
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probability of each class, in the order of `classes_`, shape `(num_images, num_classes)`.

        Args:
            X: Images, one entry each.
        """
        check_is_fitted(self)
        images = _images(X)
        frame = predict(self.run_, images, all_classes=True)
        if len(frame) != len(images):
            raise DatasetError(
                f"Expected one image per entry. Received: {len(images)} entries that name {len(frame)} images. Give "
                f"files instead of folders and patterns."
            )
        unreadable = frame[frame["unreadable"].notna()]
        if len(unreadable):
            name, reason = unreadable[["path", "unreadable"]].iloc[0]
            raise DatasetError(
                f"Expected images that can be decoded. Received: {len(unreadable)} of {len(frame)} that cannot, for "
                f"example {name!r} ({reason}). Fix them or leave them out."
            )
        return frame[[f"p({self.run_.class_names[output]})" for output in self._outputs]].to_numpy()

    def predict(self, X: Any) -> np.ndarray:
        """Returns the most probable label of each image, shape `(num_images,)`.

        Args:
            X: Images, one entry each.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = tags.input_tags.three_d_array = tags.input_tags.string = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "run_" in state:
            paths = (self.run_.path / name for name in (PLAN, *RESULTS))
            state["run_"] = {path.name: path.read_bytes() for path in paths if path.is_file()}
            del state["_temporary"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "run_" in state:
            self._temporary = _TemporaryFolder()
            for name, content in state["run_"].items():
                (self._temporary.path / name).write_bytes(content)
            self.run_ = _read_run(self._temporary.path)


class _TemporaryFolder:
    """A new folder, which is removed when nothing refers to this object anymore, or when Python ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="advisor-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _read_run(folder: str | Path) -> RunFolder:
    """Returns a run whose model Keras computes. To convert each model of a search for OpenVINO would take longer."""
    return replace(read_run(folder), convertible=False)


def _images(X: Any) -> list[Any]:
    """Returns images in a form that both `load_dataset` and `predict` take: a list with one entry each."""
    if isinstance(X, list | tuple):
        return list(X)
    values = np.asarray(X)
    if values.dtype.kind not in "OU":
        return check_arrays(values)
    if values.ndim == 2 and values.shape[1] == 1:  # a DataFrame of one column
        values = values[:, 0]
    if values.ndim != 1:
        raise DatasetError(
            f"Expected a list, an array or one column of images. Received: {type(X).__name__} of shape {values.shape}. "
            f"Choose the column that holds the images."
        )
    images: list[Any] = values.tolist()
    return images


def _seed(random_state: Any) -> int:
    """Returns a whole number as it is, or one that scikit-learn's other random states give."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
