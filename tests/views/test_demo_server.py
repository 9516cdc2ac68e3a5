"""What the demo's server makes of a request."""

import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from competition.views.demo.server import BadRequest, decode_image


def request_body(image: Image.Image, suffix: str = "PNG") -> bytes:
    buffer = BytesIO()
    image.save(buffer, suffix)
    return json.dumps({"image": base64.b64encode(buffer.getvalue()).decode()}).encode()


def test_transparent_pixels_are_white():
    strokes = np.zeros((8, 8, 4), np.uint8)
    strokes[2:4, :, 3] = 255
    pixels = np.asarray(decode_image(request_body(Image.fromarray(strokes))).convert("L"))
    assert (pixels[2:4] == 0).all() and (pixels[4:] == 255).all()


def test_an_image_of_32_bits_is_refused():
    with pytest.raises(BadRequest, match="the image cannot be read: it has 32 bits per pixel"):
        decode_image(request_body(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"))
