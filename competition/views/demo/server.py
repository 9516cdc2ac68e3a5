"""The HTTP server of the demo: the page, and POST /predict.

Only the page itself may use it. Requests that a page of another site makes the browser send are refused: they name that
site as their origin or, if its name was made to point to this machine (DNS rebinding), as their host.
"""

import base64
import binascii
import json
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import HTMLResponse, JSONResponse
from PIL import Image, UnidentifiedImageError

from competition.data.images import prepare_image
from competition.views.demo.predictor import BlendPredictor
from competition.views.html import render_page

PAGE = Path(__file__).parent / "page.html"
HOSTS = ("127.0.0.1", "localhost")
DRAWING_HINT = "Draw one character, open an image, or try an example."
COLOUR_HINT = "Open an image, or try an example."
MAX_BYTES = 2_000_000
MAX_PIXELS = 4_000 * 4_000


class BadRequest(Exception):
    """A request that cannot be answered: its HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def create_app(predictor: BlendPredictor, examples: list[str], title: str) -> FastAPI:
    """Create the application; `examples` are data URLs of images that the page offers."""
    # Without the pages that describe the interface: they load scripts from the network.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(check_origin)])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)

    @app.exception_handler(BadRequest)
    async def handle_bad_request(request: Request, error: BadRequest) -> JSONResponse:
        return JSONResponse({"error": str(error)}, error.status)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return render_page(PAGE, escape(title), hint=COLOUR_HINT if predictor.format.shape[2] == 3 else DRAWING_HINT)

    @app.get("/examples")
    async def list_examples() -> list[str]:
        return examples

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        """Predict {"image": base64 of a PNG or JPEG, or a data URL}, of any size, dark on light or light on dark."""
        drawing = decode_image(await read_body(request))
        return await run_in_threadpool(predictor.predict, drawing)

    return app


async def check_origin(request: Request) -> None:
    """Refuse requests from pages of other sites; requests without an origin are not made by scripts of another page."""
    if request.headers.get("origin", origin := f"http://{request.headers['host']}") != origin:
        raise BadRequest(403, f"the request comes from another site; open {origin}/")


async def read_body(request: Request) -> bytes:
    """Read the request body; refuse it as soon as it exceeds MAX_BYTES."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise BadRequest(413, f"the request is larger than {MAX_BYTES:,} bytes; send a smaller image")
    return bytes(body)


def decode_image(body: bytes) -> Image.Image:
    """Decode the image in a request body."""
    try:
        encoded = json.loads(body)["image"]
        image = Image.open(BytesIO(base64.b64decode(encoded.rpartition(",")[2], validate=True)))
        if image.width * image.height > MAX_PIXELS:
            raise BadRequest(413, f"the image has {image.width} x {image.height} pixels; send at most {MAX_PIXELS:,}")
        image.load()
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise BadRequest(400, 'the request must be JSON: {"image": base64 of a PNG or JPEG}') from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise BadRequest(400, "the image cannot be read; send a PNG or JPEG") from None
    try:
        return prepare_image(image)
    except ValueError as error:
        raise BadRequest(400, f"the image cannot be read: {error}") from None
