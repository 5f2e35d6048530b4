"""Who may use the workbench, and what its pages may do: a token, the host's name, a secret in every form, a strict content policy.

Follows the OWASP guidance on CSRF (a token bound to the session, with a SameSite cookie) and on DNS rebinding (the Host header).
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "aether_token"
MAX_BODY_BYTES = 2_000_000
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; frame-src 'self'"
)
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
"""Of a run's report: a document of its own that may run and fetch nothing."""


@dataclass(frozen=True)
class Secrets:
    """Of one start: what lets a person in, and what forms are signed with."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def form(self) -> str:
        """What every form must carry."""
        return hmac.new(self.key, self.token.encode(), hashlib.sha256).hexdigest()

    def lets_in(self, given: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def signed(self, given: str) -> bool:
        """Whether a form carries what it must."""
        return hmac.compare_digest(given.encode(), self.form.encode())


_REFUSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Aether</title>
<h1>This page needs its token</h1>
<p>Open the address that <code>aether web</code> printed when it started; it has the token.</p></html>"""


class Guard:
    """Lets requests through that come to a name of this host, carry the token, and are not too large; adds headers to every answer."""

    def __init__(self, app: ASGIApp, secret: Secrets, hosts: frozenset[str]) -> None:
        self.app, self.secret, self.hosts = app, secret, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, redirect, or refuse."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        refusal = self._refusal(request)
        policy = _REPORT_POLICY if request.url.path.endswith("/report.html") else _POLICY

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = policy
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-opener-policy"] = "same-origin"
                headers["cross-origin-resource-policy"] = "same-origin"
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (refusal or self.app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").rsplit(":", 1)[0].strip("[]").lower()
        if host not in self.hosts:
            return PlainTextResponse("this server is not known by that name", 421)
        if int(request.headers.get("content-length") or 0) > MAX_BODY_BYTES:
            return PlainTextResponse(f"more than {MAX_BODY_BYTES:,} bytes", 413)
        given = request.query_params.get("token")
        if given is not None and self.secret.lets_in(given):
            rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
            response = RedirectResponse(request.url.path + (f"?{urlencode(rest)}" if rest else ""), 303)
            response.set_cookie(COOKIE, given, httponly=True, samesite="strict", path="/")
            return response
        if not self.secret.lets_in(request.cookies.get(COOKIE, "")):
            return HTMLResponse(_REFUSED, 401)
        return None
