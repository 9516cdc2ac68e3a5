"""The page and its one question, POST /predict, over HTTP on this machine alone."""

import base64
import binascii
import json
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse
from PIL import Image, UnidentifiedImageError

from competition.views import html as pages
from competition.views.demo.judge import Judge

PAGE = Path(__file__).parent / "page.html"
MOST_BYTES = 2_000_000
MOST_PIXELS = 4_000 * 4_000


class Refused(Exception):
    """A question that cannot be answered, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def application(judge: Judge, examples: list[str], title: str) -> FastAPI:
    """The page, the examples that it offers, and the answers."""
    app = FastAPI(title=title)

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> JSONResponse:
        return JSONResponse({"error": str(refused)}, refused.status)

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return pages.page(PAGE, escape(title))

    @app.get("/examples")
    async def offered() -> list[str]:
        return examples

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        """Takes {"image": a picture as base64, with or without a data: prefix}, of any size, dark on light or not."""
        drawing = opened(await body_of(request))
        return await run_in_threadpool(judge.answer, drawing)

    return app


async def body_of(request: Request) -> bytes:
    """What was sent, as long as it is not too much."""
    sent = bytearray()
    async for chunk in request.stream():
        sent += chunk
        if len(sent) > MOST_BYTES:
            raise Refused(413, f"the question is larger than {MOST_BYTES:,} bytes")
    return bytes(sent)


def opened(body: bytes) -> Image.Image:
    """The picture in a question."""
    try:
        told = json.loads(body)["image"]
        picture = Image.open(BytesIO(base64.b64decode(told.rpartition(",")[2], validate=True)))
        if picture.width * picture.height > MOST_PIXELS:
            raise Refused(413, f"the picture has {picture.width} x {picture.height} pixels; that is too many")
        picture.load()
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise Refused(400, 'the question must be JSON: {"image": a PNG or JPEG as base64}') from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        raise Refused(400, "the image is no picture that can be read; send a PNG or JPEG") from None
    return picture
