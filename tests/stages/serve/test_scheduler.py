from hypothesis import given
from hypothesis import strategies as st

from aether.stages.serve.scheduler import Scheduler


def scheduler(slots=4, chunk=8, alone=32):
    return Scheduler[int](slots, chunk, alone)


def test_prompts_are_read_whole_while_nobody_decodes_and_in_chunks_beside_decoding():
    s = scheduler()
    s.enqueue(1, 20)
    s.enqueue(2, 20)
    s.admit()
    assert [(p.row, p.start, p.count, p.last) for p in s.plan()] == [(0, 0, 20, True), (1, 0, 12, False)]
    s.rows[0].length, s.rows[1].length = 20, 12
    assert [(p.row, p.start, p.count, p.last) for p in s.plan()] == [(1, 12, 8, True)]


def test_many_who_wait_may_delay_the_few_who_decode_for_longer():
    s = scheduler(slots=8)
    for item in range(7):
        s.enqueue(item, 40)
    s.admit()
    s.rows[0].length = s.rows[1].length = 40
    assert sum(piece.count for piece in s.plan()) == 2 * 8  # five wait, two decode
    s.rows[2].length = s.rows[3].length = 40
    assert sum(piece.count for piece in s.plan()) == 8


def test_rows_stay_without_holes():
    s = scheduler()
    for item in range(4):
        s.enqueue(item, 5)
    s.admit()
    s.rows[3].length = 7
    assert s.release([0, 2]) == [(3, 2, 7), (2, 0, 7)]
    assert [row.item for row in s.rows] == [3, 1]


def test_a_waiting_request_can_be_forgotten():
    s = scheduler(slots=1)
    first, second = 10**6, 10**7
    s.enqueue(first, 5)
    s.enqueue(second, 5)
    s.admit()
    assert s.forget(second) and not s.forget(first)
    assert not s.waiting


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 10)), min_size=1, max_size=25), st.integers(1, 5))
def test_everyone_is_served_once_in_order_within_the_budget(jobs, slots):
    s = scheduler(slots)
    cache = [None] * slots
    for index, (prompt, _) in enumerate(jobs):
        s.enqueue(index, prompt)
    produced = dict.fromkeys(range(len(jobs)), 0)
    started = []
    for _ in range(5000):
        s.admit()
        if not s.rows:
            break
        decoding = [i for i, row in enumerate(s.rows) if not row.reading]
        pieces = s.plan()
        reading = len(s.rows) - len(decoding)
        bound = min(32, 8 * max(1, reading // len(decoding))) if decoding else 32
        assert sum(piece.count for piece in pieces) <= bound
        assert pieces or decoding, "a step always does something"
        for piece in pieces:
            row = s.rows[piece.row]
            assert piece.start == row.length and piece.count > 0
            if piece.start == 0:
                started.append(row.item)
                cache[piece.row] = row.item
            assert cache[piece.row] == row.item, "a row reads on where its cache is"
            row.length += piece.count
        heard = decoding + [piece.row for piece in pieces if piece.last]
        for index in heard:
            assert cache[index] == s.rows[index].item
            produced[s.rows[index].item] += 1
        done = [i for i in heard if produced[s.rows[i].item] == jobs[s.rows[i].item][1]]
        for source, target, _ in s.release(done):
            cache[target] = cache[source]
    assert started == sorted(started) == list(range(len(jobs)))
    assert produced == {index: output for index, (_, output) in enumerate(jobs)}
