import json

from hypothesis import given
from hypothesis import strategies as st

from aether.stages.serve.client import Exchange, _read, dechunk


class Recorded:
    """What a connection left behind."""

    def __init__(self, body, stamps):
        self.body, self.stamps = body, stamps


def chunked(content, sizes):
    out, at = b"", 0
    while at < len(content):
        size = sizes[at % len(sizes)]
        piece = content[at : at + size]
        out += f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
        at += len(piece)
    return out + b"0\r\n\r\n"


@given(st.binary(max_size=200), st.lists(st.integers(1, 30), min_size=1, max_size=7))
def test_chunks_come_back_as_they_were(content, sizes):
    assert dechunk(chunked(content, sizes), 0)[0] == content


@given(
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6),
    st.lists(st.integers(1, 40), min_size=1, max_size=7),
    st.lists(st.integers(1, 50), min_size=1, max_size=7),
)
def test_events_are_read_however_the_bytes_were_cut(texts, chunk_sizes, packet_sizes):
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    events = [{"choices": [{"text": text, "finish_reason": None}]} for text in texts]
    events.append({"choices": [], "usage": {"completion_tokens": len(texts), "prompt_tokens": 3}})
    content = "".join(f"data: {json.dumps(e)}\n\n" for e in events) + "data: [DONE]\n\n"
    raw = head + chunked(content.encode(), chunk_sizes)
    stamps, at = [], 0
    while at < len(raw):
        at = min(len(raw), at + packet_sizes[len(stamps) % len(packet_sizes)])
        stamps.append((at, float(len(stamps))))
    exchange = Exchange(started_s=-1.0, ended_s=1e9)
    _read(exchange, Recorded(bytearray(raw), stamps))
    assert exchange.error is None and exchange.text == "".join(texts)
    assert (exchange.output_tokens, exchange.prompt_tokens) == (len(texts), 3)
    assert exchange.pieces_s == sorted(exchange.pieces_s) and len(exchange.pieces_s) == len(texts)
    # An event's time is that of a packet that ends at or after the event does.
    for index, time in enumerate(exchange.pieces_s):
        assert stamps[int(time)][0] > len(head) + sum(len(f"data: {json.dumps(e)}\n\n") for e in events[:index])


def test_a_cut_stream_is_an_error():
    raw = b'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {"choices": [{"text": "a"}]}\n\n'
    exchange = Exchange(started_s=0.0, ended_s=2.0)
    _read(exchange, Recorded(bytearray(raw), [(len(raw), 1.0)]))
    assert exchange.text == "a" and "cut" in exchange.error


def test_a_refusal_is_an_error_with_its_status():
    raw = b'HTTP/1.1 429 Too Many\r\ncontent-length: 11\r\n\r\n{"error":1}'
    exchange = Exchange(started_s=0.0, ended_s=2.0)
    _read(exchange, Recorded(bytearray(raw), [(len(raw), 1.0)]))
    assert exchange.status == 429 and exchange.error.startswith("HTTP 429")
