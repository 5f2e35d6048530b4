"""Shared by all tests: where the helpers are, quiet libraries, and property tests that neither drift nor race the clock."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # toy tensors gain nothing from threads, which spin beside other work
sys.path.insert(0, str(Path(__file__).parent / "helpers"))

settings.register_profile("aether", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aether")
