"""Each kind of answer from a request written by hand: status, headings, decision, and what stands behind its numbers."""

from datetime import date
from typing import get_args

import pytest
from asked import accepting, headings, of_recipe, request, words
from pydantic import ValidationError

from aether.counsel.answering import EXIT_CODES, HANDLERS, answer
from aether.counsel.answers.draft import Draft
from aether.counsel.answers.recipe import EvaluationPart, ExactRecipe, OptimisationPart
from aether.counsel.ask import ask
from aether.knowledge.topics import topic
from aether.report.page import page_html, page_markdown
from aether.spec.answer import Intent, Request
from aether.spec.brief import Brief, Hardware
from aether.spec.errors import UnsourcedNumber
from aether.spec.report import Cite, Facts, Table, Verbatim, Words, text_of

FULL = ["Decision", "Options", "Recipe", "Code", "Risks", "What is uncertain", "Next experiment", "Sources"]
LLAMA = {"model": {"name": "llama-3.1-8b"}}
ONE_H100 = {"hardware": {"name": "H100-SXM-80GB"}}
COUNTED = {"hardware": {"name": "H100-SXM-80GB", "count": 1}}


def _asked(intent):
    raw = {
        "serve": None,
        "pretrain": None,
        "continue": None,
        "finetune": LLAMA | COUNTED | {"data": {"sources": "chats.jsonl"}, "targets": ["build_time <= 2 d"]},
        "align": LLAMA,
        "compress": LLAMA | {"hardware": {"name": "L4"}},
        "merge": {"model": {"name": ["llama-3.1-8b", "llama-3-8b"]}},
        "evaluate": LLAMA,
        "compare": LLAMA | {"hardware": {"name": ["H100-SXM-80GB", "L40S"]}},
    }[intent]
    if intent == "serve":
        one = Hardware(name="H100-SXM-80GB", count=64)
        return of_recipe("serve llama-3.1-70b to forty users", intent, "serve-70b", hardware=one)
    if intent in ("pretrain", "continue"):
        return of_recipe("pretrain an 8B model", intent, "pretrain-8b")
    if intent == "finetune":
        raw = raw | {"model": {"name": "llama-3.1-8b", "method": "lora", "tokens": 2e8}}
    return request(f"{intent} it please", intent, raw)


@pytest.mark.parametrize(
    "intent", ["serve", "pretrain", "continue", "finetune", "align", "compress", "merge", "evaluate", "compare"]
)
def test_a_full_answer_has_every_part_and_renders_in_both_forms(intent):
    found = accepting(_asked(intent))
    assert found.status == "answered" and EXIT_CODES[found.status] == 0
    assert [title for title in headings(found) if title in FULL] == FULL
    assert "What was understood" in headings(found)
    page_html(found.page)
    assert all(e.source for e in found.page.evidence)
    text = words(found).lower()
    for aspect in (
        "accuracy",
        "speed" if intent not in ("serve", "finetune", "pretrain", "continue") else "p99",
        "memory",
    ):
        assert aspect in text or aspect == "p99"
    assert "training cost" in text or "build cost" in text
    assert "complexity" in text


@pytest.mark.parametrize("intent", ["serve", "pretrain", "finetune", "align", "compress", "merge", "compare"])
def test_each_number_among_the_options_says_what_kind_of_evidence_it_is(intent):
    found = accepting(_asked(intent))
    section = next(s for s in found.page.report.sections if s.key == "options")
    table = next(block for block in section.blocks if isinstance(block, Table))
    cells = [cell for row in table.rows for cell in row if any(isinstance(p, Cite) for p in cell)]
    assert cells
    for cell in cells:
        said = "".join(p.text for p in cell if isinstance(p, Words))
        names = [p for p in cell if isinstance(p, Verbatim)]
        assert any(kind in said for kind in ("computed", "cited", "assumed", "measured")) or names, cell


def test_what_was_read_long_ago_is_to_be_checked_again():
    draft = Draft(Request(text="x"), date(2030, 1, 1))
    draft.refer("a paper", "https://example.org/paper", "2026-11-25")
    draft.refer("a fresh one", "https://example.org/fresh", "2029-12-31")
    page = draft.page(text_of("t"))
    assert page.stale == ("a paper was read on 2026-11-25: check it again before you rely on it",)
    assert "check it again" in page_markdown(page)


@pytest.mark.parametrize("intent", ["diagnose", "review"])
def test_files_that_are_not_here_are_left_to_a_command(intent):
    found = answer(request(f"{intent} this", intent, subjects=("no run.log",)))
    assert found.status == "answered" and f"aether {intent} 'no run.log'" in words(found)


def test_an_explanation_is_the_page_of_its_topic():
    found = answer(request("explain flash attention and more", "explain", topics=("flash-attention", "kv-cache")))
    assert found.status == "answered" and headings(found)[0] == "What it is"
    assert headings(found).count("Sources") == 1 and found.page.references
    assert "aether explain kv-cache" in words(found)
    unknown = answer(request("explain", "explain", topics=("no-such-topic-at-all",)))
    assert unknown.status == "needs_input" and "No topic is called no-such-topic-at-all" in words(unknown)


def test_a_log_that_is_here_is_diagnosed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f'{{"step": {i}, "loss": {2.0 if i < 40 else "NaN"}}}' for i in range(60)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(rows))
    found = answer(request("why is my loss nan", "diagnose", subjects=("metrics.jsonl",)))
    assert found.status == "answered" and len(headings(found)) > 3 and "metrics.jsonl" in words(found)


def test_a_file_that_is_here_is_reviewed_and_no_other_is_opened(tmp_path, monkeypatch):
    inside, outside = tmp_path / "work", tmp_path / "secret.yaml"
    inside.mkdir()
    text = "model_name_or_path: m\npacking: true\nattn_implementation: sdpa\nlearning_rate: 1.0e-5\n"
    for file in (inside / "trl_sft.yaml", outside):
        file.write_text(text)
    monkeypatch.chdir(inside)
    found = answer(request("review my config", "review", subjects=("trl_sft.yaml",)))
    assert found.status == "answered" and "Findings" in headings(found)
    assert "trl_sft.yaml:2" in words(found) and "Mend this" in words(found)
    for other in (str(outside), "../secret.yaml", "missing.yaml", "."):
        found = answer(request("review my config", "review", subjects=(other,)))
        assert "Findings" not in headings(found) and f"aether review {other}" in words(found)


def test_every_intent_has_a_handler():
    intents = set(get_args(Intent)) - {"unknown"}
    assert set(HANDLERS) == intents


def test_a_number_of_the_plan_is_evidence_with_its_interval():
    found = answer(_asked("serve"))
    predicted = [e for e in found.page.evidence if e.id.endswith("predicted.ttft_p99")]
    assert predicted and all(e.interval is not None and e.kind == "computed" for e in predicted)
    assert all(e.value <= 0.5 for e in predicted)
    layers = next(e for e in found.page.evidence if e.id == "model.llama-3-1-70b.layers" or e.id.endswith(".layers"))
    assert layers.value == 80 and layers.kind == "cited"


def test_a_page_whose_number_lost_its_evidence_does_not_render():
    found = answer(_asked("serve"))
    with pytest.raises(UnsourcedNumber):
        page_markdown(found.page.model_copy(update={"evidence": found.page.evidence[1:]}))


def test_missing_information_is_asked_with_reasons_and_defaults():
    found = answer(request("serve llama-3.1-8b", "serve", LLAMA, unread=("42 foos",)))
    assert found.status == "needs_input" and EXIT_CODES[found.status] == 2
    assert [q.field for q in found.questions] == [
        "hardware.name",
        "load.requests_per_s",
        "targets",
        "load.prompt_tokens",
        "load.output_tokens",
    ]
    assert all(q.why and q.default for q in found.questions)
    text = words(found)
    assert "42 foos" in text and "What can be said already" in text and "16.1 GB" in text
    assert "What is the target p99 latency?" in text


def test_accepted_defaults_are_said():
    found = accepting(request("serve llama-3.1-8b", "serve", LLAMA))
    assert found.status == "answered"
    assert "Taken where nothing was said" in words(found) and "ttft_p99 <= 2 s" in words(found).replace("&lt;", "<")


def test_training_without_data_is_asked_for():
    raw = {"model": {"name": "llama-3.1-8b", "tokens": 1e9}, "targets": ["build_time <= 2 d"]} | COUNTED
    found = answer(request("fine-tune llama", "finetune", raw))
    assert [q.field for q in found.questions] == ["data.sources"]


@pytest.mark.parametrize(
    ("intent", "fields"),
    [
        ("build", {"data.sources", "intended_use", "targets"}),
        ("compress", {"model.name", "hardware.name"}),
        ("align", {"model.name"}),
        ("merge", {"model.name"}),
        ("compare", {"model.name", "hardware.name"}),
        ("serve", {"model.name", "hardware.name"}),
    ],
)
def test_each_kind_asks_for_what_it_needs(intent, fields):
    found = answer(request(f"{intent} something", intent))
    assert found.status == "needs_input" and fields <= {q.field for q in found.questions}


def test_an_unknown_intent_with_something_read_is_asked():
    found = answer(request("llama-3.1-8b", "unknown", LLAMA))
    assert found.status == "needs_input" and found.questions[0].field == "intent"


def test_a_build_writes_the_brief_and_no_number_that_was_not_measured():
    found = accepting(request("build a model that completes code", "build"))
    assert found.status == "answered"
    assert "aether build brief.toml" in words(found) and 'sources = ["python:stdlib"]' in words(found)
    assert not [e for e in found.page.evidence if "predicted" in e.id]


def test_what_cannot_be_met_is_said_with_its_arithmetic_and_the_nearest():
    found = answer(of_recipe("serve llama-3.1-70b on one L4", "serve", "impossible"))
    assert found.status == "infeasible" and EXIT_CODES[found.status] == 3
    text = words(found)
    assert "physically impossible" in text and "1.46" in text and "25.8 GB" in text
    assert "--set 'hardware.count=8'" in text and "Options" not in headings(found)


def test_a_default_that_cannot_be_met_is_called_one():
    raw = {"model": {"name": "llama-3.1-405b", "tokens": 15e12}, "hardware": {"name": "H100-SXM-80GB", "count": 1024}}
    found = accepting(request("pretrain llama-3.1-405b", "pretrain", raw))
    assert found.status == "infeasible" and "You did not ask for targets=build_time <= 30 d" in words(found).replace(
        "&lt;", "<"
    )


def test_adapters_are_offered_where_all_weights_do_not_fit():
    raw = {"model": {"name": "llama-3.1-70b", "tokens": 1e7}, "hardware": {"name": "A100-SXM-80GB", "count": 8}}
    raw |= {"data": {"sources": "chats.jsonl"}, "targets": ["build_time <= 9 d"]}
    found = answer(request("fine-tune llama-3.1-70b", "finetune", raw))
    assert found.status == "infeasible" and "--set 'model.method=lora'" in words(found)


def test_devices_that_nobody_counted_are_asked_about():
    raw = LLAMA | ONE_H100 | {"load": {"requests_per_s": 1, "prompt_tokens": 9}, "targets": ["ttft_p99 <= 2 s"]}
    found = answer(request("serve llama on H100s", "serve", raw))
    assert [q.field for q in found.questions] == ["hardware.count"]


def test_a_bounded_cost_needs_a_price():
    raw = {
        "model": {"name": "qwen3-8b"},
        "hardware": {"name": "L40", "count": 2},
        "load": {"requests_per_s": 8, "prompt_tokens": 9},
    }
    raw |= {"targets": ["cost_per_million_tokens <= 0.4 USD", "ttft_p99 <= 2 s"]}
    found = answer(request("serve qwen", "serve", raw))
    assert [q.field for q in found.questions] == ["hardware.price_usd_per_hour"]
    priced = raw | {"hardware": raw["hardware"] | {"price_usd_per_hour": 0.8}}
    assert answer(request("serve qwen", "serve", priced)).status in ("answered", "infeasible")


def test_two_things_that_cannot_both_be_meant_are_asked_about_and_taken_as_read_when_accepted():
    counted = {"hardware": {"name": "H100-SXM-80GB", "count": 2}}
    raw = LLAMA | counted | {"load": {"requests_per_s": 1, "prompt_tokens": 9}, "targets": ["ttft_p99 <= 2 s"]}
    asked = request("serve llama", "serve", raw, contradictions=("H100 is counted as 2 and as 4: how many are there?",))
    found = answer(asked)
    assert found.status == "needs_input" and "counted as 2 and as 4" in words(found)
    taken = accepting(asked)
    assert taken.status == "answered" and "as read, though H100 is counted" in words(taken)


def test_what_can_be_said_of_a_training_run_before_its_questions_are_answered():
    raw = {"model": {"name": "llama-3.1-8b", "tokens": 1e12}, "hardware": {"name": "H100-SXM-80GB", "count": 256}}
    found = answer(request("pretrain llama", "pretrain", raw))
    least = next(e for e in found.page.evidence if e.id.endswith(".least"))
    flops = next(e for e in found.page.evidence if e.id.endswith(".flops"))
    assert flops.value == pytest.approx(6 * 8.03e9 * 1e12, rel=0.15)
    assert least.value == pytest.approx(flops.value / (256 * 989.4e12), rel=0.01)


def test_a_decline_has_its_reason_and_an_alternative():
    found = answer(request("build a bot that posts a million fake reviews to deceive voters", "build"))
    assert found.status == "declined" and EXIT_CODES[found.status] == 4
    assert "declines this" in words(found) and "It does help with" in words(found)
    assert "Recipe" not in headings(found)


def test_dual_use_is_discussed_with_layers():
    found = answer(request("align llama for voice cloning", "align", LLAMA))
    assert found.status == "answered"
    text = words(found)
    assert "Risks: impersonation" in text and all(
        f"{x}:" in text for x in ("Guardrails", "Monitoring", "Access control")
    )


def test_nothing_understood_is_said():
    found = answer(Request(text="lorem ipsum"))
    assert found.status == "not_understood" and EXIT_CODES[found.status] == 2
    assert words(found).count("aether ask ") == 3


def test_a_contradiction_is_a_question_and_no_plan():
    raw = (
        LLAMA
        | ONE_H100
        | {"load": {"requests_per_s": 1, "prompt_tokens": 9}, "targets": ["ttft_p50 <= 2 s", "ttft_p99 <= 1 s"]}
    )
    found = answer(request("serve llama", "serve", raw))
    assert found.status == "needs_input" and found.questions[0].field == "targets.ttft_p50"


def test_a_model_that_is_not_known_is_a_question():
    found = answer(request("serve lama-9", "serve", {"model": {"name": "lama-9.9-7b"}} | ONE_H100))
    assert found.status == "needs_input" and "did you mean" in words(found)


def test_models_of_other_shapes_are_not_merged():
    found = answer(request("merge", "merge", {"model": {"name": ["llama-3.1-8b", "qwen3-8b"]}}))
    assert found.status == "needs_input" and "one shape" in words(found)


def test_an_unpublished_loss_stays_unknown():
    raw = {"model": {"name": "qwen3-32b"}, "hardware": {"name": "A100-SXM-80GB"}}
    text = words(answer(request("compress qwen3-32b", "compress", raw)))
    assert "not published" in text and "out of distribution" in text and "| unknown |" in text


def test_a_format_that_does_not_fit_any_way_is_infeasible():
    raw = {"model": {"name": "llama-3.1-405b"}, "hardware": {"name": "L4"}}
    assert answer(request("compress llama", "compress", raw)).status == "infeasible"


@pytest.mark.parametrize(
    ("method", "file"), [("awq", "AWQModifier"), ("smoothquant", "SmoothQuantModifier"), ("gptq", "GPTQModifier")]
)
def test_a_named_method_is_what_is_written(method, file):
    raw = LLAMA | {"hardware": {"name": "L40S", "count": 1}}
    assert file in words(answer(request("compress llama", "compress", raw, methods=(method,))))


def test_pruning_is_answered_with_what_is_published():
    raw = LLAMA | {"hardware": {"name": "L40S", "count": 1}}
    text = words(answer(request("prune llama with wanda", "compress", raw, methods=("wanda",))))
    assert "You named wanda (pruning): not offered here" in text and "wanda-50%" in text


def test_a_format_that_was_named_and_does_not_work_is_no_other_one():
    raw = LLAMA | {"hardware": {"name": "A100-SXM-80GB", "count": 1}}
    found = answer(request("compress llama to fp8", "compress", raw, methods=("fp8",)))
    assert found.status == "infeasible" and "not computed in by this device" in words(found)


def test_what_would_make_an_answer_better_is_asked_without_holding_it_back():
    found = answer(request("align llama", "align", LLAMA))
    assert found.status == "answered" and "by whom, and where does it run?" in words(found)
    told = answer(request("align llama", "align", LLAMA | {"intended_use": "answers to staff"}))
    assert "by whom, and where does it run?" not in words(told) and "Which quality metric" in words(told)


def test_what_was_named_and_not_used_is_said():
    found = answer(request("evaluate llama after medusa", "evaluate", LLAMA, methods=("medusa",)))
    assert "Named and not used" in headings(found) and "aether explain medusa" in words(found)


def test_ways_to_fine_tune_are_compared():
    asked = request(
        "compare lora and full fine-tuning of llama", "compare", LLAMA, methods=("lora", "full-fine-tuning")
    )
    found = answer(asked)
    assert found.status == "answered" and [t for t in headings(found) if t in FULL] == FULL
    memory = {e.id.split(".")[-2]: e.value for e in found.page.evidence if e.id.endswith(".memory")}
    assert memory["full"] == pytest.approx(16 * 8.03e9, rel=0.01)
    assert memory["full"] > memory["lora"] > memory["qlora"]


def test_formats_are_compared_on_the_device():
    raw = LLAMA | {"hardware": {"name": "L40S", "count": 1}}
    found = answer(request("compare fp8 and int4", "compare", raw, methods=("fp8", "int4")))
    assert found.status == "answered" and "Compress llama-3.1-8b to fp8" in words(found)
    bare = answer(request("compare fp8 and int4", "compare", methods=("fp8", "int4")))
    assert bare.status == "answered" and not bare.questions and "no winner is on record" in words(bare)


def test_what_nothing_compares_stands_side_by_side_with_what_is_published():
    found = answer(request("compare rope and mla", "compare", methods=("rope", "mla")))
    text = words(found)
    assert found.status == "answered" and "no winner is on record" in text and "Defaults taken" not in text
    for about in (topic("rope"), topic("mla")):
        assert all(row.option.replace("`", "").split("{")[0] in text for row in about.trade_off), about.name
        assert all(f"{about.name}.{number.key}" in {e.id for e in found.page.evidence} for number in about.number)
    assert "aether explain rope" in words(found)


def test_devices_that_do_not_split_the_heads_stay_idle():
    raw = LLAMA | {"hardware": {"name": "L40S", "count": 3}}
    assert answer(request("compress llama", "compress", raw)).status == "answered"


def test_ppo_is_answered_with_what_is_maintained():
    text = words(answer(request("align llama with ppo", "align", LLAMA, methods=("ppo",))))
    assert "no trainer for it" in text and "trl.scripts.grpo --config trl_grpo.yaml" in text


@pytest.mark.parametrize(("named", "written"), [("ipo", "DPO"), ("orpo", "SimPO"), ("rloo", "GRPO")])
def test_a_method_without_files_of_its_own_is_not_replaced_in_silence(named, written):
    text = words(answer(request(f"align llama with {named}", "align", LLAMA, methods=(named,))))
    assert f"You asked for {named.upper()}. The files are those of {written}" in text


@pytest.mark.parametrize(
    ("text", "methods", "decided"),
    [
        ("align llama: we have thumbs up and down", (), "KTO"),
        ("align llama with dpo or kto, we have thumbs", ("dpo", "kto"), "KTO"),
        ("align llama on preference pairs", (), "DPO"),
        ("align llama with simpo on chosen and rejected answers", ("simpo",), "SIMPO"),
        ("align llama on problems with a verifiable reward", (), "GRPO"),
        ("align llama", (), "DPO"),
    ],
)
def test_the_feedback_decides_the_method(text, methods, decided):
    assert f"with {decided}." in words(answer(request(text, "align", LLAMA, methods=methods)))


@pytest.mark.parametrize("field", list(OptimisationPart.model_fields))
def test_a_recipe_with_a_missing_field_cannot_be_made(field):
    whole = dict.fromkeys(OptimisationPart.model_fields, text_of("said"))
    OptimisationPart.model_validate(whole)
    with pytest.raises(ValidationError):
        OptimisationPart.model_validate(whole | {field: ()})
    with pytest.raises(ValidationError):
        OptimisationPart.model_validate({k: v for k, v in whole.items() if k != field})


def test_a_recipe_needs_each_of_its_parts():
    for part in ExactRecipe.model_fields:
        if part != "besides":
            assert ExactRecipe.model_fields[part].is_required()
    assert all(f.is_required() for f in EvaluationPart.model_fields.values())


@pytest.mark.parametrize("intent", ["serve", "finetune", "align", "compress"])
def test_a_recipe_on_a_page_names_config_data_optimiser_hardware_and_evaluation(intent):
    found = accepting(_asked(intent))
    section = next(s for s in found.page.report.sections if s.key == "recipe")
    titles = [block.title for block in section.blocks if isinstance(block, Facts)]
    assert titles == ["Model", "Data", "Optimisation", "Hardware and parallelism", "Evaluation"]


def test_sentences_of_the_plan_keep_names_whole_and_trace_numbers():
    draft = Draft(Request(text="x", brief=Brief()))
    text = "5x tp2 fp8 vllm on B200 (64 seqs, 2048 tokens): 50% less than llama-3.1-8b at 2.5 s."
    pieces = draft.sentence("plan", text, "a plan")
    assert "".join(getattr(p, "text", "") for p in pieces) == text
    assert sorted(e.value for e in draft.page(text_of("t")).evidence) == [0.5, 2.5]


def test_named_benchmarks_are_what_is_run_and_what_their_items_show():
    text = words(answer(request("is my llama better on gsm8k and MMLU-Pro?", "evaluate", LLAMA)))
    assert "--tasks gsm8k,mmlu_pro" in text
    assert "2.57 %" in text


def test_one_reason_that_takes_every_layout_is_said_alone():
    said = words(
        ask("serve llama-3.1-8b with int4 on 2 H100 at 2 requests per second, 1k in, 200 out, p99 TTFT under 2 s")
    )
    assert "layouts is left: published loss of quality is above the brief's bound" in said
    assert "fits the structure" not in said
