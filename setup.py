"""Package metadata. Exact versions that are known to work together are in requirements/."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PACKAGE = runpy.run_path(str(HERE / "grpo_jax" / "__init__.py"))  # which imports nothing
# A wheel has configs/ inside the package, where `grpo train --config=NAME` looks (grpo_jax/config/running.py).
CONFIGS = ["grpo_jax.configs", "grpo_jax.configs.paper", "grpo_jax.configs.studies"]

setup(
    name="grpo_jax",
    version=PACKAGE["__version__"],
    description="Reinforcement learning of language models with contrastive groups (2-GRPO, GRPO) in JAX",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["grpo_jax", "grpo_jax.*"]), *CONFIGS],
    package_dir={"grpo_jax.configs": "configs"},
    package_data={"grpo_jax": ["py.typed", "commands/project/*.*", "reporting/page.css", "reporting/page.js"]},
    entry_points={"console_scripts": ["grpo = grpo_jax.commands:main"]},
    install_requires=[
        "jax>=0.10.2,<0.13",
        "flax>=0.12.8,<0.13",
        "optax>=0.2.8,<0.3",
        "orbax-checkpoint>=0.12.8,<0.13",
        "grain>=0.2.18,<0.3",
        "transformers>=5.23,<6",
        "regex>=2025.7",
        "tokenizers>=0.23,<0.24",
        "safetensors>=0.8,<0.9",
        "huggingface_hub>=2.4,<3",
        "jinja2>=3.1",  # chat templates; transformers does not declare it
        "ml-collections>=1.1,<2",
        "numpy>=2.4",
        "scipy>=1.15",
        "jaxtyping>=0.3.11",
        "tensorboardX>=2.6",
        "fsspec>=2026.2",
        "matplotlib>=3.10",
        "rich>=14",
        "tensorflow-datasets>=4.9.10,<5",
        "importlib_resources>=6",  # tensorflow-datasets imports it and forgets to ask for it
        "pyarrow>=20",
        "math-verify[antlr4-13-2]>=0.9,<0.10",
        "sympy>=1.14",
        "mpmath>=1.3",
    ],
    extras_require={
        "tpu": ["jax[tpu]"],
        "cuda": ["jax[cuda13]"],
        # The compiler for GPUs, for plans. The plugin's version must be jaxlib's, which requirements/gpu_plan.txt pins.
        "gpu-plan": [
            "jax-cuda13-plugin>=0.10.2,<0.13",
            "nvidia-cuda-nvcc>=13",
            "nvidia-cudnn-cu13>=9.10,<10",
            "nvidia-nvvm>=13",
        ],
        "notebook": ["ipykernel>=7"],
        # Runs in buckets. Others have packages for fsspec, too.
        "gcs": ["gcsfs>=2026.8"],
        "s3": ["s3fs>=2026.8"],
        "huggingface": ["datasets>=5.2,<6"],
        "reasoning_gym": ["reasoning-gym==0.1.25"],
        "wandb": ["wandb>=0.31,<0.32"],
        "trackio": ["trackio>=0.43,<0.44"],
        "mlflow": ["mlflow>=3.17,<4"],
        "smollm2": ["gguf>=0.19,<0.20"],
        "parity": ["peft==0.21.2", "torch==2.13.0"],  # what tests/parity compares with; in an environment of its own
        "test": [
            "beartype>=0.22",
            "datasets>=5.2,<6",
            "gguf>=0.19,<0.20",
            "ipykernel>=7",
            "libtpu; platform_system == 'Linux' and platform_machine == 'x86_64'",
            "mypy>=2",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "pytest>=9",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "pyyaml>=6",  # tests/test_ci.py reads the workflow
            "reasoning-gym==0.1.25",
            "ruff>=0.14",
            "setuptools>=77",  # builds the wheel that tests/test_wheel.py installs
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
    ],
)
