"""Builds on a file system that is really full: a sentence, no traceback, and `resume` goes on once there is space."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
from small_brief import write_brief


@contextmanager
def small_disk(folder, kilobytes):
    """A tmpfs of that size at `folder`. Skips where mounting is not allowed."""
    folder.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"this container may not mount: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def aether(*words):
    done = subprocess.run([sys.executable, "-m", "aether", *map(str, words), "--json"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
# The whole build holds about 9 MB.
@pytest.mark.parametrize("kilobytes", [200, 1500, 4000, 7000])
def test_a_full_disk_is_a_sentence_and_resume_goes_on(tmp_path, kilobytes):
    brief = write_brief(tmp_path)
    with small_disk(tmp_path / "disk", kilobytes) as disk:
        code, said = aether("build", brief, "--out", disk / "runs" / "small")
        assert code == 2 and "disk is full" in said["message"], said
        finished = {p.parent.name for p in disk.glob("runs/small/steps/*/record.json")}
        subprocess.run(["mount", "-o", "remount,size=2g", disk], check=True)
        code, said = aether("resume", disk / "runs" / "small")
        assert code in (0, 5), said
        assert {"train", "serve"} <= {p.parent.name for p in disk.glob("runs/small/steps/*/record.json")}
        assert finished <= {p.parent.name for p in disk.glob("runs/small/steps/*/record.json")}
