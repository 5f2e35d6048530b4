"""The phrase matcher against words counted by hand."""

from aether.policy.phrases import MAX_CHARACTERS, Lexicon, Pattern, Span, sentences

LEXICON = Lexicon(
    {
        "act": ["mak*", "set up"],
        "thing": ["bomb*", "bath bomb*", "pipe bomb"],
        "start": ["^what is"],
        "neutral": ["bath bomb*"],
    },
    consuming="neutral",
)


def found(text):
    return LEXICON.find(sentences(text)[0])


def test_the_longest_phrase_wins_and_endings_are_free():
    assert found("Makes pipe bombs")["thing"] == [Span(2, 3)]
    assert found("a pipe bomb")["thing"] == [Span(1, 3), Span(2, 3)]
    assert found("set up the making")["act"] == [Span(0, 2), Span(3, 4)]
    assert "act" in found("making") and "act" not in found("ma")


def test_a_consumed_phrase_counts_for_nothing_else():
    assert "thing" not in found("make a bath bomb")
    assert "thing" in found("bath and bomb")


def test_a_start_is_a_start():
    assert "start" in found("What is it")
    assert "start" not in found("say what is it")


def test_a_pattern_keeps_its_order_and_gap():
    near = Pattern.parse("act ~2 thing")
    assert near.search(found("make me a bomb")) == Span(0, 4)
    assert near.search(found("make me a very big bomb")) is None
    assert near.search(found("bomb to make")) is None
    assert Pattern.parse("start|act ~1 thing").search(found("what is bomb")) == Span(0, 3)


def test_sentences_are_folded_and_bounded():
    assert sentences("Don’t stop. Ｍａｋｅ it!") == [["don", "t", "stop"], ["make", "it"]]
    assert sentences("b\u200bomb") == [["bomb"]]
    long = "start " + "a " * MAX_CHARACTERS + "end"
    words = [word for part in sentences(long) for word in part]
    assert words[0] == "start" and words[-1] == "end" and len(words) <= MAX_CHARACTERS
