"""A question about a training that goes wrong, with no log at hand: the symptoms that its words name, and the causes they speak for."""

import pytest

from aether.counsel.answers.symptoms import causes_of, symptoms_in
from aether.counsel.ask import ask
from aether.counsel.reading.text import Text
from aether.knowledge.training_symptoms import clues, symptoms

SAID = {
    "my loss went NaN at step 3000": ["not-finite"],
    "validation loss goes up after 2 epochs": ["overfitting"],
    "the loss keeps going up since yesterday, no NaNs": ["diverged"],
    "loss is stuck at 2.3": ["plateau"],
    "it doesn't converge": ["plateau"],
    "loss spikes every 1000 steps, and the grad norm grows": ["spike", "gradient-growth"],
    "GPU utilization is only 40% during training": ["slow-input"],
    "tokens per second drops over time": ["throughput-decay"],
    "DPO reward accuracy stays at 0.5": ["no-preference-signal"],
    "KL to the reference is exploding in GRPO": ["kl-runaway"],
    "loss jumps after resuming from a checkpoint": ["resume-jump"],
    "CUDA out of memory with batch 8": ["out-of-memory"],
    "NCCL watchdog timeout on 64 GPUs": ["collective-timeout"],
    "the job was killed overnight with exit code 137": ["killed"],
    "device-side assert triggered": ["device-fault"],
    "train a small model for python code": [],
}


@pytest.mark.parametrize("question", SAID)
def test_symptoms_are_read_from_words(question):
    assert [symptom.key for symptom in symptoms_in(Text.of(question))] == SAID[question]


def test_what_was_named_comes_first():
    text = Text.of("The loss is NaN since I switched to fp16 and a higher learning rate")
    first, second, *rest = causes_of(symptoms()["not-finite"], text)
    assert "number format" in first.text and first.words == ("fp16",)
    assert "learning rate" in second.text and second.words == ("learning rate",)
    assert not any(cause.words for cause in rest)


def test_every_clue_speaks_for_some_cause():
    causes = [cause for symptom in symptoms().values() for cause in symptom.causes]
    for clue in clues():
        assert any(clue.causes.search(cause) for cause in causes), clue.name


def test_the_answer_names_the_experiment_and_that_no_log_was_read():
    answer = ask("my loss went NaN after I raised the lr in fp16, why?")
    text = answer.page.model_dump_json()
    assert answer.status == "answered"
    assert "the last good checkpoint" in text and "No log was read" in text and "aether diagnose RUN_OR_LOG" in text
