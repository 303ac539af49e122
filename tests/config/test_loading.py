"""Config files, overrides, and what is refused."""

import dataclasses
import json
import math
import sys

import pytest

from grpo_jax.config import Config, ConfigError, digest, from_dict, load, to_dict
from tests.helpers import CONFIGS, make_config


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("**/*.py")), ids=lambda path: path.stem)
def test_every_config_file_is_valid(path):
    assert isinstance(load(path), Config)


def test_a_configuration_survives_json():
    config = make_config()
    assert from_dict(to_dict(config)) == config
    assert digest(to_dict(config)) == digest(to_dict(from_dict(to_dict(config))))
    assert digest(to_dict(config)) != digest(to_dict(make_config(seed=1)))


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("seed", "7", 7),
        ("optimizer.learning_rate", "1e-3", 1e-3),
        ("optimizer.clip_norm", "inf", math.inf),
        ("optimizer.clip_norm", "2", 2.0),
        ("model.scan_layers", "true", True),
        ("model.scan_layers", "False", False),
        ("objective.aggregation", "token", "token"),
        ("warm_start.cache_dir", "123", "123"),
        ("model.rope.theta", "5e5", 5e5),
    ],
)
def test_overrides_have_the_type_of_their_field(field, text, value):
    config = load(CONFIGS / "two_grpo.py", [(field, text)])
    for name in field.split("."):
        config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


def test_the_last_override_wins():
    assert load(CONFIGS / "two_grpo.py", [("seed", "1"), ("seed", "2")]).seed == 2


def test_a_config_file_may_import_its_sibling(tmp_path):
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "base.py").write_text((CONFIGS / "two_grpo.py").read_text())
        (tmp_path / folder / "mine.py").write_text(
            f"import base\ndef get_config():\n    c = base.get_config()\n    c.seed = {seed}\n    return c\n"
        )
    assert load(tmp_path / "a" / "mine.py").seed == 1
    assert load(tmp_path / "b" / "mine.py").seed == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "get_config() cannot be run: KeyError"),
        ("def get_config(): return {}", "returned dict; return a ConfigDict"),
        ("def get_config(): 1 / 0", "ZeroDivisionError"),
        ("def get_config(:", "SyntaxError"),
        ("from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'seed': 1})", "task: is missing"),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'sede': 1})",
            "sede=1: unknown field; did you mean seed?",
        ),
    ],
)
def test_a_config_file_that_is_none(tmp_path, text, sentence):
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_file_may_use_libraries_that_lie_beside_it(tmp_path, monkeypatch):
    """As with .venv in the directory of the config file: what it imports stays imported."""
    library = tmp_path / "lib" / "beside"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("")
    (tmp_path / "sibling.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.insert(0, {str(CONFIGS)!r})\nimport beside, sibling\nfrom two_grpo import get_config\n"
    )
    load(tmp_path / "mine.py")
    assert "beside" in sys.modules
    assert "sibling" not in sys.modules
    sys.path.remove(str(CONFIGS))


def test_an_infinity_goes_through_json_and_back():
    config = make_config(optimizer__clip_norm="inf", objective__clip_high="inf")
    text = json.dumps(to_dict(config), allow_nan=False)
    assert from_dict(json.loads(text)) == config
    assert config.optimizer.clip_norm == math.inf


def test_a_section_cannot_be_a_number():
    values = to_dict(make_config())
    with pytest.raises(ConfigError, match=r"^model=3: must be a section"):
        from_dict(values | {"model": 3})


def test_fields_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config().seed = 3
