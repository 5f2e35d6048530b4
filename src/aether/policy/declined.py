"""Declines a brief whose name or intended use states a harm: `judge_request` over both."""

from aether.policy.judgement import judge_request
from aether.spec.brief import Brief
from aether.spec.errors import Declined


def decline(brief: Brief) -> None:
    """Raise Declined when the name or the intended use states a goal that Aether does not help with."""
    for text in (brief.name, brief.intended_use or ""):
        judgement = judge_request(text)
        if judgement.harm is not None:
            raise Declined(
                judgement.sentence,
                reason=judgement.harm.value,
                matched=judgement.words,
                alternative=judgement.alternative,
            )
