"""Inner products of rollouts' vectors, and of combinations of them."""

import numpy as np
from jaxtyping import Float

Vectors = Float[np.ndarray, "N S entries"]
Coefficients = Float[np.ndarray, "N S"]


def within(vectors: Vectors) -> Float[np.ndarray, "N S S"]:
    """Return the inner products of every two rollouts of the same prompt."""
    return np.stack([(of_prompt @ of_prompt.T).astype(np.float64) for of_prompt in vectors])


def combine(vectors: Vectors, coefficients: Coefficients) -> Float[np.ndarray, "N entries"]:
    """Return one vector per prompt: the sum of its rollouts' vectors, each times its coefficient."""
    return np.matmul(coefficients.astype(np.float32)[:, None], vectors)[:, 0]


def between(first: Float[np.ndarray, "N entries"], second: Float[np.ndarray, "N entries"]) -> Float[np.ndarray, "N N"]:
    """Return the inner products of every two prompts."""
    return (first @ second.T).astype(np.float64)
