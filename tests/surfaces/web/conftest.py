import shutil

import pytest
from bench_folder import fill
from served_app import served_app

from aether.surfaces.web.app import create_app
from aether.surfaces.web.security import Secrets

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTS = frozenset({"127.0.0.1", "localhost"})


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """(root, secret, address) of a workbench that is served."""
    root, secret = tmp_path_factory.mktemp("bench"), Secrets()
    fill(root)
    with served_app(create_app(root, secret, HOSTS)) as address:
        yield root, secret, address


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; without one its tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        one = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield one
        one.close()
