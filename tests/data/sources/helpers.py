"""A few records, and a source for them."""

import json

from grpo_jax.config import SourceConfig

RECORDS = [{"question": f"{number}+{number}", "answer": str(2 * number)} for number in range(1, 5)]


def source(**changes):
    fields = {
        "kind": "jsonl",
        "path": "",
        "split": "",
        "prompt_field": "question",
        "answer_field": "answer",
        "answer_format": "plain",
        "limit": 0,
    }
    return SourceConfig(**fields | changes)


def write_lines(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file
