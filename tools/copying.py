r"""Measure how many questions can be answered by copying a part of them, under the rewards of mathematics.

    python tools/copying.py [--questions=tests/rewards/questions.jsonl] [--passing]

Every part of a question's mathematics with balanced brackets is tried as the answer: first with
`mathematics_any_form`, which accepts anything that equals the gold answer, then with `mathematics`, which requires a
finished form. Those that were right at first are also tried in disguise: with +0, 1 times, over 1, and so on. A
question counts as passed if one of them is right, even if the question contains the gold answer itself. --passing lists
the copies that pass.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from verifier_report import CONFIG

from grpo_jax.rewards import Attempt
from grpo_jax.rewards.mathematics.reward import Mathematics

QUESTIONS = Path(__file__).parent.parent / "tests" / "rewards" / "questions.jsonl"
MATHEMATICS = re.compile(r"\$([^$]+)\$|(?<![\w\\])(\d[\d.,]*\d|\d)")
PIECE = re.compile(r"\\begin\{\w+\}|\\end\{\w+\}|\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\S")
OPENING = {"{": "}", "(": ")", "[": "]", "\\{": "\\}", "\\left": "\\right"}
DISGUISES = (r"{}+0", r"1\cdot {}", r"\left({}\right)", r"\frac{{{}}}{{1}}", r"{}+1-1", r"\frac{{2({})}}{{2}}")

Question: TypeAlias = dict[str, str]


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=Path, default=QUESTIONS, help="JSON lines: subject, question, gold")
    parser.add_argument("--passing", action="store_true", help="also list the copies that pass as finished answers")
    arguments = parser.parse_args(argv)
    questions: list[Question] = [json.loads(line) for line in arguments.questions.read_text().splitlines()]
    any_form, finished = Mathematics(CONFIG, any_form=True), Mathematics(CONFIG)
    total = Counter(question["subject"] for question in questions)
    passed: dict[str, Counter[str]] = {name: Counter() for name in ("any form", "finished", "finished, disguised")}
    for question in questions:
        equal = _right(any_form, question, list(stretches(question["question"])))
        copies = _right(finished, question, equal)
        disguised = _right(finished, question, [form.format(copy) for copy in equal for form in DISGUISES])
        for column, found in zip(passed.values(), (equal, copies, copies or disguised), strict=True):
            column[question["subject"]] += bool(found)
        if arguments.passing and (copies or disguised):
            print(f"{question['question']}  gold {question['gold']}: {', '.join((copies or disguised)[:4])}")
    any_form.close()
    finished.close()
    print(f"{'passed by copying':26} {'questions':>10}" + "".join(f"{name:>22}" for name in passed))
    for subject, number in [*total.items(), ("all", total.total())]:
        counts = (column[subject] if subject in total else column.total() for column in passed.values())
        print(f"{subject:26} {number:10}" + "".join(f"{count:22}" for count in counts))


def stretches(question: str) -> Iterator[str]:
    """Yield the parts of a question's mathematics whose brackets are balanced, each once."""
    found = dict[str, None]()
    for inline, number in MATHEMATICS.findall(question):
        text = inline or number
        pieces = [(match.start(), match.end()) for match in PIECE.finditer(text)]
        for first, (start, _) in enumerate(pieces):
            for _, end in pieces[first:]:
                if _closed(text[start:end]):
                    found[text[start:end]] = None
    yield from found


def _closed(text: str) -> bool:
    waiting: list[str] = []
    for piece in PIECE.findall(text):
        if piece in OPENING:
            waiting.append(OPENING[piece])
        elif piece in OPENING.values() and (not waiting or waiting.pop() != piece):
            return False
    return not waiting and text.count("\\begin") == text.count("\\end")


def _right(reward: Mathematics, question: Question, answers: Sequence[str]) -> list[str]:
    attempts = [Attempt(question["question"], question["gold"], rf"\boxed{{{answer}}}", True, 10) for answer in answers]
    return [answer for answer, verdict in zip(answers, reward.judge(attempts), strict=True) if verdict.right]


if __name__ == "__main__":
    main(sys.argv[1:])
