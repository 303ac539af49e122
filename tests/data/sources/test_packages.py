"""Sources whose packages are optional."""

import sys

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import open_records
from tests.data.sources.helpers import source


@pytest.mark.parametrize(("kind", "package"), [("reasoning_gym", "reasoning_gym"), ("huggingface", "datasets")])
def test_a_missing_package_is_reported(monkeypatch, kind, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"kind='{kind}': needs the package {package}, .*'\.\[{kind}\]'\.$"):
        open_records(source(kind=kind, path="a", split="train" if kind == "huggingface" else ""))
