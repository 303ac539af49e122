"""The common part of the paper's runs (arXiv 2510.00977, section 5). Each file beside this one names one of them.

The paper states, and this file sets: the models, MATH's training problems, 10 epochs, 512 prompts per generation batch,
minibatches of 512 rollouts, Adam at 1e-6 (sixteen) or 8e-6 (pairs), constant after 10 warm-up steps, clips .2 and .28,
T=1 and top-p 1 in training, sequences of 4,096 tokens (8,192 for DeepSeek-R1-Distill), evaluation at T=.7, top-p .8,
top-k 20. The paper does not state these, so they are set as in verl, which the authors used: token-mean aggregation, no
KL, gradient norm 1, weight decay .01. The standard deviation has ddof 0, as in the paper's formula, not 1 as in verl.

The data are two data sets of the Hugging Face Hub (pip install -e '.[huggingface]'). Any other file of problems works,
too; see grpo_jax/data/sources. The models are directories in Hugging Face's format, such as
`hf download REPOSITORY --local-dir DIR` makes. None of these runs has been made at full size here. `launch/plan.py`
estimates what a TPU slice would need (docs/plan.md).
"""

from ml_collections import ConfigDict

from grpo_jax.config import with_defaults

# The contents of their config.json, so that the runs can be planned before anything is downloaded.
QWEN2 = {"head_dim": 128, "qkv_bias": True, "rope": {"original_length": 4096}, "num_layers": 28}
SMALL = QWEN2 | {"embed_dim": 1536, "num_heads": 12, "num_kv_heads": 2, "mlp_dim": 8960, "vocab_size": 151936}
LARGE = QWEN2 | {"embed_dim": 3584, "num_heads": 28, "num_kv_heads": 4, "mlp_dim": 18944, "vocab_size": 152064}
MODELS = {
    "Qwen2.5-Math-1.5B": SMALL | {"tied_head": True},
    "Qwen2.5-Math-7B": LARGE,
    "DeepSeek-R1-Distill-Qwen-1.5B": SMALL,
}


def get_config(model: str = "Qwen2.5-Math-1.5B", group_size: int = 2, resample: bool = False) -> ConfigDict:
    """Return the configuration of one run.

    Args:
      model: a key of MODELS. Its checkpoint is a directory in models/.
      group_size: 2 or 16.
      resample: whether to replace groups without signal by fresh prompts, up to the number of rollouts of 16-GRPO.
    """
    long = model.startswith("DeepSeek")
    sequence, prompts = 8192 if long else 4096, 512
    # Rows of a micro-batch and prompts of a sampling batch that fit into the memory of a v5e-64 (launch/plan.py).
    rows, sampled = (64, 1024 // group_size // 4) if long else (128, 1024 // group_size // 2)
    return with_defaults(
        {
            "task": {
                "name": "questions",
                "train": {
                    "kind": "huggingface",
                    "path": "DigitalLearningGmbH/MATH-lighteval",
                    "split": "train",
                    "prompt_field": "problem",
                    "answer_field": "solution",
                    "answer_format": "boxed",
                },
                "test": {
                    "kind": "huggingface",
                    "path": "HuggingFaceH4/MATH-500",
                    "split": "test",
                    "prompt_field": "problem",
                },
                "hold_out_validation": False,  # train on all of MATH's training problems, as in the paper
                "template": "{question}\nLet's think step by step and output the final answer within \\boxed{}.",
                "reward": {"workers": 32},  # on the hosts of a pod
            },
            "model": {
                "checkpoint": f"models/{model}",
                "architecture": MODELS[model],
                "compute_dtype": "bfloat16",
                "scan_layers": True,
                "remat": "full",
                "attention": "fused",
            },
            "rollout": {
                "prompts_per_step": prompts,
                "prompts_per_batch": max(sampled, 32),  # at least one for each of the 32 chips that share a batch
                "success_half_life": 20.0,
                "max_rollouts": prompts * 16 if resample else 0,
                "group_size": group_size,
                "max_new_tokens": sequence - 1024,
            },
            "objective": {
                "name": "two_grpo" if group_size == 2 else "grpo",
                "aggregation": "token",
                "std_epsilon": 1e-6,
                "old_logprobs": "trainer",  # the sampler's come from bfloat16 weights, in another order of summation
            },
            "optimizer": {
                "learning_rate": 8e-6 if group_size == 2 else 1e-6,
                "warmup_updates": 10,
                "weight_decay": 0.01,
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
                "sampling": {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
            },
            "checkpoint": {"every": 10, "keep_best": 0},
            "logging": {"arms_every": 0},
            "mesh": {"fsdp": 32, "tensor": 2},  # of a v5e-64
        }
    )
