"""Who gets in, and what the pages may do."""

import re

import httpx
import pytest

PAGES = [
    "/",
    "/ask",
    "/chat",
    "/plans",
    "/runs",
    "/runs/live",
    "/explain",
    "/explain?topic=flash-attention",
    "/review",
    "/annotate",
    "/annotate?file=pairs.jsonl&annotator=ann",
    "/results",
    "/results/redteam",
    "/results/study",
    "/results/view?folder=red",
]


@pytest.fixture
def client(bench):
    _, secret, address = bench
    with httpx.Client(base_url=address, cookies={"aether_token": secret.token}, timeout=60) as one:
        yield one


@pytest.mark.parametrize("page", PAGES)
def test_without_the_token_nobody_gets_in(bench, page):
    answer = httpx.get(bench[2] + page)
    assert answer.status_code == 401 and "token" in answer.text and "knobs" not in answer.text
    assert httpx.get(bench[2] + page, cookies={"aether_token": "wrong"}).status_code == 401
    assert httpx.get(bench[2] + page, params={"token": "wrong"}).status_code == 401


def test_the_token_becomes_a_cookie_and_leaves_the_address(bench):
    _, secret, address = bench
    answer = httpx.get(f"{address}/runs?folder=runs&token={secret.token}")
    assert answer.status_code == 303 and answer.headers["location"] == "/runs?folder=runs"
    assert (
        "httponly" in answer.headers["set-cookie"].lower() and "samesite=strict" in answer.headers["set-cookie"].lower()
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_page_has_a_strict_policy_and_no_inline_script(client, page):
    answer = client.get(page)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*src=)", answer.text) and not re.search(r"\son\w+=", answer.text)
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", answer.text)


def test_another_name_of_the_host_is_refused(bench):
    _, secret, address = bench
    answer = httpx.get(address, headers={"host": "evil.example"}, cookies={"aether_token": secret.token})
    assert answer.status_code == 421


@pytest.mark.parametrize(
    "page", ["/ask", "/review", "/annotate", "/results/redteam", "/results/study", "/results/stop"]
)
def test_a_form_without_its_secret_is_refused(client, page):
    answer = client.post(
        page,
        data={"text": "serve llama-3.1-8b", "file": "pairs.jsonl", "choice": "left", "item": "0", "annotator": "x"},
    )
    assert answer.status_code == 400 and "open the page again" in answer.text


@pytest.mark.parametrize(
    "address",
    [
        "/runs?folder=../..",
        "/annotate?file=../../etc/passwd",
        "/runs/live?folder=/etc",
        "/results/view?folder=../..",
        "/runs/..%2f..%2f/report.html",
        "/static/../app.py",
    ],
)
def test_nothing_outside_the_folder(client, address):
    answer = client.get(address)
    assert answer.status_code in (400, 404) and "root:" not in answer.text and "Workbench" not in answer.text


def test_what_people_write_is_escaped(client, bench):
    csrf = bench[1].form
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    for page, field in (("/ask", "text"), ("/review", "text")):
        answer = client.post(page, data={"csrf": csrf, field: evil, "name": "train.py"})
        assert "<script>alert" not in answer.text and "<img src=x" not in answer.text
    assert "<b>bold</b>" not in client.get("/annotate?file=pairs.jsonl&annotator=zoe").text
    assert "<script>" not in client.get("/explain", params={"topic": evil}).text


def test_a_body_that_is_too_large_is_refused(client, bench):
    answer = client.post("/review", data={"csrf": bench[1].form, "text": "x" * 2_100_000})
    assert answer.status_code == 413


def test_what_if_answers_in_words_for_anything(client):
    assert "greater than" in client.get("/", params={"devices": "0"}).text
    assert "Physically impossible" in client.get("/", params={"ttft_p99_ms": "1", "part": "1"}).text
    assert "did you mean" in client.get("/", params={"model": "llama-9-70b"}).text


def test_review_and_export(client, bench):
    answer = client.post(
        "/review", data={"csrf": bench[1].form, "name": "a.py", "text": "import torch\ntorch.load('m.pt')\n"}
    )
    assert "AE105" in answer.text
    assert client.get("/annotate/export", params={"file": "pairs.jsonl"}).status_code == 200
