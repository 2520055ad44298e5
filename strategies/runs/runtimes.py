"""Runs an exported model: `python runtimes.py FORMAT MODEL BATCH_SIZE PIXELS.npy PROBABILITIES.npy`.

`strategies.export` runs this file in a new process to check an exported model. The file imports nothing from this
package, and Keras or TensorFlow only if the format needs it. So the exported model needs nothing else to run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]


def load_keras(path: str) -> Predict:
    """Returns the model of a `.keras` file, or of a folder of its parts, as a function of pixels.

    These are float32, of shape `(num_images, height, width, 3)`.
    """
    import keras

    model = keras.models.load_model(path, compile=False)
    model.jit_compile = False  # compiling would take longer than running the model
    return lambda batch: np.asarray(model.predict_on_batch(batch))


def load_savedmodel(path: str) -> Predict:
    """Returns the signature of a SavedModel that TensorFlow Serving uses as such a function."""
    import tensorflow as tf

    model = tf.saved_model.load(path)
    (image,) = model.signatures["serving_default"].structured_input_signature[1]

    def predict(batch: np.ndarray) -> np.ndarray:
        (probabilities,) = model.signatures["serving_default"](**{image: tf.constant(batch)}).values()
        return probabilities.numpy()

    return predict


def load_onnx(path: str) -> Predict:
    """Returns the model of an ONNX file as such a function, run by ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    return lambda batch: session.run(None, {image.name: batch})[0]


def load_openvino(path: str) -> Predict:
    """Returns the model of OpenVINO's `.xml` file as such a function, on the CPU, in full precision as on a server."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    return lambda batch: model([batch])[model.output(0)].copy()


def load_litert(path: str) -> Predict:
    """Returns the model of a `.tflite` file as such a function, run by LiteRT, one image at a time as on a phone."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    (image,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()

    def predict(batch: np.ndarray) -> np.ndarray:
        rows = []
        for pixels in batch:
            interpreter.set_tensor(image["index"], pixels[None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(probabilities["index"])[0])
        return np.array(rows)

    return predict


RUNTIMES = {
    "keras": load_keras,
    "hf": load_keras,
    "savedmodel": load_savedmodel,
    "onnx": load_onnx,
    "openvino": load_openvino,
    "litert": load_litert,
    "litert-int8": load_litert,
}


def main(name: str, model: str, batch_size: int, pixels: str, probabilities: str) -> None:
    """Reads uint8 pixels and writes probabilities. Works in full batches; the last one is padded."""
    predict, images, rows = RUNTIMES[name](model), np.load(pixels), []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size].astype("float32")
        padding = np.repeat(batch[:1], batch_size - len(batch), axis=0)
        rows.append(predict(np.concatenate([batch, padding]))[: len(batch)])
    np.save(probabilities, np.concatenate(rows))


if __name__ == "__main__":
    name, model, size, *files = sys.argv[1:]
    main(name, model, int(size), *files)
