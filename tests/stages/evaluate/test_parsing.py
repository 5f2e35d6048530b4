import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.stages.evaluate.parsing import Verdict, boundaries, cut_back, judge, parse, program_at

SOURCE = '"""Doc."""\nimport os\n\n\n@cached\ndef f(x):\n    return x\n\n\nY = (\n    1\n)\nif Y:\n    pass\nelse:\n    f(Y)\n'


def test_boundaries_are_where_top_level_statements_begin():
    content = SOURCE.encode()
    firsts = [content[offset:].split(b"\n")[0] for offset in boundaries(SOURCE)]
    assert firsts == [b"import os", b"@cached", b"Y = (", b"if Y:"]


@pytest.mark.parametrize("bad", ["def f(:\n", "a = 1\x00\n", "x = " + "(" * 500, "x = 1\r\ny = 2\r\n", "if a:\n"])
def test_what_does_not_parse_has_no_boundary(bad):
    assert boundaries(bad) == []


def test_deep_nesting_is_a_verdict_not_a_crash():
    assert isinstance(parse("-" * 100_000 + "1"), Verdict)


def test_an_invalid_escape_is_the_file_s_own_matter():
    assert not isinstance(parse('x = "\\d"\n'), Verdict)


def test_the_cut_is_between_statements():
    assert cut_back("x = 1\ny = (\n  2\n)\nz = fo") == "x = 1\n"
    assert cut_back("def f():\n    return 1\n\n\ndef g(") == "def f():\n    return 1\n\n\n"
    assert cut_back("try:\n    a()\nexcept E:\n    b()\nx") == "try:\n    a()\nexcept E:\n    b()\n"
    assert cut_back("no newline") == ""


@pytest.mark.parametrize(
    ("completion", "verdict"),
    [
        ("x = 1\n", Verdict.PARSES),
        ("x = (1\ny = 2\nz = 3\n", Verdict.SYNTAX),
        ("# only words\n\n", Verdict.NO_CODE),
        ("", Verdict.NO_CODE),
        ("def f():\n    return (\n", Verdict.SYNTAX),
    ],
)
def test_verdicts(completion, verdict):
    assert judge("import os\n", completion) is verdict


@given(st.text(max_size=60))
def test_any_completion_gets_a_verdict(completion):
    assert judge("import os\n", completion) in set(Verdict)


def test_a_prefix_parses_and_ends_at_a_token():
    content = SOURCE.encode()
    ids = np.frombuffer(content, dtype=np.uint8).astype(np.int64)
    ends = list(range(1, len(content) + 1))
    found = program_at(("a", "b"), SOURCE, ids, ends, np.random.default_rng(0))
    assert found is not None
    assert bytes(found.prefix_ids) + bytes(found.true_ids) == content
    assert judge(found.prefix_text, bytes(found.true_ids).decode()) is Verdict.PARSES
    assert program_at(("a", "b"), SOURCE, ids, ends[-1:], np.random.default_rng(0)) is None
