"""Which command works with which backend: python benchmarks/backends.py PHOTOS --environment NAME=PYTHON ...

Runs every command with each Python interpreter, NAME being the backend of Keras that its environment has, on a few
images of the class folder PHOTOS. Prints a table: "yes", or the number of the sentence with which the command stops.
Exits with 1 if a command ends in anything else.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

IMAGES = 20  # of each class, of three classes
TRAINED = "--backbone MobileNetV2-0.35 --weights bundled"
COMMANDS = {
    "doctor": "doctor",
    "recipes": "recipes",
    "backbones": "backbones",
    "cache": "cache",
    "profile": "profile few",
    "profile, TFRecord": "profile few.tfrecord",
    "check": "check few",
    "recommend": f"recommend few {TRAINED}",
    "recommend --time": f"recommend few {TRAINED} --time",
    "learning-curve": f"learning-curve few {TRAINED}",
    "train, head_only": f"train few {TRAINED} --recipe head_only --out run",
    "train, fine_tune_all": f"train few {TRAINED} --recipe fine_tune_all --budget 0.01 --out tuned",
    "compare --minutes": f"compare few {TRAINED} --minutes 1",
    "extend": "extend run more --head --out extended",
    "predict": "predict run few",
    "predict --unsure": "predict run few --unsure",
    "evaluate": "evaluate run few",
    "report": "report run",
    "script": "script run",
    "export, keras": "export run --format keras --out e1",
    "export, savedmodel": "export run --format savedmodel --out e2",
    "export, onnx": "export run --format onnx --out e3",
    "export, litert": "export run --format litert --out e4",
    "export, openvino": "export run --format openvino --out e5",
}


def prepare(photos: str, folder: Path) -> None:
    """Copies a few images into `few` and others into `more`, and writes the first as `few.tfrecord`."""
    for source in sorted(path for path in Path(photos).iterdir() if path.is_dir())[:3]:
        images = sorted(source.iterdir())
        for part, chosen in (("few", images[:IMAGES]), ("more", images[IMAGES : 2 * IMAGES])):
            (folder / part / source.name).mkdir(parents=True)
            for image in chosen:
                shutil.copy(image, folder / part / source.name)
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(folder / "few.tfrecord")) as writer:
        for image in sorted((folder / "few").glob("*/*")):
            features = {"image/encoded": image.read_bytes(), "image/class/text": image.parent.name.encode()}
            lists = {name: tf.train.BytesList(value=[value]) for name, value in features.items()}
            feature = {name: tf.train.Feature(bytes_list=values) for name, values in lists.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def run(python: str, backend: str, command: str, folder: Path) -> tuple[str, bool]:
    """Runs a command; returns "yes" or the sentence with which it stops, and whether it is one."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "ADVISOR_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [python, "-m", "advisor", *shlex.split(command)], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode == 0:
        return "yes", True
    lines = done.stderr.strip().splitlines() or [""]
    return lines[-1], done.returncode == 2 and lines[-1].startswith("advisor: ") and "Traceback" not in done.stderr


def main() -> None:
    """Prints the table and the sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--environment", action="append", metavar="NAME=PYTHON", required=True)
    parser.add_argument("--only", nargs="*", help="commands of the table")
    arguments = parser.parse_args()
    environments = dict(given.split("=", 1) for given in arguments.environment)
    commands = {name: line for name, line in COMMANDS.items() if not arguments.only or name in arguments.only}
    found: dict[tuple[str, str], str] = {}
    sentences: list[str] = []
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        prepare(arguments.photos, Path(temporary))
        for backend, python in environments.items():
            folder = Path(temporary) / backend
            folder.mkdir()
            for name in ("few", "more", "few.tfrecord"):
                (folder / name).symlink_to(Path(temporary) / name)
            for name, command in commands.items():
                said, understood = run(python, backend, command, folder)
                failed |= not understood
                if said != "yes" and said not in sentences:
                    sentences.append(said)
                found[name, backend] = said if said == "yes" else f"[{sentences.index(said) + 1}]"
                print(backend, name, said if understood else f"FAILED: {said}", sep=": ", flush=True)
    print("\n| command | " + " | ".join(environments) + " |\n|---" + "|---" * len(environments) + "|")
    for name in commands:
        print(f"| {name} | " + " | ".join(found[name, backend] for backend in environments) + " |")
    for number, sentence in enumerate(sentences, start=1):
        print(f"\n{number}. {sentence.removeprefix('advisor: ')}")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
