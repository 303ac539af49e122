"""The evaluations of a run: when they are due, and how their results are written and reported."""

from collections.abc import Iterator
from contextlib import contextmanager

from grpo_jax.config import Config, counted, known
from grpo_jax.data import Split
from grpo_jax.evaluation import Evaluation, evaluate
from grpo_jax.runs.lines import EvaluationLine, Scores
from grpo_jax.training.experiment import Experiment
from grpo_jax.training.requests import evaluation_request
from grpo_jax.training.run import Run
from grpo_jax.training.unfit import none_scored
from grpo_jax.types import Params


def evaluations_due(config: Config, step: int) -> list[Split]:
    """Return the splits to evaluate at a step: both at the start and the end of a run, validation also on schedule."""
    every, at_an_end, due = config.evaluation.every, step in (0, config.train.steps), []
    if at_an_end:
        due.append(Split.TEST)
    if every and (at_an_end or step % every == 0):
        due.append(Split.VALIDATION)
    return due


def evaluate_split(run: Run, split: Split, params: Params, step: int) -> float | None:
    """Evaluate the policy after a step on a split, write the results, and return pass@1.

    Return None if pass@1 is not known, or if a stop was requested. Raise TrainingError as `_write_and_report` does.
    """
    phase = _phase(split, step)
    with _as_trained(run.experiment, params, step):
        evaluation = evaluate(
            run.experiment.engine,
            run.experiment.task,
            run.problems[split],
            evaluation_request(run.config, split, version=step),
            bootstrap=run.config.evaluation.bootstrap,
            stop=run.stop.requested,
            progress=lambda done: run.display.progress(phase, done, len(run.problems[split]), {}),
        )
    return None if evaluation is None else _write_and_report(run, split, evaluation, step)


def _write_and_report(run: Run, split: Split, evaluation: Evaluation, step: int) -> float | None:
    """Write the results of an evaluation, tell them in a line, and return pass@1; None if it is not known.

    Raise TrainingError if none of the base policy's completions could be judged: then none of the first step could be.
    """
    run.directory.write_evaluation(f"{step:06d}_{split.name.lower()}", evaluation.groups)
    scores = evaluation.scores
    if step == 0 and scores.unscored == scores.problems * scores.samples:  # so would be all of the first step
        raise none_scored(_phase(split, step), run.experiment.task.reward)
    run.directory.append_metrics(EvaluationLine(step, split.name, scores))
    run.display.note(f"step {step}, {split.name.lower()}: {_told(scores)}, {scores.mean_length:.1f} tokens")
    first, keep = scores.pass_at[0], run.config.checkpoint.keep_best
    if first.known:
        return first.value
    if split is Split.VALIDATION and keep and step == 0:
        run.display.note(f"so no checkpoint is known to be the best, and checkpoint.keep_best={keep} keeps none")
    return None


def _phase(split: Split, step: int) -> str:
    return f"{split.name.lower()} at step {step}"


@contextmanager
def _as_trained(experiment: Experiment, params: Params, step: int) -> Iterator[None]:
    """Let the engine sample from the trained policy, even if it otherwise samples from a quantised one."""
    if experiment.config.rollout.quantization == "none":
        yield
        return
    programs, engine = experiment.programs, experiment.engine
    engine.load(programs.evaluation_weights(params), version=step)
    yield
    engine.load(programs.sampling_weights(params), version=step)


def _told(scores: Scores) -> str:
    """Return the scores of an evaluation as a phrase, with what is not known about them."""
    n, first, last = scores.samples * scores.problems, scores.pass_at[0], scores.pass_at[-1]
    if not first.known:
        why = "could judge no completion" if scores.unscored == n else "does not say what is right"
        return f"pass@1 is not known, because the reward {why}; mean reward {known(scores.mean_reward)}"
    told = f"pass@1 {first.value:.3f} [{first.interval(', ')}], pass@{scores.samples} {last.value:.3f}"
    if scores.unscored:
        told += f" ({scores.unscored} of {counted(n, 'completion')} without a verdict count as wrong)"
    return told
