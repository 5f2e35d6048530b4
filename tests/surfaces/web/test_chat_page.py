"""The chat page with a scripted model, over HTTP and in a real headless Chromium: drafts, the check, stop, approvals, sessions."""

import json
import re
import time

import httpx
import pytest
from served_app import served_app
from toy_plans import demo, run_pilots, toy_facts, toy_machine

from aether.counsel.agent.live import Talks
from aether.counsel.agent.model import ScriptedModel
from aether.counsel.agent.session import load_session, sessions
from aether.counsel.keeping import KeptPlan
from aether.counsel.launching import proposal
from aether.planning.decide import make_plan
from aether.running.folder import RunFolder
from aether.running.jobs import cancel, report_of
from aether.surfaces.web.app import create_app
from aether.surfaces.web.security import Secrets

HOSTS = frozenset({"127.0.0.1", "localhost"})
FALSE = (
    "It scores **86** on MMLU. Ask for a plan. <b>bold</b> [x](javascript:alert(1)) ![p](https://evil.example/p.png)"
)


class Room:
    """A workbench whose chat has a model that follows `model.steps`."""

    def __init__(self, root, address, secret, model):
        self.root, self.address, self.secret, self.model = root, address, secret, model
        self.client = httpx.Client(
            base_url=address, cookies={"aether_token": secret.token}, timeout=30, follow_redirects=True
        )

    def post(self, path, **fields):
        return self.client.post(path, data={"csrf": self.secret.form, **fields})

    def until(self, path, words, seconds=20):
        deadline = time.monotonic() + seconds
        while words not in (page := self.client.get(path).text):
            assert time.monotonic() < deadline, page
            time.sleep(0.05)
        return page


@pytest.fixture
def room(tmp_path):
    secret, model = Secrets(), ScriptedModel()
    with served_app(create_app(tmp_path, secret, HOSTS, Talks(tmp_path, model, is_free=True))) as address:
        one = Room(tmp_path, address, secret, model)
        yield one
        one.client.close()


def test_a_conversation_with_forms_alone(room):
    room.model.steps = [FALSE, FALSE, FALSE]
    here = room.post("/chat", text="How <i>good</i> is it?").url.path
    page = room.until(here, "not verified")
    assert "<s>It scores" in page and "(unverified)</em>" in page and "&lt;b&gt;bold" in page
    assert 'href="javascript' not in page and "<img" not in page and "<i>good" not in page
    room.model.steps = ["Fine."]
    room.post(here, text="And now?")
    assert "http-equiv" not in room.until(here, "<p>Fine.</p>")
    listed = room.client.get("/chat").text
    assert "How &lt;i&gt;good&lt;/i&gt; is it?" in listed and here in listed


def test_an_open_page_hears_the_draft_and_works_without_scripts(room):
    room.model.steps, room.model.pause_s = ["word " * 60], 0.02
    here = room.post("/chat", text="Talk.").url.path
    page = room.client.get(here).text
    assert "draft, not checked yet" in page and 'http-equiv="refresh"' in page and "Stop" in page
    with room.client.stream("GET", f"{here}/events") as answer:
        lines = [line for line in answer.iter_lines() if line]
    drafts = [json.loads(line[6:])["draft"] for line in lines if line.startswith("data: {") and "draft" in line]
    assert len(drafts) > 3 and drafts == sorted(drafts, key=len) and lines[-2] == "event: over"


def test_stop_keeps_what_was_said(room):
    room.model.steps, room.model.pause_s = ["It scores 86 on MMLU. " + "word " * 500], 0.01
    here = room.post("/chat", text="Talk.").url.path
    room.until(here, "word word")
    page = room.post(f"{here}/stop").text
    assert "<s>It scores 86 on MMLU.</s>" in page and ">stopped<" in page
    assert load_session(room.root).turns[-1]["stopped"] is True


def test_forms_need_their_secret_and_conversations_stay_in_the_folder(room):
    assert room.client.post("/chat", data={"text": "hi"}).status_code == 400
    assert sessions(room.root) == []
    for path in ("/chat/..%2f..%2fetc", "/chat/absent", "/chat/absent/events"):
        assert room.client.get(path).status_code in (400, 404)
    for path in ("/chat/absent/stop", "/chat/absent/decide"):
        assert room.client.post(path, data={}).status_code == 400
    assert room.post("/chat", text="  ").status_code == 400


def test_without_a_model_the_page_says_how_to_get_one(bench):
    _, secret, address = bench
    with httpx.Client(base_url=address, cookies={"aether_token": secret.token}) as client:
        assert "No language model is set" in client.get("/chat").text
        answer = client.get("/chat/some-id")
        assert answer.status_code == 400 and "--model" in answer.text


@pytest.fixture
def planned(room):
    machine, facts = toy_machine(), toy_facts()
    plan = make_plan(demo(), machine, facts, run_pilots(demo(), machine, facts), elapsed_s=120.0)
    RunFolder(room.root / "run").start(demo(), ("aether", "plan"))
    KeptPlan(made_from="0" * 64, plan=plan).write(room.root / "run")
    approve = proposal(room.root / "run").approve
    room.model.steps = [("launch_build", {"run": "run", "approve": approve}), "That was decided by you."]
    return room, approve


def test_what_spends_is_shown_with_cost_and_hash_and_a_no_starts_nothing(planned):
    room, approve = planned
    here = room.post("/chat", text="Build it.").url.path
    page = room.until(here, "Carry this out?")
    assert approve in page and "USD" in page and re.search(r"<dt>Time</dt><dd>.*\d", page)
    assert room.post(f"{here}/decide", hash="0" * 64, word="yes").status_code == 400
    room.post(f"{here}/decide", hash=approve, word="no")
    page = room.until(here, "That was decided by you.")
    assert report_of(room.root / "run").state == "none" and "the person said no" in page
    assert room.post(f"{here}/decide", hash=approve, word="yes").status_code == 400


def test_a_yes_in_the_page_starts_it(planned):
    room, approve = planned
    here = room.post("/chat", text="Build it.").url.path
    room.until(here, "Carry this out?")
    try:
        room.post(f"{here}/decide", hash=approve, word="yes")
        room.until(here, "approved")
        room.until(here, "That was decided by you.")
        assert report_of(room.root / "run").state in ("running", "ended")
    finally:
        cancel(room.root / "run")


@pytest.fixture
def page(browser, room):
    context = browser.new_context(viewport={"width": 1100, "height": 850})
    one, said = context.new_page(), []
    one.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    one.on("pageerror", lambda error: said.append(str(error)))
    one.on(
        "request",
        lambda request: said.append(request.url) if not request.url.startswith(("data:", room.address)) else None,
    )
    one.goto(f"{room.address}/?token={room.secret.token}")
    yield one
    assert not said, said
    context.close()


def test_in_a_browser_the_draft_grows_and_the_verdict_takes_its_place(page, room):
    room.model.steps, room.model.pause_s = [FALSE + " And so on." * 10] * 3, 0.02
    page.goto(f"{room.address}/chat")
    page.fill("#text", "How good is it?")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("[data-draft]:not(:empty)")
    first = page.inner_text("[data-draft]")
    page.wait_for_function("n => document.querySelector('[data-draft]').textContent.length > n", arg=len(first))
    page.wait_for_selector(".said s", timeout=20_000)
    assert "86" in page.inner_text(".said s") and page.locator("[data-draft]").count() == 0


def test_in_a_browser_stop_and_approve(page, planned):
    room, approve = planned
    page.goto(f"{room.address}/chat")
    page.fill("#text", "Build it.")
    page.click("button.main")
    page.wait_for_selector("text=Carry this out?")
    assert approve in page.inner_text("form.ask")
    page.click("button[value=no]")
    page.wait_for_selector("text=That was decided by you.")
    room.model.steps, room.model.pause_s = ["word " * 800], 0.01
    page.fill("#text", "Talk.")
    page.click("button.main")
    page.wait_for_selector("[data-draft]:not(:empty)")
    page.click("button:text-is('Stop')")
    page.wait_for_selector("text=stopped")
    assert "word word" in page.inner_text(".said >> nth=-1")


def test_on_a_phone_it_scrolls_in_one_direction(browser, room):
    wide = (
        "| a | b | c | d | e | f |\n|---|---|---|---|---|---|\n"
        + "| some long words here | more of them | more | more | more | more |\n" * 3
    )
    room.model.steps = [f"{wide}\n\n```python\n{'x = 1; ' * 40}\n```\n"] * 3
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme="dark", java_script_enabled=False
    )
    one = context.new_page()
    one.goto(f"{room.address}/?token={room.secret.token}")
    one.goto(f"{room.address}/chat")
    one.fill("#text", "word" * 100)
    one.click("button.main")
    one.wait_for_selector(".said table", timeout=20_000)
    context.close()
    context = browser.new_context(viewport={"width": 360, "height": 740})
    one = context.new_page()
    one.goto(f"{room.address}/?token={room.secret.token}")
    one.goto(f"{room.address}/chat/{sessions(room.root)[0].stem}")
    assert one.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1")
    context.close()
