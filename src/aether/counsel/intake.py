"""The first look at a brief, before anything is computed: is it declined, and what does it leave open?

Follows `policy`, and for a model on a cluster the checks of `planning.search.problem`. It stands apart from the engineer, so
that a plan for a cluster does not load what a build needs.
"""

from aether.policy.declined import decline
from aether.policy.questions import questions
from aether.spec.brief import Brief
from aether.spec.errors import NeedsInput


def check(brief: Brief) -> None:
    """Raise Declined for what Aether does not help with, InputError for what contradicts itself or is not known, and NeedsInput
    with the questions for a partial brief."""
    decline(brief)
    if brief.model is not None:
        # What is wrong is said before what is missing is asked.
        from aether.planning.search.problem import check_given

        check_given(brief)
    asked = questions(brief)
    if asked:
        fields = ", ".join(dict.fromkeys(question.field for question in asked))
        first = asked[0]
        example = f" (for example {first.default})" if first.default else ""
        raise NeedsInput(
            f"the brief leaves open: {fields}; answer in the file or with --set FIELD=VALUE. "
            f"{first.field}: {first.text}{example}",
            questions=[question.model_dump(mode="json") for question in asked],
        )
