"""Tells the class of an image on a web page. Start it with: python page.py"""

import gradio
from server import classify

image = gradio.Image(type="filepath", image_mode=None)  # the file as it is: read_pixels decodes it
page = gradio.Interface(classify, image, gradio.Label(num_top_classes=3), title="Which class?")

if __name__ == "__main__":
    page.launch()
