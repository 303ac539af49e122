"""Digests of everything that a run has read. A run with other inputs is another run, even if their names are the same.

Problems are digested in the form in which their source yields them. This covers files, patterns, data sets, generators
and the user's own tasks alike. Prompts are digested as tokens. The files of a model are digested whole, so that other
weights of the same size and date are noticed. All source files of the user's own code are digested. Data files that
this code opens are not, but the problems made from them are.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from grpo_jax.config import Config, QuestionsConfig, own_code, source_digests
from grpo_jax.json_record import JsonRecord

if TYPE_CHECKING:
    from grpo_jax.data import Problem, Split, Task  # this imports JAX

Files: TypeAlias = Mapping[str, str]  # name -> digest of the content
Look: TypeAlias = "Callable[[Sequence[Problem], Sequence[Sequence[int]]], None]"  # at problems and their token ids

# The files of a model's directory that define its tokenizer, and those that define the policy. Stop tokens are digested
# separately, as the task uses them.
TEXT = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
    "additional_chat_templates/*",
)
POLICY = ("config.json", "*.safetensors", "*.safetensors.index.json")
AT_ONCE = 4  # files; each takes a core, at about half a gigabyte per second


@dataclass(frozen=True)
class ProblemsDigest(JsonRecord):
    """The digests of a split's problems."""

    number: int
    digest: str  # of the problems in their order
    in_any_order: str
    tokens: str  # of their prompts


@dataclass(frozen=True)
class TokenizerDigest(JsonRecord):
    """The digests of a tokenizer."""

    vocabulary: str  # the token and the text of each id
    stop_tokens: Sequence[int]
    files: Files  # none if it is made in memory


@dataclass(frozen=True)
class Inputs(JsonRecord):
    """The digests of everything that a run or an evaluation reads."""

    date: str  # of the run, for templates that ask for one: UTC, to the second
    problems: Mapping[str, ProblemsDigest]  # by split
    tokenizer: TokenizerDigest
    policy: Files  # of the policy that training or evaluation starts from
    code: Mapping[str, Mapping[str, str]]  # the user's own: by import path, then by module
    base_policy: str | None = None  # the digest of a base policy that the run made itself; None until it is made


def read_inputs(
    config: Config,
    task: "Task",
    problems: Mapping["Split", Sequence["Problem"]],
    policy: Files,
    date: str,
    look: Look = lambda problems, rows: None,
) -> Inputs:
    """Digest everything that a configuration reads.

    Args:
      problems: the used problems, by split.
      policy: see `checkpoint_files`.
      date: of the run.
      look: called with the problems of each split and their prompts' token ids, which take long to compute. If it
        raises, the reading ends.
    """
    return Inputs(
        date=date,
        problems={_key(split): _digest_problems(task, of_split, look) for split, of_split in problems.items()},
        tokenizer=digest_tokenizer(config, task),
        policy=policy,
        code={path: source_digests(path) for path in own_code(config)},
    )


def _key(split: "Split") -> str:
    return split.name.lower()


def _digest_problems(
    task: "Task",
    problems: Sequence["Problem"],
    look: Look = lambda problems, rows: None,
) -> ProblemsDigest:
    every = list(problems)
    rows = task.prompt_tokens(every) if every else []
    look(every, rows)
    each = [hashlib.sha256(json.dumps([problem.prompt, problem.answer]).encode()).digest() for problem in every]
    return ProblemsDigest(
        number=len(every),
        digest=_digest(each),
        in_any_order=_digest(sorted(each)),
        tokens=_digest(
            json.dumps(row if isinstance(row, list) else [int(one) for one in row]).encode() for row in rows
        ),
    )


def digest_tokenizer(config: Config, task: "Task") -> TokenizerDigest:
    """Digest a task's tokenizer."""
    vocabulary = sorted(task.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    texts = task.tokenizer.decode_batch([[place] for _, place in vocabulary], skip_special_tokens=False)
    directory = config.task.tokenizer or config.model.checkpoint if isinstance(config.task, QuestionsConfig) else ""
    return TokenizerDigest(
        vocabulary=_digest([json.dumps([vocabulary, texts]).encode()]),
        stop_tokens=sorted(task.stop_tokens),
        files=digest_files(Path(directory), TEXT) if directory else {},
    )


def checkpoint_files(config: Config) -> Files:
    """Digest the files of `model.checkpoint` that the policy is read from; none if there is no checkpoint."""
    return digest_files(Path(config.model.checkpoint), POLICY) if config.model.checkpoint else {}


def digest_files(directory: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Digest the files of a directory whose names match, in a few threads."""
    paths = sorted({path for pattern in patterns for path in directory.glob(pattern) if path.is_file()})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        digests = list(pool.map(_digest_file, paths))
    return {str(path.relative_to(directory)): digest for path, digest in zip(paths, digests, strict=True)}


def changes(before: Inputs, now: Inputs) -> list[str]:
    """Return a clause for each difference between two inputs. Splits that only one has are not compared.

    The date is not compared, because a run keeps its first one. Neither is a base policy that the run makes itself
    (`keep_base`).
    """
    found: list[str] = []
    for split in sorted(before.problems.keys() & now.problems.keys()):
        found += _unlike_problems(split, before.problems[split], now.problems[split])
    found += changed_tokenizer(before.tokenizer, now.tokenizer)
    found += changed_policy(before.policy, now.policy)
    found += changed_code(before.code, now.code)
    return found


def problems_of(split: str) -> str:
    """Return the name of a split's problems in sentences."""
    return f"the {'training' if split == 'train' else split} problems"


def changed_problems(before: Inputs, task: "Task", split: "Split") -> list[str]:
    """Return a clause if the problems of a split are not exactly those that were read."""
    return _unlike_problems(_key(split), before.problems[_key(split)], _digest_problems(task, task.problems(split)))


def _unlike_problems(split: str, before: ProblemsDigest, now: ProblemsDigest) -> list[str]:
    which = problems_of(split)
    if before.number != now.number:
        return [f"{which} differ: {before.number:,} were read then, {now.number:,} now"]
    if before.in_any_order != now.in_any_order:
        return [f"{which} differ: there are {now.number:,} as before, but with other questions or answers"]
    if before.digest != now.digest:
        return [f"{which} are the same {now.number:,}, in another order"]
    if before.tokens != now.tokens:
        return [f"{which} are the same, but become other tokens (see the tokenizer and its chat template)"]
    return []


def changed_tokenizer(before: TokenizerDigest, now: TokenizerDigest) -> list[str]:
    """Return a clause for each difference between two tokenizers."""
    found = _changed_files("the tokenizer's", before.files, now.files)
    if before.stop_tokens != now.stop_tokens:
        found.append(f"the stop tokens differ: {before.stop_tokens} then, {now.stop_tokens} now")
    if not found and before.vocabulary != now.vocabulary:
        found.append("the tokenizer differs: some ids have other tokens or texts")
    return found


def changed_policy(before: Files, now: Files) -> list[str]:
    """Return a clause for each difference between the files of two policies."""
    return _changed_files("the base policy's", before, now)


def changed_code(before: Mapping[str, Files], now: Mapping[str, Files]) -> list[str]:
    """Return a clause for each part of the user's own code that has changed."""
    return [
        f"the code of {path} has changed in {', '.join(modules)}"
        for path in sorted(before.keys() & now.keys())
        if (modules := _unlike(before[path], now[path]))
    ]


def _changed_files(whose: str, before: Files, now: Files) -> list[str]:
    clauses = []
    for name in _unlike(before, now):
        how = "is gone" if name not in now else "is new" if name not in before else "has changed"
        clauses.append(f"{whose} {name} {how}")
    return clauses


def _unlike(before: Files, now: Files) -> list[str]:
    return [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]


def _digest(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
