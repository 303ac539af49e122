"""2-GRPO on Qwen2.5-0.5B-Instruct and GSM8K, on one chip: TPU v5e or v6e, or a GPU such as a T4. Not run here.

    hf download Qwen/Qwen2.5-0.5B-Instruct --local-dir models/Qwen2.5-0.5B-Instruct
    python launch/main.py --config=configs/qwen2_5_0_5b_gsm8k.py --workdir=runs/gsm8k

notebooks/language_model.ipynb does the same on Colab. docs/plan.md shows that a v5e's memory suffices, and estimates
the time. GSM8K comes from the Hugging Face Hub (pip install -e '.[huggingface]'). A T4 has no units for bfloat16: set
--config.model.compute_dtype=float32 and --config.train.microbatch_groups=2 there.
"""

from ml_collections import ConfigDict

from grpo_jax.config import with_defaults


def get_config() -> ConfigDict:
    """Return the configuration."""
    return with_defaults(
        {
            "task": {
                "name": "questions",
                "train": {
                    "kind": "huggingface",
                    "path": "openai/gsm8k/main",
                    "split": "train",
                    "answer_format": "after_hashes",
                },
                "test": {
                    "kind": "huggingface",
                    "path": "openai/gsm8k/main",
                    "split": "test",
                    "answer_format": "after_hashes",
                },
                "max_prompt_tokens": 256,  # the longest prompt, with its chat template, has 255 of Qwen's tokens
                "reward": {"workers": 2},
            },
            "model": {
                "checkpoint": "models/Qwen2.5-0.5B-Instruct",
                "architecture": {  # as in its config.json, so that the run can be planned before a download
                    "vocab_size": 151936,
                    "embed_dim": 896,
                    "num_layers": 24,
                    "num_heads": 14,
                    "num_kv_heads": 2,
                    "head_dim": 64,
                    "mlp_dim": 4864,
                    "qkv_bias": True,
                    "tied_head": True,
                    "rope": {"theta": 1e6, "original_length": 32768},
                },
                "compute_dtype": "bfloat16",
                "scan_layers": True,
                "remat": "full",
            },
            "rollout": {"prompts_per_step": 64, "prompts_per_batch": 64, "max_new_tokens": 512},
            "objective": {"old_logprobs": "trainer"},  # the sampler's come from bfloat16 weights
            # The paper's rate for 256 pairs, 8e-6, divided by the root of 256 / 64. Nobody has tuned it for this model.
            "optimizer": {"learning_rate": 4e-6},
            "train": {"steps": 100, "microbatch_groups": 8, "logprob_chunk": 128},
            "evaluation": {
                "every": 20,
                "validation_problems": 128,
                "validation_samples": 2,
                "test_problems": 512,
                "test_samples": 2,
                "prompts_per_batch": 64,
            },
            "checkpoint": {"every": 50, "keep_last": 1, "keep_best": 0},  # 6 GB each
            "logging": {"arms_every": 0},
        }
    )
