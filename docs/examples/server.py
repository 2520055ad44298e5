"""Tells the class of an image over HTTP. Start it with: uvicorn server:app"""

import json

import onnxruntime
from fastapi import FastAPI, HTTPException, UploadFile
from pixels import read_pixels

session = onnxruntime.InferenceSession("run/export/onnx/model.onnx")
(model_input,) = session.get_inputs()
class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
app = FastAPI()


def classify(file):
    """Returns the probability of each class."""
    pixels = read_pixels(file, size=model_input.shape[1])
    (probabilities,) = session.run(None, {model_input.name: pixels})
    return dict(zip(class_names, probabilities[0].tolist(), strict=True))


@app.post("/predict")
def predict(image: UploadFile):
    """Returns the most probable class and its probability."""
    try:
        probabilities = classify(image.file)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    best = max(probabilities, key=probabilities.get)
    return {"class": best, "probability": probabilities[best]}
