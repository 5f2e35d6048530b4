import pytest

from aether.stages.data.contamination import ContaminationCheck
from aether.stages.data.readers import Item
from aether.stages.data.recipe import Contamination
from aether.stages.data.spool import OOD, TEST, TRAIN, VALIDATION, Spool


@pytest.fixture
def check(tmp_path):
    """Run the check on (fate, text) documents; gives what was dropped and the summary."""
    spool = Spool(tmp_path / "spool.bin")

    def go(documents, **fields):
        for number, (fate, text) in enumerate(documents):
            spool.append(Item(f"d{number}", (f"d{number}",), text), text.encode(), "main", None)
            spool.fate[number] = fate
        found = {}
        overlap = ContaminationCheck(Contamination(**fields), spool).run(
            lambda index, held, share: found.__setitem__(index, (held, share)), lambda _: None
        )
        return found, overlap

    yield go
    spool.close()


def test_a_training_document_with_a_long_passage_of_a_test_document_goes(check, make_text):
    test, other = make_text(1, 400), make_text(2, 400)
    passage = "\n".join(test.splitlines()[:10])
    found, overlap = check(
        [(TRAIN, other), (TEST, test), (TRAIN, passage + "\n" + make_text(3, 400)), (OOD, make_text(4, 200))]
    )
    assert set(found) == {2} and found[2][0] == 1
    assert found[2][1] == pytest.approx((80 - 12) / (400 - 12))
    assert overlap.contaminated == {VALIDATION: 0, TEST: 1, OOD: 0} and overlap.touched[TEST] == 1
    assert overlap.left[TEST] == 0 and overlap.held_out == {VALIDATION: 0, TEST: 1, OOD: 1}


def test_one_shared_line_touches_but_does_not_contaminate(check, make_text):
    test = make_text(1, 400)
    line = " ".join(test.split()[:20])
    found, overlap = check([(TRAIN, line + "\n" + make_text(2, 400)), (TEST, test)])
    assert found == {} and overlap.touched[TEST] == 1 and overlap.contaminated[TEST] == 0
    assert overlap.left[TEST] == pytest.approx(8 / 388)


def test_a_phrase_of_many_training_documents_does_not_count(check, make_text):
    notice = make_text(99, 80)
    training = [(TRAIN, notice + make_text(n, 80)) for n in range(12)]
    found, overlap = check([*training, (TEST, notice + make_text(50, 80))])
    assert found == {} and overlap.touched[TEST] == 0


def test_a_small_training_document_inside_a_large_test_document_goes(check, make_text):
    test = make_text(1, 2000)
    found, _ = check([(TRAIN, "\n".join(test.splitlines()[:4])), (TEST, test), (TRAIN, make_text(2))])
    assert set(found) == {0} and found[0][1] == 1.0


def test_bounded_index_sees_the_same_by_a_sample(check, make_text):
    tests = [make_text(n, 400) for n in range(20)]
    training = [text + make_text(n + 100, 400) for n, text in enumerate(tests[:10])]
    documents = (
        [(TEST, t) for t in tests] + [(TRAIN, t) for t in training] + [(TRAIN, make_text(500 + n)) for n in range(5)]
    )
    found, overlap = check(documents, max_ngrams=1000)
    assert overlap.one_in == 8 and set(found) == set(range(20, 30))
    assert [held for held, _ in found.values()] == list(range(10))
