"""Answers that another reading of a GGUF file's vocabulary brought are not taken for this one's."""

import json

import pytest
from tiny_gguf import write_chat_gguf

from aether.evidence.hashing import hash_file, hash_value
from aether.spec.errors import InputError
from aether.stages.evaluate.suites.run import REQUEST, Order, evaluate
from aether.stages.evaluate.suites.suite import Suite, Task
from aether.stages.evaluate.suites.target import Target


def test_a_folder_of_an_older_reading_is_refused_by_name(tmp_path):
    path = tmp_path / "model.gguf"
    write_chat_gguf(path, "smollm")
    (tmp_path / "d.jsonl").write_text('{"q": "wait:\\n\\n1."}\n{"q": "b 22"}\n')
    task = Task(name="write", data="d.jsonl", templates=("{{q}}",), target="x", max_tokens=4)
    order = Order(Target(place=str(path)), Suite(name="s", tasks=(task,)), tmp_path, tmp_path / "out")

    def cut_off():
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            evaluate(order, load=cut_off)
    file = tmp_path / "out" / REQUEST
    made = json.loads(file.read_text())
    # As a program before the readings were told apart left it: the file's hash alone.
    made["target"] = {name: value for name, value in made["target"].items() if name != "reading"}
    assert made["target"]["sha256"] == hash_file(path)
    kept = {name: made[name] for name in ("suite", "data", "target", "limit", "versions")}
    file.write_text(json.dumps(made | {"fingerprint": hash_value(kept)}))
    with pytest.raises(InputError, match=r"not the same: target\.reading\); choose another folder"):
        evaluate(order, load=cut_off)
