"""The task of questions: splits, prompts, limits and mistakes."""

import json
from datetime import UTC, datetime

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from grpo_jax.config import ConfigError, QuestionsConfig, RewardConfig, SourceConfig
from grpo_jax.data import Problem, Split, check_rows, prompt_prefix
from grpo_jax.data.tasks import Questions
from grpo_jax.rewards import Attempt
from tests.data.tokenizer_files import END, EOS, TEMPLATE, write_tokenizer
from tests.helpers import make_config

CONFIG = make_config(rollout__max_new_tokens=20)
DATE = datetime(2026, 1, 31, tzinfo=UTC)
REWARD = RewardConfig({"exact": 1.0}, r"(-?\d+)", 100, 1, 1.0, 256, 0)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return str(write_tokenizer(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture
def make(tokenizer, tmp_path):
    def written(name, questions):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"q": q, "a": len(q)}) + "\n" for q in questions))
        return SourceConfig("jsonl", str(path), "", "q", "a", "plain", 0)

    def made(train, test=None, **changes):
        fields = {
            "name": "questions",
            "train": written("train", train),
            "test": None if test is None else written("test", test),
            "hold_out_validation": True,
            "tokenizer": tokenizer,
            "system": "",
            "template": "{question}",
            "chat": True,
            "max_prompt_tokens": 64,
            "reward": REWARD,
        }
        return Questions(QuestionsConfig(**fields | changes), CONFIG, DATE)

    return made


MANY = [f"What is {number}?" for number in range(400)]


def prompts(task, split):
    return [problem.prompt for problem in task.problems(split, at_most=True)]


def test_without_a_test_source_the_splits_are_cut_from_one(make):
    task = make(MANY)
    splits = {split: prompts(task, split) for split in (Split.TRAIN, Split.VALIDATION, Split.TEST)}
    assert sorted(prompt for found in splits.values() for prompt in found) == sorted(MANY)
    assert 12 < len(splits[Split.TEST]) < 40  # a sixteenth is 25
    assert 25 < len(splits[Split.VALIDATION]) < 80  # an eighth is 50
    assert {problem.split for problem in task.problems(Split.TEST)} == {Split.TEST}
    assert task.problems(Split.TEST, 5) == task.problems(Split.TEST)[:5]


def test_the_first_of_a_split_are_no_special_ones(make):
    """A source may be sorted by difficulty, so its first problems must not represent all of it."""
    numbers = [int(prompt[8:-1]) for prompt in prompts(make(MANY), Split.TEST)]
    assert numbers != sorted(numbers)


def test_nothing_of_the_test_source_is_trained_on(make):
    task = make(MANY[:100], test=MANY[90:110], hold_out_validation=False)
    assert sorted(prompts(task, Split.TEST)) == sorted(MANY[90:110])
    assert sorted(prompts(task, Split.TRAIN)) == sorted(MANY[:90])
    assert prompts(task, Split.VALIDATION) == []


def test_white_space_makes_no_new_problem(make):
    """Otherwise a test problem could be trained on under another spelling."""
    spelled = ["What is  1?", "What is 2?\n", " What is 3?", "What is 10?"]
    task = make(spelled, test=["What is 1?", "What is 2?", "What is 3?"], hold_out_validation=False)
    assert prompts(task, Split.TRAIN) == ["What is 10?"]
    assert len(prompts(make(["a 1", "a  1", "a 1 "], test=["b"], hold_out_validation=False), Split.TRAIN)) == 1


def test_long_problems_are_not_trained_on_and_never_left_out_of_a_test(make, caplog):
    long = "x" * 60
    task = make([*MANY[:50], long], test=MANY[50:60])
    assert long not in prompts(task, Split.TRAIN) + prompts(task, Split.VALIDATION)
    assert "task.max_prompt_tokens=64: 1 of " in caplog.text
    said = r"^task.max_prompt_tokens=64: 1 of the 1 problem of the test split is longer, .*; raise it to 79,"
    with pytest.raises(ConfigError, match=said):
        make(MANY[:50], test=[long]).problems(Split.TEST)


def test_more_than_there_are(make):
    with pytest.raises(
        ConfigError, match=r"^evaluation\.test_problems=11: task\.test has 10 problems; lower evaluation"
    ):
        make(MANY[:50], test=MANY[50:60]).problems(Split.TEST, 11)
    assert len(make(MANY[:50], test=MANY[50:60]).problems(Split.TEST, 11, at_most=True)) == 10


FEW = MANY[:10]


@pytest.mark.parametrize(
    ("split", "fields", "sentence"),
    [
        (
            Split.TRAIN,
            {"test": FEW},
            "rollout.prompts_per_step=9: the train split has 0 problems, of 10 in task.train (10 also in task.test); "
            "name another task.test, or set it to none to hold a sixteenth out, or lower rollout.prompts_per_step,",
        ),
        (
            Split.TRAIN,
            {"max_prompt_tokens": 10, "test": ["?"]},
            "rollout.prompts_per_step=9: the train split has 0 problems, of 10 in task.train (1 held out for",
        ),
        (
            Split.TRAIN,
            {"max_prompt_tokens": 10, "test": ["?"]},
            "raise task.max_prompt_tokens to 29, or lower rollout.prompts_per_step",
        ),
        (Split.VALIDATION, {"hold_out_validation": False}, "set task.hold_out_validation to true"),
        (Split.TEST, {}, "evaluation.test_problems=9: the test split has 1 problem, of 10 in task.train"),
        (Split.TEST, {}, "; name a source for tests as task.test, or lower evaluation.test_problems, or name"),
    ],
)
def test_where_problems_went_is_told(make, split, fields, sentence):
    with pytest.raises(ConfigError) as told:
        make(FEW, **fields).problems(split, 9)
    assert sentence in str(told.value)


def test_a_split_that_is_wanted_whole_is_not_empty(make):
    with pytest.raises(ConfigError, match=r"^task\.train: the train split has 0 problems"):
        make(FEW, test=FEW).problems(Split.TRAIN)


def test_of_a_few_problems_one_is_held_out_for_each_split(make, caplog):
    """Usually none of so few has such a hash."""
    few = [prompt for prompt in MANY if Problem(prompt, "").split in (Split.TRAIN, Split.WARM_START)][:10]
    task = make(few)
    (test,), (validation,) = (task.problems(split) for split in (Split.TEST, Split.VALIDATION))
    assert sorted([test.prompt, validation.prompt, *prompts(task, Split.TRAIN)]) == sorted(few)
    assert test.key == min(Problem(prompt, "").key for prompt in few)
    assert "none of its 10 problems has a hash of the test split, so this one with the lowest" in caplog.text
    assert [problem.prompt for problem in make(few[::-1]).problems(Split.TEST)] == [test.prompt]


def test_what_is_not_trained_on_since_it_is_tested_is_told(make, caplog):
    make(MANY[:100], test=MANY[90:110]).problems(Split.TRAIN)
    assert "10 of the 100 problems of task.train are also in task.test, and so not trained on" in caplog.text


def test_special_tokens_in_questions_are_told(make, caplog):
    """The tokenizer reads them as themselves: a question could end its own turn."""
    make([*MANY[:20], "What does <end> mean?"]).problems(Split.TRAIN)
    assert "1 of 21 questions holds a special token of the tokenizer, such as '<end>' in 'What does <en" in caplog.text


def test_prompts_and_stop_tokens_are_the_tokenizers(make):
    task = make(MANY, system="Be brief.")
    (row,) = task.prompt_tokens(task.problems(Split.TRAIN, 1))
    assert task.pretrained.decode(row) == (
        f"<bos><turn>system\nBe brief.<end><turn>user\n{task.problems(Split.TRAIN)[0].prompt}<end><turn>assistant\n"
    )
    assert task.stop_tokens == (EOS, END)


@pytest.mark.parametrize(
    ("settings", "prefix"),
    [
        ({"system": "Be brief."}, "<bos><turn>system\nBe brief.<end><turn>user"),
        ({"template": "1+1=2\n{question}="}, "<bos><turn>user\n1+1=2"),
        ({"template": "1+1=2\n{question}=", "chat": False}, "<bos>1+1=2"),
        ({"template": "{question}", "chat": False}, ""),
        ({"system": "Be brief.", "share_prefix": False}, ""),
    ],
)
def test_the_prefix_ends_before_the_last_token_that_precedes_a_question(make, settings, prefix):
    task = make(MANY, **settings)
    assert task.pretrained.decode(task.prompt_prefix) == prefix
    assert prompt_prefix(task) == tuple(task.prompt_prefix)


def test_a_token_that_a_question_may_join_is_not_of_the_prefix(make, tmp_path):
    """Byte-pair tokenizers have tokens such as ":\n" and " 1", which begin before the question."""
    tokenizer = Tokenizer(models.BPE({"<unk>": 0, "Q": 1, ":": 2, "1": 3, ":1": 4}, [(":", "1")], unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<unk>").save_pretrained(tmp_path)
    task = make(MANY, tokenizer=str(tmp_path), chat=False, template="QQ:{question}")
    assert task.prompt_tokens([Problem("1", ""), Problem("Q", "")]) == [[1, 1, 4], [1, 1, 2, 1]]
    assert task.prompt_prefix == (1,)


def test_white_space_before_a_question_is_split_with_what_precedes_it(make, tmp_path):
    """Byte-level tokenizers leave the last space to the next word. The rest may join a newline before it."""
    vocabulary = {token: index for index, token in enumerate(["<unk>", *map(chr, range(33, 127)), "Ġ", "Ċ", "ĊĠ"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ċ", "Ġ")], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<unk>").save_pretrained(tmp_path)
    task = make(MANY, tokenizer=str(tmp_path), chat=False, template="Q:\n{question}=")
    questions = [Problem(before + "What is 1 + 1?", "2") for before in ("", " ", "  ", "\n", "\n ")]
    check_rows(task, questions, task.prompt_tokens(questions), embeddings=1000)
    assert task.pretrained.decode(task.prompt_prefix) == "Q:"


def test_a_template_may_depend_on_the_question_before_it(make, tmp_path):
    """What follows is no part of the prefix. Where that is not noticed, the remedy is told."""
    template = "{{ bos_token }}It has {{ messages[0].content | length }}:{{ messages[0].content }}"
    task = make(MANY, tokenizer=str(write_tokenizer(tmp_path / "length", chat_template=template)))
    assert task.pretrained.decode(task.prompt_prefix) == "<bos>It has"
    template = "{{ bos_token }}{{ 'Code: ' if '()' in messages[0].content else 'Text: ' }}{{ messages[0].content }}"
    task = make(MANY, tokenizer=str(write_tokenizer(tmp_path / "kind", chat_template=template)))
    other = Problem("What is f()?", "1")
    said = r"the prompt 'What is f\(\)\?' does not begin with the 6 tokens that .*; set task.share_prefix to false"
    with pytest.raises(ConfigError, match=said):
        check_rows(task, [other], task.prompt_tokens([other]), embeddings=1000)


def test_a_template_that_rejects_short_questions_has_a_prefix(make, tmp_path):
    template = "{% if messages[0].content | length < 4 %}{{ raise_exception('too short') }}{% endif %}" + TEMPLATE
    task = make(MANY, tokenizer=str(write_tokenizer(tmp_path / "strict", chat_template=template)))
    assert task.pretrained.decode(task.prompt_prefix) == "<bos><turn>user"


def test_the_reward_is_the_configured_one(make):
    (verdict,) = make(MANY).reward.judge([Attempt("What?", "5", "It is 4, no, 5.", stopped=True, tokens=9)])
    assert (verdict.reward, verdict.right, verdict.answer) == (1.0, True, "5")


def test_a_tokenizer_without_a_chat_template(make, tmp_path):
    directory = write_tokenizer(tmp_path / "plain", chat_template=None)
    with pytest.raises(ConfigError, match=r"^task.chat=True: the tokenizer has no chat template"):
        make(MANY, tokenizer=str(directory))
    task = make(MANY, tokenizer=str(directory), chat=False)
    assert task.pretrained.decode(task.prompt_tokens(task.problems(Split.TRAIN, 1))[0]).startswith("<bos>What is")
