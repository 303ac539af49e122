"""The rollouts of a step: in batches, one ahead, and with groups that carry no signal replaced."""

import dataclasses
import itertools
from functools import cache
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from grpo_jax.data import Problem, PromptSource, Split, encode
from grpo_jax.data.tasks.modular_expressions import ModularExpressions
from grpo_jax.data.tokenizer import EOS, character_tokenizer
from grpo_jax.evaluation import sample_and_judge, successes_of
from grpo_jax.rewards import PerAttempt, Verdict
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.sampling import FinishedGroups, ahead, one_ahead
from grpo_jax.training.batching import make_minibatches
from grpo_jax.training.clock import Clock
from grpo_jax.training.collect import begin_collecting
from grpo_jax.training.experiment import build
from grpo_jax.training.requests import training_request
from grpo_jax.training.resampling import choose_groups, wants_more
from grpo_jax.training.statistics import rollout_statistics
from grpo_jax.training.visits import Visits
from grpo_jax.types import Rollouts, StopReason
from tests.helpers import make_config

ONE_DEVICE = jax.devices()[:1]


@cache
def collected(visits=None, **changes):
    """A step of a fresh policy, half of whose completions of `x+y=` are right if the task is modulo 2."""
    easy = {"task__modulus": 2, "task__operations": 2, "task__train_problems": 64, "rollout__max_new_tokens": 12}
    made = build(make_config(model__architecture__num_layers=2, **easy, **changes), ONE_DEVICE)
    made.engine.load(made.programs.sampling_weights(made.programs.init_params(jax.random.key(3))), version=0)
    source = PromptSource(made.task.problems(Split.TRAIN), made.config.seed)
    visits = visits or Visits.empty(100, room=16)
    return begin_collecting(made, source, visits, Clock(), cursor=0, step=1, version=0)()


@pytest.mark.parametrize(("right", "wrong"), [(2.0, 0.0), (1.0, -1.0)])
def test_what_a_right_completion_is_worth_does_not_change_a_prompts_chance(right, wrong):
    """Every second completion was right, so a pair's advantage is divided by 1/2, and half of the pairs differ."""
    changes = {"objective__name": "two_grpo_rescaled", "rollout__prompts_per_step": 64}
    visits, prompts = Visits.empty(100, room=16), collected(**changes).prompt_ids
    successes = np.tile([1.0, 0.0], (64, 1))
    rewards, always = np.where(successes, right, wrong), np.ones((64, 2), bool)
    visits.observe(prompts, rewards, successes, always, np.ones((64, 2), int), always[:, 0], step=1)
    found = collected(visits, **changes)
    assert found.signal.any()
    np.testing.assert_allclose(np.abs(found.advantages[found.signal]), 2.0, rtol=1e-6)
    np.testing.assert_allclose(found.outcomes.expected, (right + wrong) / 2)
    assert rollout_statistics(found, step=1).signal_share_expected == 0.5


def test_completions_are_right_as_the_reward_says_or_else_by_its_size():
    verdicts = [Verdict(-1.0, None, right=True), Verdict(2.0, None, right=False)]
    verdicts += [Verdict(reward, None) for reward in (-1.0, 0.25, 2.0)]
    group = JudgedGroup(7, "1+1=", "2", [Completion("", 1, True, verdict) for verdict in verdicts])
    assert successes_of([group]).tolist() == [[1.0, 0.0, 0.0, 0.25, 1.0]]


def test_batches_do_not_change_what_is_sampled():
    """A completion depends on its prompt and its place in the run, not on what was sampled with it."""
    whole, parts = collected(), collected(rollout__prompts_per_batch=2)
    assert whole.prompt_ids == parts.prompt_ids
    np.testing.assert_array_equal(whole.rollouts.completion_tokens, parts.rollouts.completion_tokens)
    np.testing.assert_array_equal(whole.advantages, parts.advantages)


@pytest.mark.trap(12)
def test_a_completion_that_was_cut_off_stays_in_its_group():
    found = collected()
    assert (found.rollouts.stop_reasons == StopReason.LENGTH).any()
    assert found.outcomes.scored.all()
    np.testing.assert_array_equal(found.signal, np.ptp(found.outcomes.rewards, axis=1) > 0)


@pytest.mark.trap(8)
def test_what_is_learned_from_is_what_was_sampled():
    """Not its text encoded again: "aa" was sampled as two tokens, and this tokenizer has one for it."""
    tokenizer = character_tokenizer("ab")
    tokenizer.add_tokens(["aa"])
    a, eos = tokenizer.token_to_id("a"), tokenizer.token_to_id(EOS)
    assert encode(tokenizer, ["aa"]) != [[a, a]]
    group = Rollouts(
        prompt_tokens=np.array([[a]], np.int32),
        prompt_lengths=np.array([1], np.int32),
        completion_tokens=np.array([[[a, a, eos]]], np.int32),
        completion_lengths=np.array([[3]], np.int32),
        logprobs=np.zeros((1, 1, 3), np.float32),
        stop_reasons=np.array([[StopReason.STOP]]),
    )
    task = SimpleNamespace(
        tokenizer=tokenizer,
        reward=PerAttempt("any", lambda attempt: Verdict(1.0, attempt.completion)),
        prompt_tokens=lambda problems: [[a]],
        max_prompt_tokens=1,
        stop_tokens=(eos,),
    )
    engine = SimpleNamespace(
        capabilities=SimpleNamespace(vocab_size=10), sample=lambda *_: iter([FinishedGroups([0], group, version=0)])
    )
    request = dataclasses.replace(training_request(make_config(), step=1), group_size=1)
    found = sample_and_judge(engine, task, [Problem("a", "")], request)
    assert [completion.text for completion in found.groups[0].completions] == ["aa"]
    np.testing.assert_array_equal(found.rollouts.completion_tokens, group.completion_tokens)


def test_a_request_without_problems_is_refused():
    with pytest.raises(ValueError, match="there are no problems to sample"):
        sample_and_judge(engine=None, task=None, problems=[], request=None)


@pytest.mark.trap(15)
def test_groups_without_signal_are_replaced_by_fresh_prompts():
    plain = collected()
    assert len(plain.judged) == 8
    resampled = collected(rollout__prompts_per_batch=4, rollout__max_rollouts=128)
    assert resampled.prompt_ids[:8] == plain.prompt_ids
    assert len(set(resampled.prompt_ids)) == len(resampled.judged)  # no prompt twice
    assert len(resampled.judged) > 8
    before_the_last = resampled.signal[: len(resampled.judged) - 4]
    assert before_the_last.sum() < 8  # it does not go on when the step is full
    assert resampled.signal.sum() >= 8 or len(resampled.judged) == 64


@pytest.mark.trap(15)
def test_no_more_rollouts_are_sampled_than_allowed():
    found = collected(rollout__prompts_per_batch=4, rollout__max_rollouts=30)  # 15 prompts: three batches of four
    assert 8 <= len(found.judged) <= 12


def test_a_step_is_made_of_the_groups_with_signal_first():
    signal = np.array([False, True, False, True, False, True])
    assert choose_groups(signal, 2).tolist() == [False, True, False, True, False, False]
    assert choose_groups(signal, 4).tolist() == [True, True, False, True, False, True]
    assert choose_groups(signal, 6).all()


@pytest.mark.trap(15)
def test_a_replaced_group_is_no_part_of_the_denominator():
    """Resampling weighs prompts by how often they carry signal; what fell out does not shrink the gradient."""
    found = collected(rollout__prompts_per_batch=4, rollout__max_rollouts=128)
    chosen = found.chosen
    assert chosen.sum() == 8
    objective = build(make_config(), ONE_DEVICE).programs.objective
    (batch,) = make_minibatches(
        jax.tree.map(lambda array: array[chosen], found.rollouts),
        found.advantages[chosen],
        found.signal[chosen],
        minibatches=1,
        microbatch_groups=4,
        aggregation=objective.aggregation,
        denominator="sampled",
    )
    assert batch.dropped_weight == 2 * (8 - found.signal[chosen].sum())


def test_what_was_replaced_has_no_part_in_the_advantages_of_a_step():
    """Lite-PPO divides by the deviation of the step's rewards: eight pairs of 0 and 1, whatever else was sampled."""
    changes = {"objective__name": "lite_ppo", "rollout__prompts_per_batch": 4, "rollout__max_rollouts": 128}
    found = collected(**changes)
    assert not found.chosen.all()
    rewards, advantages = found.outcomes.rewards[found.chosen], found.advantages[found.chosen]
    centered = rewards - rewards.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(advantages, centered / rewards.std(), rtol=1e-5)


@pytest.mark.trap(15)
def test_whether_a_group_is_replaced_does_not_depend_on_the_others(monkeypatch):
    """Under REINFORCE++ one wrong completion of sixteen gives signal to every group, and none to seven without it."""
    judged = itertools.count(1)
    reward = PerAttempt("but the ninth", lambda attempt: Verdict(float(next(judged) != 9), None))
    monkeypatch.setattr(ModularExpressions, "reward", property(lambda self: reward))
    batches = {"rollout__prompts_per_step": 4, "rollout__prompts_per_batch": 4, "rollout__max_rollouts": 16}
    found = collected.__wrapped__(objective__name="reinforce_pp", **batches)
    assert found.chosen.tolist() == [True, True, True, False, True, False, False, False]
    rewards = found.outcomes.rewards[found.chosen]
    np.testing.assert_allclose(found.advantages[found.chosen], (rewards - rewards.mean()) / rewards.std(), rtol=1e-5)
    assert found.signal.tolist() == found.chosen.tolist()


def test_how_far_a_step_may_go():
    rollout = dataclasses.replace(make_config().rollout, max_rollouts=24, prompts_per_batch=4)
    first = np.zeros(8, bool)
    assert wants_more(rollout, first, left=56)
    assert not wants_more(rollout, first, left=3)
    assert not wants_more(dataclasses.replace(rollout, prompts_per_batch=8), first, left=56)
    assert not wants_more(dataclasses.replace(rollout, max_rollouts=0), first, left=56)


@pytest.mark.trap(41)
def test_resampling_passes_over_few_prompts_of_an_epoch():
    """However many a step may take, it begins wherever there is room for what it must take."""
    source = PromptSource(range(7500), seed=0)
    assert source.start_of_step(7500 - 512, 512) == 7500 - 512
    assert source.start_of_step(7500 - 511, 512) == 7500
    assert (source.left(0), source.left(7499), source.left(7500)) == (7500, 1, 7500)


def test_the_next_batch_is_under_way_when_one_arrives():
    events = []

    def start(item):
        events.append(("started", item))
        return np.array(item)

    for item, result in one_ahead(start, [1, 2, 3]):
        assert item == result
        events.append(("arrived", item))
    assert events == [("started", 1), ("started", 2), ("arrived", 1), ("started", 3), ("arrived", 2), ("arrived", 3)]
    assert list(one_ahead(start, [])) == []


def test_several_processes_gather_a_batch_before_the_next_is_sampled(monkeypatch):
    events = []
    monkeypatch.setattr(ahead, "gather", lambda batch: events.append(("gathered", batch)) or batch)
    monkeypatch.setattr(ahead, "fetch", lambda batch: events.append(("fetched", batch)) or batch)
    assert [item for item, _ in one_ahead(lambda item: events.append(("started", item)) or item, [1, 2])] == [1, 2]
    both = [[("started", item), ("gathered", item)] for item in (1, 2)]
    assert events == [*both[0], *both[1], ("fetched", 1), ("fetched", 2)]
