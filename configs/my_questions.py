"""2-GRPO on questions of your own: a file of JSON lines, and a model directory in Hugging Face's format.

    python launch/main.py --config=configs/my_questions.py --workdir=runs/mine \
      --config.task.train.path=my.jsonl --config.model.checkpoint=models/my_model

A line of the file is as in configs/my_questions.jsonl: {"question": "What is 2 + 3?", "answer": 5}. Ten lines are
enough to try it: a sixteenth, at least one, is held out as the test, an eighth, at least one, for validation, and four
must be left to train on. --config.task.test.path=FILE names a test of its own, read as the training file is.
--config.task.chat=false is for a model without a chat template; --smoke first tries everything in a minute.

Written for one CPU or GPU and models below a billion parameters; docs/language_models.md says what larger ones take.
"""

import smollm2_135m
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the configuration."""
    config = smollm2_135m.get_config()
    config.task.train.kind = "jsonl"  # or parquet, with the same fields
    config.task.train.path = "configs/my_questions.jsonl"  # yours
    config.task.template = "{question}\nThink step by step, and put the final answer within \\boxed{}."
    config.task.max_prompt_tokens = 256
    config.task.reward.answer_pattern = ""  # the last \\boxed{}
    config.model.checkpoint = "models/smollm2_135m_instruct"  # yours; this one is made by `make smollm2`
    config.rollout.prompts_per_step = 4
    config.rollout.prompts_per_batch = 4
    config.rollout.max_new_tokens = 256
    config.train.steps = 50  # x 4 prompts x 2 = 400 rollouts
    config.train.microbatch_groups = 1  # more are faster, where there is memory
    config.train.logprob_chunk = 128  # positions whose logits are in memory at once: vocabularies are large
    config.evaluation.every = 10
    config.evaluation.validation_problems = 0  # all that there are
    config.evaluation.test_problems = 0
    config.evaluation.prompts_per_batch = 4
    config.checkpoint.every = 10
    return config
