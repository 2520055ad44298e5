"""Reads a run folder: its classes, its input size and its model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.errors import RunError, few, in_a_sentence
from strategies.networks.backend import start_keras
from strategies.training.run_files import CLASS_NAMES, MODEL, PLAN

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder, as `TrainingResult.save` writes it.

    Attributes:
        path: The folder.
        class_names: Names of the classes, in the order of the model's outputs.
        image_size: Side of the model's square input in pixels.
        seed: Seed of the plan.
    """

    path: Path
    class_names: tuple[str, ...]
    image_size: int
    seed: int

    @cached_property
    def model(self) -> keras.Model:
        """The trained model, which takes RGB pixels 0-255 and returns probabilities. It is loaded on first use.

        Raises:
            RunError: If Keras cannot load the model, or if it does not fit the plan of the run.
        """
        start_keras()
        import keras

        path = self.path / MODEL
        try:
            model: keras.Model = keras.models.load_model(path, compile=False)
        except Exception as error:  # a broken file, an unknown layer, or code that Keras refuses to run
            raise RunError(
                f"Expected a model that Keras {keras.__version__} can load. Received: {str(path)!r} "
                f"({in_a_sentence(error)[:300]}). Train again, or register your own layers with Keras."
            ) from error
        shapes = (model.input_shape[1:], model.output_shape[1:])
        if shapes != ((self.image_size, self.image_size, 3), (len(self.class_names),)):
            raise RunError(
                f"Expected a model for {len(self.class_names)} classes at {self.image_size} px, according to {PLAN} in "
                f"the same folder. Received: {str(path)!r}, which maps {shapes[0]} to {shapes[1]}. Keep the files of a "
                f"run together."
            )
        return model


def read_run(folder: str | Path | RunFolder) -> RunFolder:
    """Reads a run folder that `advisor train --out` or `strategies.train(..., run=...)` has written.

    The model is loaded only when it is used. If the plan names a backbone of your own, you do not have to add that
    backbone again.

    Args:
        folder: The run folder. A `RunFolder` is returned unchanged, so that its model is loaded only once.

    Raises:
        RunError: If it is not a run folder.

    Example:
        >>> from strategies.runs.run_folder import read_run
        >>> read_run("photos/")
        Traceback (most recent call last):
        ...
        strategies.errors.RunError: Expected a run folder, as 'advisor train --out' writes it. Received: 'photos/', ...
    """
    if isinstance(folder, RunFolder):
        return folder
    path = Path(folder)
    missing = [name for name in (MODEL, PLAN, CLASS_NAMES) if not (path / name).is_file()]
    if missing:
        what = f"without {few(missing)}" if path.is_dir() else "which is not a folder"
        raise RunError(
            f"Expected a run folder, as 'advisor train --out' writes it. Received: {str(folder)!r}, {what}. "
            f"Name such a folder."
        )
    plan, classes = _read(path / PLAN), _read(path / CLASS_NAMES)
    try:
        names = tuple(str(name) for name in classes["class_names"])
        run = RunFolder(path=path, class_names=names, image_size=int(plan["image_size"]), seed=int(plan["seed"]))
        planned = tuple(plan["class_names"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"Expected {PLAN} and {CLASS_NAMES} as a run writes them. Received: {str(folder)!r}, where "
            f"{in_a_sentence(error)} is missing or wrong. Train again, or fix the files."
        ) from error
    if names != planned:
        raise RunError(
            f"Expected the same classes in {PLAN} and {CLASS_NAMES}. Received: {few(planned)} and {few(names)} in "
            f"{str(folder)!r}. Keep the files of a run together."
        )
    return run


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"Expected JSON. Received: {str(path)!r} ({in_a_sentence(error)}). Fix the file.") from error
