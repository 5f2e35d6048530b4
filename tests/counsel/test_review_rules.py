"""Every rule on its own examples: the bad one is found, the good one is not, and a fix makes the bad one good."""

import pytest

from aether.counsel.review.engine import review_text
from aether.counsel.review.fixes import apply_edits
from aether.counsel.review.registry import DOCUMENT_CHECKS, SETTINGS_CHECKS
from aether.knowledge.review_rules import rules


def found(text, name):
    return {finding.rule for finding in review_text(text, name)}


def test_a_check_for_every_row_and_a_row_for_every_check():
    assert set(rules()) == {*DOCUMENT_CHECKS, *SETTINGS_CHECKS}
    assert len(rules()) >= 100


@pytest.mark.parametrize("rule", rules())
def test_the_bad_example_is_found_and_the_good_one_is_not(rule):
    row = rules()[rule]
    assert rule in found(row.bad, row.file), row.bad
    assert rule not in found(row.good, row.file), row.good
    serious = {f.rule for f in review_text(row.good, row.file) if f.severity != "info"}
    assert not serious, f"the good example of {rule} has {serious}"


@pytest.mark.parametrize("rule", [r for r, row in rules().items() if row.fixes])
def test_a_fix_mends_the_bad_example(rule):
    row = rules()[rule]
    findings = [f for f in review_text(row.bad, row.file) if f.rule == rule]
    assert findings and all(f.edit for f in findings)
    assert rule not in found(apply_edits(row.bad, [f.edit for f in findings]), row.file)


def test_only_rows_that_say_so_have_fixes():
    for rule, row in rules().items():
        edits = [f.edit for f in review_text(row.bad, row.file) if f.rule == rule]
        assert any(edits) == row.fixes, rule
