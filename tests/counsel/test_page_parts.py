import pytest
import yaml

from aether.counsel.page_parts import CardRow, Parts, card_of_parts, name_of, page_of_parts
from aether.spec.evidence import Evidence
from aether.spec.report import text_of


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/home/someone/runs/helper/model", "helper"),
        ("models/gemma.gguf", "gemma.gguf"),
        ("model", "model"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
    ],
)
def test_a_card_names_the_model_and_not_where_this_machine_keeps_it(place, name):
    score = Evidence(
        id="evaluate.t.acc", metric="acc", value=0.5, unit="fraction", kind="measured", source="items.jsonl"
    )
    rows = [CardRow("t", "t (in distribution)", "acc", score)]
    parts = [Parts(place, (), (), [text_of("Everything.")], (), [score], rows)]
    card = card_of_parts(parts, page_of_parts("Model", "", parts))
    assert name_of(place) == name and f"# Model {name}\n" in card
    assert yaml.safe_load(card.split("---")[1])["model-index"][0]["name"] == name
    assert "/home" not in card
