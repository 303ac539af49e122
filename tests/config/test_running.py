"""How a user's file is found: by its path, or a shipped one by its name."""

import pytest

from grpo_jax.config import CONFIGURATION, STUDY, ConfigError, find_file, load
from grpo_jax.config.running import shipped
from tests.helpers import CONFIGS


def test_shipped_files_have_names_of_their_own():
    """The name of a file says which it is, whatever folder it is in."""
    for kind, folders in ((CONFIGURATION, ("", "paper")), (STUDY, ("studies",))):
        files = [path for folder in folders for path in (CONFIGS / folder).glob("*.py")]
        found = [path for path in files if f"def {kind.function}(" in path.read_text()]
        assert sorted(shipped(kind).values()) == sorted(found)
        assert len(found) > 4


def test_a_name_is_one_of_the_kind_that_is_asked_for():
    assert find_file("paper", CONFIGURATION) == CONFIGS / "paper" / "paper.py"
    assert find_file("paper", STUDY) == CONFIGS / "studies" / "paper.py"
    assert load("grpo_16") == load(CONFIGS / "grpo_16.py")


def test_a_file_that_is_there_comes_before_a_shipped_one(tmp_path, monkeypatch):
    (tmp_path / "two_grpo").touch()
    monkeypatch.chdir(tmp_path)
    assert not find_file("two_grpo", CONFIGURATION).is_absolute()


@pytest.mark.parametrize(
    ("kind", "named", "end"),
    [
        (CONFIGURATION, "two_grop", "did you mean two_grpo?"),
        (CONFIGURATION, "configs/two_grop.py", "did you mean two_grpo?"),
        (STUDY, "group_sizes", "did you mean group_size_prompts?"),  # which has no study
    ],
)
def test_what_is_neither_is_reported_with_what_is_near(kind, named, end):
    with pytest.raises(ConfigError) as told:
        find_file(named, kind)
    (sentence,) = told.value.args
    assert sentence.startswith(f"{kind.flag}={named}: no such file; name a Python file with {kind.function}(), or a ")
    assert sentence.endswith(end)
