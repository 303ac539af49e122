"""Every source of random numbers is an entry of grpo_jax/randomness.py, and no two of them draw the same."""

import ast
import itertools
import random
from collections import Counter as Count
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.extend import core

from grpo_jax.randomness import (
    Counter,
    HostStream,
    Stream,
    TextStream,
    base_policy_key,
    branching_key,
    generator,
    prompt_keys,
    random_bits,
    sample_key,
    spread_seed,
    text_generator,
    token_key,
)
from tests.policy.test_lora import LORA
from tests.policy.test_policy import make

ROOT = Path(__file__).parent.parent
REGISTRY = ROOT / "grpo_jax" / "randomness.py"

# Names in code that make a key, a generator, or draws that nobody has seeded. Code that is given a key or a generator
# may draw from it.
MODULES = {"jax.random", "numpy.random", "random"}
TYPES = {"np.random.Generator", "random.Random", "nnx.Rngs"}  # to name one in an annotation makes none
MAKERS = {
    *(f"jax.random.{name}" for name in ("key", "PRNGKey", "fold_in", "split", "clone", "wrap_key_data")),
    *(f"{numpy}.random.{name}" for name in dir(np.random) for numpy in ("np", "numpy")),
    *(f"random.{name}" for name in dir(random)),
    *TYPES,
}

# Elsewhere than in the registry.
ALLOWED = {
    "grpo_jax/rewards/mathematics/numeric.py": ["random.Random"],  # test points, the same for every run; without JAX
    "grpo_jax/policy/policy.py": ["nnx.Rngs"],  # of a key that it is given, or of one of the registry's
    "grpo_jax/policy/decoder.py": ["nnx.Rngs"],
}


def sources():
    for place in ("grpo_jax", "launch"):
        for path in sorted((ROOT / place).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def made_in(tree):
    """Yield what a module uses to make keys or generators, and imports that would hide it from this test."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name in MAKERS and (name not in TYPES or id(node) in called):
                yield name
        elif isinstance(node, ast.Import):
            yield from (ast.unparse(node) for one in node.names if one.asname and one.name in MODULES | {"jax"})
        elif isinstance(node, ast.ImportFrom):
            names = {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
            yield from (ast.unparse(node) for _ in names & MODULES)


def test_keys_and_generators_are_made_in_the_registry_only():
    made = {str(path.relative_to(ROOT)): list(made_in(tree)) for path, tree in sources()}
    found = {path: uses for path, uses in made.items() if uses and path != "grpo_jax/randomness.py"}
    assert found == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import jax\nk = jax.random.PRNGKey(0)",
        "import jax\nfrom functools import partial\nf = partial(jax.random.fold_in, k)",
        "import jax.random as jr\nk = jr.key(0)",
        "from jax import random\nk = random.key(0)",
        "from jax.random import key",
        "import numpy as np\nr = np.random.default_rng(0)",
        "import numpy\nr = numpy.random.default_rng(0)",
        "import numpy as np\nx = np.random.normal()",
        "from numpy.random import default_rng",
        "from numpy import random",
        "import random\nrandom.shuffle(x)",
        "import random\nr = random.Random(0)",
        "from random import Random",
        "import random as r",
        "from flax import nnx\nr = nnx.Rngs(0)",
    ],
)
def test_whatever_makes_one_is_noticed(code):
    assert list(made_in(ast.parse(code)))


def test_drawing_from_what_one_is_given_is_not():
    code = "def f(key, r: random.Random, g: np.random.Generator, n: nnx.Rngs): return jax.random.bits(key), r.random()"
    assert not list(made_in(ast.parse(code)))


def test_every_entry_is_used_and_those_that_say_no_more_in_one_place():
    """Two uses of one generator's seed would draw the same numbers; those of other keys differ in their prompts."""
    uses = Count(
        ast.unparse(node)
        for path, tree in sources()
        if path != REGISTRY
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
    )
    for entry in Stream:
        assert uses[f"Stream.{entry.name}"] > 0, entry
    entries = [(kind, name) for kind in (HostStream, TextStream) for name in kind.__members__]
    for kind, name in [(Stream, "ADAPTERS"), *entries]:
        assert uses[f"{kind.__name__}.{name}"] == 1, name
    assert [name for name, stream in HostStream.__members__.items() if name != stream.name] == ["GROUPINGS"]


def test_what_runs_have_drawn_so_far_stays():
    """The bits of base policies, completions, problems and intervals depend on these numbers."""
    assert [stream.value for stream in Stream] == [0, 1, 2, 3, 4]
    key = jax.random.key(7, impl="threefry2x32")
    assert base_policy_key(7) == key
    assert Counter.of(7, Stream.TEST, 5).key() == jax.random.fold_in(jax.random.fold_in(key, 2), 5)
    assert generator(HostStream.INTERVALS, 7).random() == np.random.default_rng(7).random()
    assert generator(HostStream.ANALYSED_PROMPTS, 7).random() == np.random.default_rng([7, 3]).random()
    assert text_generator(TextStream.PROBLEMS, "TRAIN").random() == random.Random("problems of TRAIN").random()
    assert text_generator(TextStream.DEMONSTRATIONS, 0, 3).random() == random.Random("demonstrations 0 3").random()
    assert spread_seed(TextStream.PROMPT_ORDER, 7) == 1370108638
    assert spread_seed(TextStream.REASONING_GYM, 7) == 2499617684


def test_generators_of_different_streams_or_seeds_draw_different_numbers():
    drawn = [generator(stream, seed).integers(2**63) for stream in HostStream for seed in range(20)]
    assert len(set(drawn)) == len(drawn)
    assert not [pair for pair in itertools.permutations(TextStream, 2) if pair[0].startswith(pair[1])]


def keys_drawn_from(function, key):
    """The data of every key that a function of a key draws bits from, and its result's leaves."""
    found = []

    def run(jaxpr, consts, arguments):
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

        def read(variable):
            return variable.val if isinstance(variable, core.Literal) else values[variable]

        for equation in jaxpr.eqns:
            given = [read(variable) for variable in equation.invars]
            if equation.primitive.name == "random_bits":
                found.append(tuple(jax.random.key_data(given[0]).tolist()))
            if inner := equation.params.get("jaxpr"):
                results = run(inner.jaxpr, inner.consts, given)
            else:
                results = equation.primitive.bind(*given, **equation.params)
            several = equation.primitive.multiple_results or "jaxpr" in equation.params
            values.update(zip(equation.outvars, results if several else [results], strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    closed = jax.make_jaxpr(function)(key)
    return found, run(closed.jaxpr, closed.consts, [key])


def test_keys_that_are_drawn_from_are_found():
    policy = make(tied_head=False, lora=LORA)
    found, leaves = keys_drawn_from(policy.init, base_policy_key(0))
    for leaf, expected in zip(leaves, jax.tree.leaves(policy.init(base_policy_key(0))), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-4)
    kernels = 2 + 2 * 7  # embedding, head, and those of two layers
    assert len(found) == kernels + 2 * 7  # adapters


def test_no_two_draws_are_of_one_key():
    """All streams and first values, with and without adapters, at small numbers, which collide most easily."""
    drawn = []
    for seed in range(2):
        for policy, root in (
            (make(tied_head=False), base_policy_key(seed)),
            (make(tied_head=False, lora=LORA), Counter.of(seed, Stream.ADAPTERS, 0).key()),
        ):
            drawn += keys_drawn_from(policy.init, root)[0]
        for stream, step in itertools.product(set(Stream) - {Stream.ADAPTERS}, range(3)):  # nothing is sampled with it
            prompts = prompt_keys(Counter.of(seed, stream, step).key(), np.arange(4, dtype=np.uint32))
            samples = [sample_key(prompt, sample) for prompt in prompts for sample in range(3)]
            keys = [branching_key(prompt) for prompt in prompts]
            keys += [token_key(sample, position) for sample in samples for position in range(3)]
            drawn += [tuple(jax.random.key_data(key).tolist()) for key in keys]
    assert len(drawn) == 2 * (16 + 30 + 4 * 3 * (4 + 4 * 3 * 3))
    assert [key for key, times in Count(drawn).items() if times > 1] == []


def test_tokens_have_the_bits_that_jax_would_draw():
    """Whatever the number that is folded in, and for one value or many."""
    root = Counter.of(7, Stream.TRAINING, 3).key()
    for number in (0, 1, 2**31, 2**32 - 1):
        key = jax.random.fold_in(root, np.uint32(number))
        for found in (sample_key(root, np.uint32(number)), token_key(root, np.uint32(number))):
            np.testing.assert_array_equal(jax.random.key_data(found), jax.random.key_data(key))
        for size in (1, 133):
            np.testing.assert_array_equal(random_bits(key, size), jax.random.bits(key, (size,), np.uint32))
