import threading
import time

import pytest
import uvicorn
from bench_folder import fill

from aether.surfaces.web.app import create_app
from aether.surfaces.web.security import Secrets


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """(root, secret, address) of a workbench that is served."""
    root, secret = tmp_path_factory.mktemp("bench"), Secrets()
    fill(root)
    config = uvicorn.Config(
        create_app(root, secret, frozenset({"127.0.0.1", "localhost"})), host="127.0.0.1", port=0, log_level="error"
    )
    listener = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield root, secret, f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
