"""README.md of an export: a model card of the Hugging Face Hub, made from the records of the run."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCardData

from grpo_jax.config import Config, OwnTaskConfig, QuestionsConfig, counted, from_dict, known, own_code, to_dict
from grpo_jax.data import Split
from grpo_jax.data.sources import hub_repository
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.lines import RunMetrics, Share
from grpo_jax.runs.provenance import Provenance, origin
from grpo_jax.runs.record import provenance_of
from grpo_jax.runs.suite_scores import SuiteReport
from grpo_jax.runs.summary import WITHOUT_VERDICTS

CARD = """---
{metadata}
---

# {title}

This is {base}, after {steps} steps of reinforcement learning from verifiable rewards with grpo_jax.

## Scores

{scores}

## Use

```python
{code}
```

## Training

{facts}

{commands}

<details>
<summary>Configuration</summary>

```json
{config}
```

</details>

## License

{license}
"""

# The imports of a program, and the class that loads the policy.
WHOLE = "from transformers import AutoModelForCausalLM, AutoTokenizer", "AutoModelForCausalLM"
ADAPTERS = (
    "from peft import AutoPeftModelForCausalLM\nfrom transformers import AutoTokenizer",
    "AutoPeftModelForCausalLM",
)

CODE = """{imports}

model = {loads}.from_pretrained({model!r})
tokenizer = AutoTokenizer.from_pretrained({tokenizer!r})
{inputs}
tokens = model.generate(**inputs, max_new_tokens={length})[0]
print(tokenizer.decode(tokens[inputs["input_ids"].shape[1] :], skip_special_tokens=True))"""

PLAIN = """inputs = tokenizer({prompt!r}, return_tensors="pt")"""

CHAT = """messages = {messages!r}
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"{variables}
)"""

QUESTION = "What is 2 + 3?"  # those of the run may be private

SCORES = """{table}

Means over problems, of n completions each, sampled with temperature {temperature:g}; maj@n is the majority vote. The
intervals cover the choice of problems, but not that of the seed: all figures are of one run with seed {seed}."""

CHOSEN = " The validation score chose this step, so it is biased upwards."

UNKNOWN = "Unknown: whoever exported these weights stated none. The base model may have one that also covers them."

SUITES = """

{table}

{origin}"""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A policy that is exported, with what no record of its run knows about it."""

    name: str  # of its repository, or of its directory
    step: int
    best: bool  # whether its validation score chose this step
    dtype: str  # of the weights
    adapters: bool  # whether the weights are those of adapters alone
    base_model: str = ""  # the repository of the checkpoint that training began from; "": unknown
    license: str = ""  # an identifier of the Hub, such as apache-2.0; "": unknown
    suites: SuiteReport | None = None  # of this policy


def model_card(run: RunDirectory, exported: Exported) -> str:
    """Return the model card of a policy: the Hub's metadata, and Markdown.

    All figures are those of the exported step and of the base policy, whatever the run has done later.

    Raises:
      ConfigError: if a record of the run is damaged.
    """
    config, metrics, provenance = from_dict(run.config()), run.metrics(), provenance_of(run)
    return CARD.format(
        metadata=_metadata(config, exported),
        title=exported.name.rpartition("/")[2],
        base=_base(config, exported),
        steps=f"{exported.step:,}",
        scores=_scores(config, metrics, exported) + _suites(exported.suites),
        code=_code(config, run, exported),
        facts="\n".join(f"* {fact}" for fact in (*_facts(config, metrics, exported), origin(provenance))),
        commands=_commands(provenance),
        config=json.dumps(to_dict(config), indent=2),
        license=f"`{exported.license}`" if exported.license else UNKNOWN,
    )


def _metadata(config: Config, exported: Exported) -> str:
    data = hub_repository(config.task.train) if isinstance(config.task, QuestionsConfig) else ""
    objective = config.objective.name
    tags = ["grpo_jax", "reinforcement-learning", *([] if objective in own_code(config) else [objective])]
    return ModelCardData(
        base_model=exported.base_model or None,
        datasets=[data] if data else None,
        library_name="peft" if exported.adapters else "transformers",
        license=exported.license or "unknown",
        pipeline_tag="text-generation",
        tags=tags,
    ).to_yaml()


def _base(config: Config, exported: Exported) -> str:
    if exported.base_model:
        return f"[{exported.base_model}](https://huggingface.co/{exported.base_model})"
    if config.model.checkpoint:
        return f"the checkpoint `{Path(config.model.checkpoint).name}`"
    return "a small decoder that supervised learning trained from scratch"


def _scores(config: Config, metrics: RunMetrics, exported: Exported) -> str:
    rows = [
        f"{split.name.lower()} | {'this policy' if line.step else 'base policy'} | {line.scores.problems:,} "
        f"| {line.scores.samples} | {_shares(line.scores.pass_at[0])} | {known(line.scores.pass_at[-1].value)} "
        f"| {known(line.scores.majority.value)} | {line.scores.mean_length:,.1f}"
        for split in (Split.TEST, Split.VALIDATION)
        for line in metrics.of_split(split)
        if line.step in (0, exported.step)
    ]
    if not rows:
        return "The run has evaluated neither this policy nor its base."
    table = _table("split | policy | problems | n | pass@1 | 95 % interval | pass@n | maj@n | tokens", rows)
    text = SCORES.format(table=table, seed=config.seed, temperature=config.evaluation.sampling.temperature)
    if not all(line.scores.mean.known for line in metrics.evaluations):
        text += f" A dash is not known: {WITHOUT_VERDICTS}"
    return text + (CHOSEN if exported.best else "")


def _suites(report: SuiteReport | None) -> str:
    if report is None:
        return ""
    rows = [
        f"{name} | {suite.scores.problems:,} | {suite.scores.samples} | {_shares(suite.scores.mean)} "
        f"| {known(suite.shares.passed)} | {known(suite.shares.majority)} | {suite.scores.mean_length:,.1f}"
        for name, suite in report.suites.items()
    ]
    table = _table("suite | problems | n | mean@n | 95 % interval | pass@n | maj@n | tokens", rows)
    return SUITES.format(table=table, origin=f"Suites: {origin(report.provenance)}")


def _table(header: str, rows: Sequence[str]) -> str:
    return "\n".join(f"| {row} |" for row in (header, " | ".join(["---"] * len(header.split(" | "))), *rows))


def _shares(share: Share) -> str:
    return f"{known(share.value)} | {share.interval()}"


def _facts(config: Config, metrics: RunMetrics, exported: Exported) -> Iterator[str]:
    """Yield what the policy was trained on, how, and for how long."""
    task, objective, rollout, optimizer = config.task, config.objective, config.rollout, config.optimizer
    if isinstance(task, QuestionsConfig):
        split = f", split `{task.train.split}`" if task.train.split else ""
        yield f"Data: `{task.train.path}` ({task.train.kind}{split})"
        yield "Reward: " + " + ".join(f"{weight:g} `{term}`" for term, weight in task.reward.terms.items())
    else:
        yield f"Data and reward: the task `{task.factory if isinstance(task, OwnTaskConfig) else task.name}`"
    yield (
        f"Objective: `{objective.name}`, groups of {rollout.group_size}, {counted(rollout.prompts_per_step, 'prompt')} "
        f"per step, completions of at most {counted(rollout.max_new_tokens, 'token', ',')}"
    )
    yield f"Optimizer: Adam, learning rate {optimizer.learning_rate:g} ({optimizer.schedule})"
    if config.model.lora:
        yield f"LoRA: rank {config.model.lora.rank}" + ("" if exported.adapters else ", merged into the weights")
    for line in metrics.training:
        if line.step == exported.step:
            yield (
                f"Spent: {counted(line.prompts, 'prompt', ',')}, {counted(line.rollouts, 'rollout', ',')}, "
                f"{counted(line.updates, 'update', ',')}, {line.seconds:,.0f} seconds of training"
            )
    yield f"Seed: {config.seed}"
    yield f"Weights: {exported.dtype}"


def _commands(provenance: Provenance | None) -> str:
    """Return the commands that made the policy, the oldest first, those of the run that it forks included."""
    if provenance is None:
        return "The command was not recorded."
    forked = provenance.forked_from.starts if provenance.forked_from else []
    distinct = dict.fromkeys(start.command for start in (*forked, *provenance.starts))
    return "Made by:\n\n" + textwrap.indent("\n".join(distinct), "    ")


def _code(config: Config, run: RunDirectory, exported: Exported) -> str:
    """Return a program that loads the policy and samples a completion, prompted as in training."""
    base, task = exported.base_model or config.model.checkpoint, config.task
    if not isinstance(task, QuestionsConfig):
        group = next(run.newest_rollouts(), None)
        inputs = PLAIN.format(prompt=group.prompt if group else "...")
    elif task.chat:
        messages = [{"role": "system", "content": task.system}] if task.system else []
        messages.append({"role": "user", "content": task.template.replace("{question}", QUESTION)})
        variables = "".join(f", {name}={value!r}" for name, value in task.chat_variables.items())
        inputs = CHAT.format(messages=messages, variables=variables)
    else:
        inputs = PLAIN.format(prompt=task.template.replace("{question}", QUESTION))
    imports, loads = ADAPTERS if exported.adapters else WHOLE
    return CODE.format(
        imports=imports,
        loads=loads,
        model=exported.name,
        tokenizer=base if exported.adapters else exported.name,
        inputs=inputs,
        length=config.rollout.max_new_tokens,
    )
