"""The comparison with the peers: turns, pairs, records and tables; and the workers that need no peer."""

import dataclasses
import itertools
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import compare
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import records
import run_ours
import run_plain_jax
import work
from records import Life, Setting, Turn

from grpo_jax.training import build

MODEL = work.Model(vocabulary=48, width=8, layers=1, heads=2, kv_heads=1, head=4, mlp=8)
CASE = work.Case("minuscule/mixed_void", MODEL, prompts=4, group=2, update_rows=2, stops=12, void=True)
ENDLESS = 1000


@pytest.fixture
def start(tmp_path):
    """A function that starts scripted workers; `steps` says how many a system can take."""

    def start(system, case, steps=ENDLESS):
        script = str(Path(__file__).parent / "scripted_worker.py")
        return compare.Worker(system, [sys.executable, script, str(steps)], case, tmp_path / system)

    return start


def test_the_systems_take_turns(start):
    found = list(compare.compare(CASE, ["one", "two"], 2, start))
    turns = [one for one in found if isinstance(one, Turn)]
    assert [(one.system, one.opponent, one.number) for one in turns] == [
        (system, opponent, number)
        for peer in ("one", "two")
        for number in (0, 1)
        for system, opponent in (("ours", peer), (peer, "ours"))
    ]
    # The first two steps of each are in no pair.
    assert [one.rollout_seconds for one in turns if one.system == "ours"] == [2, 3, 4, 5]
    assert [one.rollout_seconds for one in turns if one.system == "two"] == [2, 3]
    assert {one.tokens for one in turns} == {CASE.prompts}
    lives = [one for one in found if isinstance(one, Life)]
    assert [one.system for one in lives] == ["one", "two", "ours"]
    assert all(1e-3 < one.peak_gb < 1 and one.first_step_seconds > 0 for one in lives)
    assert {one.versions["numpy"] for one in lives} == {np.__version__}


def test_a_peer_that_fails_is_left_out(start, capfd):
    def starts(system, case):
        return start(system, case, steps=3 if system == "weak" else ENDLESS)

    found = list(compare.compare(CASE, ["weak", "strong"], 2, starts))
    assert [one.system for one in found if isinstance(one, Life)] == ["strong", "ours"]
    told = capfd.readouterr().err
    assert told.startswith("minuscule/mixed_void: weak has ended with code 1:\nwhat a library prints\nit could not")
    with pytest.raises(compare.WorkerError, match="ours has ended with code 1"):
        list(compare.compare(CASE, ["strong"], 2, lambda system, case: start(system, case, 3)))


def test_cores_of_others_are_those_that_the_worker_does_not_use(start, monkeypatch):
    worker = start("ours", CASE)
    monkeypatch.setattr(worker, "_cpu_seconds", iter([5.0, 6.0]).__next__)
    monkeypatch.setattr(compare, "busy_seconds", iter([10.0, 14.0]).__next__)
    monkeypatch.setattr(compare, "time", SimpleNamespace(perf_counter=iter([0.0, 2.0]).__next__))
    turn = worker.turn("one", 0)
    worker.close()
    assert (turn.own_cores, turn.other_cores) == (0.5, 1.5)


def turn(system, number, seconds, opponent):
    return Turn("tiny/equal", system, opponent, number, seconds, seconds / 4, 4096, own_cores=2.0, other_cores=0.05)


RECORDS = [
    Setting("2026-01-01", "compare.py", "abc", "a machine", 2, "3.11"),
    *(turn("ours", number, seconds, "trl") for number, seconds in enumerate([1.0, 2.0, 4.0])),
    *(turn("ours", number, 9.0, "tunix") for number in range(2)),
    *(turn("trl", number, seconds, "ours") for number, seconds in enumerate([3.0, 2.0, 8.0])),
    Life("tiny/equal", "ours", 30.0, 0.1, 2.0, {"jax": "0.10"}),
    Life("tiny/equal", "trl", 12.0, 0.1, 8.0, {"trl": "1.16"}),
]


def test_records_are_read_as_they_were_written(tmp_path):
    file = tmp_path / "found.jsonl"
    file.write_text("".join(records.to_line(record) + "\n" for record in RECORDS))
    assert records.read(file) == RECORDS


def test_ratios_are_of_pairs():
    turns = [record for record in RECORDS if isinstance(record, Turn)]
    both = records.pairs(reversed(turns), "trl")
    assert [(ours.seconds, theirs.seconds) for ours, theirs in both] == [(1, 3), (2, 2), (4, 8)]
    assert records.pairs(turns, "tunix") == []  # which took no turn
    lines = list(records.tables(RECORDS))
    assert "| ours | 1.00 | 3.00 | 4.00 | 8.00 | 4096 | 2.00 | 30 | 0.05 |" in lines
    assert "| trl | 0.75 | 2.25 | 3.00 | 6.00 | 4096 | 8.00 | 12 | 0.05 |" in lines
    assert f"| trl |{4 * ' 2.00 (1.50 to 2.50) |'} 0.25 | 3 |" in lines
    assert records.spread([1.234]) == "1.23"
    unfinished = records.tables([record for record in RECORDS if not isinstance(record, Life)])
    assert f"| trl |{4 * ' 2.00 (1.50 to 2.50) |'} nan | 3 |" in list(unfinished)


def test_a_command_line_prints_tables_of_files(tmp_path, capsys):
    file = tmp_path / "found.jsonl"
    file.write_text("".join(records.to_line(record) + "\n" for record in RECORDS))
    assert compare.main([f"--print={file}"]) == 0
    assert capsys.readouterr().out == "\n".join(records.tables(RECORDS)) + "\n"
    with pytest.raises(SystemExit):
        compare.main(["--sizes=tiny"])


@pytest.mark.parametrize("case", [case for of_size in work.CASES.values() for case in of_size.values()])
def test_cases_are_what_they_say(case):
    assert work.Case.from_json(case.to_json()) == case
    assert case.rollouts % case.update_rows == case.update_rows % case.group == 0
    assert ("mixed" in case.name) == (len(case.stop_tokens) * 32 == case.model.vocabulary)
    assert "mixed" in case.name or not case.stop_tokens
    void = sum(map(case.is_void, range(case.prompts)))
    assert void == (case.prompts // 2 if "void" in case.name else 0)
    tokens = {token for prompt in case.prompt_ids() for token in prompt}
    assert not tokens & {work.PAD, *case.stop_tokens}


def test_completions_of_one_length_hardly_ever_have_the_same_reward():
    rewards = {work.reward([token, 5], void=False) for token in range(work.SMALL.vocabulary)}
    assert len(rewards) > 900
    assert work.reward([1, 2], void=True) == 0


def experiment(case):
    one_device = jax.devices()[:1]
    return build(run_ours.configuration(case, "two_grpo", [("model.scan_layers", "True")]), one_device)


def test_our_worker_runs_training_steps_of_the_case():
    made = experiment(CASE)
    assert made.config.model.scan_layers  # overrides are read
    first, second = itertools.islice(run_ours.steps(made), 2)
    for step in (first, second):
        lengths = step.collected.rollouts.completion_lengths
        assert lengths.shape == (CASE.prompts, CASE.group)
        assert lengths.min() < lengths.max() < work.NEW_TOKENS
        void = {work.as_text(ids) for place, ids in enumerate(CASE.prompt_ids()) if work.is_void(place)}
        signal = {
            group.prompt for group, carries in zip(step.collected.judged, step.collected.signal, strict=True) if carries
        }
        assert signal == {work.as_text(ids) for ids in CASE.prompt_ids()} - void
    assert (first.collected.rollouts.completion_tokens != second.collected.rollouts.completion_tokens).any()


def test_without_stop_tokens_completions_fill_the_room():
    (step,) = itertools.islice(run_ours.steps(experiment(dataclasses.replace(CASE, stops=0, void=False))), 1)
    assert (step.collected.rollouts.completion_lengths == work.NEW_TOKENS).all()
    assert step.collected.signal.all()


@pytest.fixture
def _ranks_promoted():
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.usefixtures("_ranks_promoted")
def test_the_plain_loop_samples_from_the_policy_that_it_trains():
    state = run_plain_jax.initial(MODEL)
    prompts = jnp.asarray(CASE.prompt_ids())
    rollouts = jax.jit(partial(run_plain_jax.sample, CASE))(state.params, prompts, jax.random.key(1))
    tokens, lengths = np.asarray(rollouts.tokens), np.asarray(rollouts.lengths)
    stopped = np.isin(tokens, CASE.stop_tokens)
    assert [row.argmax() + 1 if row.any() else work.NEW_TOKENS for row in stopped] == lengths.tolist()
    each = jnp.repeat(prompts, CASE.group, axis=0)
    found = jax.jit(partial(run_plain_jax.logprobs, MODEL))(state.params, each, rollouts.tokens)
    inside = np.arange(work.NEW_TOKENS) < lengths[:, None]
    np.testing.assert_allclose(found[inside], rollouts.logprobs[inside], atol=1e-5)
    advantages = run_plain_jax.advantages_of(CASE, jax.device_get(rollouts)).reshape(-1, CASE.group)
    assert (advantages.any(axis=1) == [not work.is_void(place) for place in range(CASE.prompts)]).all()
    new = jax.jit(partial(run_plain_jax.update, CASE))(state, prompts, rollouts, advantages.reshape(-1))
    moved = jax.tree.map(lambda new, old: jnp.abs(new - old).max(), new.params, state.params)
    assert max(jax.tree.leaves(moved)) == pytest.approx(work.LEARNING_RATE, rel=0.1)  # Adam's first step


@pytest.mark.usefixtures("_ranks_promoted")
def test_the_plain_loop_draws_by_probability():
    logits = jax.random.normal(jax.random.key(0), (1, 256)) * 2
    draws = 100_000
    token, logprob = jax.jit(run_plain_jax.draw)(jax.random.key(1), jnp.repeat(logits, draws, axis=0))
    expected = np.asarray(jax.nn.softmax(logits[0]))
    counts = np.bincount(token, minlength=256)
    assert ((counts - draws * expected) ** 2 / (draws * expected)).sum() < 255 + 5 * np.sqrt(2 * 255)
    np.testing.assert_allclose(np.exp(logprob), expected[np.asarray(token)], rtol=1e-4)
