"""Data: problems and their splits, tokenizers, tasks, and the order of prompts."""

from grpo_jax.data.problem import Problem, Split, distinct
from grpo_jax.data.prompt_format import Conversation
from grpo_jax.data.prompts import PromptSource, check_rows, encode_prompts
from grpo_jax.data.tasks import TASKS, Demonstrable, Task, make_task, pretrained_tokenizer, prompt_prefix
from grpo_jax.data.tokenizer import EOS, character_tokenizer, decode, encode, pad

__all__ = [
    "EOS",
    "TASKS",
    "Conversation",
    "Demonstrable",
    "Problem",
    "PromptSource",
    "Split",
    "Task",
    "character_tokenizer",
    "check_rows",
    "decode",
    "distinct",
    "encode",
    "encode_prompts",
    "make_task",
    "pad",
    "pretrained_tokenizer",
    "prompt_prefix",
]
