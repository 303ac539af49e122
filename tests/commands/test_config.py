"""The comparison of configurations."""

import json

import pytest

from grpo_jax.commands.config import main
from grpo_jax.config import load, to_dict
from tests.helpers import CONFIGS, ROOT

RUN = ROOT / "tests" / "fixtures" / "run"  # of an earlier version


def compared(capsys, first, second):
    code = main(["diff", str(first), str(second)])
    told = capsys.readouterr()
    return code, [line.split(maxsplit=2) for line in told.out.splitlines()], told.err


def test_fields_that_differ_are_listed_with_both_values(capsys, tmp_path):
    values = to_dict(load(CONFIGS / "two_grpo.py"))
    values["model"]["lora"] = {"rank": 8}
    values["train"]["steps"] = 7
    (tmp_path / "other.json").write_text(json.dumps(values))
    code, rows, _ = compared(capsys, "two_grpo", tmp_path / "other.json")
    assert (code, rows) == (
        1,
        [
            ["field", "two_grpo", str(tmp_path / "other.json")],
            ["model.lora.rank", "none", "8"],
            ["train.steps", "1200", "7"],
        ],
    )


def test_equal_configurations_have_code_0(capsys):
    assert compared(capsys, "two_grpo", CONFIGS / "two_grpo.py") == (0, [], "")


def test_fields_that_a_run_did_not_record_have_the_values_of_its_time(capsys):
    code, rows, _ = compared(capsys, RUN / "config.json", RUN)
    assert code == 1
    assert ["rollout.lanes", "none", "0"] in rows


@pytest.mark.parametrize(
    ("second", "sentence"),
    [("two_grop", "two_grop: no such file; "), (ROOT / "configs", "has no config.json; name the directory of a run")],
)
def test_mistakes_have_code_2(capsys, second, sentence):
    code, rows, errors = compared(capsys, "two_grpo", second)
    assert (code, rows) == (2, [])
    assert sentence in errors
