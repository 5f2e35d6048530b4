"""What a child process needs to hear Ctrl-C: a shell's background jobs, and so a test run among them, ignore it."""

import signal


def hears_interrupts() -> None:
    """For `preexec_fn` of subprocess.Popen: an ignored SIGINT is inherited, and Python would then never raise for it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
