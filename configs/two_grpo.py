"""2-GRPO on nested modular expressions: a policy of 0.15M parameters, from nothing to solving them by RL alone.

    python launch/main.py --config=configs/two_grpo.py --workdir=runs/two_grpo

Cost on two CPU cores: about two minutes, half of them for the warm start, which the next run finds in its cache.
Expected: test pass@1 from about .13 to at least .90 after 76,800 rollouts; README.md has the figures of three seeds.

The learning rate was chosen on the validation split; docs/results.md shows what others give.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; see the module."""
    return ConfigDict(
        {
            "seed": 0,  # of the order of prompts and of all sampling
            "task": {
                "name": "modular_expressions",  # the one that is embedded
                "operations": 3,  # difficulty: `8+(8+(4+6))=` has three
                "operators": "+",  # any of + - *; a policy this small learns + alone well enough to elicit it
                "modulus": 10,  # values are digits
                "train_problems": 16384,  # an epoch; the run sees 38,400 prompts, so each about twice
                "right": "answer",  # derivation: only with all its lines
                "credit": "exact",  # the paper's rewards, 0 and 1; partial pays a wrong completion for its right lines
            },
            "model": {
                "checkpoint": "",  # from nothing: see warm_start
                "architecture": {  # the shape of Qwen3, very small
                    "vocab_size": 0,  # the tokenizer's
                    "embed_dim": 64,
                    "num_layers": 3,
                    "num_heads": 4,
                    "num_kv_heads": 2,  # each serves two query heads
                    "head_dim": 16,
                    "mlp_dim": 192,
                    "activation": "silu",  # or gelu_tanh: Gemma
                    "qkv_bias": False,  # Qwen2 has them
                    "qk_norm": True,  # Qwen3 has them
                    "post_norms": False,  # Gemma has them
                    "norm_offset": False,  # Gemma's norms scale by 1 + their parameter
                    "scaled_embedding": False,  # Gemma's is, by sqrt(embed_dim)
                    "tied_head": True,  # the embedding is also the output head
                    "norm_epsilon": 1e-6,
                    "query_scale": 0.0,  # head_dim ** -0.5; some of Gemma have another
                    "attention_cap": 0.0,  # off; Gemma 2 has 50
                    "logit_cap": 0.0,  # off; Gemma 2 has 30
                    "layer_types": ("full",),  # all of them; Gemma 2 alternates ("sliding", "full")
                    "sliding_window": 0,  # read with sliding layers only
                    "rope": {
                        "theta": 10_000.0,  # base of the frequencies
                        "scaling": "none",  # or linear, llama3; only these read what follows
                        "factor": 1.0,  # how many times longer than original_length
                        "low_frequency_factor": 1.0,  # llama3 only
                        "high_frequency_factor": 4.0,  # llama3 only
                        "original_length": 8192,  # llama3 only
                    },
                    "local_rope": None,  # Gemma 3 has another for sliding layers
                },
                "lora": None,  # all parameters are trained; configs/smollm2_135m_lora.py has adapters
                "compute_dtype": "float32",  # bfloat16 is for TPU and GPU
                "scan_layers": False,  # three layers compile quickly enough, and run faster unrolled
                "remat": "none",  # there is memory enough to keep all activations
                "attention": "plain",  # fused is for long rows in bfloat16, on TPU and GPU
            },
            "warm_start": {  # full solutions teach how to compute, those with gaps that one may be lazy
                "full_steps": 350,
                "skip_steps": 130,  # more of them lower the base policy's pass@1
                "skip_probability": 0.7,  # of each intermediate line
                "batch_size": 128,
                "full_learning_rate": 2e-3,
                "skip_learning_rate": 1e-3,
                "weight_decay": 0.01,
                "seed": 0,  # one base policy for all seeds of the run, so that runs can be compared
                "checkpoint_every": 100,  # steps: what a killed warm start loses at most
                "cache_dir": "",  # $XDG_CACHE_HOME/grpo_jax, or ~/.cache/grpo_jax
            },
            "rollout": {
                "prompts_per_step": 32,
                "prompts_per_batch": 32,  # all at once: their cache is small
                "success_half_life": 200.0,  # steps; read by two_grpo_rescaled, and logged
                "max_rollouts": 0,  # groups without signal are left out, not replaced
                "group_size": 2,  # a pair
                "max_new_tokens": 16,  # a full solution takes 14 with its stop token; with 4 operations 26
                "noise": "independent",  # as in the paper; antithetic and common couple the completions of a group
                "sampling": {  # the policy itself, as in the paper
                    "temperature": 1.0,
                    "top_k": 0,  # off
                    "top_p": 1.0,  # off
                    "min_p": 0.0,  # off
                },
            },
            "objective": {
                "name": "two_grpo",  # or one of docs/objectives.md
                "parameters": {},  # two_grpo has none of its own
                "aggregation": "published",  # of two_grpo: "sequence", a mean over each completion's tokens
                "denominator": "sampled",  # groups without signal count: the gradient's size follows the valid share
                "clip_low": 0.2,  # the paper's
                "clip_high": 0.28,  # the paper's
                "std_ddof": 0,  # the paper's standard deviation; read where advantages are divided by that of the group
                "std_epsilon": 0.0,  # added to a standard deviation
                "no_signal_tolerance": 1e-6,  # rewards are 0 or 1, so anything below 1 will do
                "old_logprobs": "sampler",  # they are the trainer's to 1e-5 here: see sampler_difference in the metrics
                "importance_cap": 0.0,  # off: there is hardly a mismatch to correct
                "importance_beyond": "truncate",  # read with importance_cap above 0
                "kl_coef": 0.0,  # the paper trains without
                "kl_estimator": "k3",  # read with kl_coef above 0
            },
            "optimizer": {
                "learning_rate": 2e-4,  # 4e-4 learns faster, but some seeds stall; 8e-4 collapses
                "warmup_updates": 5,
                "schedule": "constant",  # the paper's
                "weight_decay": 0.0,  # Adam, as in the paper
                "beta1": 0.9,
                "beta2": 0.999,
                "epsilon": 1e-8,
                "clip_norm": 1.0,
                "max_nonfinite": 3,  # this many bad updates in a row are skipped; one more stops the run
            },
            "train": {
                "steps": 1200,  # x 32 prompts x 2 = 76,800 rollouts
                "minibatches": 1,  # on-policy: one update a rollout batch
                "microbatch_groups": 4,  # of 8 rows: fits the CPU's caches, and follows the valid share closely
                "logprob_chunk": 0,  # logits of all positions at once: the vocabulary has 17 tokens
            },
            "evaluation": {
                "every": 50,  # steps, on the validation split
                "validation_problems": 256,
                "validation_samples": 4,
                "test_problems": 1024,  # before and after training
                "test_samples": 8,
                "prompts_per_batch": 128,  # problems sampled at once
                "bootstrap": 1000,  # resamples for the intervals
                "sampling": {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},  # what is trained for
            },
            "checkpoint": {
                "every": 100,  # steps: what a killed run loses at most, two or three seconds here
                "keep_last": 2,
                "keep_best": 1,  # by validation pass@1
            },
            "logging": {
                "rollouts_every": 1,  # steps: all 76,800 rollouts take 29 MB
                "arms_every": 20,  # steps: the cosine between the gradients of right and of wrong completions
                "tensorboard": True,
            },
            "mesh": {
                "data": -1,  # all devices
                "fsdp": 1,
                "tensor": 1,
            },
        }
    )
