"""Compare the mathematical reward with math-verify alone, on the labelled pairs of the tests.

    python tools/verifier_report.py [--pairs=tests/rewards/labelled.jsonl] [--easy=20000] [--math-verify]

For each kind of answer the report has the number of pairs, false positives (wrong answers called right), false
negatives and unscored ones. It also has the pairs per second, the longest single pair, and the speed on easy pairs,
which are all different, so that no cache helps. --math-verify adds the same for math-verify's parse and verify, which
get both texts between dollar signs.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from grpo_jax.config import RewardConfig
from grpo_jax.rewards import Attempt
from grpo_jax.rewards.mathematics.asked import interpreted
from grpo_jax.rewards.mathematics.reward import Mathematics

PAIRS = Path(__file__).parent.parent / "tests" / "rewards" / "labelled.jsonl"
CONFIG = RewardConfig(workers=2)

Judge = Callable[[str, str, str], str]  # question, gold, answer -> right, wrong, or another word for no verdict


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=PAIRS, help="JSON lines with gold, answer, label and kind")
    parser.add_argument("--easy", type=int, default=20_000, help="the number of easy pairs for measuring speed")
    parser.add_argument("--math-verify", action="store_true", help="also judge with math-verify alone (minutes)")
    arguments = parser.parse_args(argv)
    pairs = [json.loads(line) for line in arguments.pairs.read_text().splitlines()]
    ours = Mathematics(CONFIG)
    start = time.monotonic()
    ours.compare([(r"\sqrt{2}", "x"), (r"\sqrt{2}", "y")])
    print(f"workers start in {time.monotonic() - start:.1f} s")
    _report("grpo_jax", pairs, lambda *pair: _judged(ours, *pair))
    _easy(ours, arguments.easy)
    ours.close()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest worker: {peak:.0f} MB resident; limit {CONFIG.memory_mb} MB of address space")
    if arguments.math_verify:
        _report("math-verify", pairs, _math_verify)


def _report(name: str, pairs: Sequence[dict[str, str]], judge: Judge) -> None:
    counts: dict[str, Counter[str]] = {}
    longest = 0.0
    start = time.monotonic()
    for pair in pairs:
        before = time.monotonic()
        outcome = judge(pair.get("question", ""), pair["gold"], pair["answer"])
        longest = max(longest, time.monotonic() - before)
        counts.setdefault(pair["kind"], Counter())[_error(pair["label"], outcome)] += 1
    seconds = time.monotonic() - start
    total = sum(counts.values(), Counter[str]())
    print(f"\n{name:16} {'pairs':>6} {'false +':>8} {'false -':>8} {'unscored':>9}")
    for kind, found in [*sorted(counts.items()), ("all", total)]:
        print(f"{kind:16} {found.total():6} {found['false +']:8} {found['false -']:8} {found['unscored']:9}")
    print(f"{total['']} of {total.total()} as labelled ({100 * total[''] / total.total():.1f} %)")
    print(f"{len(pairs) / seconds:.0f} pairs/s one by one, the longest {longest:.2f} s")


def _error(label: str, outcome: str) -> str:
    if outcome not in ("right", "wrong"):
        return "unscored"
    return "" if outcome == label else "false +" if outcome == "right" else "false -"


def _easy(ours: Mathematics, number: int) -> None:
    rng = random.Random(0)
    attempts = [
        Attempt("", gold, "We find " * 50 + rf"$\boxed{{{answer}}}$", True, 200)
        for gold, answer in (_easy_pair(rng, index) for index in range(number))
    ]
    start, cpu = time.monotonic(), time.process_time()
    ours.judge(attempts)
    wall, used = time.monotonic() - start, time.process_time() - cpu
    print(f"easy pairs, all different: {number / wall:.0f}/s ({number / used:.0f} per CPU second, in one process)")


def _easy_pair(rng: random.Random, index: int) -> tuple[str, str]:
    gold, denominator = rng.randrange(10**6), rng.randrange(2, 1000)
    answer = gold + rng.choice((0, 0, 1))
    shapes = (
        (f"{gold}", f"{answer}"),
        (f"{gold}", f"{answer:,}"),
        (rf"\frac{{{gold}}}{{{denominator}}}", f"{answer}/{denominator}"),
        (f"{gold / 100}", rf"\${answer / 100}"),
        (f"({gold},{denominator})", f"({answer}, {denominator})"),
        (rf"{gold}\text{{ cm}}", f"{answer}"),
        (f"x={gold}", f"{answer}"),
        (rf"\frac{{{gold}}}{{{denominator}}}", rf"\dfrac{{{answer}}}{{{denominator}}}"),
    )
    return shapes[index % len(shapes)]


def _judged(ours: Mathematics, question: str, gold: str, answer: str) -> str:
    return ours.compare([(interpreted(question, gold), answer)])[0]


def _math_verify(question: str, gold: str, answer: str) -> str:
    from math_verify import parse, verify

    try:
        right, given = parse(f"${gold}$"), parse(f"${answer}$")
        if not right:
            return "unparsable gold"
        return "right" if verify(right, given) else "wrong"
    except BaseException as error:  # its TimeoutException is not an Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1:])
