"""Checks of the reward, without a model: its verdicts on gold answers, others, empty texts and the question."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from grpo_jax.config import Config, QuestionsConfig, agreeing, counted
from grpo_jax.data import Demonstrable, Problem, Task, encode
from grpo_jax.doctor.findings import Check, Finding, error, examples, warning
from grpo_jax.doctor.written import finds_by_pattern
from grpo_jax.evaluation import judged_by
from grpo_jax.randomness import TextStream, text_generator
from grpo_jax.rewards import Attempt, Verdict

TRIED = 64  # problems
OTHERS = 0.05  # the share of problems from which it matters that another answer is right
COPIES = 0.25  # the same for the question itself; in `0 + 3 - 3 =` the last number happens to be right
REPEATED = 16  # attempts that are judged twice

# Forms in which a model may write an answer. A reward accepts at least one of them, or there is a mistake.
FORMS: Sequence[str] = (
    "{}",
    "\\boxed{{{}}}",
    "The answer is {}.",
    "Answer: {}",
    "#### {}",
    "<answer>{}</answer>",
    "<think>Easy.</think>\n<answer>\\boxed{{{}}}</answer>",
)


@dataclass(frozen=True)
class Trial:
    """The verdicts on completions of one problem that were made up."""

    problem: Problem
    gold: Verdict  # on its gold answer, in the form that the reward likes best
    other: Verdict | None  # on another problem's gold answer in this form; None: there is no other
    copy: Verdict  # on the question in this form
    nothing: Verdict  # on no text at all


@dataclass(frozen=True)
class Trials:
    """The trials of a reward."""

    config: Config
    form_known: bool  # whether one of the forms must be right; a reward of the user's own may want quite another text
    trials: Sequence[Trial]
    unscored: Mapping[str, int]  # how many of the made-up completions had no verdict, by reason
    unstable: int  # of the first gold answers, judged twice: those that had another reward the second time
    judged_twice: int

    @property
    def field(self) -> str:
        """The field that names the reward."""
        task = self.config.task
        return "task.reward.terms" if isinstance(task, QuestionsConfig) else f"task.name={task.name!r}"

    @property
    def rewards(self) -> set[float]:
        """All rewards that were given. If there is one, other checks would only say so in other words."""
        return {
            round(verdict.reward, 9)
            for trial in self.trials
            for verdict in (trial.gold, trial.other, trial.copy, trial.nothing)
            if verdict is not None and verdict.scored
        }

    def where(self, which: Callable[[Trial], bool]) -> list[Problem]:
        """Return the problems of the trials to which something applies."""
        return [trial.problem for trial in self.trials if which(trial)]


def try_reward(config: Config, task: Task, problems: Sequence[Problem]) -> Trials:
    """Let the task's reward judge completions that were made up for some problems, and return its verdicts."""
    tried = [problems[index] for index in range(0, len(problems), -(-len(problems) // TRIED))]

    def attempts(problem: Problem, texts: Sequence[str]) -> list[Attempt]:
        lengths = [len(row) + 1 for row in encode(task.tokenizer, texts)]
        return [
            Attempt(problem.prompt, problem.answer, text, True, min(length, config.rollout.max_new_tokens))
            for text, length in zip(texts, lengths, strict=True)
        ]

    trials, golds = [], []
    for problem in tried:
        rng = text_generator(TextStream.TRIED, problem.prompt)
        written = [form.format(problem.answer) for form in FORMS]
        if isinstance(task, Demonstrable):
            written.append(task.demonstration(problem, 0.0, rng))
        asked = attempts(problem, written)
        verdicts = judged_by(task.reward, asked)
        best = max(range(len(asked)), key=lambda form: _rank(verdicts[form]))
        form = FORMS[best] if best < len(FORMS) else "{}"
        other = next((one.answer for one in tried if one.answer.strip() != problem.answer.strip()), None)
        texts = ["", form.format(problem.prompt), *([form.format(other)] if other is not None else [])]
        nothing, copy, *others = judged_by(task.reward, attempts(problem, texts))
        trials.append(Trial(problem, verdicts[best], others[0] if others else None, copy, nothing))
        golds.append(asked[best])
    again = judged_by(task.reward, golds[:REPEATED])
    return Trials(
        config,
        finds_by_pattern(config) or isinstance(task, Demonstrable),
        trials,
        dict(task.reward.unscored),
        sum(not _same(one, trial.gold) for one, trial in zip(again, trials, strict=False)),
        len(again),
    )


def _rank(verdict: Verdict) -> tuple[bool, bool, float]:
    return verdict.scored, bool(verdict.right), verdict.reward


def _same(one: Verdict, other: Verdict) -> bool:
    """Return whether two verdicts agree, apart from rounding: that of a reward model depends on its batches."""
    close = math.isclose(one.reward, other.reward, rel_tol=1e-3, abs_tol=1e-3)
    return close and (one.scored, one.right) == (other.scored, other.right)


def _reasons(t: Trials) -> str:
    return ", ".join(f"{reason}: {number}" for reason, number in sorted(t.unscored.items())) or "no reason is given"


def _unless(t: Trials) -> str:
    return "" if t.form_known else ", unless what it wants is another text than an answer"


def _gold_unscored(t: Trials) -> Iterator[Finding]:
    none = t.where(lambda trial: not trial.gold.scored)
    if none:
        yield error(
            f"{t.field}: {len(none)} of {counted(len(t.trials), 'gold answer')} cannot be judged against "
            f"{agreeing(len(none), 'itself', 'themselves')} ({_reasons(t)}), such as "
            f"{examples([problem.answer for problem in none])}; correct the reward, task.train.answer_field or "
            "answer_format."
        )


def _gold_wrong(t: Trials) -> Iterator[Finding]:
    wrong = t.where(lambda trial: trial.gold.scored and trial.gold.right is False)
    if wrong and len(t.rewards) > 1:
        yield (error if t.form_known else warning)(
            f"{t.field}: {len(wrong)} of {counted(len(t.trials), 'gold answer')} "
            f"{agreeing(len(wrong), 'is wrong against itself', 'are wrong against themselves')}, such as "
            f"{examples([problem.answer for problem in wrong])} ({len(FORMS)} forms were tried); correct the reward, "
            f"task.reward.answer_pattern or task.train.answer_format{_unless(t)}."
        )


def _nothing_decides(t: Trials) -> Iterator[Finding]:
    if t.trials and all(trial.gold.scored and trial.gold.right is None for trial in t.trials):
        yield error(
            f"{t.field}: nothing decides what is right, so pass@1 would not be known; add a term that judges answers, "
            "such as mathematics."
        )


def _constant(t: Trials) -> Iterator[Finding]:
    if len(t.rewards) == 1:
        wrong = all(trial.gold.right is False for trial in t.trials)
        yield (warning if wrong and not t.form_known else error)(
            f"{t.field}: the reward is {t.rewards.pop():g} for the gold answers, for other answers, for the "
            "question itself and for no text at all, so no group carries signal; correct it"
            f"{_unless(t) if wrong else ''}."
        )


def _another_answer(t: Trials) -> Iterator[Finding]:
    right = t.where(lambda trial: trial.other is not None and bool(trial.other.right))
    if len(right) > OTHERS * len(t.trials) and len(t.rewards) > 1:
        yield warning(
            f"{t.field}: another problem's answer is right for {len(right)} of {counted(len(t.trials), 'problem')}, "
            f"such as {examples([problem.prompt for problem in right], 1)}; make the reward look at the gold answer."
        )


def _no_text(t: Trials) -> Iterator[Finding]:
    """Warn of a reward for empty completions, from which a policy would learn to say nothing."""
    right = t.where(lambda trial: bool(trial.nothing.right))
    paid = t.where(
        lambda trial: trial.gold.scored and trial.nothing.scored and trial.nothing.reward > trial.gold.reward
    )
    if (right or paid) and len(t.rewards) > 1:
        yield warning(
            f"{t.field}: an empty completion is right for {len(right)} of {counted(len(t.trials), 'problem')}, and is "
            f"worth more than the gold answer for {len(paid)}; correct the reward."
        )


def _copies(t: Trials) -> Iterator[Finding]:
    right = t.where(lambda trial: bool(trial.copy.right))
    if len(right) > COPIES * len(t.trials) and len(t.rewards) > 1:
        yield warning(
            f"{t.field}: the question itself is a right answer to {len(right)} of {counted(len(t.trials), 'problem')}, "
            f"such as {examples([problem.prompt for problem in right], 1)}; use a term that wants a finished answer, "
            "such as mathematics."
        )


def _unstable(t: Trials) -> Iterator[Finding]:
    if t.unstable:
        yield warning(
            f"{t.field}: {t.unstable} of {counted(t.judged_twice, 'completion')} had another reward when they were "
            "judged a second time, so groups get signal from chance; make the reward a function of the completion."
        )


def _finite(t: Trials) -> Iterator[Finding]:
    large = [trial.gold.reward for trial in t.trials if abs(trial.gold.reward) > 100]
    if large:
        yield warning(
            f"{t.field}: gold answers are worth up to {max(large, key=abs):g}; objectives expect rewards of "
            "about 1, so lower the weights."
        )


CHECKS: Sequence[Check[Trials]] = (
    Check("gold answers that cannot be judged", _gold_unscored),
    Check("gold answers that are wrong against themselves", _gold_wrong),
    Check("whether a term decides what is right", _nothing_decides),
    Check("a reward that is always the same", _constant),
    Check("answers to other problems", _another_answer),
    Check("empty completions", _no_text),
    Check("copies of the question", _copies),
    Check("whether a reward is the same twice", _unstable),
    Check("size of the rewards", _finite),
)
