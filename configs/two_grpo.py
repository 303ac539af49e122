"""2-GRPO on nested modular expressions: a policy of 0.15M parameters, from nothing to solving them by RL alone.

python launch/main.py --config=configs/two_grpo.py --workdir=runs/two_grpo
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration; see the module."""
    config = ConfigDict()
    config.seed = 0

    config.task = ConfigDict()
    config.task.name = "modular_expressions"
    config.task.operations = 3
    config.task.operators = "+"
    config.task.modulus = 10
    config.task.train_problems = 16384

    config.model = ConfigDict()
    config.model.vocab_size = 0
    config.model.embed_dim = 64
    config.model.num_layers = 3
    config.model.num_heads = 4
    config.model.num_kv_heads = 2
    config.model.head_dim = 16
    config.model.mlp_dim = 192
    config.model.qkv_bias = False
    config.model.qk_norm = True
    config.model.tied_head = True
    config.model.norm_epsilon = 1e-6
    config.model.rope = ConfigDict()
    config.model.rope.theta = 10_000.0
    config.model.rope.scaling = "none"
    config.model.rope.factor = 1.0
    config.model.rope.low_frequency_factor = 1.0
    config.model.rope.high_frequency_factor = 4.0
    config.model.rope.original_length = 8192
    config.model.compute_dtype = "float32"
    config.model.scan_layers = False
    config.model.remat = "none"

    config.warm_start = ConfigDict()
    config.warm_start.full_steps = 350
    config.warm_start.skip_steps = 130
    config.warm_start.skip_probability = 0.7
    config.warm_start.batch_size = 128
    config.warm_start.full_learning_rate = 2e-3
    config.warm_start.skip_learning_rate = 1e-3
    config.warm_start.weight_decay = 0.01
    config.warm_start.seed = 0
    config.warm_start.checkpoint_every = 100
    config.warm_start.cache_dir = ""

    config.rollout = ConfigDict()
    config.rollout.prompts_per_step = 32
    config.rollout.group_size = 2
    config.rollout.max_new_tokens = 16
    config.rollout.sampling = ConfigDict({"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0})

    config.objective = ConfigDict()
    config.objective.name = "two_grpo"
    config.objective.aggregation = "sequence"
    config.objective.denominator = "sampled"
    config.objective.clip_low = 0.2
    config.objective.clip_high = 0.28
    config.objective.std_ddof = 0
    config.objective.std_epsilon = 0.0
    config.objective.no_signal_tolerance = 1e-6
    config.objective.old_logprobs = "sampler"
    config.objective.importance_cap = 0.0
    config.objective.kl_coef = 0.0
    config.objective.kl_estimator = "k3"

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup_updates = 5
    config.optimizer.schedule = "constant"
    config.optimizer.weight_decay = 0.0
    config.optimizer.beta1 = 0.9
    config.optimizer.beta2 = 0.999
    config.optimizer.epsilon = 1e-8
    config.optimizer.clip_norm = 1.0
    config.optimizer.max_nonfinite = 3

    config.train = ConfigDict()
    config.train.steps = 1200
    config.train.minibatches = 1
    config.train.microbatch_groups = 4
    config.train.logprob_chunk = 0

    config.evaluation = ConfigDict()
    config.evaluation.every = 100
    config.evaluation.validation_problems = 256
    config.evaluation.validation_samples = 4
    config.evaluation.test_problems = 1024
    config.evaluation.test_samples = 8
    config.evaluation.prompts_per_batch = 128
    config.evaluation.bootstrap = 1000
    config.evaluation.sampling = ConfigDict({"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0})

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 100
    config.checkpoint.keep_last = 2
    config.checkpoint.keep_best = 1

    config.logging = ConfigDict()
    config.logging.rollouts_every = 1
    config.logging.tensorboard = True

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    return config
