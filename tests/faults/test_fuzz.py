"""Readers answer whatever bytes they are given with a result or with an error of ours."""

import os

import pytest
from hypothesis import HealthCheck, given, settings

from tests.faults.conftest import Tell
from tests.faults.fuzzing import Fuzzed, fuzzers

FUZZERS = fuzzers()
EXAMPLES_VARIABLE = "SLMREC_FUZZ_EXAMPLES"
"""How many inputs each reader is given by the test of the whole."""


def fuzz(fuzzed: Fuzzed, examples: int, *, repeatable: bool) -> None:
    """Give a reader so many inputs, the same each time where that is wanted."""

    @settings(
        max_examples=examples,
        derandomize=repeatable,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(fuzzed.inputs)
    def run(found: object) -> None:
        fuzzed.try_one(found)

    run()


@pytest.mark.parametrize("name", FUZZERS)
def test_a_reader_answers_when_a_few_inputs_are_broken(name: str) -> None:
    fuzz(FUZZERS[name], 20, repeatable=True)


@pytest.mark.faults
def test_readers_answer_when_thousands_of_inputs_are_broken(tell: Tell) -> None:
    examples = int(os.environ.get(EXAMPLES_VARIABLE, "1000"))
    for fuzzed in FUZZERS.values():
        fuzz(fuzzed, examples, repeatable=False)
    tell(
        "fuzz",
        "readers of files, settings and registry documents answer broken input",
        "a result or an error of ours",
        f"{len(FUZZERS)} readers × {examples:,} inputs, nothing else came out",
    )
