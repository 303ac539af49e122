"""Print a recorded completion beside the same one sampled again."""

from itertools import zip_longest

from rich import box
from rich.table import Table
from rich.text import Text

from grpo_jax.config import counted
from grpo_jax.runs.groups import TrainingGroup
from grpo_jax.terminal import PlainConsole
from grpo_jax.training.replay import Replay, Sample, SampledToken


def show_replay(replay: Replay, console: PlainConsole) -> None:
    """Print a completion token by token, then and now, with its reward; the last line says whether both are equal."""
    group = replay.group
    table = Table(
        title=f"step {group.step}, prompt {replay.place}, sample {replay.index}; policy after step "
        f"{replay.policy_step}",
        box=box.SIMPLE,
    )
    for column in ("place", "token", "text", "log-prob. then", "now", "difference"):
        table.add_column(column, justify="left" if column in ("token", "text") else "right")
    for place, (then, now) in enumerate(zip_longest(replay.then.tokens, replay.now.tokens)):
        table.add_row(*_row(place, then, now, comparable=place < replay.alike))
    console.print(table)
    for name, value in (
        ("prompt", f"{group.prompt!r} (answer {group.gold!r})"),
        ("then", f"{_sample(replay.then)}, {_advantage(group, replay.index)}"),
        ("now", _sample(replay.now)),
    ):
        console.say(f"{name + ':':8}{value}")
    console.say(verdict(replay))


def verdict(replay: Replay) -> str:
    """Return one line that says whether the tokens are equal, and how far apart their log-probabilities are."""
    then, now, largest = len(replay.then.tokens), len(replay.now.tokens), replay.largest_difference
    apart = "" if largest is None else f"largest |difference| of log-probabilities {largest:.1e}"
    if replay.equal:
        return f"the same {counted(then, 'token')}; {apart}"
    before = f"; before that, {apart}" if apart else ""
    return f"tokens differ from place {replay.alike} on ({counted(then, 'token')} then, {now} now){before}"


def _row(place: int, then: SampledToken | None, now: SampledToken | None, *, comparable: bool) -> list[str | Text]:
    """Return the cells of a token. A model's text is printed as `repr` writes it, so it cannot control the terminal."""

    def both(before: str, after: str) -> Text:
        return Text(before if before == after else f"{before} -> {after}")

    pair = (then, now)
    ids = ["-" if token is None else str(token.id) for token in pair]
    texts = ["-" if token is None else repr(token.text) for token in pair]
    logprobs = ["-" if token is None else f"{token.logprob:.6f}" for token in pair]
    difference = f"{now.logprob - then.logprob:+.1e}" if comparable and then and now else "-"
    return [str(place), both(*ids), both(*texts), *logprobs, difference]


def _sample(sample: Sample) -> str:
    one = sample.completion
    judged = {True: "right", False: "wrong", None: "no verdict"}[one.verdict.right]
    reward = "unscored" if one.reward is None else f"reward {one.reward:g}, {judged}"
    total = sum(token.logprob for token in sample.tokens)
    end = f"{one.stop_reason} after {counted(len(sample.tokens), 'token')}"
    return f"{one.text!r}: {reward}; {end}, log-probability {total:.4f}"


def _advantage(group: TrainingGroup, index: int) -> str:
    left_out = "" if group.chosen else " (left out)"
    no_signal = "" if group.signal else " (no signal in the group)"
    return f"advantage {group.completions[index].advantage:+.4f}{left_out}{no_signal}"
