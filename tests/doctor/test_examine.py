"""A diagnosis of questions for a checkpoint, without its samples: the evidence is that of the run itself."""

import dataclasses
import json

import pytest

from grpo_jax.config import SourceConfig
from grpo_jax.doctor import Severity
from grpo_jax.doctor.examine import examine
from tests.checkpoints import make_checkpoint, questions


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("models") / "tiny", num_layers=1)


@pytest.fixture
def asked(checkpoint, tmp_path):
    """Return a function that examines the checkpoint with some problems and changes of the task."""
    train = [{"question": f"{a} + {b} =", "answer": a + b} for a in range(5) for b in range(5)]
    test = [{"question": f"{a} - {a} =", "answer": 0} for a in range(8)]

    def sentences(more_training=(), more_tests=(), **changes):
        sources = {}
        for name, records in (("train", [*train, *more_training]), ("test", [*test, *more_tests])):
            (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))
            sources[name] = SourceConfig("jsonl", str(tmp_path / name))
        config = questions(checkpoint, evaluation__every=0, evaluation__test_problems=0, checkpoint__keep_best=0)
        task = dataclasses.replace(config.task, **sources, hold_out_validation=False, **changes)
        diagnosis = examine(dataclasses.replace(config, task=task), samples_too=False)
        findings = [finding for section in diagnosis.sections for finding in section.findings]
        return [finding.sentence for finding in findings if finding.severity is not Severity.NOTE]

    return sentences


def test_nothing_is_wrong(asked):
    assert asked() == []


@pytest.mark.parametrize(
    ("planted", "sentence"),
    [
        ({"stop_tokens": ("<|im_ende|>",)}, "task.stop_tokens='<|im_ende|>': is not a single token of the tokenizer;"),
        ({"model_stop_tokens": False, "stop_tokens": ("<|endoftext|>",)}, "ends a turn with '<|im_end|>', at which no"),
        ({"chat_variables": {"enable_thinking": False}}, "the chat template reads no such variable; it reads none"),
        (
            {"more_training": [{"question": "9 + 9 =" * 90, "answer": 18}]},
            "1 of 26 problems is longer, and so left",
        ),
        (
            {"more_tests": [{"question": "1 + 1 =", "answer": 2}]},
            "1 of the 25 problems of task.train is also in task.t",
        ),
        ({"more_tests": [{"question": "1 + 1=", "answer": 2}]}, "1 of the 9 test problems is also trained on, apart"),
        ({"more_training": [{"question": "Who?", "answer": "Ada"}]}, "cannot be judged against itself (numeric.un"),
        ({"more_training": [{"question": "Who?", "answer": " "}]}, "is empty there; name another field, or repair the"),
    ],
)
def test_one_fault_is_one_sentence(asked, planted, sentence):
    (found,) = asked(**planted)
    assert sentence in found
