"""The model card of a run, as the Hugging Face Hub shows it: what the model is, what it reached, and how to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from strategies.errors import RunError
from strategies.files import load_json
from strategies.runs.run_folder import RunFolder, read_metrics
from strategies.training.run_files import METRICS, PLAN

_CARD = """---
library_name: keras
pipeline_tag: image-classification
tags:
- image-classification
- transfer-learning
- keras
{results}---

# Image classifier of {num_classes} classes

{backbone} with weights `{weights}`, at {size} px, transferred with the recipe `{recipe}` of
[transfer-advisor](https://github.com/transfer-advisor/transfer-advisor).

## What it reached

{figures}

## How to use it

```python
import json

import keras
import numpy as np
from PIL import Image, ImageOps

model = keras.saving.load_model("hf://USER/NAME")  # or the folder of these files
class_names = json.load(open("{entry}", encoding="utf-8"))["class_names"]
{image}
probabilities = model.predict(np.asarray(image, dtype="float32")[None])[0]
print(class_names[probabilities.argmax()], probabilities.max())
```

The model takes {pixels} with values from 0 to 255, and scales them itself. Every image gets one of the classes,
whatever it shows.

## Classes

```json
{classes}
```
"""

_PHOTO = """photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
image = {square}"""
_BANDS = """image = ...  # an array of shape ({size}, {size}, {num_channels}), of 8 bits, squares made by {resize}"""

_SQUARES = {  # how images become squares, as people write it with Pillow
    "squeeze": "photo.resize(({size}, {size}), Image.Resampling.BILINEAR)",
    "crop": "ImageOps.fit(photo, ({size}, {size}), Image.Resampling.BILINEAR)",
    "pad": "ImageOps.pad(photo, ({size}, {size}), Image.Resampling.BILINEAR)",
}

_RESULTS = """metrics:
- accuracy
model-index:
- name: image-classifier
  results:
  - task:
      type: image-classification
    dataset:
      type: imagefolder
      name: test images of the run
    metrics:
    - type: accuracy
      value: {accuracy:.4f}
    - type: balanced_accuracy
      value: {balanced:.4f}
"""

_FIGURES = """On {num_images:,} test images, which were used for nothing else: accuracy {accuracy:.1%}, balanced
accuracy {balanced:.1%}. Always predicting the most frequent class reaches {majority:.1%}."""


def model_card(run: RunFolder, entry: str) -> str:
    """Returns the model card of a run as Markdown, with the metadata of the Hugging Face Hub at its start.

    Args:
        run: The run.
        entry: Name of the file beside the card that holds the class names.

    Raises:
        RunError: If the files of the run are damaged.
    """
    plan: Any = load_json(run.path / PLAN, error=RunError)
    results, figures = "", "This run has no test metrics."
    if (run.path / METRICS).is_file():
        metrics = read_metrics(run.path, run.class_names)
        test = metrics["test"]
        values = {
            "num_images": test["num_images"],
            "accuracy": test["accuracy"],
            "balanced": test["balanced_accuracy"],
            "majority": metrics["baseline"]["majority_accuracy"],
        }
        results, figures = _RESULTS.format(**values), _FIGURES.format(**values)
    return _CARD.format(
        results=results,
        figures=figures,
        num_classes=len(run.class_names),
        backbone=_plain(plan["backbone"]),
        weights=_plain(plan["weights"]),
        recipe=_plain(plan["recipe"]),
        size=run.image_size,
        image=_image(run),
        pixels=f"the bands {', '.join(map(str, run.channels))}" if run.channels else "RGB pixels",
        entry=entry,
        classes=json.dumps(list(run.class_names), indent=1, ensure_ascii=False).replace("`", "\\u0060"),
    )


def _image(run: RunFolder) -> str:
    """Returns code that makes an image the input of the model."""
    if run.channels:
        return _BANDS.format(size=run.image_size, num_channels=run.num_channels, resize=run.resize)
    return _PHOTO.format(square=_SQUARES[run.resize].format(size=run.image_size))


def _plain(value: str) -> str:
    """Returns the name of a network, of a file or of a recipe as text that cannot end a piece of code."""
    return Path(value).name.replace("`", "'")
