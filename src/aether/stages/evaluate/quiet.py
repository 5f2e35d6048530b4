"""Manners for the libraries that evaluate: nothing on the terminal, nothing from the network. No torch."""

import contextlib
import io
import os
import warnings


@contextlib.contextmanager
def quiet():
    """Keep the libraries' progress bars and notices off the terminal: progress is told by `told`."""
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def offline() -> None:
    """Let Hugging Face's libraries look into their cache alone. They read it when they are first imported; who wants to fetch a data set says
    HF_HUB_OFFLINE=0 and HF_DATASETS_OFFLINE=0 in the environment."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        os.environ.setdefault(name, "1")
