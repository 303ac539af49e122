"""Data sets prepared by tensorflow-datasets, without TensorFlow and without a network."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from grpo_jax.config import ConfigError
from grpo_jax.data.sources import open_records, read_problems
from tests.data.sources.helpers import RECORDS, source


class TinySums(tfds.core.GeneratorBasedBuilder):
    """A data set with the records of the other tests."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {"question": tfds.features.Text(), "answer": tfds.features.Text(), "share": np.float32}
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(RECORDS), "test": self._generate_examples(RECORDS[:1])}

    def _generate_examples(self, records):
        for number, record in enumerate(records):
            yield number, record | {"share": np.float32(number / 10)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    def prepare(file_format):
        builder = TinySums(data_dir=tmp_path_factory.mktemp("tfds"), file_format=file_format)
        builder.download_and_prepare()
        return builder

    return prepare


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_a_directory_is_read(prepared, file_format):
    config = source(kind="tfds", path=str(prepared(file_format).data_path), split="train")
    problems = read_problems(config, "task.train")
    assert sorted((problem.prompt, problem.answer) for problem in problems) == [
        (record["question"], record["answer"]) for record in RECORDS
    ]
    assert open_records(config)[0]["question"] == problems[0].prompt.encode()
    shares = read_problems(dataclasses.replace(config, answer_field="share"), "task.train")
    assert sorted(problem.answer for problem in shares) == ["0", "0.1", "0.2", "0.3"]  # of float32
    assert "tensorflow" not in sys.modules


def test_a_name_is_looked_up_in_the_data_directory(prepared, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(prepared("array_record").data_path.parent.parent))
    records = open_records(source(kind="tfds", path="tiny_sums", split="train[1:3]"))
    assert len(records) == 2
    assert records.where(1) == "tiny_sums/1.0.0 train[1:3], 1"


def test_what_is_not_prepared_is_reported_and_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))
    for path, module in {"gsm8k": ".text.gsm8k", "math_dataset/algebra__linear_1d": ""}.items():
        with pytest.raises(ConfigError) as told:
            read_problems(source(kind="tfds", path=path, split="train"), "task.train")
        assert str(told.value).startswith(f"task.train.path={path!r}: is not prepared in {tmp_path}/{path}/1.0.0;")
        command = (
            f"import tensorflow_datasets{module}; tensorflow_datasets.builder('{path}', file_format='array_record')"
        )
        assert command in str(told.value)


def test_a_format_without_random_access_is_reported(prepared):
    builder = prepared("array_record")
    info = builder.data_path / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ConfigError, match=r"is prepared as tfrecord, which has no random access; remove /.* and run"):
        open_records(source(kind="tfds", path=str(builder.data_path), split="train"))


@pytest.mark.parametrize("split", ["validation", "train[a"])
def test_an_unknown_split_is_reported(prepared, split):
    with pytest.raises(ConfigError, match=r"^split=.*: cannot be read .*; it has train, test\.$"):
        open_records(source(kind="tfds", path=str(prepared("array_record").data_path), split=split))


@pytest.mark.parametrize("path", ["no_such_builder", "math_dataset/none", "gsm8k:9.9.9", "a b?"])
def test_an_unknown_builder_is_reported(path):
    with pytest.raises(ConfigError, match="unknown to tensorflow-datasets"):
        open_records(source(kind="tfds", path=path, split="train"))


def test_a_directory_of_something_else_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"has no dataset_info\.json; name the directory of one version"):
        open_records(source(kind="tfds", path=str(tmp_path), split="train"))
