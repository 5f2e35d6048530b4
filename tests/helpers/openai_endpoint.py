"""A small server of the OpenAI protocol that says what it is told to, whole or word by word: real HTTP, on loopback."""

import json
import re
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def served(reply, *, takes_tools: bool = True, pause_s: float = 0.0):
    """(base address, the requests that came in). `reply` is a text, or makes one (whole: or a message's fields, such as `tool_calls`) of the request's body.

    Without tools, a request with tools is refused, as such servers do.
    """
    requests: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append(body)
            if body.get("tools") and not takes_tools:
                self.say(400, "application/json", [json.dumps({"error": {"message": "tools: not supported"}})])
                return
            said = reply if isinstance(reply, str) else reply(body)
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            head = {"id": "1", "created": 1, "model": body["model"]}
            if not body.get("stream"):
                said = {"content": said} if isinstance(said, str) else said
                choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}
                whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
                self.say(200, "application/json", [json.dumps(whole)])
                return
            deltas = [({"role": "assistant", "content": ""}, None)]
            deltas += [({"content": word}, None) for word in re.findall(r"\S+\s*", said)] + [({}, "stop")]
            pieces = [
                {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": d, "finish_reason": end}]}
                for d, end in deltas
            ]
            pieces.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            self.say(200, "text/event-stream", [f"data: {json.dumps(p)}\n\n" for p in pieces] + ["data: [DONE]\n\n"])

        def say(self, status, kind, pieces):
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(sum(len(p.encode()) for p in pieces)))
            self.end_headers()
            try:
                for piece in pieces:
                    self.wfile.write(piece.encode())
                    self.wfile.flush()
                    time.sleep(pause_s)
            except (BrokenPipeError, ConnectionResetError):  # the client has stopped listening
                pass

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
