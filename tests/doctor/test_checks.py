"""Each check finds what was planted for it, in one sentence, and nothing else. Sound evidence gives no warnings."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from grpo_jax.config import RewardConfig, load
from grpo_jax.data import Problem, Split
from grpo_jax.data.pretrained import load_tokenizer, stop_tokens
from grpo_jax.data.prompt_format import PromptFormat
from grpo_jax.doctor import Severity, Tokens, answers, memory, problems, samples, texts, written
from grpo_jax.doctor.findings import look
from grpo_jax.objectives import has_ratio, make_objective
from grpo_jax.rewards import PerAttempt, Verdict, make_reward
from grpo_jax.runs.groups import Completion, JudgedGroup
from grpo_jax.runs.lines import Measured
from tests.data.tokenizer_files import EOS, TEMPLATE, write_tokenizer
from tests.helpers import CONFIGS, make_config

ERROR, WARNING, NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


def told(checks, evidence):
    """The findings other than notes, after a look at their form."""
    findings = look("section", checks, evidence).findings
    for finding in findings:
        assert "\n" not in finding.sentence
        assert finding.sentence.endswith(".")
        assert finding.severity is NOTE or ": " in finding.sentence  # field and value, then what is wrong and a remedy
    return [finding for finding in findings if finding.severity is not NOTE]


def assert_one(checks, evidence, severity, sentence):
    (finding,) = told(checks, evidence)
    assert finding.severity is severity
    assert sentence in finding.sentence


def notes(checks, evidence):
    return " ".join(one.sentence for one in look("", checks, evidence).findings if one.severity is NOTE)


# --- The configuration.

PARAMETERS = {"two_grpo": 150_000, "grpo_16": 150_000, "0_5b": 494_000_000, "1_5b": 1_540_000_000, "7b": 7_600_000_000}
SHIPPED = sorted(path for path in CONFIGS.rglob("*.py") if path.parent.name != "studies" and path.stem != "paper")


def evidence_of(config, parameters=150_000, platform="cpu", problems=16_384):
    objective = make_objective(config.objective, config.rollout.group_size)
    return written.Written(
        config,
        parameters,
        tied_head=True,
        platform=platform,
        training_problems=problems,
        has_ratio=has_ratio(objective, config.rollout.group_size),
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_nothing_is_wrong_with_the_shipped_configurations(path):
    size = next((size for name, size in PARAMETERS.items() if name in path.stem), 135_000_000)
    config = load(path)
    platform = "tpu" if config.model.compute_dtype == "bfloat16" else "cpu"
    assert told(written.CHECKS, evidence_of(config, size, platform)) == []


LORA = {"model__lora__rank": 8}
BFLOAT16 = {"model__compute_dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("changes", "of_model", "sentence"),
    [
        (
            {"optimizer__learning_rate": 2e-2},
            {},
            "optimizer.learning_rate=0.02: is 1e+02 times what is usual for a pol",
        ),
        ({"optimizer__learning_rate": 2e-6}, {}, "is 0.01 times what is usual"),
        (LORA | {"optimizer__learning_rate": 2e-1}, {}, "times what is usual for adapters of a policy of 0.15M"),
        (
            {"optimizer__learning_rate": 1e-6},
            {"parameters": 10**9},
            "model.compute_dtype='float32': a policy of 1,000M parameters",
        ),
        ({"optimizer__learning_rate": 1e-5}, {"parameters": 10**8, "platform": "gpu"}, "set it to 'bfloat16'"),
        (BFLOAT16 | {"objective__old_logprobs": "trainer"}, {}, "a CPU computes it more slowly"),
        (BFLOAT16, {"platform": "tpu"}, "objective.old_logprobs='sampler': in bfloat16"),
        ({"objective__kl_coef": 2.0}, {}, "objective.kl_coef=2: holds the policy"),
        ({"rollout__speculation": 3}, {}, "rollout.speculation=3: each step of decoding reads 4 rows"),
        ({"optimizer__warmup_updates": 7}, {}, "optimizer.warmup_updates=7: is more than half of the 12 updates"),
        ({"checkpoint__every": 16, "checkpoint__minutes": 0}, {}, "checkpoint.every=16: the run has 12 steps"),
        ({"evaluation__every": 16, "checkpoint__keep_best": 0}, {}, "evaluation.every=16: the run has 12 steps"),
    ],
)
def test_a_configuration_that_was_hardly_meant(changes, of_model, sentence):
    assert_one(written.CHECKS, evidence_of(make_config(**changes), **of_model), WARNING, sentence)


@pytest.mark.parametrize("name", ["online_dpo", "simpo", "gpg"])
def test_an_objective_without_a_ratio_may_have_rounded_log_probabilities(name):
    config = make_config(**BFLOAT16, objective__name=name)
    assert told(written.CHECKS, evidence_of(config, platform="tpu")) == []


def test_an_answer_that_is_not_asked_for():
    flags = [("task.reward.answer_pattern", ""), ("optimizer.learning_rate", "1e-5")]
    config = load(CONFIGS / "smollm2_135m.py", flags)
    sentence = "task.template='State only the final answer: {question}': does not ask for a \\boxed{}"
    assert_one(written.CHECKS, evidence_of(config, 135_000_000), WARNING, sentence)


def test_few_problems_are_noted():
    assert "shows each of the 9 training problems about 133 times" in notes(
        written.CHECKS, evidence_of(make_config(train__steps=150), problems=9)
    )


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("two_grpo", {"std_ddof": 1}, "objective.std_ddof=1: two_grpo does not read it, so it has no effect."),
        ("opo", {"clip_low": 0.1}, "objective.clip_low=0.1: opo does not read it"),
        ("psr", {"no_signal_tolerance": 0.1}, "objective.no_signal_tolerance=0.1: psr does not read it"),
        ("grpo", {"std_ddof": 1, "clip_low": 0.1, "no_signal_tolerance": 0.1}, ""),
    ],
)
def test_what_the_objective_does_not_read_is_noted(name, changes, sentence):
    fields = {f"objective__{field}": value for field, value in changes.items()}
    found = notes(written.CHECKS, evidence_of(make_config(objective__name=name, **fields)))
    assert sentence in found
    assert bool(sentence) == ("does not read it" in found)


def test_a_tied_head_behind_a_server_is_noted():
    server = {"rollout__engine__weights": "w", "objective__old_logprobs": "trainer", "objective__importance_cap": 2.0}
    assert "one build of vLLM does not reload" in notes(written.CHECKS, evidence_of(make_config(**server)))


# --- The prompts.


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def of_tokenizer(directory, *, template=TEMPLATE, question="1+1=", stops=None, embeddings=101, chat=True):
    tokenizer = load_tokenizer(directory, "model.checkpoint")
    tokenizer.chat_template = template
    asked = PromptFormat("", "{question}", chat)
    config = load(CONFIGS / "smollm2_135m.py")
    stops = stop_tokens(directory, tokenizer) if stops is None else stops
    rows = asked.encode(tokenizer, [question])
    return texts.Texts(config, tokenizer, stops, embeddings, rows, asked.conversation(tokenizer))


def test_nothing_is_wrong_with_sound_prompts(directory):
    assert told(texts.CHECKS, of_tokenizer(directory)) == []
    assert told(texts.CHECKS, of_tokenizer(directory, template=None, chat=False)) == []


@pytest.mark.parametrize(
    ("planted", "severity", "sentence"),
    [
        ({"template": TEMPLATE.replace("{{ bos_token }}", "")}, WARNING, "1 of 1 prompt does not begin with '<bos>'"),
        ({"template": f"<bos>{TEMPLATE}"}, WARNING, "1 of 1 prompt begins with '<bos>' twice"),
        ({"stops": (EOS,)}, WARNING, "task.stop_tokens=(): the chat template ends a turn with '<end>', at which"),
        (
            {"template": f"{TEMPLATE}<|im_start|>"},
            ERROR,
            "writes '<|im_start|>', which its tokenizer reads as 12 tokens",
        ),
        ({"question": "3 \u20ac + 1"}, WARNING, "1 of 1 prompt contains '<unk>'"),
        ({"embeddings": 50}, ERROR, "1 of 1 prompt has tokens up to "),
        ({"embeddings": 32_000}, WARNING, "its tokenizer has 101 tokens and the model 32,000 embeddings"),
    ],
)
def test_prompts_that_the_model_was_not_made_for(directory, planted, severity, sentence):
    assert_one(texts.CHECKS, of_tokenizer(directory, **planted), severity, sentence)


def test_what_may_be_meant_is_noted(directory):
    silent = TEMPLATE.partition("{% if")[0]
    assert "writes nothing where the model's turn begins" in notes(
        texts.CHECKS, of_tokenizer(directory, template=silent)
    )
    assert "task.chat=False: the tokenizer has a chat template" in notes(
        texts.CHECKS, of_tokenizer(directory, chat=False)
    )
    assert "Prompts have 23 to 23 tokens; completions end with '<eos>', '<end>'." in notes(
        texts.CHECKS, of_tokenizer(directory)
    )
    short = dataclasses.replace(of_tokenizer(directory), config=load(CONFIGS / "my_questions.py"), rows=[[1, 2, 3]])
    assert "task.max_prompt_tokens=256: the longest prompt has 3 tokens" in notes(texts.CHECKS, short)


# --- The problems.

TRAIN = [Problem(f"What is {a} + {b}?", str(a + b)) for a, b in itertools.product(range(5), repeat=2)]
TEST = [Problem("What is 7 + 8?", "15")]


def of_problems(train=TRAIN, test=TEST):
    return problems.Problems(load(CONFIGS / "smollm2_135m.py"), {Split.TRAIN: train, Split.TEST: test})


def test_nothing_is_wrong_with_sound_problems():
    assert told(problems.CHECKS, of_problems()) == []
    assert "25 train, 1 test problems." in notes(problems.CHECKS, of_problems())


@pytest.mark.parametrize(
    ("planted", "severity", "sentence"),
    [
        (
            {"test": [Problem("what is  2+ 2 ?", "4"), Problem("WHAT is 1 + 1", "2")]},
            WARNING,
            "2 of the 2 test problems",
        ),
        (
            {"train": [*TRAIN, Problem("what is 1 + 1", "2")]},
            WARNING,
            "1 of 26 training problems repeats an earlier one",
        ),
        ({"train": [*TRAIN, Problem("what is 1 + 1", "3")]}, WARNING, ", 1 with another answer, such as"),
        ({"train": [Problem(one.prompt, "yes") for one in TRAIN]}, WARNING, "25 of 25 gold answers are 'yes'"),
        ({"train": [*TRAIN, Problem("What?", " ")]}, ERROR, "1 of 26 gold answers is empty, such as that of 'What?'"),
        ({"train": [*TRAIN, Problem("What?", "2+2 is \\boxed{4}")]}, ERROR, "a whole solution, .* set it to 'boxed'"),
        ({"train": [*TRAIN, Problem("What?", "2+2 is 4 #### 4")]}, ERROR, "set it to 'after_hashes'"),
        ({"train": [*TRAIN, Problem("What?", "4" * 101)]}, WARNING, "task.reward.max_characters=100: 1 of 26 gold"),
    ],
)
def test_problems_that_mislead(planted, severity, sentence):
    (finding,) = told(problems.CHECKS, of_problems(**planted))
    assert finding.severity is severity
    assert all(part in finding.sentence for part in sentence.split(".* "))


def test_a_task_without_records_may_have_answers_in_boxes():
    train = [Problem(one.prompt, f"\\boxed{{{one.answer}}}") for one in TRAIN]
    assert told(problems.CHECKS, problems.Problems(make_config(), {Split.TRAIN: train, Split.TEST: TEST})) == []


def test_digits_and_operators_are_not_punctuation():
    different = ["1.5 + 2", "1 5 + 2", "15 + 2", "1,5 + 2", "1.5 - 2", "1.5 * 2", "-1.5 + 2", "1.5 + 2!"]
    assert len({problems.normalised(text) for text in different}) == len(different)
    assert problems.normalised("What is \uff13, then?") == problems.normalised("what is 3 then")
    assert problems.normalised("What is 1+ 2?") == problems.normalised("what is  1 +2 ?")


# --- The reward.


@pytest.fixture
def tried(directory):
    """Return a function that tries a reward, which is among the project's terms or, if `mine`, the user's own."""
    tokenizer, config = load_tokenizer(directory, ""), load(CONFIGS / "smollm2_135m.py")

    def trials(reward, train=TRAIN, *, mine=False):
        terms = {"mine:REWARD": 1.0} if mine else {"numeric": 1.0}
        task = dataclasses.replace(config.task, reward=dataclasses.replace(config.task.reward, terms=terms))
        judge = reward if hasattr(reward, "judge") else PerAttempt("mine", reward)
        return answers.try_reward(
            dataclasses.replace(config, task=task),
            SimpleNamespace(tokenizer=tokenizer.backend_tokenizer, reward=judge),
            train,
        )

    return trials


def verdict(reward):
    return Verdict(float(reward), None, right=reward >= 1)


@pytest.mark.parametrize(
    ("terms", "pattern"),
    [({"numeric": 1.0}, r"(-?\d+)"), ({"mathematics": 1.0, "boxed_format": 0.1}, ""), ({"exact": 1.0}, r"#### (.*)")],
)
def test_nothing_is_wrong_with_our_rewards(tried, terms, pattern):
    reward = make_reward(RewardConfig(terms=terms, answer_pattern=pattern), max_new_tokens=64)
    assert told(answers.CHECKS, tried(reward)) == []
    reward.close()


def test_gold_answers_that_cannot_be_read(tried):
    reward = make_reward(RewardConfig(terms={"numeric": 1.0}, answer_pattern=r"(-?\d+)"), max_new_tokens=64)
    mixed = [*TRAIN, Problem("Who?", "nobody"), Problem("Where?", "nowhere")]
    sentence = "2 of 27 gold answers cannot be judged against themselves (numeric.unparsable_gold: "
    assert_one(answers.CHECKS, tried(reward, mixed), ERROR, sentence)


def raising(attempt):
    raise KeyError("answer")


TOSSES = itertools.count()


@pytest.mark.parametrize(
    ("reward", "severity", "sentence"),
    [
        (lambda a: verdict("5" in a.completion[:-9]), ERROR, "gold answers are wrong against themselves, such as"),
        (
            lambda a: Verdict(0.1 * len(a.completion), None, right=np.bool_(False)),
            ERROR,
            "gold answers are wrong against themselves, such as",
        ),
        (raising, ERROR, "25 of 25 gold answers cannot be judged against themselves (KeyError: "),
        (lambda a: verdict(1), ERROR, "the reward is 1 for the gold answers, for other answers, for the question"),
        (lambda a: verdict(0), ERROR, "the reward is 0 for the gold answers"),
        (lambda a: Verdict(float(a.gold == a.completion), None), ERROR, "nothing decides what is right"),
        (lambda a: verdict(a.completion[:1].isdigit()), WARNING, "another problem's answer is right for 25 of 25"),
        (lambda a: verdict(a.completion in (a.gold, "")), WARNING, "an empty completion is right for 25 of 25"),
        (
            lambda a: verdict(a.completion in (a.gold, a.prompt)),
            WARNING,
            "question itself is a right answer to 25 of 25",
        ),
        (
            lambda a: Verdict(
                2 + next(TOSSES) % 7 if a.completion == a.gold else 0.0, None, right=a.completion == a.gold
            ),
            WARNING,
            "completions had another reward when they were judged a second time",
        ),
        (lambda a: verdict(1000 * (a.completion == a.gold)), WARNING, "gold answers are worth up to 1000"),
    ],
    ids=[
        "wrong",
        "wrong by NumPy",
        "raising",
        "always 1",
        "always 0",
        "undecided",
        "any answer",
        "nothing",
        "copies",
        "random",
        "large",
    ],
)
def test_rewards_that_teach_something_else(tried, reward, severity, sentence):
    assert_one(answers.CHECKS, tried(reward), severity, sentence)


@pytest.mark.parametrize("format_credit", [0.0, 0.1])
def test_an_own_reward_may_want_another_text_than_the_gold_answer(tried, format_credit):
    """Such as an expression with this value. The doctor cannot tell it from a mistake, and says so."""

    def expression(attempt):
        return verdict(format_credit * attempt.completion.startswith("<answer>"))

    sentence = "unless what it wants is another text than an answer."
    assert_one(answers.CHECKS, tried(expression, mine=True), WARNING, sentence)
    assert_one(answers.CHECKS, tried(lambda a: verdict(1), mine=True), ERROR, "no group carries signal; correct it.")


def test_rounding_is_no_chance(tried):
    """The reward of a model depends on the batch in which it is computed."""

    def rounded(attempt):
        right = attempt.completion == attempt.gold
        return Verdict(right + 1e-4 * (next(TOSSES) % 2), None, right=right)

    assert told(answers.CHECKS, tried(rounded)) == []


# --- The samples.


def group(*rights, stopped=True, answered=True, text="", reward=None, scored=True):
    """The completions of one prompt; `text` makes all of them equal."""
    return JudgedGroup(
        0,
        "2+2=",
        "4",
        [
            Completion(
                text or str(place),
                4,
                stopped,
                Verdict(
                    float(right) if reward is None else reward, "4" if answered else None, scored=scored, right=right
                ),
            )
            for place, right in enumerate(rights)
        ],
    )


TOKENS = [Tokens([1, 2], [3, 4, first], [-0.5, -1.0, -0.25]) for first in range(4)]


def as_recorded(**changes):
    return [dataclasses.replace(one, **changes) for one in TOKENS]


MIXED = [group(True, False), group(False, False), group(True, True), group(False, True)] * 8


def of_samples(groups=MIXED, config=None, **changes):
    signal = [len({one.verdict.reward for one in each.completions}) > 1 for each in groups]
    found = samples.Sampled(
        config=config or make_config(),
        groups=groups,
        signal=signal,
        entropy=0.5,
        vocabulary=16,
        unscored={"KeyError": 9},
        has_ratio=True,
        measured={Measured.SAMPLER_DIFFERENCE_MEAN: 1e-6, Measured.GRADIENT_NORM: 0.3},
        seconds_sampling=2.0,
        seconds_update=1.0,
        tokens=TOKENS,
        recorded=[],
    )
    return dataclasses.replace(found, **changes)


def test_nothing_is_wrong_with_sound_samples():
    assert told(samples.CHECKS, of_samples()) == []
    assert told(samples.CHECKS, of_samples([*MIXED[:4], *[group(True, False, stopped=False)] * 9])) == []
    assert told(samples.CHECKS, of_samples([group(True, True)] * 9, signal=[True] * 9)) == []  # with partial credit
    unread = of_samples([group(True, False, answered=False)] * 9)  # of a task without a pattern for answers
    assert told(samples.CHECKS, unread) == []


@pytest.mark.parametrize(
    ("changes", "severity", "sentence"),
    [
        ({"groups": [group(True, True)] * 9}, WARNING, "100 % of 18 sampled completions are right already"),
        ({"groups": [group(False, False)] * 9}, ERROR, "all 18 sampled completions have the reward 0, so no group"),
        ({"groups": [group(False, False)] * 99 + [group(True, False)]}, WARNING, "1 of 100 groups carries signal"),
        (
            {"groups": [group(True, False, stopped=False)] * 9},
            WARNING,
            "not one of 18 sampled completions ended with a",
        ),
        (
            {"groups": [*MIXED[:4], *[group(True, False, stopped=False, answered=False)] * 5]},
            WARNING,
            "10 of 18 sampled completions were cut off before their answer; raise it.",
        ),
        (
            {"groups": [MIXED[0], *[group(True, False, stopped=False)] * 40]},
            WARNING,
            "80 of 82 sampled completions were cut off; raise it.",
        ),
        (
            {"groups": [group(True, False, answered=False)] * 9, "config": load(CONFIGS / "smollm2_135m.py")},
            WARNING,
            "18 of 18 sampled completions that ended have no",
        ),
        (
            {"groups": [*MIXED, *[group(True, False, scored=False)] * 2]},
            WARNING,
            "4 of 68 sampled completions could not be judged (KeyError: 9)",
        ),
        ({"groups": [group(True, False, text="4")] * 9}, WARNING, "in 9 of 9 groups all completions are the same"),
        ({"entropy": 2.7}, WARNING, "draws tokens almost evenly from all 16 (2.70 nats a token)"),
        ({"measured": {Measured.SAMPLER_DIFFERENCE_MEAN: 0.01}}, WARNING, "differ from the trainer's by 0.01 a token"),
        ({"measured": {Measured.GRADIENT_NORM: float("nan")}}, ERROR, "the gradient of the first update is not finite"),
        ({"measured": {Measured.GRADIENT_NORM: 0.0}}, ERROR, "the gradient of the first update is 0"),
        ({"measured": {Measured.GRADIENT_NORM: 5e4}}, WARNING, "the gradient of the first update is 5e+04 long"),
    ],
)
def test_samples_that_a_run_would_learn_little_from(changes, severity, sentence):
    assert_one(samples.CHECKS, of_samples(**changes), severity, sentence)


@pytest.mark.parametrize(
    ("recorded", "sentence"),
    [
        (as_recorded(prompt=[1, 3]), "--recorded: the prompts are other tokens than they were"),
        (
            as_recorded(logprobs=[-0.7, -1.2, -0.5]),
            "0 of 4 completions consist of other tokens than before, and log-prob",
        ),
        (as_recorded(completion=[9, 4, 0]), "4 of 4 completions consist of other tokens"),
    ],
)
def test_samples_that_are_not_those_that_were_recorded(recorded, sentence):
    assert_one(samples.CHECKS, of_samples(recorded=recorded), ERROR, sentence)


def test_a_near_tie_is_no_difference():
    """After another token log-probabilities are not compared."""
    recorded = [dataclasses.replace(TOKENS[0], completion=[3, 5, 0], logprobs=[-0.50001, -9.0, -9.0]), *TOKENS[1:]]
    evidence = of_samples(recorded=recorded)
    assert told(samples.CHECKS, evidence) == []
    assert "3 of 4 completions consist of the recorded tokens. Their log-probabilities differ by 1e-06" in notes(
        samples.CHECKS, evidence
    )


def test_another_policy_behind_the_engine():
    """Of a quantised policy the difference is expected, unless it is large."""
    corrected = {"objective__old_logprobs": "trainer", "objective__importance_cap": 2.0}
    for quantization, difference, sentence in (
        ("none", 0.2, "rollout.engine: the sampler's log-probabilities differ"),
        ("int8", 0.2, "rollout.quantization='int8': the quantised policy's log-probabilities differ"),
        ("int8", 0.02, None),
    ):
        config = make_config(**corrected, rollout__quantization=quantization)
        evidence = of_samples(config=config, measured={Measured.SAMPLER_DIFFERENCE_MEAN: difference})
        if sentence:
            assert_one(samples.CHECKS, evidence, WARNING, sentence)
        else:
            assert told(samples.CHECKS, evidence) == []


def test_the_share_of_pairs_is_unbiased_for_groups_of_any_size():
    assert samples.pair_shares(MIXED[:4]).tolist() == [1, 0, 0, 1]
    assert samples.pair_shares([group(True, False, False, False)]).tolist() == [0.5]  # 3 of the 6 pairs
    unjudged = group(False, False, scored=False)
    assert samples.pair_shares([MIXED[0], unjudged]).tolist() == [1]


def test_the_cost_of_a_step_and_whether_pairs_suit_are_noted():
    told = notes(samples.CHECKS, of_samples())
    assert (
        "A step takes about 3 s here (2 sampling and rewards, 1 update), so train.steps=12 take about 0.6 minutes"
        in told
    )
    assert "Completions have 4.0 tokens on average, of rollout.max_new_tokens=4 (64 stop); 50.0 % are right." in told
    assert "with probability 0.500 [" in told
    assert "a step of 8 groups of 2 learns from about 4.0 of them; pairs suit this model and data" in told
    fours = of_samples([group(True, False, False, True)] * 4, make_config(rollout__group_size=4))
    assert "as pairs its 32 rollouts would hold about 11 such pairs" in notes(samples.CHECKS, fours)
    seldom = [*MIXED[:4], *[group(False, False)] * 16]
    assert "a step full of such pairs needs about 160 rollouts" in notes(samples.CHECKS, of_samples(seldom))


# --- Memory.


@pytest.mark.parametrize(("limit", "severity"), [(2**33, NOTE), (2**31, ERROR), (None, NOTE)])
def test_whether_it_fits(limit, severity):
    needs = memory.Needs(make_config(), {"update": 3 * 2**30, "sample": 2**20}, limit)
    (finding,) = look("", memory.CHECKS, needs).findings
    assert finding.severity is severity
    assert "needs 3 GiB to update and 1 MiB to sample" in finding.sentence
    assert ("model.remat to 'full'" in finding.sentence) == (severity is ERROR)
