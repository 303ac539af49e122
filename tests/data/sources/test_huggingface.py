"""Data sets of the Hugging Face Hub. The tests need no network: a local port stands for the Hub."""

import socket
import time

import pytest

datasets = pytest.importorskip("datasets")

import huggingface_hub  # noqa: E402

from grpo_jax.config import ConfigError  # noqa: E402
from grpo_jax.data.sources import huggingface, open_records, read_problems  # noqa: E402
from tests.data.sources.helpers import RECORDS, source, write_lines  # noqa: E402


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_directory_is_read(tmp_path):
    (tmp_path / "data").mkdir()
    write_lines(tmp_path / "data" / "train.jsonl", RECORDS)
    config = source(kind="huggingface", path=str(tmp_path / "data"), split="train[1:]")
    assert [problem.prompt for problem in read_problems(config, "x")] == [record["question"] for record in RECORDS[1:]]
    with pytest.raises(ConfigError, match=r"split 'test' cannot be read \(Unknown split"):
        open_records(source(kind="huggingface", path=str(tmp_path / "data"), split="test"))


def test_a_directory_without_data_is_reported(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match=r"task\.train\.path=.* cannot be read \(.*doesn't contain any data files\)"):
        read_problems(source(kind="huggingface", path=str(tmp_path / "data"), split="train"), "task.train")


@pytest.mark.parametrize("path", ["gsm8k", "/no/such/directory", "owner/name/subset/more", "owner/na me"])
def test_what_is_neither_a_directory_nor_a_repository_is_reported(path):
    with pytest.raises(ConfigError, match="neither a directory nor a repository; write owner/name"):
        open_records(source(kind="huggingface", path=path, split="train"))


@pytest.mark.parametrize("listens", [False, True])
def test_without_a_network_it_is_reported_in_seconds(monkeypatch, listens):
    """Nobody listens at the Hub's address, or somebody listens but does not answer, as behind a firewall."""
    monkeypatch.setattr(huggingface, "_SECONDS", 1.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not listens:
            silent.close()
        monkeypatch.setattr(huggingface_hub.hf_api.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        started = time.monotonic()
        with pytest.raises(ConfigError, match=r"the Hugging Face Hub cannot be reached \(.*set HF_HUB_OFFLINE=1"):
            open_records(source(kind="huggingface", path="openai/gsm8k/main", split="train"))
        assert time.monotonic() - started < 10


def test_offline_the_cache_alone_is_asked(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    config = source(kind="huggingface", path="openai/gsm8k", split="train")
    with pytest.raises(ConfigError, match=r"the Hugging Face Hub cannot be reached \(.*OfflineMode"):
        open_records(config)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(RECORDS))
    assert list(open_records(config)) == RECORDS


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("openai/gsm8k", ("openai/gsm8k", None, None)),
        ("openai/gsm8k/main", ("openai/gsm8k", "main", None)),
        ("openai/gsm8k@e53f/main", ("openai/gsm8k", "main", "e53f")),
    ],
)
def test_a_path_names_repository_revision_and_subset(monkeypatch, path, asked):
    monkeypatch.setattr(huggingface, "_check_repository", lambda *_: None)
    loaded = []

    def load_dataset(name, subset, split, revision):
        loaded.append((name, subset, revision))
        return datasets.Dataset.from_list(RECORDS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert list(open_records(source(kind="huggingface", path=path, split="train"))) == RECORDS
    assert loaded == [asked]


def test_golds_have_the_digits_of_their_column(monkeypatch):
    """The library itself converts all floats to doubles."""
    columns = {"question": ["1+1", "1+2"], "answer": [0.1, 3.0], "parsed": [{"gold": 2}, ["x"]]}
    features = {"question": datasets.Value("string"), "answer": datasets.Value("float32"), "parsed": datasets.Json()}
    data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    monkeypatch.setattr(huggingface, "_check_repository", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    config = source(kind="huggingface", path="owner/name", split="train")
    assert [problem.answer for problem in read_problems(config, "x")] == ["0.1", "3"]
    config = source(kind="huggingface", path="owner/name", split="train", answer_field="parsed.gold", limit=1)
    assert read_problems(config, "x")[0].answer == "2"
