"""Run a case's steps with TRL: its `GRPOTrainer` with `generate` of transformers, in PyTorch on the CPU.

    python benchmarks/peers/run_trl.py CASE

benchmarks/peers/compare.py starts this with a case as JSON.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from turns import Turns
from work import (
    CLIP,
    CLIP_NORM,
    LEARNING_RATE,
    NEW_TOKENS,
    NORM_EPSILON,
    PAD,
    PROMPT_TOKENS,
    ROPE_THETA,
    Case,
    as_text,
    reward,
)

ENDLESS = 10**9


class StepEnds(TrainerCallback):
    """Reports every step, and stops the training when no other is wanted."""

    def __init__(self, turns: Turns, rollout_seconds: list[float], lengths: list[int]):
        self._turns = turns
        self._rollout_seconds = rollout_seconds
        self._lengths = lengths

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step that has ended, and wait for the next turn."""
        goes_on = self._turns.finished(rollout_seconds=sum(self._rollout_seconds), tokens=sum(self._lengths))
        control.should_training_stop = not goes_on
        self._rollout_seconds.clear()
        self._lengths.clear()


def tokenizer_of(case: Case) -> PreTrainedTokenizerFast:
    """Return a tokenizer of decimal numbers whose end of a text is a token that no policy samples."""
    end = "end"
    vocabulary = {str(token): token for token in range(case.model.vocabulary)} | {end: case.model.vocabulary}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token=str(PAD)))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=end, pad_token=str(PAD), padding_side="left")


def fresh_policy(case: Case) -> Qwen2ForCausalLM:
    """Return Qwen2 of transformers with the initial values that `work.py` describes."""
    shape = case.model
    policy = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=shape.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.mlp,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=PROMPT_TOKENS + NEW_TOKENS,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
            rms_norm_eps=NORM_EPSILON,
            tie_word_embeddings=True,
        )
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.ndim == 2:  # [outputs, inputs]; of the embedding [vocabulary, width]
                parameter.normal_(std=parameter.shape[1] ** -0.5)
    # An empty list would be no list: the tokenizer's own end stands for "none".
    policy.generation_config.eos_token_id = list(case.stop_tokens) or case.model.vocabulary
    return policy


def main(argv: Sequence[str]) -> None:
    """Run the command line."""
    turns = Turns("trl", "transformers", "torch")
    case = Case.from_json(json.loads(argv[0]))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    policy, tokenizer = fresh_policy(case), tokenizer_of(case)
    rollout_seconds: list[float] = []
    lengths: list[int] = []
    generate = policy.generate

    def timed(*arguments: Any, **keywords: Any) -> Any:
        began = time.perf_counter()
        tokens = generate(*arguments, **keywords)
        rollout_seconds.append(time.perf_counter() - began)
        return tokens

    policy.generate = timed

    def rewards(completion_ids: Sequence[Sequence[int]], void: Sequence[bool], **_: Any) -> list[float]:
        lengths.extend(map(len, completion_ids))
        return [
            reward([token for token in ids if token not in case.stop_tokens], void=of_void)
            for ids, of_void in zip(completion_ids, void, strict=True)
        ]

    rows = [{"prompt": as_text(ids), "void": case.is_void(place)} for place, ids in enumerate(case.prompt_ids())]
    with tempfile.TemporaryDirectory() as directory:
        trainer = GRPOTrainer(
            model=policy,
            reward_funcs=rewards,
            args=GRPOConfig(
                output_dir=directory,
                per_device_train_batch_size=case.update_rows,
                gradient_accumulation_steps=case.rollouts // case.update_rows,
                num_generations=case.group,
                max_completion_length=NEW_TOKENS,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                beta=0.0,
                epsilon=CLIP,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="constant",
                max_grad_norm=CLIP_NORM,
                max_steps=ENDLESS,
                gradient_checkpointing=False,  # faster, and takes more memory
                use_cpu=True,
                bf16=False,
                save_strategy="no",
                report_to="none",
                logging_steps=ENDLESS,
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[StepEnds(turns, rollout_seconds, lengths)],
        )
        trainer.train()


if __name__ == "__main__":
    main(sys.argv[1:])
