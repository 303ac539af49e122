"""A vLLM server as the rollout engine: its run equals the local one, and none of its faults gives a wrong batch."""

import dataclasses
import json
import threading
import time

import jax
import numpy as np
import pytest

from grpo_jax.config import ConfigError, LoraConfig, VllmConfig
from grpo_jax.data import Split, encode_prompts
from grpo_jax.evaluation import sample_and_judge
from grpo_jax.policy import load_params, trained_of, with_trained
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.sampling import EngineError
from grpo_jax.training import build, loop, train
from grpo_jax.training.engines import make_engine
from grpo_jax.training.problems import problems_of
from grpo_jax.training.requests import check_engine, evaluation_request, training_request
from tests import vllm_server as does
from tests.helpers import make_config, metrics
from tests.vllm_server import VllmServer, ever, serving, then

ONE_DEVICE = jax.devices()[:1]
CONFIG = make_config(
    objective__old_logprobs="trainer",
    objective__importance_cap=2.0,
    train__steps=2,
    optimizer__warmup_updates=1,
    evaluation__every=0,
    checkpoint__keep_best=0,
    checkpoint__every=1,
)
LORA = LoraConfig(rank=2, alpha=4.0)
ADAPTED = dataclasses.replace(
    CONFIG,
    model=dataclasses.replace(CONFIG.model, lora=LORA),
    optimizer=dataclasses.replace(CONFIG.optimizer, learning_rate=0.03),
    logging=dataclasses.replace(CONFIG.logging, arms_every=0),
)
GENERATE, RELOAD, LABEL = "/inference/v1/generate", "/collective_rpc", "/weight_info"
UNLOAD, LOAD = "/v1/unload_lora_adapter", "/v1/load_lora_adapter"
CANARY = 4  # requests
TRIED = 3 * CANARY  # requests for the first weights: before, in and after the trial
STEP = CONFIG.rollout.prompts_per_step * CONFIG.rollout.group_size  # requests


@pytest.fixture(scope="module")
def experiment():
    return build(CONFIG, ONE_DEVICE)


@pytest.fixture
def server(experiment):
    """A server that knows all completions of a run of two steps."""
    made, problems = VllmServer(experiment), problems_of(CONFIG, experiment.task)
    made.knows(problems[Split.TRAIN], *(training_request(CONFIG, step) for step in (1, 2, 3, 4)))
    made.knows(problems[Split.TEST], evaluation_request(CONFIG, Split.TEST))
    with serving(made) as made.address:
        yield made


@pytest.fixture
def make(server, tmp_path):
    """Makes engines of an experiment, and closes them."""
    made = []

    def of(experiment, **changes):
        made.append(with_server(experiment, server, tmp_path, **changes).engine)
        return made[-1]

    yield of
    for each in made:
        each.close()


@pytest.fixture
def engine(experiment, make):
    return make(experiment)


def served_config(config, server, folder, **changes):
    """The configuration with the server as its engine."""
    settings = {"wait": 0.01, "seconds": 20.0, "retries": 3, "tolerance": 1e-3, "requests": 8} | changes
    server.folder = folder / "weights"
    section = VllmConfig(address=server.address, weights=str(server.folder), **settings)
    return dataclasses.replace(config, rollout=dataclasses.replace(config.rollout, engine=section))


def with_server(experiment, server, folder, **changes):
    """The experiment with the server as its engine."""
    config = served_config(experiment.config, server, folder, **changes)
    engine = make_engine(config, experiment.programs, experiment.samplers, experiment.task)
    return dataclasses.replace(experiment, config=config, engine=engine)


def weights_of(experiment, seed=3):
    return experiment.programs.policy_weights(experiment.programs.init_params(jax.random.key(seed)))


def sampled(engine, experiment, number=5, **changes):
    """The groups of some problems in the first training step, two at a time."""
    request = dataclasses.replace(training_request(CONFIG, step=1), **{"prompts_per_batch": 2} | changes)
    return sample_and_judge(engine, experiment.task, experiment.task.problems(Split.TRAIN, number), request).rollouts


@pytest.fixture(scope="module")
def expected(experiment):
    experiment.engine.load(weights_of(experiment), version=7)
    return sampled(experiment.engine, experiment)


def assert_same(found, expected):
    for name in ("prompt_tokens", "prompt_lengths", "completion_tokens", "completion_lengths", "stop_reasons"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype, name
    np.testing.assert_allclose(found.logprobs, expected.logprobs, atol=1e-5)


def steps(workdir):
    """The lines of the steps and evaluations of a run."""
    return [line for line in metrics(workdir) if line["phase"] == "train"]


def written(workdir):
    """The tokens of all groups that a run has written."""
    lines = (workdir / "rollouts" / "000001.jsonl").read_text().splitlines()
    return [(group["id"], group["tokens"], group["advantages"]) for group in map(json.loads, lines)]


def test_a_run_equals_that_of_the_local_engine_also_if_the_server_fails_in_the_middle(experiment, server, tmp_path):
    """The step that fails leaves nothing behind, and the same command continues."""
    local, served = tmp_path / "local", tmp_path / "served"
    train(experiment, local)
    evaluation = CONFIG.evaluation.test_problems * CONFIG.evaluation.test_samples
    to_step_2 = TRIED + evaluation + STEP + CANARY
    server.faults[GENERATE] = ever(does.fails, after=to_step_2 + STEP // 2)
    with pytest.raises(EngineError, match=r"/inference/v1/generate failed 4 times, .* status 500 .*out of memory"):
        train(with_server(experiment, server, tmp_path), served)
    assert [line["step"] for line in steps(served)] == [0, 1]
    assert [entry.name for entry in (tmp_path / "weights").iterdir()] == ["lock"]
    del server.faults[GENERATE]
    train(with_server(experiment, server, tmp_path), served)
    assert written(served) == written(local)
    assert len(written(local)) == 2 * CONFIG.rollout.prompts_per_step
    for found, expected in zip(steps(served), steps(local), strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name] == (pytest.approx(value, rel=1e-3, abs=1e-5) if type(value) is float else value), name


def test_a_server_samples_during_the_update(server, tmp_path, monkeypatch):
    """It need not answer before the update has begun, and is given its adapters again if it loses them meanwhile."""
    rollout = dataclasses.replace(ADAPTED.rollout, delay=1)
    config = dataclasses.replace(ADAPTED, rollout=rollout, train=dataclasses.replace(ADAPTED.train, steps=3))
    local, served, experiment = tmp_path / "local", tmp_path / "served", build(config, ONE_DEVICE)
    train(experiment, local)
    server.begin_with(load_params(local / "warm_start" / "params.safetensors"))
    sound, updating = loop.learn, threading.Event()

    def learn(*arguments):
        found = sound(*arguments)
        updating.set()
        return found

    def waits(handler, answer):
        (does.honest if updating.wait(300) else does.is_absent)(handler, answer)

    before = TRIED + CONFIG.evaluation.test_problems * CONFIG.evaluation.test_samples + STEP
    lost = [*[waits] * STEP, *[does.honest] * (CANARY + STEP // 2), does.restarts]
    server.faults[GENERATE] = then(*lost, after=before)
    monkeypatch.setattr(loop, "learn", learn)
    alone = with_server(experiment, server, tmp_path, adapters="alone", seconds=600.0)
    sampling_weights = build(alone.config, ONE_DEVICE).programs.sampling_weights
    programs = dataclasses.replace(experiment.programs, sampling_weights=sampling_weights)
    train(dataclasses.replace(alone, programs=programs), served)
    assert written(served) == written(local)
    groups = list(RunDirectory(served).rollouts())
    assert [group.policy_step for group in groups[:: rollout.prompts_per_step]] == [0, 0, 1]
    assert (server.loaded, len(server.read)) == ([], 2 + 4 + 1)  # for the trial, of each policy, and once more


def taken_over(server):
    server.faults[GENERATE] = then(does.belongs_to_another, after=TRIED + 6)


def cache_in_use(server):
    server.faults["/reset_prefix_cache"] = then(does.not_yet, does.not_yet)


def restarted_while_loading(server):
    server.faults[RELOAD] = then(does.restarts)


def restarted_while_sampling(server):
    server.faults[GENERATE] = then(does.restarts, after=TRIED + 6)


def failing_in_passing(server):
    server.faults[GENERATE] = then(does.fails, does.drops, does.gives_up, after=TRIED + 3)
    server.faults[RELOAD] = then(does.drops)
    server.faults[LABEL] = then(does.fails, does.drops)


@pytest.mark.parametrize(
    ("fault", "loads"),
    [
        (lambda server: None, 3),
        (failing_in_passing, 4),  # the first answer was lost, so the request was made again
        (cache_in_use, 3),
        (taken_over, 4),
        (restarted_while_loading, 4),
        (restarted_while_sampling, 4),
    ],
)
def test_what_passes_changes_nothing(experiment, server, engine, expected, fault, loads):
    fault(server)
    engine.load(weights_of(experiment), version=7)
    assert_same(sampled(engine, experiment), expected)
    assert len(server.loaded) == loads


def test_a_request_without_an_answer_is_repeated_in_time(experiment, server, make, expected):
    engine = make(experiment, seconds=2.0)
    engine.load(weights_of(experiment), version=7)
    server.faults[GENERATE] = then(does.hangs, after=TRIED + 1)
    assert_same(sampled(engine, experiment), expected)


def test_a_server_that_never_answers_ends_in_a_sentence(experiment, server, make):
    engine = make(experiment, seconds=0.1, retries=1)
    server.faults[RELOAD] = ever(does.hangs)
    with pytest.raises(EngineError, match="/collective_rpc failed 2 times, the last time with TimeoutError"):
        engine.load(weights_of(experiment), version=7)


def test_weights_are_read_while_nothing_is_sampled(experiment, server, engine):
    engine.load(weights_of(experiment), version=7)
    assert server.asked == ["/pause", "/update_weight_version", RELOAD, "/reset_prefix_cache", "/resume", LABEL]


def deaf(server):
    server.deaf = True  # a reload that keeps the old weights


def test_a_reload_that_does_nothing_is_noticed_even_if_the_server_began_with_the_weights(experiment, server, engine):
    server.begin_with(weights_of(experiment))
    server.deaf = True
    engine.load(weights_of(experiment), version=7)
    with pytest.raises(EngineError, match=r"it did not follow when all weights were scaled by 1\.1: see docs/engines"):
        sampled(engine, experiment)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (
            deaf,
            "differ from the trainer's by .* more than rollout.engine.tolerance=0.001; it has other weights, or",
        ),
        ({GENERATE: does.shifted_logprobs}, "differ from the trainer's by 0.25 in the mean"),
        ({GENERATE: does.too_few_logprobs}, "cannot be used: it has . log-probabilities for . tokens; see docs"),
        ({GENERATE: does.logprobs_of_others}, "cannot be used: its log-probabilities are those of other tokens"),
        ({GENERATE: does.drops}, "/inference/v1/generate failed 4 times, the last time with IncompleteRead"),
        ({GENERATE: does.restarts}, "/inference/v1/generate failed 4 times, the last time with RemoteDisconnected"),
        ({RELOAD: does.fails}, r"/collective_rpc failed 4 times, the last time with NoAnswer: status 500 \(.*memory"),
        ({RELOAD: does.restarts}, "failed 4 times, the last time with RemoteDisconnected"),
        ({RELOAD: does.is_absent}, "has no /collective_rpc; start it as docs/engines.md says"),
        ({LABEL: does.belongs_to_another}, "was restarted 3 times while it read the weights, or is used by another"),
    ],
)
def test_what_does_not_pass_ends_in_a_sentence(experiment, server, engine, fault, sentence):
    if callable(fault):
        fault(server)
    else:
        server.faults |= {path: ever(each) for path, each in fault.items()}

    def load_and_sample():
        engine.load(weights_of(experiment), version=7)
        sampled(engine, experiment)

    with pytest.raises(EngineError, match=f"the vLLM server at 127.0.0.1:.*{sentence}"):
        load_and_sample()


def test_groups_of_a_server_that_loses_its_weights_again_and_again_are_not_used(experiment, server, engine):
    engine.load(weights_of(experiment), version=7)
    sampled(engine, experiment)
    server.faults[GENERATE] = does.taken_over_after(CANARY)
    with pytest.raises(EngineError, match="lost its weights 3 times while it was sampling"):
        sampled(engine, experiment)


def test_new_weights_are_new_to_the_server(experiment, server, engine, expected):
    """With another version, and no cache of the earlier one."""
    engine.load(weights_of(experiment, seed=4), version=6)
    other = sampled(engine, experiment)
    assert not np.array_equal(other.completion_tokens, expected.completion_tokens)
    engine.load(weights_of(experiment), version=7)
    assert len(set(server.loaded)) == 3  # with the trial
    prompts = encode_prompts(experiment.task, experiment.task.problems(Split.TRAIN, 5))
    parts = list(engine.sample(prompts, dataclasses.replace(training_request(CONFIG, step=1), prompts_per_batch=2)))
    assert [part.indices for part in parts] == [[0, 1], [2, 3], [4]]
    assert {part.version for part in parts} == {7}
    np.testing.assert_array_equal(parts[2].rollouts.completion_tokens, expected.completion_tokens[4:])


def test_an_engine_without_weights_says_so(experiment, engine):
    with pytest.raises(RuntimeError, match="the engine has no weights"):
        sampled(engine, experiment)


def test_the_canary_has_the_temperature_of_the_request(experiment, server, engine):
    """Greedy completions have the log-probabilities of the policy, so their canary is not greedy."""
    engine.load(weights_of(experiment), version=7)
    experiment.engine.load(weights_of(experiment), version=7)
    for temperature in (0.5, 0.0):
        sampling = dataclasses.replace(CONFIG.rollout.sampling, temperature=temperature)
        engine.load(weights_of(experiment), version=7)
        found, local = (sampled(one, experiment, sampling=sampling) for one in (engine, experiment.engine))
        assert_same(found, local)


def test_a_caller_that_gives_up_does_not_wait(experiment, server, make):
    engine = make(experiment, requests=1)  # in the order of the prompts
    engine.load(weights_of(experiment), version=7)
    server.faults[GENERATE] = ever(does.hangs, after=TRIED + 2)
    prompts = encode_prompts(experiment.task, experiment.task.problems(Split.TRAIN, 5))
    groups = engine.sample(prompts, dataclasses.replace(training_request(CONFIG, step=1), prompts_per_batch=1))
    assert next(groups).indices == [0]
    begun = time.monotonic()
    groups.close()
    assert time.monotonic() - begun < 5  # an answer would be waited for four times as long


def test_the_folder_of_the_weights_belongs_to_one_run(experiment, server, engine, make, tmp_path):
    folder = tmp_path / "weights"
    (folder / "grpo_jax_dead_000003").mkdir(parents=True)  # a killed run left it
    (folder / "mine").touch()
    engine.load(weights_of(experiment), version=7)
    engine.load(weights_of(experiment), version=8)
    left = sorted(entry.name for entry in folder.iterdir())
    assert left == [server.loaded[-1].rpartition("/")[2], "lock", "mine"]
    other = make(experiment)
    with pytest.raises(ConfigError, match=r"rollout\.engine\.weights='.*': another run uses it"):
        other.load(weights_of(experiment), version=7)
    engine.close()
    assert sorted(entry.name for entry in folder.iterdir()) == ["lock", "mine"]
    other.load(weights_of(experiment), version=7)


def test_the_canary_is_shared_by_all_devices(experiment, make, expected):
    config = make_config(objective__old_logprobs="trainer", mesh__data=2, mesh__fsdp=2, mesh__tensor=2)
    wide = build(config, jax.devices())
    engine = make(wide)
    engine.load(weights_of(wide), version=7)
    problems = experiment.task.problems(Split.TRAIN, 5)
    request = dataclasses.replace(training_request(CONFIG, step=1), prompts_per_batch=2)
    with jax.transfer_guard("disallow"):  # as in a training step
        found = sample_and_judge(engine, wide.task, problems, request).rollouts
    assert_same(found, expected)


def test_what_a_server_cannot_do_is_refused(engine):
    able = engine.capabilities
    assert (able.counter_exact, able.exact_logprobs) == (False, False)
    with pytest.raises(ConfigError, match=r"rollout.noise='antithetic': the rollout engine cannot couple"):
        check_engine(make_config(rollout__noise="antithetic", objective__old_logprobs="trainer"), able)


@pytest.fixture(scope="module")
def adapted():
    """An experiment that trains adapters."""
    return build(ADAPTED, ONE_DEVICE)


def adapters_of(adapted, model, seed=0):
    """Weights with adapters that have learned something, on a model."""
    params = adapted.programs.adapt(model)
    generator = np.random.default_rng(seed)
    moved = jax.tree.map(lambda leaf: leaf + generator.normal(0, 0.2, leaf.shape).astype("f4"), trained_of(params))
    return with_trained(params, moved)


@pytest.fixture(scope="module")
def model(experiment):
    return experiment.programs.init_params(jax.random.key(3))


@pytest.fixture(scope="module")
def expected_with_adapters(experiment, adapted, model):
    """The same groups by the JAX sampler, with the adapters merged."""
    experiment.engine.load(adapted.programs.sampling_weights(adapters_of(adapted, model)), version=7)
    return sampled(experiment.engine, experiment)


def sends_adapters(server, engine, adapted, model, fault=None):
    """The groups of some problems by a server that gets the adapters alone, and misbehaves."""
    server.begin_with(model)
    if fault:
        fault(server)
    weights = adapted.programs.adapted.cast(adapters_of(adapted, model))
    engine.load(weights, version=7)
    return sampled(engine, adapted)


def a_lost_answer(server):
    server.faults[LOAD] = then(does.drops)
    server.faults[UNLOAD] = then(does.fails)


def a_restart_while_loading(server):
    server.faults[LOAD] = then(does.restarts)


def a_restart_while_sampling(server):
    server.faults[GENERATE] = then(does.restarts, after=TRIED + 6)


@pytest.mark.parametrize(
    ("fault", "reads"),
    [(None, 3), (a_lost_answer, 4), (a_restart_while_loading, 4), (a_restart_while_sampling, 4)],
)
def test_adapters_alone_are_sampled_from(adapted, server, make, model, expected_with_adapters, fault, reads):
    found = sends_adapters(server, make(adapted), adapted, model, fault)
    assert_same(found, expected_with_adapters)
    assert (server.loaded, len(server.read)) == ([], reads)
    if fault is None:
        first = ["/pause", "/update_weight_version", UNLOAD, LOAD, "/reset_prefix_cache", "/resume", LABEL, GENERATE]
        assert server.asked[: len(first)] == first


def without_lora(server):
    server.max_lora_rank = 0


def with_a_smaller_rank(server):
    server.max_lora_rank = 1


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (without_lora, "cannot use the adapters: status 500 .*LoRA is not enabled. Use --enable-lora"),
        (with_a_smaller_rank, "cannot use the adapters: status 500 .*LoRA rank 2 is greater than max_lora_rank 1"),
        (deaf, "differ from the trainer's by .* it has other weights, or computes in another way"),
        ({LOAD: does.is_absent}, "has no /v1/load_lora_adapter; start it as docs/engines.md says"),
        ({LOAD: does.fails}, "/v1/load_lora_adapter failed 4 times, the last time with NoAnswer: status 500"),
        ({LOAD: does.reads_half}, "cannot use the adapters: status 500 .*incomplete metadata"),
        ({LOAD: does.finds_nothing}, "does not find the adapters .* rollout.engine.weights must be a directory"),
        ({GENERATE: does.is_absent}, "has no /inference/v1/generate"),
    ],
)
def test_adapters_that_the_server_does_not_take_end_in_a_sentence(adapted, server, make, model, fault, sentence):
    def misbehave(server):
        if callable(fault):
            fault(server)
        else:
            server.faults |= {path: ever(each) for path, each in fault.items()}

    with pytest.raises(EngineError, match=f"the vLLM server at 127.0.0.1:.*{sentence}"):
        sends_adapters(server, make(adapted), adapted, model, misbehave)


def test_adapters_that_add_nothing_yet_are_tried_all_the_same(adapted, server, make, model):
    """At first B is zero: a server without the adapters samples from the same policy."""
    server.begin_with(model)
    deaf(server)
    engine = make(adapted)
    engine.load(adapted.programs.adapted.cast(adapted.programs.adapt(model)), version=0)
    with pytest.raises(EngineError, match=r"it did not follow when it got other adapters: see docs/engines\.md"):
        sampled(engine, adapted)


def test_a_server_that_keeps_earlier_adapters_is_noticed(adapted, server, make, model, expected_with_adapters):
    engine = make(adapted)
    assert_same(sends_adapters(server, engine, adapted, model), expected_with_adapters)
    deaf(server)
    engine.load(adapted.programs.adapted.cast(adapters_of(adapted, model, seed=1)), version=8)
    with pytest.raises(EngineError, match=r"differ from the trainer's by .* it has other weights"):
        sampled(engine, adapted)


def test_whole_weights_reach_a_server_that_had_adapters(adapted, server, make, model, expected):
    """As those of an analysis or an evaluation do, for which adapters are merged."""
    engine = make(adapted)
    sends_adapters(server, engine, adapted, model)
    engine.load(adapted.programs.policy_weights(model), version=8)
    assert_same(sampled(engine, adapted), expected)
