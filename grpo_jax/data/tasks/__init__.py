"""Tasks. A task provides problems, writes them as tokens, and judges completions."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from grpo_jax.config import Config
from grpo_jax.data.tasks.modular_expressions import ModularExpressions
from grpo_jax.data.tasks.own import own_task
from grpo_jax.data.tasks.questions import Questions
from grpo_jax.data.tasks.task import Demonstrable, Task, prompt_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# task.name -> a function that builds the task from its section, the whole configuration and the run's date.
TASKS: Mapping[str, Callable[[Any, Config, datetime], Task]] = {
    "modular_expressions": lambda section, config, date: ModularExpressions(section),
    "questions": Questions,
    "own": lambda section, config, date: own_task(section),
}


def make_task(config: Config, date: datetime | None = None) -> Task:
    """Return the task that a configuration describes.

    Args:
      date: of the run, for chat templates that use a date; None is now, in UTC.

    Raises:
      ConfigError: if the task is impossible.
    """
    return TASKS[config.task.name](config.task, config, date or datetime.now(UTC))


def pretrained_tokenizer(task: Task) -> "PreTrainedTokenizerFast":
    """Return a task's tokenizer in the form of transformers, which has a chat template and roles of special tokens.

    The tokenizer of a task without a pretrained one gets its stop token as the end-of-sequence token and the padding.
    """
    from transformers import PreTrainedTokenizerFast

    if isinstance(task, Questions):
        return task.pretrained
    end = task.tokenizer.id_to_token(task.stop_tokens[0])
    return PreTrainedTokenizerFast(tokenizer_object=task.tokenizer, eos_token=end, pad_token=end)


__all__ = [
    "TASKS",
    "Demonstrable",
    "ModularExpressions",
    "Questions",
    "Task",
    "make_task",
    "pretrained_tokenizer",
    "prompt_prefix",
]
