"""The paper's runs (arXiv 2510.00977, section 5): what they have in common. The files beside this one name one each.

Stated by the paper, and set here: the models, MATH's training problems, 10 epochs, 512 prompts a generation batch,
minibatches of 512 rollouts, Adam at 1e-6 (sixteen) or 8e-6 (pairs), constant after 10 warm-up steps, clips .2 and .28,
T=1 and top-p 1 in training, sequences of 4,096 tokens (8,192 for DeepSeek-R1-Distill), evaluation at T=.7, top-p .8,
top-k 20. Not stated, and set as in verl, which the authors used: token-mean aggregation, no KL, gradient norm 1, weight
decay .01. The standard deviation is the paper's formula's (ddof 0), not verl's (ddof 1).

Data: two data sets of the Hugging Face Hub (pip install -e '.[huggingface]'); any file of problems will do instead, see
grpo_jax/data/sources. Models: directories in Hugging Face's format, as `hf download REPOSITORY --local-dir DIR` makes.
Nothing of this has been run at its full size here. What a TPU slice would need, `launch/plan.py` says (docs/plan.md).
"""

from ml_collections import ConfigDict

ROPE = {
    "theta": 10_000.0,
    "scaling": "none",
    "factor": 1.0,
    "low_frequency_factor": 1.0,
    "high_frequency_factor": 4.0,
    "original_length": 4096,
}

# What their config.json say: written down so that the runs can be planned before anything is downloaded.
QWEN2 = {
    "head_dim": 128,
    "activation": "silu",
    "qkv_bias": True,
    "qk_norm": False,
    "post_norms": False,
    "norm_offset": False,
    "scaled_embedding": False,
    "norm_epsilon": 1e-6,
    "query_scale": 0.0,
    "attention_cap": 0.0,
    "logit_cap": 0.0,
    "layer_types": ("full",),
    "sliding_window": 0,
    "rope": ROPE,
    "local_rope": None,
    "num_layers": 28,
}
SMALL = QWEN2 | {"embed_dim": 1536, "num_heads": 12, "num_kv_heads": 2, "mlp_dim": 8960, "vocab_size": 151936}
MODELS = {
    "Qwen2.5-Math-1.5B": SMALL | {"tied_head": True},
    "Qwen2.5-Math-7B": QWEN2
    | {
        "embed_dim": 3584,
        "num_heads": 28,
        "num_kv_heads": 4,
        "mlp_dim": 18944,
        "vocab_size": 152064,
        "tied_head": False,
    },
    "DeepSeek-R1-Distill-Qwen-1.5B": SMALL | {"tied_head": False},
}


def get_config(model: str = "Qwen2.5-Math-1.5B", group_size: int = 2, resample: bool = False) -> ConfigDict:
    """The configuration of one run.

    Args:
      model: a key of MODELS; its checkpoint is looked for in models/.
      group_size: 2, or 16.
      resample: replaces groups without signal by fresh prompts, up to the rollouts that 16-GRPO takes.
    """
    long = model.startswith("DeepSeek")
    sequence, prompts = 8192 if long else 4096, 512
    # What a v5e-64 has memory for, by launch/plan.py: rows of a micro-batch, and prompts whose cache is there at once.
    rows, sampled = (64, 1024 // group_size // 4) if long else (128, 1024 // group_size // 2)
    return ConfigDict(
        {
            "seed": 0,
            "task": {
                "name": "questions",
                "train": _source("DigitalLearningGmbH/MATH-lighteval", "train", "problem", "solution", "boxed"),
                "test": _source("HuggingFaceH4/MATH-500", "test", "problem", "answer", "plain"),
                "hold_out_validation": False,  # all of MATH's training problems are trained on, as in the paper
                "tokenizer": "",  # the checkpoint's
                "system": "",  # the chat template's own
                "template": "{question}\nLet's think step by step and output the final answer within \\boxed{}.",
                "chat": True,
                "max_prompt_tokens": 1024,
                "reward": {
                    "terms": {"mathematics": 1.0},
                    "answer_pattern": "",  # the last \boxed{}
                    "max_characters": 1000,
                    "workers": 32,  # processes, on the hosts of a pod
                    "seconds": 5.0,
                    "memory_mb": 1024,
                    "overlong_tokens": 0,
                },
            },
            "model": {
                "checkpoint": f"models/{model}",
                "architecture": MODELS[model],
                "lora": None,
                "compute_dtype": "bfloat16",
                "scan_layers": True,
                "remat": "full",
                "attention": "fused",
            },
            "warm_start": None,
            "rollout": {
                "prompts_per_step": prompts,
                "prompts_per_batch": max(sampled, 32),  # a prompt for each of the 32 that share a batch
                "success_half_life": 20.0,  # steps; logged only
                "max_rollouts": prompts * 16 if resample else 0,
                "group_size": group_size,
                "max_new_tokens": sequence - 1024,
                "noise": "independent",
                "sampling": {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
            },
            "objective": {
                "name": "two_grpo" if group_size == 2 else "grpo",
                "parameters": {},
                "aggregation": "token",
                "denominator": "sampled",
                "clip_low": 0.2,
                "clip_high": 0.28,
                "std_ddof": 0,
                "std_epsilon": 1e-6,
                "no_signal_tolerance": 1e-6,
                "old_logprobs": "trainer",  # the sampler's are of bfloat16 weights, gathered in another order
                "importance_cap": 0.0,
                "importance_beyond": "truncate",
                "kl_coef": 0.0,
                "kl_estimator": "k3",
            },
            "optimizer": {
                "learning_rate": 8e-6 if group_size == 2 else 1e-6,
                "warmup_updates": 10,
                "schedule": "constant",
                "weight_decay": 0.01,
                "beta1": 0.9,
                "beta2": 0.999,
                "epsilon": 1e-8,
                "clip_norm": 1.0,
                "max_nonfinite": 3,
            },
            "train": {
                "steps": 140,  # 10 epochs of 14 batches: 7,500 problems / 512
                "minibatches": prompts * group_size // 512,  # of 512 rollouts: 256 pairs, or 32 groups of sixteen
                "microbatch_groups": rows // group_size,
                "logprob_chunk": 256,
            },
            "evaluation": {
                "every": 0,  # the suites are evaluated by launch/evaluate.py
                "validation_problems": 1,
                "validation_samples": 1,
                "test_problems": 500,
                "test_samples": 4,
                "prompts_per_batch": 64,
                "bootstrap": 1000,
                "sampling": {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.0},
            },
            "checkpoint": {"every": 10, "keep_last": 2, "keep_best": 0},
            "logging": {"rollouts_every": 1, "arms_every": 0, "tensorboard": True},
            "mesh": {"data": -1, "fsdp": 32, "tensor": 2},  # of a v5e-64
        }
    )


def _source(path: str, split: str, prompt: str, answer: str, answer_format: str) -> dict[str, object]:
    return {
        "kind": "huggingface",
        "path": path,
        "split": split,
        "prompt_field": prompt,
        "answer_field": answer,
        "answer_format": answer_format,
        "limit": 0,
    }
