"""What docs/guides/serving.md shows is what runs: its files answer as `strategies.predict` does."""

import importlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image
from support import ROOT

import strategies
from advisor import cli

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def exported(small_run, photos, tmp_path_factory):
    """A folder with `run/` in it, after the command of the page that exports it to ONNX."""
    folder = tmp_path_factory.mktemp("serving")
    shutil.copytree(small_run[0], folder / "run")
    shutil.copytree(photos, folder / "photos")
    _carry_out(folder, "advisor export .* --format onnx .*")
    return folder


def _carry_out(folder, pattern):
    """Runs those commands of the page in a folder. Tests of the export load it again; here it is not checked."""
    commands = re.findall(rf"^{pattern}$", PAGE, re.MULTILINE)
    assert commands
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("strategies.runs.exporting._reloaded", lambda row, path, pixels: np.ones((len(pixels), 2)))
        for command in commands:
            if command.startswith("advisor "):
                patch.setattr(sys, "argv", shlex.split(command))
                with pytest.raises(SystemExit) as stop:
                    cli.main()
                assert not stop.value.code, command
            else:
                subprocess.run(command, shell=True, check=True)


@pytest.fixture
def example(monkeypatch):
    """A function that imports a file of the examples."""
    monkeypatch.syspath_prepend(EXAMPLES)
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    yield importlib.import_module
    for name in names & set(sys.modules):
        del sys.modules[name]


@pytest.fixture(scope="module")
def images(small_run, tmp_path_factory):
    """Images of several kinds: turned and scaled down, for print, gray, with a palette, and transparent."""
    folder = tmp_path_factory.mktemp("images")
    photo = Image.open(small_run[1].items[0]).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    photo.resize((300, 200)).save(folder / "turned.jpg", exif=turned)
    photo.convert("CMYK").save(folder / "print.jpg")
    photo.convert("L").save(folder / "gray.png")
    photo.convert("P").save(folder / "palette.png")
    photo.save(folder / "photo.webp")
    photo.putalpha(photo.convert("L"))
    photo.save(folder / "transparent.png")
    return sorted(folder.iterdir())


@pytest.fixture
def expected(exported, images, monkeypatch):
    """Class and probability of each image, as `predict` tells them, in the folder with `run/`."""
    monkeypatch.chdir(exported)
    frame = strategies.predict(exported / "run", images)
    return list(zip(frame["class"], frame["probability"], strict=True))


def test_the_server_answers_as_predict_does(example, images, expected):
    """The ONNX file holds the class names and says what it takes; a file that is no image is refused."""
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    server = example("server")
    metadata = server.session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == ["china", "flower"]
    assert "0-255" in metadata["input"]
    assert metadata["resize"] == "squeeze"
    assert server.model_input.shape == ["num_images", 32, 32, 3]
    client = TestClient(server.app)
    for path, (name, probability) in zip(images, expected, strict=True):
        answer = client.post("/predict", files={"image": (path.name, path.read_bytes())})
        assert answer.status_code == 200
        assert answer.json() == {"class": name, "probability": pytest.approx(probability, abs=1e-4)}
    deep = io.BytesIO()
    Image.fromarray(np.full((32, 32), 9_000, dtype="uint16")).save(deep, "PNG")
    for content in (b"no image", images[0].read_bytes()[:200], deep.getvalue()):
        answer = client.post("/predict", files={"image": ("photo.jpg", content)})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("Expected an image of 8 bits")


def test_the_pixels_are_those_of_predict(example, images):
    """To the last bit."""
    from strategies.data.decoding import decode_image

    read = example("pixels").read_pixels
    for path in images:
        assert np.array_equal(read(path, 32)[0], decode_image(path, 32)), path.name


def test_the_page_answers_as_predict_does(example, images, expected):
    """The page is built, and takes an uploaded file through all its steps."""
    pytest.importorskip("gradio")
    page = example("page").page
    for path, (name, probability) in zip(images, expected, strict=True):
        label = page.input_components[0]
        value = label.preprocess(label.data_model(path=str(path), orig_name=path.name))
        answer = page.output_components[0].postprocess(page.fn(value))
        assert answer.label == name
        assert answer.confidences[0].confidence == pytest.approx(probability, abs=1e-4)
    assert page.get_config_file()["title"] == "Which class?"


def test_the_folder_for_tensorflow_serving_answers_the_client(exported, example, images, expected, monkeypatch):
    """TensorFlow loads version 1, and its signature answers the body of the request as TensorFlow Serving does."""
    import tensorflow as tf

    _carry_out(exported, "advisor export .* --format savedmodel .*")
    _carry_out(exported, "mkdir .*")
    model = tf.saved_model.load("models/flowers/1")

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            instances = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
            outputs = model.signatures["serving_default"](image=tf.constant(instances))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"predictions": outputs["output_0"].numpy().tolist()}).encode())

        def log_message(self, *arguments):
            """Prints nothing."""

    with HTTPServer(("localhost", 0), Server) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        client = example("client")
        monkeypatch.setattr(client, "URL", f"http://localhost:{server.server_port}/v1/models/flowers:predict")
        answer = client.classify(images[0])
        thread.join()
    assert max(answer, key=answer.get) == expected[0][0]
    assert max(answer.values()) == pytest.approx(expected[0][1], abs=1e-4)
