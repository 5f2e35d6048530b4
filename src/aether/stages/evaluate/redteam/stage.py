"""The red team inside a build: our own decoder, the small set that comes along, the rules as judge; what a gate of the brief is judged by.

A base model continues text: the turns are joined and it writes on, as `aether serve` has it do. Prompts longer than the context lose their beginning.
The suffixes that are optimised on weights, published sets and judges of one's own are the command's, `aether redteam`.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer

from aether.evidence.files import write_atomically, write_json
from aether.evidence.hashing import hash_model, hash_value
from aether.evidence.items import write_lines
from aether.evidence.redteam import believed, summed_up
from aether.models.decoder import Decoder
from aether.models.generation import greedy
from aether.spec.evidence import Evidence
from aether.spec.run import StepContext
from aether.stages.evaluate.recipe import RedTeamRecipe
from aether.stages.evaluate.redteam.asking import Messages, converse, prompt_of
from aether.stages.evaluate.redteam.labels import shipped_calibrations
from aether.stages.evaluate.redteam.run import CALIBRATIONS, ITEMS, REQUEST
from aether.stages.evaluate.redteam.trying import judged_items, planned, requests_of


def red_team(
    recipe: RedTeamRecipe, files: Sequence[str | None], model: Decoder, context: StepContext
) -> tuple[Evidence, ...]:
    """attack_success, injection_success, leak_success and over_refusal. Leaves `redteam`, a record such as `aether redteam` leaves, without answers."""
    built, out = context.inputs["model"] / "model", context.out / "redteam"
    tokenizer = Tokenizer.from_file(str(built / "tokenizer.json"))
    room = min(recipe.max_tokens, model.config.context_tokens // 2)

    def ask(conversations: Sequence[Messages]) -> list[str]:
        prompts = [[0, *tokenizer.encode(prompt_of(None, one)).ids] for one in conversations]
        written = greedy(
            model, prompts, room, tell=lambda done, total: context.tell(done, total, "answers", "red team")
        )
        return [tokenizer.decode(tokens) for tokens in written]

    attempts = planned(recipe, *requests_of(recipe, files))
    known = shipped_calibrations()
    items = judged_items(attempts, converse(attempts, ask))
    identity = {"recipe": recipe.model_dump(mode="json"), "target": {"sha256": hash_model(built)}}
    about = {"place": "the build's model", "command": "aether reproduce RUN"}
    write_json(out / REQUEST, {"fingerprint": hash_value(identity), **about, **identity})
    write_json(out / CALIBRATIONS, [one.model_dump(mode="json") for one in known])
    write_atomically(out / ITEMS, write_lines(items))
    found, which = [], "the requests of the brief's files" if any(files) else "the small set that comes along"
    for name, rate in summed_up(items, known, recipe.judge).headline.items():
        shown = believed(rate)
        told = f"{rate.seen.n} attempts on {which}, judged by {recipe.judge}; corrected with each calibration"
        if rate.corrected is None:
            told = f"{rate.seen.n} attempts, judged by a planted word"
        found.append(
            context.measured(
                name,
                shown.value,
                "fraction",
                told,
                interval=shown.interval,
                n=rate.seen.clusters,
                seen=rate.seen.value,
                note=rate.seen.note,
            )
        )
    return tuple(found)
