"""Any rollout engine can train a policy: nothing but its protocol is known to the rest."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest

from grpo_jax.config import ConfigError
from grpo_jax.config.loading import check
from grpo_jax.data import Split
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.sampling import Capabilities, EngineError
from grpo_jax.training import build, engines, replay, train
from grpo_jax.training.experiment import lanes_of_step
from grpo_jax.training.problems import problems_of
from grpo_jax.training.requests import check_engine, evaluation_request, training_request
from tests.helpers import make_config, metrics
from tests.scripted_engine import ScriptedEngine

ONE_DEVICE = jax.devices()[:1]
EVALUATED = (Split.VALIDATION, Split.TEST)
FEW = {"train__steps": 2, "optimizer__warmup_updates": 1, "evaluation__every": 0, "checkpoint__keep_best": 0}


def scripted(config):
    """An experiment whose engine answers right and wrong in turn, and the engine."""
    made = build(config, ONE_DEVICE)
    problems = problems_of(config, made.task).values()
    answers = {problem.prompt: problem.answer for of_split in problems for problem in of_split}
    room = config.rollout.max_new_tokens
    engine = ScriptedEngine(made.task, room, lambda prompt, index: "=" if index % 2 else answers[prompt])
    return dataclasses.replace(made, engine=engine), engine


def test_a_scripted_engine_trains_a_policy(tmp_path):
    config = make_config(objective__old_logprobs="trainer", **FEW)
    experiment, engine = scripted(config)
    summary = train(experiment, tmp_path)
    assert engine.loaded == [0, 1, 2]  # the policy after each step
    assert engine.closed
    assert summary.updates == 2
    assert summary.base.pass_at_1.value == summary.final.pass_at_1.value == 0.5
    steps = [line for line in metrics(tmp_path) if line["kind"] == "train"]
    assert [line["signal_share"] for line in steps] == [1.0, 1.0]
    assert [request.counter.step for _, request in engine.requests] == [0, 1, 2, 0]


@dataclasses.dataclass(frozen=True)
class ScriptedConfig:
    """A section of the configuration with nothing but the engine's name."""

    name: str = "scripted"


def test_a_name_for_an_engine_is_a_section_and_a_line(monkeypatch):
    config = make_config(objective__old_logprobs="trainer", objective__importance_cap=2.0)
    named = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, engine=ScriptedConfig()))
    check(named)

    def make(config, programs, samplers, task):
        return ScriptedEngine(task, config.rollout.max_new_tokens, lambda prompt, index: "=")

    monkeypatch.setitem(engines.ENGINES, "scripted", make)
    made = build(named, ONE_DEVICE)
    assert isinstance(made.engine, ScriptedEngine)
    assert lanes_of_step(made) == 0


def test_a_completion_is_sampled_again_by_the_engine_of_its_run(tmp_path):
    experiment, engine = scripted(make_config(objective__old_logprobs="trainer", checkpoint__every=1, **FEW))
    train(experiment, tmp_path)
    again = partial(replay, tmp_path, step=2, prompt="0", devices=ONE_DEVICE, make_engine=lambda experiment: engine)
    for sample in (0, 1):
        found = again(sample=sample)
        assert found.equal
        assert found.now.completion.verdict.right == (sample == 0)
    assert engine.loaded[-1] == 1  # the policy after the step before
    assert not replay(tmp_path, step=2, prompt="0", sample=1, devices=ONE_DEVICE).equal  # by JaxEngine
    engine.capabilities = dataclasses.replace(engine.capabilities, counter_exact=False)
    with pytest.raises(ConfigError, match="cannot sample a completion without its batch; replay with one that can"):
        again(sample=0)


def test_what_an_engine_cannot_do_is_refused_before_anything_is_computed(tmp_path):
    experiment, _ = scripted(make_config(objective__old_logprobs="sampler", **FEW))
    with pytest.raises(ConfigError, match=r"objective.old_logprobs='sampler': .* set it to 'trainer'"):
        train(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    coupled = make_config(rollout__noise="antithetic", objective__old_logprobs="trainer")
    able = Capabilities(counter_exact=True, coupled_noise=False, exact_logprobs=False, vocab_size=9)
    with pytest.raises(ConfigError, match=r"rollout.noise='antithetic': .* set it to 'independent'"):
        check_engine(coupled, able)


def test_the_engine_fills_its_last_batch_and_throws_the_filling_away():
    config = make_config()
    made = build(config, ONE_DEVICE)
    made.engine.load(made.programs.sampling_weights(made.programs.init_params(jax.random.key(3))), version=7)
    problems = made.task.problems(Split.TRAIN, 5)
    request = training_request(config, step=1)
    found = [
        sample_and_judge(
            made.engine, made.task, problems, dataclasses.replace(request, prompts_per_batch=at_once)
        ).rollouts
        for at_once in (2, 5, 8)
    ]
    assert len(found[0].prompt_lengths) == 5
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].completion_tokens, other.completion_tokens)


@pytest.mark.trap(43)
@pytest.mark.parametrize("mesh", [(1, 1, 1), (2, 2, 2)])
def test_lanes_that_pass_from_batch_to_batch_return_every_group(mesh, caplog):
    """In any order of the prompts, on any mesh, with one compiled program for all batches."""
    data, fsdp, tensor = mesh
    config = make_config(mesh__data=data, mesh__fsdp=fsdp, mesh__tensor=tensor, rollout__lanes=4)
    made = build(config, jax.devices()[: data * fsdp * tensor])
    made.engine.load(made.programs.sampling_weights(made.programs.init_params(jax.random.key(3))), version=7)
    problems = made.task.problems(Split.TRAIN, 18)
    request = dataclasses.replace(training_request(config, step=1), prompts_per_batch=4)

    def sampled(experiment, request):
        with jax.transfer_guard("disallow"):  # as in a training step
            return sample_and_judge(experiment.engine, made.task, problems, request).rollouts

    whole = dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, lanes=0))
    reference = build(whole, jax.devices()[: data * fsdp * tensor])
    reference.engine.load(made.programs.sampling_weights(made.programs.init_params(jax.random.key(3))), version=7)
    expected = sampled(reference, request)
    for lengths in (None, np.arange(18, dtype=np.float32)):
        with caplog.at_level("WARNING"), jax.log_compiles():
            found = sampled(made, dataclasses.replace(request, expected_lengths=lengths))
        for name in ("prompt_tokens", "completion_tokens", "completion_lengths", "stop_reasons"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=2e-5)
    assert made.programs.sampling.lanes(18, 4, 2, made.task.max_prompt_tokens) == 4 // (data * fsdp)
    assert sum("Compiling jit(feed)" in message for message in caplog.messages) == 1


def _first_token(token):
    def change(rollouts):
        tokens = rollouts.completion_tokens.copy()
        tokens[:, -1, 0] = token
        return {"completion_tokens": tokens}

    return change


def _one_fewer(rollouts):
    return {name: getattr(rollouts, name)[:, 1:] for name in ("completion_tokens", "completion_lengths")}


def _shorter(rollouts):
    """Leave out the last token of each completion."""
    lengths = rollouts.completion_lengths - 1
    logprobs = np.where(np.arange(rollouts.logprobs.shape[-1]) < lengths[..., None], rollouts.logprobs, 0)
    return {"completion_lengths": lengths, "logprobs": logprobs}


UNUSABLE = {
    "another prompt": (
        lambda r: {"prompt_tokens": r.prompt_tokens[:, ::-1]},
        r"prompt_tokens are not those of .*\[4\]",
    ),
    "a completion is missing": (
        _one_fewer,
        r"completion_tokens must have the shape \(1, 2, 4\), and has \(1, 1, 4\)",
    ),
    "no length": (lambda r: {"completion_lengths": r.completion_lengths * 0}, "from 1 to 4, .* and one is 0"),
    "too long": (lambda r: {"completion_lengths": r.completion_lengths + 16}, "from 1 to 4, .* and one is"),
    "an unknown token": (_first_token(99), "completion_tokens must be from 0 to 98, and one is 99"),
    "padding of -1": (_first_token(-1), "completion_tokens must be from 0 to 98, and one is -1"),
    "probabilities": (lambda r: {"logprobs": np.exp(r.logprobs)}, r"logprobs must be logarithms, .* one is 0\.36"),
    "another reason": (lambda r: {"stop_reasons": r.stop_reasons + 1}, "stop_reasons must be .*, and one is 2"),
    "no stop token": (_shorter, "must end with one of .* the token"),
    "a stop token inside": (_first_token(0), "elsewhere, but one has the token 0"),
    "cut off at a stop token": (lambda r: {"stop_reasons": r.stop_reasons * 0}, "elsewhere, but one has the token 0"),
    "padding is not a number": (lambda r: {"logprobs": np.where(r.logprobs, r.logprobs, np.nan)}, "one is nan"),
}


@pytest.mark.parametrize(("change", "sentence"), UNUSABLE.values(), ids=UNUSABLE)
def test_groups_that_were_not_asked_for_are_refused(change, sentence):
    config = make_config(objective__old_logprobs="trainer")
    experiment, engine = scripted(config)
    engine.capabilities = dataclasses.replace(engine.capabilities, vocab_size=99)
    sample = engine.sample

    def changed(prompts, request):
        for part in sample(prompts, request):
            yield part._replace(rollouts=dataclasses.replace(part.rollouts, **change(part.rollouts)))

    problems = experiment.task.problems(Split.TRAIN, 5)
    request = training_request(config, step=1)
    sample_and_judge(engine, experiment.task, problems, request)
    engine.sample = changed
    with pytest.raises(EngineError, match=rf"^the rollout engine returned .* cannot be used: .*{sentence}.*; correct"):
        sample_and_judge(engine, experiment.task, problems, request)


@pytest.mark.parametrize("indices", [[5], [-1], [0.0]])
def test_so_is_a_group_of_no_prompt(indices):
    config = make_config(objective__old_logprobs="trainer")
    experiment, engine = scripted(config)
    sample = engine.sample
    engine.sample = lambda prompts, request: (part._replace(indices=indices) for part in sample(prompts, request))
    with pytest.raises(EngineError, match=r"indices=.* must be integers from 0 to 4"):
        sample_and_judge(engine, experiment.task, experiment.task.problems(Split.TRAIN, 5), training_request(config, 1))


def test_older_weights_are_not_learned_from(tmp_path):
    experiment, engine = scripted(make_config(objective__old_logprobs="trainer", **FEW))
    engine.load = lambda weights, version: None  # and samples as at first
    with pytest.raises(EngineError, match="they are of the weights after step 0, not of those after step 1"):
        train(experiment, tmp_path)


def test_nor_are_they_evaluated(tmp_path):
    """After the last step no batch would show it."""
    experiment, engine = scripted(make_config(objective__old_logprobs="trainer", **FEW))
    load = engine.load
    engine.load = lambda weights, version: load(weights, min(version, FEW["train__steps"] - 1))
    with pytest.raises(EngineError, match="they are of the weights after step 1, not of those after step 2"):
        train(experiment, tmp_path)


def test_an_engine_without_weights_says_so():
    config = make_config()
    made = build(config, ONE_DEVICE)
    ask = partial(sample_and_judge, made.engine, made.task, made.task.problems(Split.TEST, 2))
    with pytest.raises(RuntimeError, match="the engine has no weights"):
        ask(evaluation_request(config, Split.TEST))


@pytest.mark.trap(42)
def test_training_and_evaluations_draw_from_streams_of_their_own():
    config = make_config()
    requests = [training_request(config, step=0), *(evaluation_request(config, split) for split in EVALUATED)]
    assert len({int(request.counter.stream) for request in requests}) == 3
