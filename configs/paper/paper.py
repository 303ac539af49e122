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

from grpo_jax.config import with_defaults

# What their config.json say: written down so that the runs can be planned before anything is downloaded.
QWEN2 = {"head_dim": 128, "qkv_bias": True, "rope": {"original_length": 4096}, "num_layers": 28}
SMALL = QWEN2 | {"embed_dim": 1536, "num_heads": 12, "num_kv_heads": 2, "mlp_dim": 8960, "vocab_size": 151936}
LARGE = QWEN2 | {"embed_dim": 3584, "num_heads": 28, "num_kv_heads": 4, "mlp_dim": 18944, "vocab_size": 152064}
MODELS = {
    "Qwen2.5-Math-1.5B": SMALL | {"tied_head": True},
    "Qwen2.5-Math-7B": LARGE,
    "DeepSeek-R1-Distill-Qwen-1.5B": SMALL,
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
                "hold_out_validation": False,  # all of MATH's training problems are trained on, as in the paper
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
                "prompts_per_batch": max(sampled, 32),  # a prompt for each of the 32 that share a batch
                "success_half_life": 20.0,
                "max_rollouts": prompts * 16 if resample else 0,
                "group_size": group_size,
                "max_new_tokens": sequence - 1024,
            },
            "objective": {
                "name": "two_grpo" if group_size == 2 else "grpo",
                "aggregation": "token",
                "std_epsilon": 1e-6,
                "old_logprobs": "trainer",  # the sampler's are of bfloat16 weights, gathered in another order
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
