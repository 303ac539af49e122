"""These tests need torch, in an environment of its own: `make test-parity`. Without it they are skipped."""

import importlib.util
import os

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_OFFLINE"] = "1"

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]
