"""A completion sampled again, alone, is the one that the run has sampled and written down."""

import shutil

import jax
import pytest

from grpo_jax.config import ConfigError, from_dict, to_dict
from grpo_jax.rewards import UNSCORED
from grpo_jax.runs.directory import RunDirectory
from grpo_jax.runs.groups import JudgedGroup, TrainingCompletion, TrainingGroup
from grpo_jax.runs.written import find_group, groups_of_step
from grpo_jax.training import replay, train_config
from tests.checkpoints import make_checkpoint, questions
from tests.helpers import make_config

ONE = jax.devices()[:1]
KEPT = {
    "train__steps": 4,
    "optimizer__warmup_updates": 1,
    "optimizer__learning_rate": 1e-2,  # so that policies are far apart
    "checkpoint__every": 1,
    "checkpoint__keep_last": 5,
    "checkpoint__keep_best": 0,
    "evaluation__every": 0,
}
OF_FOUR = {"rollout__group_size": 4, "objective__name": "grpo", "rollout__prompts_per_batch": 4}


@pytest.fixture(scope="module", params=[{}, OF_FOUR], ids=["pairs", "groups of four in two batches"])
def run(request, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    train_config(make_config(**KEPT, **request.param), workdir, devices=ONE)
    return workdir


def groups_of(workdir, step):
    return [group for group in RunDirectory(workdir).rollouts() if group.step == step]


def assert_same(found, group, sample):
    assert found.equal
    assert found.group == group
    one, now = group.completions[sample], found.now.completion
    assert [token.id for token in found.now.tokens] == one.tokens
    assert found.largest_difference < 1e-5
    assert found.then.completion == one
    assert (now.text, now.verdict, now.stopped, now.length) == (one.text, one.verdict, one.stopped, one.length)


@pytest.mark.parametrize(("step", "place"), [(1, 0), (3, 2), (4, 7)])
def test_it_is_the_completion_of_the_batch(run, step, place):
    group = groups_of(run, step)[place]
    for sample in (0, len(group.completions) - 1):
        found = replay(run, step=step, prompt=str(place), sample=sample, devices=ONE)
        assert_same(found, group, sample)
        assert (found.policy_step, found.place, found.index) == (step - 1, place, sample)


def test_also_on_other_devices(run):
    """Eight share the batch of eight prompts as the run's mesh says, or the tensors where a batch has but four."""
    group = groups_of(run, 4)[5]
    assert_same(replay(run, step=4, prompt="5", sample=1), group, 1)


def test_the_policy_of_another_step_says_something_else(run):
    found = replay(run, step=4, prompt="1", sample=0, checkpoint=0, devices=ONE)
    assert found.policy_step == 0
    assert not found.equal or found.largest_difference > 1e-3
    assert found.alike <= len(found.then.tokens)


def test_the_base_policy_is_there_when_its_checkpoint_is_not(run, tmp_path):
    workdir = copy(run, tmp_path)
    shutil.rmtree(workdir / "checkpoints" / "0")
    assert_same(replay(workdir, step=1, prompt="3", sample=1, devices=ONE), groups_of(run, 1)[3], 1)


def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copy")


def test_what_cannot_be_replayed_says_what_can(run, tmp_path):
    workdir = copy(run, tmp_path)
    for step in ("0", "1"):
        shutil.rmtree(workdir / "checkpoints" / step)
    for at, checkpoint in ((2, None), (3, 1)):
        with pytest.raises(FileNotFoundError, match=r"the policy after step 1 is not kept; .* replayed: 1, 3, 4$"):
            replay(workdir, step=at, prompt="0", sample=0, checkpoint=checkpoint, devices=ONE)


def test_a_damaged_checkpoint_is_not_read(run, tmp_path):
    workdir = copy(run, tmp_path)
    largest = max((workdir / "checkpoints" / "2" / "state").rglob("*"), key=lambda path: path.stat().st_size)
    *others, last = largest.read_bytes()
    largest.write_bytes(bytes([*others, last ^ 1]))
    with pytest.raises(ValueError, match=r"checkpoints/2: this checkpoint is damaged \(.*\); take another$"):
        replay(workdir, step=3, prompt="0", sample=0, devices=ONE)


def test_nothing_is_written(run):
    before = sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*"))
    replay(run, step=2, prompt="0", sample=0, devices=ONE)
    assert sorted((path, path.stat().st_mtime_ns) for path in run.rglob("*")) == before


def test_the_groups_of_a_step_are_found_in_their_file(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create()
    rollout = TrainingCompletion("4", 2, True, UNSCORED, 0.0, -1.0, [4, 0], [-0.5, -0.5])
    for step in (99, 100, 101):
        group = TrainingGroup(step, "2+2=", "4", [rollout], step=step, chosen=True, expected=0.5, policy_step=step - 1)
        directory.append_rollouts(step, [group] * 2)
    directory.close()
    (tmp_path / "rollouts" / "000001.jsonl").write_text("damaged, and not looked at\n")
    found = groups_of_step(tmp_path, make_config(), 101)
    assert [group.id for group in found] == [101] * 2


def asked(id, prompt):
    return JudgedGroup(id, prompt, "", [])


GROUPS = [asked(70, "2+3="), asked(80, "1"), asked(90, "What  is\n2?")]


@pytest.mark.parametrize(
    ("prompt", "place"),
    [("2+3=", 0), ("What is 2? ", 2), ("0", 0), ("2", 2), ("80", 1), ("1", 1), ("90", 2)],
)
def test_a_prompt_is_a_text_or_a_place_or_an_id(prompt, place):
    assert find_group(GROUPS, prompt, step=5) == place


def test_a_text_comes_before_a_place():
    assert find_group([*GROUPS, asked(95, "0")], "0", step=5) == 3


@pytest.mark.parametrize("prompt", ["3", "-1", "2+4=", "", "1.5"])
def test_an_unknown_prompt(prompt):
    with pytest.raises(ConfigError, match=r"^--prompt='.*': step 5 has no such prompt; .* from 0 to 2\.$"):
        find_group(GROUPS, prompt, step=5)


@pytest.mark.slow
def test_adapters_on_a_checkpoint(tmp_path):
    """The policy is then what the run trains, on what it leaves alone; before its first update too."""
    lora = {"rank": 2, "alpha": 4.0, "modules": ("query", "up")}
    config = questions(make_checkpoint(tmp_path / "model"), rollout__max_new_tokens=8, **KEPT)
    config = from_dict(to_dict(config) | {"model": to_dict(config)["model"] | {"lora": lora}})
    train_config(config, tmp_path / "run", devices=ONE)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "0")
    for step in (1, 4):
        found = replay(tmp_path / "run", step=step, prompt="2", sample=1, devices=ONE)
        assert_same(found, groups_of(tmp_path / "run", step)[2], 1)
