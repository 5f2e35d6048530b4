import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether.stages.serve.protocol import CHAT, COMPLETION, BadRequest, envelope, read_wish

OK = {"model": "m", "prompt": "x"}
TALK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 2}, "n"),
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"logprobs": 1}, "logprobs"),
        ({"best_of": 3}, "best_of"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"x": True}}, "stream_options.x"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"top_k": 5}, "top_k"),
        ({"model": 3}, "model"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(extra, param):
    with pytest.raises(BadRequest) as refusal:
        read_wish(OK | extra, chat=False)
    assert refusal.value.param == param and refusal.value.status == 400
    assert param.split(".")[0] in str(refusal.value)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"tools": [{}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages[0].name"),
        ({"max_tokens": 3, "max_completion_tokens": 3}, "max_completion_tokens"),
        ({"prompt": "x"}, "prompt"),
    ],
)
def test_chat_fields_are_named_too(extra, param):
    with pytest.raises(BadRequest) as refusal:
        read_wish(TALK | extra, chat=True)
    assert refusal.value.param == param


@pytest.mark.parametrize("missing", ["model", "prompt"])
def test_required_fields(missing):
    with pytest.raises(BadRequest) as refusal:
        read_wish({key: value for key, value in OK.items() if key != missing}, chat=False)
    assert refusal.value.param == missing


def test_neutral_values_and_nulls_ask_for_nothing():
    neutral = {"n": 1, "echo": False, "suffix": None, "logprobs": None, "best_of": 1, "presence_penalty": 0.0}
    wish = read_wish(OK | neutral | {"stop": None, "user": "me", "logit_bias": {}}, chat=False)
    assert (wish.max_tokens, wish.temperature, wish.top_p, wish.stops) == (16, 1.0, 1.0, ())
    assert read_wish(TALK, chat=True).max_tokens is None


def test_one_prompt_in_a_list_and_token_ids_are_prompts():
    assert read_wish(OK | {"prompt": ["x"]}, chat=False).prompt == "x"
    assert read_wish(OK | {"prompt": [1, 2]}, chat=False).prompt == [1, 2]
    assert read_wish(OK | {"prompt": [[1, 2]]}, chat=False).prompt == [1, 2]
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    wish = read_wish(TALK | {"messages": [{"role": "user", "content": parts}]}, chat=True)
    assert wish.prompt == [{"role": "user", "content": "ab"}]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.booleans(), st.data())
def test_any_json_is_a_wish_or_a_named_refusal(chat, data):
    fields = st.sampled_from([*sorted(CHAT if chat else COMPLETION), "odd"])
    body = data.draw(_JSON | st.dictionaries(fields, _JSON, max_size=6))
    try:
        read_wish((TALK if chat else OK) | body if isinstance(body, dict) else body, chat)
    except BadRequest as refusal:
        assert envelope(str(refusal), refusal.status, refusal.param)["error"]["message"]
