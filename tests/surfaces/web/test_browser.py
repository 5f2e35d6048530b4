"""The workbench in a real headless Chromium: what follows a slider, a question and its follow-up, keys, a live run, a phone."""

import json

import pytest
from bench_folder import add_steps


@pytest.fixture
def page(browser, bench):
    _, secret, address = bench
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    one = context.new_page()
    said, asked = [], []
    one.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    one.on("pageerror", lambda error: said.append(str(error)))
    one.on("request", lambda request: asked.append(request.url))
    one.goto(f"{address}/?token={secret.token}")
    yield one
    assert not said, said
    assert all(url.startswith((address, "data:")) for url in asked), asked
    context.close()


def test_a_slider_moves_the_verdict(page):
    before = page.locator("#answer h2").first.inner_text()
    page.locator("#ttft_p99_ms").fill("50")
    page.wait_for_selector("section.verdict.impossible, section.verdict.out_of_reach", timeout=30_000)
    assert page.locator("#answer h2").first.inner_text() != before and "ttft_p99_ms=50" in page.url
    page.locator("#answer a").first.click()
    page.wait_for_selector("section.verdict.feasible, section.verdict.at_risk", timeout=30_000)
    assert page.locator("svg.plot circle").count() > 0


def test_a_question_is_answered_and_followed(page, bench):
    page.goto(f"{bench[2]}/ask")
    page.fill("#text", "serve llama-3.1-8b on 2 H100, p99 TTFT under 2 s at 2 requests per second, 1k in, 200 out")
    page.locator("form.card button.main").first.click()
    page.wait_for_selector("article.page", timeout=30_000)
    assert "Decision" in page.inner_text("article.page")
    page.fill("#text", "make it 4 requests per second")
    page.locator("form.card button.main").first.click()
    page.wait_for_selector("article.page", timeout=30_000)
    assert "4" in page.inner_text("article.page")


def test_open_questions_can_be_accepted(page, bench):
    page.goto(f"{bench[2]}/ask")
    page.fill("#text", "serve llama-3.1-8b")
    page.locator("form.card button.main").first.click()
    page.wait_for_selector("text=Open questions")
    page.click("text=Take the defaults")
    page.wait_for_selector("article.page")
    assert "Decision" in page.inner_text("main")


def test_pairs_are_judged_by_keyboard(page, bench):
    root, _, address = bench
    page.goto(f"{address}/annotate?file=pairs.jsonl&annotator=keys")
    for key in ("1", "2", "3", "0"):
        with page.expect_navigation():
            page.keyboard.press(key)
    page.wait_for_selector("text=All pairs are judged")
    lines = [json.loads(line) for line in (root / "pairs.jsonl.judgements.jsonl").read_text().splitlines()]
    assert len([one for one in lines if one["annotator"] == "keys"]) == 4


def test_a_long_prompt_is_read_without_scrolling_sideways(page, bench):
    root, _, address = bench
    (root / "long.jsonl").write_text(
        json.dumps({"prompt": "word " * 200 + "x" * 400, "a": "y" * 400, "b": "word " * 200})
    )
    page.goto(f"{address}/annotate?file=long.jsonl&annotator=p")
    wide = "[...document.querySelectorAll('pre')].map(e => e.scrollWidth - e.clientWidth)"
    assert page.evaluate(wide) == [0, 0, 0]


def test_a_live_run_is_followed(page, bench):
    root, _, address = bench
    add_steps(root, 41, 50)  # a folder that earlier tests share for minutes: its training is live again from here on
    page.goto(f"{address}/runs/live")
    page.wait_for_selector("text=Step 50")
    assert page.locator("polyline.curve").count() == 1
    add_steps(root, 51, 60)
    page.wait_for_selector("text=Step 60", timeout=15_000)


def test_plans_stand_side_by_side(page, bench):
    page.goto(f"{bench[2]}/plans?plan=plans/one&plan=plans/two")
    assert page.locator("thead th").count() == 3 and "decided" in page.inner_text("table")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ask",
        "/chat",
        "/plans?plan=plans/one&plan=plans/two",
        "/runs",
        "/runs/live",
        "/explain?topic=flash-attention",
        "/review",
        "/annotate?file=pairs.jsonl&annotator=p",
        "/results",
        "/results/redteam",
        "/results/view?folder=red",
        "/results/view?folder=judged",
    ],
)
def test_a_phone_scrolls_in_one_direction(browser, bench, path):
    _, secret, address = bench
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    one = context.new_page()
    one.goto(f"{address}/?token={secret.token}")
    one.goto(address + path)
    assert one.evaluate("document.documentElement.scrollWidth <= window.innerWidth + 1"), path
    context.close()


def test_every_field_has_a_label_and_every_page_a_heading(page, bench):
    for path in (
        "/",
        "/ask",
        "/chat",
        "/runs",
        "/explain",
        "/review",
        "/annotate",
        "/results",
        "/results/redteam",
        "/results/judge",
    ):
        page.goto(bench[2] + path)
        assert page.locator("h1").count() == 1
        bare = page.evaluate(
            "[...document.querySelectorAll('input:not([type=hidden]), select, textarea')].filter(e => !e.labels.length && !e.ariaLabel).length"
        )
        assert bare == 0, path


def test_keys_are_shown_and_lead(page, bench):
    page.goto(f"{bench[2]}/runs")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/explain")
