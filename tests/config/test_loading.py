"""Config files, overrides, and what is refused."""

import dataclasses
import json
import math
import sys

import numpy as np
import pytest

from grpo_jax.config import (
    Config,
    ConfigError,
    LoggingConfig,
    LoraConfig,
    MeshConfig,
    ObjectiveConfig,
    OwnTaskConfig,
    RewardConfig,
    architecture,
    covers,
    digest,
    fields,
    from_dict,
    load,
    loading,
    schema,
    to_dict,
    with_defaults,
)
from grpo_jax.config.fields import marked
from grpo_jax.config.marks import Change
from grpo_jax.files import run_config
from tests.helpers import CONFIGS, ROOT, make_config


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(CONFIGS.glob("**/*.py")) if path.parent.name != "studies"],
    ids=lambda path: path.stem,
)
def test_every_config_file_is_valid(path):
    assert isinstance(load(path), Config)


def test_a_configuration_survives_json():
    config = make_config()
    assert from_dict(to_dict(config)) == config
    assert digest(to_dict(config)) == digest(to_dict(from_dict(to_dict(config))))
    assert digest(to_dict(config)) != digest(to_dict(make_config(seed=1)))


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("seed", "7", 7),
        ("optimizer.learning_rate", "1e-3", 1e-3),
        ("optimizer.clip_norm", "inf", math.inf),
        ("optimizer.clip_norm", "2", 2.0),
        ("model.scan_layers", "true", True),
        ("model.scan_layers", "False", False),
        ("objective.aggregation", "token", "token"),
        ("warm_start.cache_dir", "123", "123"),
        ("model.architecture.rope.theta", "5e5", 5e5),
        ("model.architecture.layer_types", "('sliding', 'full')", ("sliding", "full")),
        ("model.architecture.layer_types", "['full']", ("full",)),
    ],
)
def test_overrides_have_the_type_of_their_field(field, text, value):
    config = load(CONFIGS / "two_grpo.py", [("model.architecture.sliding_window", "4"), (field, text)])
    for name in field.split("."):
        config = getattr(config, name)
    assert config == value
    assert type(config) is type(value)


SMOLLM2 = CONFIGS / "smollm2_135m.py"


def test_values_that_may_have_several_types():
    flags = [("task.chat_variables.enable_thinking", "false"), ("task.chat_variables.effort", "high")]
    flags += [("task.stop_tokens", "('</answer>', 7)"), ("task.model_stop_tokens", "false")]
    config = load(SMOLLM2, flags)
    assert config.task.chat_variables == {"enable_thinking": False, "effort": "high"}
    assert config.task.stop_tokens == ("</answer>", 7)
    assert from_dict(to_dict(config)) == config
    assert load(SMOLLM2).task.stop_tokens == ()
    with pytest.raises(
        ConfigError, match=r"^task\.stop_tokens\[0\]=1\.5: must be a text or a whole number, not a number"
    ):
        load(SMOLLM2, [("task.stop_tokens", "(1.5,)")])
    assert load(SMOLLM2, [("task.stop_tokens", "<a>,<b>")]).task.stop_tokens == ("<a>", "<b>")
    for text, tokens in (("7", (7,)), ("'a,b',", ("a,b",)), ("a,", ("a",)), ("", ())):
        assert load(SMOLLM2, [("task.stop_tokens", text)]).task.stop_tokens == tokens


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"task.chat": "false", "task.chat_variables.x": "1"}, "without a chat template nothing reads them"),
        ({"task.model_stop_tokens": "false"}, "no token would end a completion"),
    ],
)
def test_fields_of_a_text_that_would_do_nothing_are_refused(flags, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load(SMOLLM2, flags.items())


def test_an_absent_section_is_set_by_flags():
    """It begins as its sibling of the same kind, if it has one; else with the defaults."""
    task = load(
        SMOLLM2, [("task.train.limit", "9"), ("task.test.path", "mine.jsonl"), ("task.test.kind", "jsonl")]
    ).task
    assert task.test == dataclasses.replace(task.train, path="mine.jsonl", kind="jsonl", limit=9)
    assert task.train.path == "3 terms of +-"
    architecture = load(CONFIGS / "two_grpo.py", [("model.architecture.local_rope.theta", "5e5")]).model.architecture
    assert architecture.local_rope == dataclasses.replace(architecture.rope, theta=5e5)
    lora = [("model.lora.rank", "8"), ("model.lora.alpha", "16"), ("model.lora.modules", "('query',)")]
    assert load(SMOLLM2, lora).model.lora.modules == ("query",)
    assert load(SMOLLM2, lora[:1]).model.lora == dataclasses.replace(LoraConfig(), rank=8)
    with pytest.raises(ConfigError, match=r"unknown field model\.lora\.rang; did you mean rank"):
        load(SMOLLM2, [("model.lora.rang", "8")])
    with pytest.raises(ConfigError, match=r"^model\.lora\.rank='eight': must be a whole number, not a text"):
        load(SMOLLM2, [("model.lora.rank", "eight")])
    with pytest.raises(
        ConfigError, match=r"^model\.architecture\.num_layers, .*mlp_dim: are missing; give them values"
    ):
        load(SMOLLM2, [("model.architecture.embed_dim", "8")])
    assert load(SMOLLM2, [("task.test.path", "x"), ("task.test", "none")]).task.test is None


@pytest.mark.parametrize("backwards", [False, True])
def test_one_of_several_sections_is_chosen_by_a_flag(backwards):
    chosen = [("task.name", "own"), ("task.factory", "larger:Larger"), ("task.parameters", "{'digits': 9}")]
    task = load(CONFIGS / "two_grpo.py", chosen[::-1] if backwards else chosen).task
    assert task == OwnTaskConfig("own", "larger:Larger", {"digits": 9.0})
    same = [("task.name", "modular_expressions"), ("task.operations", "2")]
    assert load(CONFIGS / "two_grpo.py", same).task.operators == "+"  # the section that stands there stays
    assert load(CONFIGS / "two_grpo.py", chosen[:2]).task.parameters == {}
    with pytest.raises(ConfigError, match=r"^task\.factory: is missing"):
        load(CONFIGS / "two_grpo.py", chosen[:1])
    questions = [("task.name", "questions"), ("task.train.kind", "jsonl"), ("task.train.path", "x")]
    questions += [("task.tokenizer", "y"), ("task.reward.terms.exact", "2")]
    assert load(CONFIGS / "two_grpo.py", questions).task.reward.terms == {"mathematics": 1.0, "exact": 2.0}


def test_all_mistakes_are_told_at_once():
    flags = {"seed": "-1", "optimizer.learning_rat": "1", "train.steps": "1.5", "model.architecture.remat": "x"}
    with pytest.raises(ConfigError) as told:
        load(CONFIGS / "two_grpo.py", flags.items())
    assert len(told.value.args) == 4
    assert [sentence.partition(": ")[0].rpartition("=")[0] for sentence in told.value.args] == [
        "--config.optimizer.learning_rat",
        "--config.model.architecture.remat",
        "seed",
        "train.steps",
    ]
    with pytest.raises(ConfigError) as told:  # of fields that are good, but not together
        load(CONFIGS / "two_grpo.py", [("train.minibatches", "5"), ("objective.importance_cap", "2")])
    assert len(told.value.args) == 2


@pytest.mark.parametrize("text", ["none", "None", "null"])
def test_a_section_may_be_taken_away(text):
    assert load(CONFIGS / "smollm2_135m_lora.py", [("model.lora", text)]).model.lora is None


def test_the_last_override_wins():
    assert load(CONFIGS / "two_grpo.py", [("seed", "1"), ("seed", "2")]).seed == 2


def test_a_config_file_may_import_its_sibling(tmp_path):
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "base.py").write_text((CONFIGS / "two_grpo.py").read_text())
        (tmp_path / folder / "mine.py").write_text(
            f"import base\ndef get_config():\n    c = base.get_config()\n    c.seed = {seed}\n    return c\n"
        )
    assert load(tmp_path / "a" / "mine.py").seed == 1
    assert load(tmp_path / "b" / "mine.py").seed == 2


DERIVED = "def get_config():\n    c = base.get_config({})\n    c.seed = 7\n    return c\n"


@pytest.mark.parametrize(
    "line",
    ["from configs import smollm2_135m_lora as base", "import smollm2_135m as base", "import paper as base"],
)
def test_a_file_anywhere_may_derive_from_a_shipped_one(tmp_path, monkeypatch, line):
    """Also without PYTHONPATH, and the shipped one from others beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(ROOT))])
    for name in [name for name in sys.modules if name.split(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    arguments = '"Qwen2.5-Math-1.5B", group_size=2' if "paper" in line else ""
    (tmp_path / "mine.py").write_text(f"{line}\n{DERIVED.format(arguments)}")
    assert load(tmp_path / "mine.py").seed == 7
    assert not {"two_grpo", "smollm2_135m", "paper"} & set(sys.modules)


def test_a_base_in_another_directory_finds_its_own_siblings(tmp_path, monkeypatch):
    """Two files are named helper. Each is imported by the file that lies beside it."""
    for folder, seed in (("theirs", 1), ("others", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"SEED = {seed}\n")
        (tmp_path / folder / f"of_{folder}.py").write_text(
            "import helper, two_grpo\ndef get_config():\n    c = two_grpo.get_config()\n    c.seed = helper.SEED\n"
            "    return c\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine").mkdir()
    for folder, seed in (("theirs", 1), ("others", 2)):
        text = f"from {folder}.of_{folder} import get_config\n"
        (tmp_path / "mine" / "mine.py").write_text(text)
        assert load(tmp_path / "mine" / "mine.py").seed == seed


def test_what_is_nowhere_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("import two_grop\n")
    with pytest.raises(ConfigError, match=r"ModuleNotFoundError: No module named 'two_grop'"):
        load(tmp_path / "mine.py")
    assert not any(type(finder).__name__ == "_Siblings" for finder in sys.meta_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1", "has no get_config()"),
        ("def get_config(): return {}", "returned dict; return a ConfigDict"),
        (
            "def get_config():\n    1 / 0",
            "cannot be run (ZeroDivisionError: division by zero, in {path}:2); correct that",
        ),
        ("def get_config(): raise ValueError('two\\nlines')", "(ValueError: two lines, in {path}:1)"),
        ("def get_config(): assert False", "(AssertionError, in {path}:1)"),
        ("import sys\nsys.exit(5)", "SystemExit: 5"),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({3: 1, 'seed': 1})",
            "get_config() returned a ConfigDict that cannot be read (TypeError",
        ),
        (
            "from ml_collections import ConfigDict, config_dict\n"
            "def get_config(): return ConfigDict({'seed': config_dict.required_placeholder(int)})",
            "(RequiredValueError: None value found in required reference); name each field by a text, and give it a",
        ),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'task': {'name': 'own', "
            "'factory': 'a:b', 'operations': 3}})",
            "task.operations=3: unknown field; it exists only with task.name=modular_expressions.",
        ),
        ("def get_config(:", "SyntaxError"),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'seed': 1})",
            "task.name: is missing; give it a value, one of modular_expressions, questions, own.",
        ),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'sede': 1})",
            "sede=1: unknown field; did you mean seed?",
        ),
        (
            "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'train': {'lr': 1.0}})",
            "train.lr=1.0: unknown field; did you mean optimizer.learning_rate?",
        ),
    ],
)
def test_a_config_file_that_is_none(tmp_path, text, sentence):
    path = tmp_path / "config.py"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert sentence.replace("{path}", str(path)) in str(caught.value)
    assert all("\n" not in one for one in caught.value.args)


def test_a_config_file_may_use_libraries_that_lie_beside_it(tmp_path, monkeypatch):
    """As with .venv in the directory of the config file: what it imports stays imported."""
    library = tmp_path / "lib" / "beside"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("")
    (tmp_path / "sibling.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    (tmp_path / "mine.py").write_text(
        f"import sys\nsys.path.insert(0, {str(CONFIGS)!r})\nimport beside, sibling\nfrom two_grpo import get_config\n"
    )
    load(tmp_path / "mine.py")
    assert "beside" in sys.modules
    assert "sibling" not in sys.modules
    sys.path.remove(str(CONFIGS))


def test_a_config_file_names_only_what_is_its_own(tmp_path):
    """With or without `with_defaults`, which only makes all fields there for files that derive from it."""
    own = {
        "task": {"name": "questions", "train": {"kind": "jsonl", "path": "x"}},
        "model": {"checkpoint": "y"},
        "rollout": {"max_new_tokens": 8},
        "optimizer": {"learning_rate": 1e-5},
        "train": {"steps": 10},
    }
    file = "from grpo_jax.config import with_defaults\nfrom ml_collections import ConfigDict\ndef get_config():\n"
    (tmp_path / "plain.py").write_text(f"{file}    return ConfigDict({own!r})\n")
    (tmp_path / "whole.py").write_text(f"{file}    return with_defaults({own!r})\n")
    derived = "import whole\ndef get_config():\n    c = whole.get_config()\n    c.optimizer.beta1 **= 2\n"
    (tmp_path / "derived.py").write_text(f"{derived}    c.evaluation.sampling.top_k = 5\n    return c\n")
    config = load(tmp_path / "plain.py")
    assert config == load(tmp_path / "whole.py")
    assert (config.objective, config.logging, config.mesh) == (ObjectiveConfig(), LoggingConfig(), MeshConfig())
    assert config.task.reward == RewardConfig()
    assert (config.model.lora, config.task.test) == (None, None)
    derived = load(tmp_path / "derived.py")
    assert derived.optimizer == dataclasses.replace(config.optimizer, beta1=0.9**2)
    assert (derived.evaluation.sampling.top_k, derived.rollout.sampling.top_k) == (5, 0)
    assert with_defaults(own).objective.parameters is not with_defaults(own).objective.parameters


def test_what_an_earlier_version_recorded(tmp_path, caplog):
    """A field that it did not have gets the value of that time, in every reader; and one line of the log says so."""
    config = make_config(logging__arms_every=0, optimizer__clip_norm="inf")
    values = to_dict(config)
    del values["logging"], values["model"]["architecture"]["layer_types"], values["warm_start"]["cache_dir"]
    assert load(CONFIGS / "two_grpo.py").logging.arms_every != 0
    assert from_dict(values) == config
    (tmp_path / "config.json").write_text(json.dumps(values))
    for _ in range(2):
        assert run_config(tmp_path) == to_dict(config)
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'config.json'} was written by an earlier version; filled in 3 newer fields")
    assert "unlike today's defaults: logging.arms_every=0 (all: grpo config diff " in line
    values["optimizer"]["momentum"] = 0.9
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=r"config\.json: optimizer\.momentum: is not a field of this version"):
        run_config(tmp_path)
    del values["optimizer"]["momentum"], values["train"]["steps"]  # which never had a default
    with pytest.raises(ConfigError, match=r"^train\.steps: is missing"):
        from_dict(values)


def test_the_same_command_goes_on_with_a_run_of_an_earlier_version():
    """It means the values of that time, unless the file or a flag says something else."""
    begun = to_dict(make_config())
    assert load(CONFIGS / "two_grpo.py", begun=begun).logging.arms_every == 20
    del begun["logging"]["arms_every"]
    assert load(CONFIGS / "two_grpo.py", begun=begun).logging.arms_every == 0
    assert load(CONFIGS / "two_grpo.py", [("logging.arms_every", "20")], begun).logging.arms_every == 20
    del begun["logging"]
    assert load(CONFIGS / "two_grpo.py", begun=begun).logging == LoggingConfig(arms_every=0)
    assert load(CONFIGS / "two_grpo.py", begun=begun).checkpoint == load(CONFIGS / "two_grpo.py").checkpoint


def test_every_mark_is_where_it_has_an_effect():
    """A field inside a section with the same mark need not have it; and defaults are in their ranges."""
    for change in Change:
        assert marked(change)
    assert covers(marked(Change.FREE), "logging.arms_every")
    assert not covers(marked(Change.FREE), "loggings")
    for section in {**vars(schema), **vars(architecture)}.values():
        if isinstance(section, type) and section.__name__.endswith("Config"):
            for field in dataclasses.fields(section):
                kind = fields.hints_of(section)[field.name]
                default = fields.default_of(field, kind)
                if default is not dataclasses.MISSING and default is not None and not fields.sections(kind):
                    assert loading._check(kind, default, field.name) == default


def test_an_infinity_goes_through_json_and_back():
    config = make_config(optimizer__clip_norm="inf", objective__clip_high="inf")
    text = json.dumps(to_dict(config), allow_nan=False)
    assert from_dict(json.loads(text)) == config
    assert config.optimizer.clip_norm == math.inf


def test_numbers_of_numpy_are_numbers():
    values = to_dict(make_config())
    values["optimizer"]["learning_rate"] = np.float32(0.5)
    values["train"]["steps"] = np.int64(30)
    config = from_dict(values)
    assert json.loads(json.dumps(to_dict(config)))["train"]["steps"] == 30
    assert type(config.optimizer.learning_rate) is float
    values["optimizer"]["learning_rate"] = np.ones(2)
    values["optimizer"]["clip_norm"] = 10**400  # as good as infinite
    values["model"]["scan_layers"] = np.True_
    with pytest.raises(ConfigError) as told:
        loading._build(Config, values, "")
    assert [sentence.partition("must be ")[2] for sentence in told.value.args] == [
        "true or false, not numpy.bool.",
        "a number, not numpy.ndarray.",
    ]


def test_a_section_cannot_be_a_number():
    values = to_dict(make_config())
    with pytest.raises(ConfigError, match=r"^model=3: must be a section"):
        from_dict(values | {"model": 3})


def test_fields_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_config().seed = 3


@dataclasses.dataclass(frozen=True)
class Weighted:
    weights: dict[str, float]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "weights=3: must be names with a value each"),
        ({1: 2.0}, "weights={1: 2.0}: must be names with a value each"),
        ({"a": "many"}, "weights.a='many': must be a number, not a text."),
        ({"a": True}, "weights.a=True: must be a number, not true or false."),
    ],
)
def test_a_field_of_names_and_numbers_is_checked(value, sentence):
    assert loading._build(Weighted, {"weights": {"a": 1, "b:c": 0.5}}, "") == Weighted({"a": 1.0, "b:c": 0.5})
    with pytest.raises(ConfigError) as caught:
        loading._build(Weighted, {"weights": value}, "")
    assert sentence in str(caught.value)


def test_one_of_its_names_can_be_set_on_the_command_line(monkeypatch):
    monkeypatch.setattr(loading, "Config", Weighted)
    values = {"weights": {"a": 1.0}}
    loading._override(values, "weights.b", "2")
    assert values == {"weights": {"a": 1.0, "b": 2}}
    loading._override(values, "weights", "{'c': 3}")
    assert values == {"weights": {"c": 3}}
    loading._override(values, "weights.my.module:function", "0.5")  # a name with a dot
    assert values == {"weights": {"c": 3, "my.module:function": 0.5}}


SERVED = {
    "rollout__engine__weights": "weights",
    "objective__old_logprobs": "trainer",
    "objective__importance_cap": 2.0,
}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        *(
            (
                {
                    f"{which}__sampling__{name}": value,
                    "objective__old_logprobs": "trainer",
                    "objective__importance_cap": 2.0,
                },
                said,
            )
            for name, value in (("temperature", 0), ("top_k", 1), ("min_p", 1))
            for which, said in (
                ("rollout", f"^rollout.sampling.{name}={value}: greedy completions"),
                ("evaluation", f"^evaluation.sampling.{name}={value}: greedy samples"),
            )
        ),
        ({"objective__old_logprobs": "trainer", "rollout__sampling__top_p": 0.9}, "the gradient is biased"),
        (
            {"objective__old_logprobs": "trainer", "rollout__delay": 1},
            "^rollout.delay=1: completions are an older policy's, .* set objective.importance_cap to 1 or more",
        ),
        (
            {
                "objective__old_logprobs": "trainer",
                "objective__importance_cap": 1.0,
                "objective__importance_beyond": "mask",
            },
            "set it above 1",
        ),
        ({"mesh__rollout_share": 0.5}, "^mesh.rollout_share=0.5: without a delay the devices"),
        (SERVED | {"mesh__rollout_share": 0.5, "rollout__delay": 1}, "^mesh.rollout_share=0.5: .*'vllm' samples elsew"),
        (SERVED | {"objective__old_logprobs": "sampler"}, "set objective.old_logprobs to 'trainer', and"),
        (SERVED | {"objective__importance_cap": 0.0}, "^rollout.engine.name='vllm': its completions are not exactly"),
        (
            SERVED | {"rollout__speculation": 4},
            "^rollout.speculation=4: rollout.engine.name='vllm' decodes with drafts",
        ),
        (
            SERVED | {"rollout__quantization": "int8"},
            "^rollout.quantization='int8': rollout.engine.name='vllm' samples",
        ),
        ({"rollout__speculation": 99}, "^rollout.speculation=99: must be below rollout.max_new_tokens="),
        (SERVED | {"rollout__sampling__top_k": 5}, "switch these filters of rollout.sampling off"),
        (SERVED | {"rollout__engine__address": "10.0.0.1:80"}, "'10.0.0.1:80': is not this machine's own, and whoever"),
        (SERVED | {"rollout__engine__address": "http://127.0.0.1:80"}, "must be HOST:PORT"),
        (SERVED | {"rollout__engine__address": "127.0.0.1"}, "must be HOST:PORT"),
        (
            SERVED | {"rollout__engine__adapters": "alone"},
            "^rollout.engine.adapters='alone': all parameters are trained; set it to 'merged', or set model.lora",
        ),
    ],
)
def test_combinations_that_would_be_wrong_in_silence_are_refused(changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        make_config(**changes)


@pytest.mark.parametrize(
    ("address", "remote"),
    [("127.0.0.1:8000", False), ("localhost:80", False), ("[::1]:80", False), ("10.0.0.1:80", True)],
)
def test_a_server_may_be_elsewhere_if_the_configuration_says_so(address, remote):
    changes = SERVED | {"rollout__engine__address": address, "rollout__engine__remote": str(remote).lower()}
    assert make_config(**changes).rollout.engine.host_and_port == (
        address.rpartition(":")[0].strip("[]"),
        int(address.rpartition(":")[2]),
    )
    assert make_config().rollout.engine is None
