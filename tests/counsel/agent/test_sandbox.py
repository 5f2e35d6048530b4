import pytest

from aether.counsel.agent.sandbox import isolation, run_python

needs_isolation = pytest.mark.skipif(isolation() is None, reason="no network namespace can be made here")


@needs_isolation
def test_a_snippet_runs_with_nothing_around_it():
    done = run_python("import os; print(sorted(os.environ), len(os.listdir('.')))", isolation())
    assert done.code == 0 and "OPENAI" not in done.output and "0" in done.output


@needs_isolation
@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 80), 2)",
        "open('big', 'wb').write(b'x' * 10**8)",
        "x = bytearray(8 * 2**30)",
        "while True: pass",
    ],
)
def test_what_it_must_not_do_fails(code):
    assert run_python(code, isolation(), cpu_s=1).code not in (0, None)


def test_where_nothing_isolates_nothing_runs():
    assert run_python("print(1)", None).code is None
