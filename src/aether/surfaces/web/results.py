"""The pages of measuring: what evaluations, red teams, judgements and studies found, and the forms that begin one.

Work that asks a model is shown first, with what it would ask; a second form carries the hash that starts it. Everything works without scripts:
a page whose work is under way is fetched again every few seconds.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from aether.counsel.measuring import JudgeOrder, Order, RedTeamOrder, SuiteOrder, begin, work_of
from aether.counsel.results import answers_kept, command_of, draw, find_results, result_of
from aether.evidence.pairs import read_pairs
from aether.evidence.preference_study import design_of
from aether.running.jobs import cancel, report_of
from aether.spec.errors import InputError

ORDERS: dict[str, type[SuiteOrder | RedTeamOrder | JudgeOrder]] = {
    "evaluate": SuiteOrder,
    "redteam": RedTeamOrder,
    "judge": JudgeOrder,
}
_LISTS = frozenset({"behaviours", "benign", "labels", "gates", "places", "settings"})


class ResultPages:
    """The list of results, one of them, and what begins or stops work."""

    def __init__(
        self,
        page: Callable[..., Response],
        form: Callable[[Request], Awaitable[dict[str, str]]],
        inside: Callable[[str, str], Path],
    ) -> None:
        self.page, self.form, self.inside, self.root = page, form, inside, inside(".", "folder")

    def routes(self) -> list[Route]:
        """Where each page is."""
        return [
            Route("/results", self.listed), Route("/results/view", self.view), Route("/results/stop", self.stop, methods=["POST"]),
            Route("/results/study", self.study, methods=["POST"]), Route("/results/{kind}", self.begin, methods=["GET", "POST"]),
        ]  # fmt: skip

    async def listed(self, request: Request) -> Response:
        """What there is below the folder."""
        found = await run_in_threadpool(lambda: list(find_results(self.root)))
        rows = [(str(one.folder.relative_to(self.root)), one, report_of(one.folder).state) for one in found]
        return self.page("results.html.j2", "results", rows=rows)

    async def view(self, request: Request) -> Response:
        """One folder: its page, or how its work stands; several of one model: one page of all."""
        several = request.query_params.getlist("folder")
        if len(several) > 1:
            folders = [self.inside(one, "folder") for one in several]
            page = await run_in_threadpool(lambda: draw(folders[0], beside=folders[1:]))
            return self.page("model_page.html.j2", "results", page=page)
        name = request.query_params.get("folder", "")
        folder = self.inside(name, "folder")
        job, found = report_of(folder), result_of(folder)
        if found is None and job.state == "none":
            raise InputError.of("folder", name, "it holds no evaluation, red team, judgement or study")
        page = trouble = None
        if found is not None and found.is_finished and job.state != "running":
            try:
                page = await run_in_threadpool(draw, folder)
            except InputError as error:
                trouble = str(error)
        elif job.state == "ended":
            trouble = str((job.result or {}).get("message", "")) or job.said[-500:]
        kind = found.kind if found is not None else "begun"
        return self.page(
            "result.html.j2", "results", folder=name, kind=kind, page=page, job=job, answers=answers_kept(folder), trouble=trouble,
            command=command_of(folder),
        )  # fmt: skip

    async def stop(self, request: Request) -> Response:
        """Stop what works in a folder; what it has asked is kept."""
        name = (await self.form(request)).get("folder", "")
        await run_in_threadpool(cancel, self.inside(name, "folder"))
        return _to(name)

    async def begin(self, request: Request) -> Response:
        """The form of one kind of work; what it would ask; its start."""
        kind = request.path_params["kind"]
        if kind not in (*ORDERS, "study"):
            raise InputError.of("kind", kind, f"there are {', '.join(ORDERS)} and study")
        fields: dict[str, str] = await self.form(request) if request.method == "POST" else {}
        if not fields:
            return self.page("measure.html.j2", "results", kind=kind, fields={}, work=None)
        name = _folder(fields)
        folder = self.inside(name, "out")
        work = await run_in_threadpool(work_of, _order(kind, fields), folder, self.inside)
        if not fields.get("approve"):
            return self.page("measure.html.j2", "results", kind=kind, fields=fields, work=work)
        await run_in_threadpool(begin, work, folder, fields["approve"])
        return _to(name)

    async def study(self, request: Request) -> Response:
        """Lay a study of preferences out."""
        from aether.counsel.study import write_study

        fields = await self.form(request)
        name = _folder(fields)
        rows = read_pairs(self.inside(fields.get("pairs", ""), "pairs"))
        design = design_of(rows, *(_count(fields, field) for field in ("raters", "per_pair", "checks")))
        await run_in_threadpool(write_study, rows, design, self.inside(name, "out"), 0)
        return _to(name)


def _to(folder: str) -> Response:
    from urllib.parse import urlencode

    return RedirectResponse(f"/results/view?{urlencode({'folder': folder})}", 303)


def _folder(fields: dict[str, str]) -> str:
    name = fields.get("out", "").strip()
    if not name:
        raise InputError.of("out", "", "name the folder that the results are kept in")
    return name


def _count(fields: dict[str, str], field: str) -> int:
    text = fields.get(field, "")
    if not text.isdigit():
        raise InputError.of(field, text, "give a whole number")
    return int(text)


def _order(kind: str, fields: dict[str, str]) -> Order:
    """The order of a form: a field of several has one a line; what is empty is left out."""
    model = ORDERS[kind]
    given: dict[str, Any] = {}
    for field in model.model_fields:
        text = fields.get(field, "").strip()
        if text:
            given[field] = (
                tuple(line.strip() for line in text.splitlines() if line.strip()) if field in _LISTS else text
            )
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first: Any = error.errors(include_url=False)[0]
        raise InputError.of(".".join(map(str, first["loc"])), given.get(str(first["loc"][0])), first["msg"]) from error
