import json

import polars as pl
import pytest

from slmrec.data import expectations
from slmrec.data.expectations import evaluate
from slmrec.errors import ConfigError

NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "a"}}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "it's.parquet"
    pl.DataFrame({"a": ["x", None, "<b>", "long" * 100], "n": [1, 2, 3, 300]}).write_parquet(path)
    return path


@pytest.fixture
def suite(tmp_path):
    def write(*checks, name="s", table="t"):
        content = {"name": name, "meta": {"table": table}, "expectations": list(checks)}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def test_rows_are_counted_when_expectations_fail_and_pass(suite, table):
    folder = suite(
        NOT_NULL,
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "n", "min_value": 2, "max_value": 200},
            "meta": {"notes": "why"},
        },
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 5}},
        {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "n"}},
        {
            "type": "expect_column_value_lengths_to_be_between",
            "kwargs": {"column": "a", "max_value": 3},
        },
    )
    null, between, count, unique, length = evaluate(["s"], folder, {"t": table}).checks
    assert (null.success, null.rows, null.unexpected, null.column) == (False, 4, 1, "a")
    assert (between.success, between.unexpected, between.examples) == (False, 2, ("1", "300"))
    assert between.expected == "at least 2, at most 200"
    assert between.notes == "why"
    assert (count.success, count.observed, count.column) == (False, "4", "")
    assert unique.success
    assert not length.success
    assert len(length.examples[0]) == 121


def test_a_check_fails_with_its_cause_when_it_cannot_be_evaluated(suite, table):
    absent = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "absent"}}
    (check,) = evaluate(["s"], suite(absent), {"t": table}).checks
    assert not check.success
    assert "absent" in check.observed


def test_the_adaptation_is_still_needed_when_duckdb_is_used(suite, table, monkeypatch):
    # Fails on the day Great Expectations keeps DuckDB's connection open by itself: then
    # `_PersistedDuckDB` can go.
    monkeypatch.setattr(expectations, "_PersistedDuckDB", lambda name: _Unknown())
    (check,) = evaluate(["s"], suite(NOT_NULL), {"t": table}).checks
    assert "could not be evaluated" in check.observed


class _Unknown:
    value = "no such dialect"


def test_the_librarys_own_results_are_the_same_bytes_when_evaluated_again(suite, table):
    folder = suite(NOT_NULL)
    one, other = (evaluate(["s"], folder, {"t": table}).results for _ in range(2))
    assert json.dumps(one) == json.dumps(other)
    assert one[0]["results"][0]["result"]["unexpected_count"] == 1


def test_data_docs_are_still_unsafe_when_values_are_hostile(tmp_path, suite, table):
    # Fails on the day the library escapes what it prints: then its own pages could be offered.
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    hostile = "<script>alert(1)</script>"
    path = tmp_path / "hostile.parquet"
    pl.DataFrame({"a": [hostile, "x"]}).write_parquet(path)
    allowed = {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "a", "value_set": ["x"]},
    }
    folder = suite(allowed)
    with expectations._database({"t": path}) as batches:
        import great_expectations as gx

        batch = batches["t"]
        outcome = batch.validate(
            gx.ExpectationSuite(
                name="s",
                expectations=[
                    gx.expectations.ExpectColumnValuesToBeInSet(column="a", value_set=["x"])
                ],
            ),
            result_format="SUMMARY",
        )
        page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(outcome))
    assert hostile in page
    (check,) = evaluate(["s"], folder, {"t": path}).checks
    assert check.examples == (hostile,)


def test_nothing_stays_changed_in_the_library_when_an_evaluation_ends(suite, table):
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine_module

    before = engine_module._PERSISTED_CONNECTION_DIALECTS
    evaluate(["s"], suite(NOT_NULL), {"t": table})
    assert engine_module._PERSISTED_CONNECTION_DIALECTS is before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", ["absent.json", "present: s"]),
        ("../s", ["'../s'"]),
    ],
)
def test_the_suite_is_refused_when_its_name_is_wrong(suite, table, name, words):
    folder = suite(NOT_NULL)
    with pytest.raises(ConfigError) as caught:
        evaluate([name], folder, {"t": table})
    assert all(word in str(caught.value) for word in words)


def test_the_suite_is_refused_when_its_content_is_wrong(suite, table):
    with pytest.raises(ConfigError, match=r"meta.table is 'other'"):
        evaluate(["s"], suite(NOT_NULL, table="other"), {"t": table})
    with pytest.raises(ConfigError, match=r"s\.json.*expect_nothing"):
        evaluate(["s"], suite({"type": "expect_nothing", "kwargs": {}}), {"t": table})
    typo = {**NOT_NULL, "kwargs": {"column": "a", "mstly": 0.5}}
    with pytest.raises(ConfigError, match=r"s\.json.*mstly"):
        evaluate(["s"], suite(typo), {"t": table})
    folder = suite(NOT_NULL)
    (folder / "s.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        evaluate(["s"], folder, {"t": table})
