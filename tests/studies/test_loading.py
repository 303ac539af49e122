"""Loading of study files, and refusals."""

import pytest

from grpo_jax.config import ConfigError
from grpo_jax.studies import load_study
from grpo_jax.studies.loading import from_json, to_json
from tests.helpers import CONFIGS, TINY
from tests.studies.files import ARMS, arms, make, write

SHIPPED = [path for path in sorted((CONFIGS / "studies").glob("*.py")) if "get_study" in path.read_text()]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_study_file_is_valid(path):
    study = load_study(path)
    assert study.name == path.stem
    for arm in study.arms:
        config = arm.configuration(study.seeds[0])
        # Curves need points: twelve or more, unless all that is compared are points themselves.
        assert config.train.steps // config.evaluation.every >= 12 or _at_evaluations(study, config)


def _at_evaluations(study, config):
    """Return whether all comparisons of a study are at evaluations of this arm, so that nothing is interpolated."""
    between = config.evaluation.every * config.rollout.prompts_per_step * config.rollout.group_size
    return all(one.budget == "rollouts" and not any(at % between for at in one.at) for one in study.comparisons)


def test_seven_are_shipped():
    assert len(SHIPPED) >= 7


def test_an_arm_has_what_is_shared_and_its_own_precedes(tmp_path):
    study = make(tmp_path, arms=arms(evaluation__every=2, checkpoint__every=2))
    first, second = (arm.configuration(seed=7) for arm in study.arms)
    assert first.task.operations == second.task.operations == 1
    assert (first.evaluation.every, second.evaluation.every) == (4, 2)
    assert first.seed == second.seed == 7
    assert study.arms[0].overrides["logging.tensorboard"] == "false"


def test_runs_are_in_pairs(tmp_path):
    runs = [(run.arm.name, run.seed) for run in make(tmp_path).runs()]
    assert runs == [("2-GRPO", 0), ("G = 4", 0), ("2-GRPO", 1), ("G = 4", 1)]


def test_nothing_is_overridden_by_none(tmp_path):
    shared = {**ARMS["2-GRPO"]["overrides"], "model.lora": None}
    assert make(tmp_path, shared=shared, comparisons={}).arms[0].overrides["model.lora"] == "none"


REFUSED = {
    "a field is missing": ({"targets": None}, "targets: is missing"),
    "an unknown field": ({"seed": 3}, "seed: unknown field; did you mean seeds?"),
    "one arm": ({"arms": {"2-GRPO": ARMS["2-GRPO"]}}, "a comparison needs at least two"),
    "no arms": ({"arms": ()}, "arms=(): must be a dictionary"),
    "an arm without overrides": ({"arms": {**ARMS, "x": {"config": "c"}}}, "arms.x.overrides: is missing"),
    "an arm's misspelled field": (
        {"arms": {**ARMS, "x": {"config": "c", "override": {}}}},
        "arms.x.override: unknown field; did you mean overrides?",
    ),
    "an arm that is a text": ({"arms": {**ARMS, "x": "configs/two_grpo.py"}}, "arms.x='configs/two_grpo.py': must be"),
    "arms of one directory": ({"arms": {**ARMS, "2 grpo": ARMS["2-GRPO"]}}, "name directories"),
    "an arm above the directory": ({"arms": {**ARMS, "..": ARMS["2-GRPO"]}}, "name directories"),
    "no such baseline": ({"baseline": "2-GRPo"}, "baseline='2-GRPo': is not an arm; did you mean 2-GRPO?"),
    "a seed twice": ({"seeds": (0, 1, 0)}, "seeds=(0, 1, 0): must be a tuple of"),
    "too many seeds": ({"seeds": tuple(range(16))}, "must be at most 15, so that their sign flips can be enumerated"),
    "no seeds": ({"seeds": ()}, "seeds=(): must be a tuple of"),
    "seeds that are texts": ({"seeds": ("0",)}, "seeds=('0',): must be a tuple of"),
    "one seed": ({"seeds": 3}, "seeds=3: must be a tuple of one or more different whole numbers"),
    "a negative seed": ({"seeds": (-1, 0)}, "arms.2-GRPO: seed=-1: must be at least 0"),
    "targets in percent": ({"targets": (90,)}, "targets=(90,): must be a tuple of shares"),
    "no budget": ({"matched": "steps"}, "matched: 'steps' is not a budget"),
    "no budget of a comparison": ({"comparisons": {"prompt": (1,)}}, "'prompt' is not a budget; did you mean prompts?"),
    "a comparison of nothing": ({"comparisons": {"prompts": ()}}, "comparisons.prompts=(): must be a tuple of"),
    "a comparison of one number": ({"comparisons": {"prompts": 48}}, "comparisons.prompts=48: must be a tuple of"),
    "a configuration that cannot run": (
        {"arms": arms(train__microbatch_groups=3)},
        "arms.G = 4: train.microbatch_groups=3: must divide",
    ),
    "no such config": ({"arms": {**ARMS, "x": {"config": "configs/no.py", "overrides": {}}}}, "arms.x: --config="),
    "a seed of one arm": ({"arms": arms(seed=3)}, "arms.G = 4: overrides the seed"),
    "another test": ({"arms": arms(evaluation__test_problems=16)}, "differs from 2-GRPO in evaluation.test_problems"),
    "another task": ({"arms": arms(task__operators="+-")}, "differs from 2-GRPO in task.operators"),
    "another model": ({"arms": arms(model__architecture__mlp_dim=16)}, "in model.architecture.mlp_dim"),
    "another base policy": ({"arms": arms(warm_start__seed=1)}, "differs from 2-GRPO in warm_start.seed"),
    "other lengths": ({"arms": arms(rollout__max_new_tokens=5)}, "differs from 2-GRPO in rollout.max_new_tokens"),
    "other devices": ({"arms": arms(mesh__data=1)}, "differs from 2-GRPO in mesh.data"),
    "another delay": ({"arms": arms(rollout__delay=1)}, "arms.G = 4: rollout.delay=1, and 2-GRPO has 0: one learns"),
    "a field that may not vary": ({"varies": ("task.operators",)}, "must be a tuple of fields out of rollout.delay"),
    "another scale": ({"arms": arms(objective__std_ddof=1)}, "objective.std_ddof=1, and 2-GRPO has 0"),
    "unequal prompts": ({"arms": arms(train__steps=16)}, "spends 128 prompts, and 2-GRPO 96"),
    "unequal rollouts": ({"matched": "rollouts"}, "arms.G = 4: spends 384 rollouts, and 2-GRPO 192"),
    "unequal updates": (
        {"matched": "updates", "arms": arms(train__minibatches=2)},
        "arms.G = 4: spends 24 updates, and 2-GRPO 12",
    ),
    "resampling, by prompts": ({"arms": arms(rollout__max_rollouts=64)}, "set `matched` to updates"),
    "a comparison too far": ({"comparisons": {"prompts": (97,)}}, "spends 96 prompts, and comparisons.prompts=(97,)"),
    "too far for one arm": ({"comparisons": {"rollouts": (300,)}}, "arms.2-GRPO: spends 192 rollouts"),
    "never validated": (
        {"shared": {**TINY, "evaluation.every": 0, "checkpoint.keep_best": 0}},
        "arms.2-GRPO: evaluation.every=0: without validation there is no curve",
    ),
    "a reward that does not judge": (
        {
            "arms": {name: {"config": "configs/my_questions.py", "overrides": {}} for name in ARMS},
            "shared": {"task.reward.terms": "{'boxed_format': 1.0}"},
            "comparisons": {"seconds": (1.5,)},
        },
        "arms.2-GRPO: task.reward.terms={'boxed_format': 1.0}: none says what is right",
    ),
    "before a second evaluation": (
        {"comparisons": {"rollouts": (160, 192)}},
        "arms.G = 4: evaluation.every=4: evaluates every 128 rollouts",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_study_is_refused(mistake, tmp_path):
    changes, sentence = REFUSED[mistake]
    with pytest.raises(ConfigError) as caught:
        make(tmp_path, **changes)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"--study={tmp_path / 'tiny.py'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["x = 1", "def get_study(): return 3", "def get_study(): 1 / 0"])
def test_a_file_that_is_no_study(text, tmp_path):
    path = write(tmp_path)
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"get_study|cannot be run \(ZeroDivisionError"):
        load_study(path)


def test_a_study_may_vary_the_delay(tmp_path):
    study = make(tmp_path, varies=("rollout.delay",), arms=arms(rollout__delay=1))
    assert from_json(to_json(study)).varies == study.varies == ("rollout.delay",)


def test_what_only_a_run_can_tell_need_not_be_equal(tmp_path):
    for matched in ("tokens", "seconds"):
        make(tmp_path, matched=matched, arms=arms(train__steps=16))
    make(tmp_path, matched="updates", arms=arms(rollout__max_rollouts=64), comparisons={"rollouts": (192,)})
