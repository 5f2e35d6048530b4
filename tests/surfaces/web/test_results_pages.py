"""What was measured, in the workbench: read again, begun with a hash, laid out for raters; over HTTP and in a headless Chromium."""

import re

import httpx
import pytest
from served_app import served_app
from tests.helpers.openai_endpoint import served

from aether.counsel.annotation import Annotation
from aether.running.jobs import cancel
from aether.surfaces.web.app import create_app
from aether.surfaces.web.security import Secrets


@pytest.fixture
def client(bench):
    _, secret, address = bench
    with httpx.Client(
        base_url=address, cookies={"aether_token": secret.token}, timeout=60, follow_redirects=True
    ) as one:
        yield one


def test_results_are_listed_and_drawn_from_their_records(client):
    listed = client.get("/results").text
    for name in ("red", "judged", "study"):
        assert f"/results/view?folder={name}" in listed
    red = client.get("/results/view?folder=red").text
    assert "Attack success and over-refusal" in red and "What was not tested" in red
    judged = client.get("/results/view?folder=judged").text
    assert (
        "(0–100)" in judged
        and "Can this judge be trusted?" in judged
        and "<i>two</i>" not in judged
        and "&lt;i&gt;two" in judged
    )
    study = client.get("/results/view?folder=study").text
    assert "rater-2" in study and "looking early" in study and "/annotate?file=study/pairs.jsonl" in study


def test_nobody_sees_how_the_votes_of_a_study_fall_before_all_have_judged(client):
    assert "Preferences for DPO" in client.get("/annotate?file=pairs.jsonl&annotator=ann").text
    page = client.get("/annotate?file=study/pairs.jsonl&annotator=rater-1").text
    assert "judged. Which answer" in page and "Preferences for DPO" not in page
    refused = client.get("/annotate/export", params={"file": "study/pairs.jsonl"})
    assert refused.status_code == 400 and "votes are still missing" in refused.text


def test_folders_of_one_model_are_one_page_and_others_are_refused(client):
    assert 'name="folder" value="red"' in client.get("/results").text
    refused = client.get("/results/view?folder=red&folder=judged")
    assert refused.status_code == 400 and "holds no evaluation and no red team" in refused.text
    assert client.get("/results/view?folder=red&folder=../red").status_code == 400


def test_a_folder_without_results_is_an_error_in_words(client):
    answer = client.get("/results/view?folder=plans")
    assert answer.status_code == 400 and "holds no evaluation" in answer.text
    assert client.get("/results/nothing").status_code == 400


def test_a_study_is_laid_out_by_a_form(client, bench):
    root, secret, _ = bench
    sent = {"csrf": secret.form, "pairs": "pairs.jsonl", "raters": "2", "per_pair": "1", "checks": "2", "out": "mine"}
    assert "rater-1" in client.post("/results/study", data=sent).text
    assert Annotation(root / "mine" / "pairs.jsonl").study is not None
    assert client.post("/results/study", data=sent | {"raters": "two", "out": "other"}).status_code == 400


def test_what_asks_a_model_is_shown_with_its_hash_before_it_starts(client, bench):
    sent = {
        "csrf": bench[1].form,
        "target": "http://127.0.0.1:9/v1",
        "model": "m",
        "out": "asked",
        "settings": "behaviours=2",
    }
    shown = client.post("/results/redteam", data=sent)
    assert "Carry this out?" in shown.text and "<details open>" in shown.text and "at most" in shown.text
    refused = client.post("/results/redteam", data=sent | {"approve": "0" * 64})
    assert refused.status_code == 400 and not (bench[0] / "asked").exists()


@pytest.fixture
def page(browser, tmp_path):
    secret = Secrets()
    with served_app(create_app(tmp_path, secret, frozenset({"127.0.0.1"}))) as address:
        context = browser.new_context(viewport={"width": 1100, "height": 850})
        one, said = context.new_page(), []
        one.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        one.on("pageerror", lambda error: said.append(str(error)))
        one.goto(f"{address}/?token={secret.token}")
        yield one, address
        assert not said, said
        context.close()


@pytest.mark.slow
def test_in_a_browser_a_red_team_is_shown_begun_followed_and_read(page, tmp_path):
    one, address = page
    with served("I'm sorry, but I can't help with that.") as (base, requests):
        one.goto(f"{address}/results/redteam")
        one.click("summary")
        for name, text in (
            ("target", base),
            ("model", "m"),
            ("settings", "attacks=direct\nbehaviours=2"),
            ("out", "red"),
        ):
            one.fill(f"#{name}", text)
        one.click("text=Show what it would ask")
        one.wait_for_selector("text=Carry this out?")
        assert re.search(r"at most 4 questions", one.inner_text("form.ask")) and not requests
        try:
            one.click("form.ask button.main")
            one.wait_for_selector("text=Attack success and over-refusal", timeout=60_000)
        finally:
            cancel(tmp_path / "red")
    assert len(requests) == 4 and "not finished" not in one.content()
