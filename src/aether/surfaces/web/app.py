"""The workbench as an application: routes, each one parse, one call to counsel, one template."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from aether.counsel.annotation import Annotation
from aether.counsel.ask import ask
from aether.counsel.browse import compare_runs, summaries
from aether.counsel.explain import explain, listing
from aether.counsel.sessions import recall, remember
from aether.counsel.watching import watch
from aether.counsel.whatif import Knobs, WhatIf, choices, explore
from aether.report.html import fragment
from aether.running.folder import RunFolder
from aether.spec.errors import AetherError, InputError
from aether.spec.fleet import FleetPlan
from aether.surfaces.web.chat import ChatPages
from aether.surfaces.web.pages import STATIC, context, environment
from aether.surfaces.web.results import ResultPages
from aether.surfaces.web.security import Guard, Secrets

POLL_S = 1.0
"""How often a run is looked at for those who watch it."""


class Workbench:
    """The pages over one folder."""

    def __init__(self, root: Path, secret: Secrets) -> None:
        self.root, self.secret = root.resolve(), secret
        self.templates = environment()

    def inside(self, path: str, field: str) -> Path:
        """A path below the root. Raises InputError for one that leads out of it."""
        found = (self.root / path).resolve()
        if not found.is_relative_to(self.root):
            raise InputError.of(field, path, f"give a path inside {self.root}")
        return found

    def page(self, template: str, active: str, status: int = 200, **more: Any) -> HTMLResponse:
        """A whole page."""
        given = context(active=active, csrf=self.secret.form, **more)
        return HTMLResponse(self.templates.get_template(template).render(given), status)

    async def form(self, request: Request) -> dict[str, str]:
        """The fields of a form that carries the secret. Raises InputError for one that does not."""
        data = await request.form()
        fields = {key: value for key, value in data.items() if isinstance(value, str)}
        if not self.secret.signed(fields.get("csrf", "")):
            raise InputError.of("csrf", "", "open the page again and send the form from there")
        return fields

    async def what_if(self, request: Request) -> Response:
        """The knobs and what they lead to; with `part`, only what follows from them."""
        given = {k: v for k, v in request.query_params.items() if k in Knobs.model_fields}
        try:
            knobs = Knobs.model_validate(given)
            found = await run_in_threadpool(explore, knobs)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            knobs = Knobs()
            found = WhatIf(
                knobs=knobs, verdict="bad_input", headline=f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            )
        template = "whatif_part.html.j2" if "part" in request.query_params else "whatif.html.j2"
        models, devices = choices()
        return self.page(template, "what-if", found=found, knobs=knobs, models=models, devices=devices, query=_query)

    async def ask_page(self, request: Request) -> Response:
        """A question, or one that follows; its answer."""
        session = str(self.root / ".aether" / "web-session.json")
        text, answer = "", None
        if request.method == "POST":
            fields = await self.form(request)
            text = fields.get("text", "")
            earlier = recall(session) if fields.get("follow") and Path(session).exists() else None
            settings = tuple(
                f"{k.removeprefix('answer:')}={v}" for k, v in fields.items() if k.startswith("answer:") and v
            )
            answer = await run_in_threadpool(ask, text, earlier, "accept" in fields, settings)
            if answer.status != "declined":
                remember(answer.request, session)
        return self.page("ask.html.j2", "ask", text=text, answer=answer)

    async def plans(self, request: Request) -> Response:
        """Saved plans, some side by side."""
        chosen = request.query_params.getlist("plan")[:4]
        known = sorted(str(p.parent.relative_to(self.root)) for p in self.root.glob("**/plan.json") if _is_fleet(p))
        shown = [(name, _plan(self.inside(name, "plan") / "plan.json")) for name in chosen if name in known]
        return self.page("plans.html.j2", "plans", known=known, chosen=chosen, shown=shown)

    async def runs(self, request: Request) -> Response:
        """The runs of a folder; two of them compared."""
        folder = request.query_params.get("folder", "runs")
        place = self.inside(folder, "folder")
        found = await run_in_threadpool(summaries, place)
        pair = [request.query_params.get(side, "") for side in ("a", "b")]
        compared = None
        if all(pair):
            folders = [
                RunFolder(self.inside(f"{folder}/{name}", side)) for name, side in zip(pair, ("a", "b"), strict=True)
            ]
            seen = await run_in_threadpool(compare_runs, *folders)
            compared = fragment(seen.report, seen.sources)
        rows = [(Path(s.path).name, s) for s in found]
        return self.page("runs.html.j2", "runs", folder=folder, rows=rows, pair=pair, compared=compared)

    async def run(self, request: Request) -> Response:
        """One run; with `part`, only what changes."""
        folder, name = request.query_params.get("folder", "runs"), request.path_params["name"]
        seen = await run_in_threadpool(watch, self.inside(f"{folder}/{name}", "run"))
        template = "run_part.html.j2" if "part" in request.query_params else "run.html.j2"
        return self.page(template, "runs", folder=folder, seen=seen)

    async def events(self, request: Request) -> Response:
        """A line whenever a run has changed, until it is over or nobody listens."""
        folder, name = request.query_params.get("folder", "runs"), request.path_params["name"]
        place = self.inside(f"{folder}/{name}", "run")

        async def stream():
            last = None
            while not await request.is_disconnected():
                seen = await run_in_threadpool(watch, place)
                state = json.dumps([seen.status, seen.curve.last_step, seen.steps, seen.is_live])
                if state != last:
                    last = state
                    yield f"data: {state}\n\n"
                if not seen.is_live:
                    yield "event: over\ndata: {}\n\n"
                    return
                await asyncio.sleep(POLL_S)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def report(self, request: Request) -> Response:
        """A run's own report, in a frame that may run and fetch nothing."""
        folder, name = request.query_params.get("folder", "runs"), request.path_params["name"]
        path = self.inside(f"{folder}/{name}/report/report.html", "run")
        if not path.is_file():
            raise InputError.of("run", name, "it has no report yet")
        return HTMLResponse(path.read_text(encoding="utf-8"))

    async def explained(self, request: Request) -> Response:
        """The topics, or the page of one."""
        from datetime import date

        words = request.query_params.get("topic", "").strip()
        page, trouble = None, ""
        if words:
            try:
                page = await run_in_threadpool(explain, words, date.today())
            except InputError as error:
                trouble = str(error)
        return self.page("explain.html.j2", "explain", words=words, page=page, trouble=trouble, groups=listing())

    async def review(self, request: Request) -> Response:
        """A file's text, and what the rules find in it."""
        text, name, findings = "", "train.py", None
        if request.method == "POST":
            from aether.counsel.review.engine import review_text

            fields = await self.form(request)
            text, name = fields.get("text", ""), fields.get("name", "train.py") or "train.py"
            findings = await run_in_threadpool(review_text, text, name)
        return self.page("review.html.j2", "review", text=text, name=name, findings=findings)

    async def annotate(self, request: Request) -> Response:
        """One pair after the other."""
        fields = await self.form(request) if request.method == "POST" else dict(request.query_params)
        file, who = fields.get("file", ""), fields.get("annotator", "")
        if not file:
            return self.page(
                "annotate.html.j2",
                "annotate",
                file="",
                who=who,
                pair=None,
                item=None,
                left="a",
                done=0,
                total=0,
                agreements=(),
                is_open=False,
            )
        task = Annotation(self.inside(file, "file"))
        if request.method == "POST" and fields.get("choice") in ("left", "right", "tie", "skip"):
            task.judge(who, int(fields["item"]), fields["choice"])  # type: ignore[arg-type]
        item = task.next_item(who) if who else None
        done = sum(1 for (name, _) in task.standing() if name == who)
        return self.page(
            "annotate.html.j2", "annotate", file=file, who=who, item=item, pair=task.pairs[item] if item is not None else None,
            left=task.left_of(who, item) if item is not None else "a", done=done, total=len(task.share_of(who)) if who else len(task.pairs),
            # In a study nobody sees how the others judged.
            agreements=() if task.study else tuple(task.agreement().items()), is_open=task.is_open(),
        )  # fmt: skip

    async def export(self, request: Request) -> Response:
        """The preferences as JSON lines for DPO."""
        task = Annotation(self.inside(request.query_params.get("file", ""), "file"))
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in task.export())
        return PlainTextResponse(lines, headers={"content-disposition": 'attachment; filename="preferences.jsonl"'})


def _query(knobs: Knobs, **changes: Any) -> str:
    """Knobs as the query of an address; what is at its default is left out."""
    from urllib.parse import urlencode

    plain = Knobs()
    values = knobs.model_dump() | changes
    return urlencode({k: v for k, v in values.items() if v != getattr(plain, k)})


def _is_fleet(path: Path) -> bool:
    try:
        return path.stat().st_size < 50_000_000 and "decided" in json.loads(path.read_text(encoding="utf-8")).get(
            "plan", {}
        )
    except (OSError, ValueError, AttributeError):
        return False


def _plan(path: Path) -> FleetPlan:
    return FleetPlan.model_validate(json.loads(path.read_text(encoding="utf-8"))["plan"])


def create_app(root: Path, secret: Secrets, hosts: frozenset[str], talks: Any = None) -> Guard:
    """The workbench for one folder, behind its guard. `talks`: the `counsel.agent.live.Talks` of the chat; None without a model."""
    bench = Workbench(root, secret)
    chat = ChatPages(bench.page, bench.form, talks)

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, AetherError)
        if request.headers.get("accept", "").startswith("application/json"):
            return JSONResponse({"status": error.status, "message": str(error)}, 400)
        return bench.page("error.html.j2", "", 400, message=str(error))

    routes = [
        Route("/", bench.what_if), Route("/ask", bench.ask_page, methods=["GET", "POST"]), Route("/plans", bench.plans), Route("/runs", bench.runs),
        Route("/runs/{name}", bench.run), Route("/runs/{name}/events", bench.events), Route("/runs/{name}/report.html", bench.report),
        Route("/explain", bench.explained), Route("/review", bench.review, methods=["GET", "POST"]),
        Route("/annotate", bench.annotate, methods=["GET", "POST"]), Route("/annotate/export", bench.export),
        *chat.routes(), *ResultPages(bench.page, bench.form, bench.inside).routes(),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]  # fmt: skip
    return Guard(Starlette(routes=routes, exception_handlers={AetherError: told}), secret, hosts)


def serve(root: Path, host: str, port: int, announce: Callable[[str], None], talks: Any = None) -> None:
    """Serve until Ctrl-C; `announce` gets the address with its token, once the port is known. `talks`: as in `create_app`."""
    import socket

    import uvicorn

    secret = Secrets()
    names = frozenset(
        {"127.0.0.1", "localhost", "::1", host.strip("[]").lower()}
        | ({socket.gethostname().lower()} if host in ("0.0.0.0", "::") else set())
    )
    config = uvicorn.Config(
        create_app(root, secret, names, talks),
        host=host,
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=2,
    )
    listener = config.bind_socket()
    announce(
        f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{listener.getsockname()[1]}/?token={secret.token}"
    )
    uvicorn.Server(config).run(sockets=[listener])
