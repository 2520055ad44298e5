"""Asks TensorFlow Serving for the class of an image: python client.py photo.jpg"""

import json
import sys
from pathlib import Path
from urllib.request import urlopen

from pixels import read_pixels

URL = "http://localhost:8501/v1/models/flowers:predict"
size = json.loads(Path("run/plan.json").read_text())["image_size"]
class_names = json.loads(Path("run/class_names.json").read_text())["class_names"]


def classify(file):
    """Returns the probability of each class."""
    body = json.dumps({"instances": read_pixels(file, size).tolist()})
    with urlopen(URL, body.encode()) as answer:
        (probabilities,) = json.load(answer)["predictions"]
    return dict(zip(class_names, probabilities, strict=True))


if __name__ == "__main__":
    print(classify(sys.argv[1]))
