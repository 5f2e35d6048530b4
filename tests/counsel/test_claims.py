"""Replies held against evidence: fabrications get none through, honest replies are left alone."""

import json
from pathlib import Path

import pytest
from grounded import ASKED, compressing_ground, filled, ground, recorded, tuning_ground
from hypothesis import given
from hypothesis import strategies as st

from aether.counsel.claims.check import check
from aether.counsel.claims.facts import Ground
from aether.counsel.claims.normal import plain, units
from aether.knowledge.topics import topic
from aether.spec.evidence import Evidence, Interval

GOLDEN = Path(__file__).parents[1] / "golden"


CONVERSATIONS = sorted(path.stem for path in (GOLDEN / "conversations").glob("*.json"))
GROUNDS = {"serving": ground, "tuning": tuning_ground, "compressing": compressing_ground}


def lines(name):
    """(reply, the conversation that it is held against)."""
    rows = [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]
    grounds = {key: made() for key, made in GROUNDS.items()}
    grounds |= {f"recorded {name}": recorded(name) for name in CONVERSATIONS}
    return [(row["reply"], grounds[row.get("ground", "serving")]) for row in rows]


@pytest.fixture(scope="module")
def known():
    return ground()


@pytest.fixture(scope="module")
def fabrications():
    return [(reply, check(reply, known), known) for reply, known in lines("fabrications.jsonl")]


def test_no_fabrication_gets_through(fabrications):
    through = [reply for reply, checked, _ in fabrications if checked.is_supported]
    assert len(fabrications) >= 200 and not through, "\n".join(through)


def test_what_is_struck_is_never_shown_as_fact(fabrications):
    for reply, checked, known in fabrications:
        shown = checked.struck()
        assert "unverified" in shown, reply
        assert "~~" in shown or check(shown.replace("unverified", ""), known).problems


def test_honest_replies_are_left_alone():
    replies = [(filled(line), known) for line, known in lines("honest_replies.jsonl")]
    flagged = [(r, problems) for r, known in replies if (problems := check(r, known).problems)]
    assert len(replies) >= 200 and len(flagged) <= 0.02 * len(replies), "\n".join(map(str, flagged))


def test_what_is_still_wrong_does_not_grow():
    """Replies of two batches of fifty and fifty that the check judges wrongly: they are left out of the sets above, and counted here."""
    rows = [json.loads(line) for line in (GOLDEN / "claims_open.jsonl").read_text(encoding="utf-8").splitlines()]
    wrong = [
        row for row in rows if check(row["reply"], recorded(row["ground"].split()[1])).is_supported != row["honest"]
    ]
    assert sum(row["honest"] for row in wrong) <= 13 and sum(not row["honest"] for row in wrong) <= 8


@pytest.mark.parametrize(
    "conversation, told, turned",
    [
        ("specdec", "A pass yields (1 - 0.8^5) / (1 - 0.8) = 3.36 tokens for a = 0.8 and k = 4.", "A pass yields (1 - 0.8^5) / (1 - 0.8) = 4.1 tokens for a = 0.8 and k = 4."),
        ("full7", "MFU drops from 53.5 % in bf16 to 38.3 % with fp8.", "MFU rises from 38.3 % in bf16 to 53.5 % with fp8."),
        ("dense72", "Option 3 has the shortest gaps between tokens of the three.", "Option 3 has the longest gaps between tokens of the three."),
        ("widths", "int8 is 1.46 times as fast as the base model.", "int8 is 2.2 times as fast as the base model."),
        ("b200", "fp8 needs more memory per GPU than bf16 here.", "fp8 needs less memory per GPU than bf16 here."),
        ("diverged", "The gradient norm rose from 0.85 to 21.9.", "The gradient norm fell from 21.9 to 0.85."),
    ],
)  # fmt: skip
def test_sides_are_not_swapped(conversation, told, turned):
    known = recorded(conversation)
    assert check(told, known).is_supported, check(told, known).problems
    assert not check(turned, known).is_supported


def test_only_the_wrong_sentence_is_struck(known):
    reply = filled("TTFT p99 is {ttft_p99}. It scores 86 on MMLU. Measure the rest.")
    shown = check(reply, known).struck()
    assert shown == reply.replace("It scores 86 on MMLU.", "~~It scores 86 on MMLU.~~ *(unverified)*")


def test_the_model_is_told_what_to_do(known):
    said = check("It scores 86 on MMLU.", known).feedback()
    assert "'86'" in said and "how they would be measured" in said


def test_rounding_and_units():
    record = Evidence(
        id="x.ttft_p99",
        metric="ttft_p99",
        value=0.4123,
        unit="s",
        kind="measured",
        source="a load test",
        interval=Interval(low=0.39, high=0.43, method="bootstrap"),
    )
    known = Ground()
    known.add_evidence([record])
    for good in (
        "TTFT p99 is 412 ms.",
        "TTFT p99 is 0.41 s.",
        "TTFT p99 is about 400 ms.",
        "TTFT p99 is 412.3 ms (390 to 430 ms, 95 % interval).",
    ):
        assert check(good, known).is_supported, good
    for bad in (
        "TTFT p99 is 400 ms.",
        "TTFT p99 is 413 ms.",
        "TTFT p99 is 0.42 s.",
        "TTFT p99 is 412 s.",
        "TTFT p50 is 412 ms.",
        "ITL p99 is 412 ms.",
        "The memory is 412 MB.",
    ):
        assert not check(bad, known).is_supported, bad


def test_a_wish_is_no_result():
    known = Ground()
    known.add_person(ASKED)
    assert check("You asked for a TTFT p99 under 500 ms.", known).is_supported
    assert not check("The TTFT p99 reached is 500 ms.", known).is_supported


@given(st.text(max_size=400))
def test_no_text_breaks_the_check(text):
    found = check(text, Ground())
    assert isinstance(found.struck(), str)
    assert all(0 <= u.start <= u.end <= len(text) for u in units(text))


@given(st.integers(10, 10**6), st.sampled_from(["{}", "**{}**", "<b>{}</b>", "\u200b{}", "`{}`"]))
def test_every_bare_number_is_a_claim(number, form):
    assert not check(f"The score is {form.format(number)} here.", Ground()).is_supported


@pytest.mark.parametrize(
    "text, seen",
    [
        ("8<b></b>6", "86"),
        ("８６％", "86%"),
        ("8\u200b6", "86"),
        ("&#56;6", "86"),
        ("٨٦", "86"),
        ("𝟖𝟔", "86"),
        ("[86](https://x)", "86 https://x  "),
    ],
)
def test_plain_is_what_a_reader_sees(text, seen):
    assert plain(text) == seen


@pytest.mark.parametrize(
    "told, turned",
    [
        (
            "The base model reaches 71.2 % accuracy, the tuned one 76.4 %.",
            "The tuned model reaches 71.2 % accuracy, the base 76.4 %.",
        ),
        ("Accuracy rose by 5.2 points.", "Accuracy dropped by 5.2 points."),
        ("The error rate fell from 28.8 % to 23.6 %.", "The error rate fell from 23.6 % to 28.8 %."),
        ("That is 7.3 % more in relative terms.", "Accuracy improved by 5.2 % in relative terms."),
        ("TTFT p95 is 231 ms, 0.23 s in seconds.", "TTFT p99 is 231 ms."),
        (
            "18.2M tokens in 5,412 s are about 3,360 tokens per second.",
            "18.2M tokens in 5,412 s are about 3,760 tokens per second.",
        ),
    ],
)
def test_a_number_is_of_its_subject_and_what_follows_is_computed(told, turned):
    known = recorded("evaluating")
    assert check(told, known).is_supported, check(told, known).problems
    assert not check(turned, known).is_supported


def test_words_about_options_are_looked_up_in_the_table():
    known = recorded("serving")
    for good, bad in (
        ("The int4 TensorRT-LLM option has the lowest TTFT p99, 266 ms.", "int8 has the lowest TTFT p99 of all."),
        ("Option 8 misses the target.", "The bf16 option misses the target."),
        ("The prediction of 358 ms is below your 500 ms.", "The prediction of 358 ms is above your 500 ms."),
    ):
        assert check(good, known).is_supported, check(good, known).problems
        assert not check(bad, known).is_supported, bad


def test_a_tool_that_was_not_called_has_found_nothing():
    reply = "diagnose found a gradient spike, and the run is now at its end."
    known = Ground()
    assert len(check(reply, known).problems) >= 2
    known.tools |= {"diagnose", "run_status"}
    assert check(reply, known).is_supported


def test_a_topics_number_is_of_what_the_topic_is_called():
    """Sharing only "loss" or "less" with a cited sentence of another topic does not make a claim true."""
    number = next(n for n in topic("capacity-factor").number if n.key == "dropped")
    share = f"{number.value:g} %"
    assert check(
        f"With a capacity factor like that of the paper, at most {share} of tokens are dropped.", Ground()
    ).is_supported
    assert not check(f"The loss of tokens is typically {share} on such a link.", Ground()).is_supported


def test_a_paper_goes_by_its_first_author():
    assert check("See Press et al., 2022, for the details.", Ground()).is_supported
    assert not check("See Lewis et al., 2022, for the details.", Ground()).is_supported


@pytest.mark.parametrize(
    "conversation, told, turned",
    [
        ("fitted", "At 3B parameters and 60B tokens expect a loss of 2.73.", "At 1.5B parameters and 30B tokens expect a loss of 2.73."),
        ("fitted", "The data term is 1019 / 3e10^0.3021 = 0.70 nats.", "The data term is 1019 / 3e10^0.3021 = 0.90 nats."),
        ("fitted", "The compute is 6 × 3e9 × 6e10 = 1.08e21 FLOPs.", "The compute is 6 × 3e9 × 6e10 = 1.8e21 FLOPs."),
        ("trained", "2T tokens take about 30.4 days on the 64 GPUs.", "2T tokens take about 24.6 days on the 64 GPUs."),
        ("trained", "At the upper end, 109 GB of memory, 32 GB are left on each H200.", "At the upper end, 109 GB of memory, 52 GB are left on each H200."),
        ("spiked", "There were three spikes in the log.", "There were seven spikes in the log."),
        ("asked", "Keys and values take 196,608 bytes a token in bf16.", "Keys and values take 393,216 bytes a token in bf16."),
        ("gemma", "ITL p99 is 30.7 ms in option 5 rather than 66.4 ms for option 4.", "ITL p99 is 30.7 ms in option 5 rather than 76.4 ms for option 4."),
    ],
)  # fmt: skip
def test_what_follows_from_records_is_computed(conversation, told, turned):
    known = recorded(conversation)
    assert check(told, known).is_supported, check(told, known).problems
    assert not check(turned, known).is_supported


def test_a_published_gain_is_not_said_of_a_persons_own_load():
    reply = "Speculative decoding gives 2.8x at your load of 5 requests per second."
    assert not check(reply, recorded("gemma")).is_supported


@pytest.mark.parametrize(
    "told, turned",
    [
        ("At 4 requests per second that is 345,600 requests a day.", "At 4 requests per second that is 288,000 requests a day."),
        ("About $5,472 a month (4 GPUs × $1.90 × 720 h).", "About $7,660 a month (4 GPUs × $1.90 × 720 h)."),
        ("KV cache: 131,072 bytes per token (128 KiB).", "KV cache: 131,072 bytes per token (228 KiB)."),
    ],
)  # fmt: skip
def test_what_a_few_steps_lead_to_stands(told, turned):
    known = recorded("mixture")
    assert check(told, known).is_supported, check(told, known).problems
    assert not check(turned, known).is_supported


def test_a_footnote_is_no_number():
    known = Ground()
    known.add_told("The model has 32 layers[^97].", ())
    assert not check("The model has 97 layers.", known).is_supported


def test_a_reply_goes_on_from_the_one_before():
    known = Ground()
    known.add_person("I have 60,000 pairs and take 128 of them a step.")
    reply = "Checkpoints: every 100 of the 469 steps."
    assert not check(reply, known).is_supported
    known.said_before = check("60,000 pairs at 128 per step are about 469 steps.", known).said
    reply = "A warm-up of 10 % of the 469 steps is what I would try."
    assert check(reply, known).is_supported, check(reply, known).problems


def test_operations_a_second_are_no_requests():
    known = recorded("small")
    told = "MFU of 48.9 % on H100 bf16 (989 TFLOP/s dense) corresponds to about 484 TFLOP/s per GPU."
    assert check(told, known).is_supported, check(told, known).problems
    assert not check(told.replace("484", "610"), known).is_supported
