"""2-GRPO on your own questions, with a file of JSON lines and a model directory in Hugging Face's format.

    python launch/main.py --config=configs/my_questions.py --workdir=runs/mine \
      --config.task.train.path=my.jsonl --config.model.checkpoint=models/my_model

A line of the file looks like those of configs/my_questions.jsonl: {"question": "What is 2 + 3?", "answer": 5}. Ten
lines are enough to try it. A sixteenth (at least one) is held out for the test and an eighth (at least one) for
validation, and at least four must remain for training. --config.task.test.path=FILE names a separate test file, which
is read like the training file. --config.task.chat=false is for models without a chat template. --smoke tries everything
in a minute.

The values suit one CPU or GPU and models below a billion parameters; docs/language_models.md covers larger ones.
"""

import smollm2_135m
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = smollm2_135m.get_config()
    config.task.train.kind = "jsonl"  # or parquet, with the same fields
    config.task.train.path = "configs/my_questions.jsonl"  # your file
    config.task.template = "{question}\nThink step by step, and put the final answer within \\boxed{}."
    config.task.max_prompt_tokens = 256
    config.task.reward.answer_pattern = ""  # the last \\boxed{}
    config.model.checkpoint = "models/smollm2_135m_instruct"  # your model; `make smollm2` makes this one
    config.rollout.prompts_per_step = 4
    config.rollout.prompts_per_batch = 4
    config.rollout.max_new_tokens = 256
    config.train.steps = 50  # x 4 prompts x 2 = 400 rollouts
    config.train.microbatch_groups = 1  # more are faster, if memory suffices
    config.evaluation.every = 10
    config.evaluation.validation_problems = 0  # all
    config.evaluation.test_problems = 0
    config.evaluation.prompts_per_batch = 4
    config.checkpoint.every = 10
    return config
