"""The record of an analysis of gradients; tests/test_json_record.py tests how records are written and read."""

import io
import json

import pytest

from grpo_jax.reporting.gradients import show_gradients
from grpo_jax.runs.gradients import Advantage, GradientAnalysis, Unit, pair_of
from grpo_jax.terminal import PlainConsole
from tests.helpers import ROOT

EARLIER = json.loads((ROOT / "tests" / "fixtures" / "gradients" / "step_4.json").read_text())


def test_an_analysis_of_an_earlier_version_is_read():
    """As commit 939c0d9 wrote it: with another name for the share of groups that have both arms."""
    found = GradientAnalysis.from_json(EARLIER)
    assert (found.run, found.step, found.sizes, found.provenance.run) == ("runs/two_grpo", 4, [2, 4], None)
    assert list(found.arms.sizes[4].both_share) == EARLIER["arms"]["sizes"]["4"]["valid_share"]
    assert found.estimators[Advantage.N_VS_M][2].snr[Unit.PROMPT].value == pytest.approx(0.00127, abs=1e-5)
    assert found.comparisons[Advantage.N_VS_M][Unit.PROMPT][pair_of(4, 2)].value == pytest.approx(1.0377, abs=1e-4)
    written = found.to_json()
    for of_size in written["arms"]["sizes"].values():
        of_size["valid_share"] = of_size.pop("both_share")
    assert written == EARLIER


def test_before_provenance_was_recorded():
    values = {name: value for name, value in EARLIER.items() if name != "provenance"}
    found = GradientAnalysis.from_json(values)
    assert found.provenance is None
    assert GradientAnalysis.from_json(found.to_json()).to_json() == found.to_json()
    provenance = EARLIER["provenance"] | {"run": {}}  # as it was once written of a run without a record
    assert GradientAnalysis.from_json(EARLIER | {"provenance": provenance}).provenance.run is None


def test_an_analysis_that_was_read_can_be_shown():
    told = io.StringIO()
    show_gradients(GradientAnalysis.from_json(EARLIER), PlainConsole(width=80, file=told))
    lines = told.getvalue()
    assert "runs/two_grpo, step 4: 8 prompts x 8 rollouts" in lines
    assert "Code, machine and dates were not recorded." in lines  # of the run
    assert "commit 939c0d9a4872" in lines
    assert lines.count("unresolved)") > 10
