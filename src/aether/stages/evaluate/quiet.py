"""Libraries that evaluate say much to the terminal: kept off it. No torch."""

import contextlib
import io
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
