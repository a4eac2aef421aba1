"""The server: Streamlit's own, with routes for voxels and the viewer, and safe headers.

Started by ``medvision app``. The page itself is `medvision_app`.
"""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from visitors import COOKIE, VAULT

if TYPE_CHECKING:
    from starlette.requests import Request

HERE = Path(__file__).parent
VIEWER = HERE / "viewer" / "built" / "viewer.js"
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' "
        "blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
        "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


async def voxels(request: Request) -> Response:
    """Send a volume to the browser that was given its token."""
    path = VAULT.find(request.cookies.get(COOKIE, ""), request.path_params["token"])
    if path is None:
        return Response("Not found.", 404)
    headers = {"content-encoding": "identity", "cache-control": "private, no-store"}
    return FileResponse(path, media_type="application/gzip", headers=headers)


async def viewer(request: Request) -> Response:
    """Send the viewer's program; its address changes with it."""
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return FileResponse(VIEWER, media_type="text/javascript", headers=headers)


class Safe:
    """Headers that keep other sites out, a cookie that tells browsers apart, and a tidy end."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            try:
                await self.app(scope, receive, send)
            finally:
                VAULT.close()
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = dict(scope["headers"]).get(b"cookie", b"").decode("latin-1")
        known = COOKIE in SimpleCookie(sent)

        async def add(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message["headers"])
                headers += [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                page = (b"content-type", b"text/html; charset=utf-8") in headers
                if page and not known:
                    value = (
                        f"{COOKIE}={secrets.token_urlsafe(24)}; HttpOnly; SameSite=Strict; Path=/"
                    )
                    headers.append((b"set-cookie", value.encode()))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, add)


app = st.App(
    HERE / "medvision_app.py",
    routes=[
        Route("/medvision/voxels/{token}", voxels),
        Route("/medvision/viewer.js", viewer),
    ],
    middleware=[
        Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
        Middleware(Safe),
    ],
)
