"""The model card of an export."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from grpo_jax.config import load, to_dict
from grpo_jax.reporting.model_card import Exported, model_card
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.provenance import Code, Devices, Host, Provenance, Start
from grpo_jax.runs.record import RunRecord, write_record
from grpo_jax.runs.suite_scores import EvaluatedPolicy, SuiteReport
from tests.helpers import CONFIGS
from tests.reporting.test_suites import result, unknown

RUN = Path(__file__).parent.parent / "fixtures" / "run"  # steps 1 to 4, evaluated before them and after step 2
EXPORTED = Exported(name="ada/two-grpo", step=2, best=False, dtype="bfloat16", adapters=False)


def card(run=RUN, **changes):
    return model_card(RunDirectory(run), dataclasses.replace(EXPORTED, **changes))


def code(text):
    """Return the program in a card, which must be one."""
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    compile(program, "card", "exec")
    return program


@pytest.fixture
def questions(tmp_path):
    """A run that has just begun, on questions of the Hub, with its first start."""
    fields = [
        ("task.train.kind", "huggingface"),
        ("task.train.path", "openai/gsm8k/main"),
        ("task.train.split", "train"),
    ]
    fields += [("task.system", "Think."), ("task.chat_variables.enable_thinking", "false")]
    config = load(CONFIGS / "smollm2_135m.py", fields)
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    start = Start(
        began="2026-01-31T12:00:00+00:00",
        ended=None,
        outcome=None,
        command="grpo train --config=a.py '--config.task.template=a `b` {question}'",
        code=Code("0.1.0", "0123456789abcdef", False, "0" * 16),
        host=Host("a processor", 2, "Linux", 1),
        devices=Devices(["cpu"], 1),
        environment={},
        versions={},
    )
    write_record(RunDirectory(tmp_path), RunRecord(None, Provenance([start, start], None)))
    return tmp_path


def test_the_hub_reads_its_metadata():
    known = ModelCard(card(license="apache-2.0", base_model="ada/base")).data.to_dict()
    assert known == {
        "base_model": "ada/base",
        "library_name": "transformers",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
        "tags": ["grpo_jax", "reinforcement-learning", "two_grpo"],
    }
    unknown = ModelCard(card(adapters=True)).data.to_dict()
    assert (unknown["license"], unknown["library_name"]) == ("unknown", "peft")
    assert "base_model" not in unknown


def test_it_has_the_scores_of_its_step_and_of_the_base_policy_and_no_others():
    lines = RunDirectory(RUN).metrics().evaluations

    def shown(line):
        first = line.scores.pass_at[0]
        return f"| {line.scores.problems} | 2 | {first.value:.3f} | {first.low:.3f} - {first.high:.3f} |" in card(
            step=2
        )

    assert [(line.split, line.step) for line in lines] == [("TEST", 0), ("VALIDATION", 0), ("VALIDATION", 2)]
    assert all(map(shown, lines))
    assert card(step=2).count("this policy |") == 1
    assert "this policy |" not in card(step=4)
    assert "biased upwards" in card(best=True)
    assert "biased upwards" not in card()


def test_it_has_the_scores_on_suites():
    suites = SuiteReport(EvaluatedPolicy(run="runs/x", step=2), "0" * 16, suites={"math_500": result(0.3183)})
    assert "| math_500 | 1,500 | 4 | 0.318 | 0.268 - 0.368 | 0.500 | 0.400 | 1,234.6 |" in card(suites=suites)
    suites.suites["math_500"] = unknown()
    assert "| math_500 | 1,500 | 4 | - | - | - | - | 1,234.6 |" in card(suites=suites)


def test_it_says_how_the_policy_came_about(questions):
    text = card(questions)
    assert "after 2 steps of reinforcement learning" in text
    assert "\n* Data: `openai/gsm8k/main` (huggingface, split `train`)\n* Reward: 1 `mathematics`\n" in text
    assert "grpo_jax 0.1.0, commit 0123456789ab; 1 x cpu on a processor, 2 cores; begun 2026-01-31" in text
    assert text.count("\n\nMade by:\n\n    grpo train --config=a.py '--config.task.template=a `b` {question}'\n") == 1
    assert ModelCard(text).data.to_dict()["datasets"] == ["openai/gsm8k"]
    assert "The run has evaluated neither this policy nor its base." in text
    assert "Spent: 16 prompts, 32 rollouts, " in card(step=2)


def test_its_program_prompts_as_in_training(questions):
    asked = code(card(questions))
    assert "{'role': 'system', 'content': 'Think.'}" in asked
    assert "'State only the final answer: What is 2 + 3?'" in asked
    assert "enable_thinking=False" in asked
    assert "from_pretrained('ada/two-grpo')" in asked
    assert re.search(r"tokenizer\('\(\d[+*-]\d\)=', return", code(card())) or "tokenizer('" in code(card())
    adapters = code(card(questions, adapters=True, base_model="ada/base"))
    assert "AutoTokenizer.from_pretrained('ada/base')" in adapters
