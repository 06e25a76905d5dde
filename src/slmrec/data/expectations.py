"""Great Expectations suites, evaluated by DuckDB on every row of the canonical files.

All that the library needs to be told is in this module:

- DuckDB keeps a connection open (`_PersistedDuckDB`), else results are read after it was closed
- views over `read_parquet` in a database file, since each in-memory connection is a database of
  its own
- its progress bars and analytics are off, and its engine is closed, else DuckDB complains when
  Python ends
- expectations are built one by one: a suite logs those that it does not know and passes without
- memory is bounded, and what does not fit goes to a scratch folder
- its Data Docs are not used: they print values from the data unescaped
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmrec.data.checks import Check, shown_number
from slmrec.errors import ConfigError
from slmrec.large_imports import nothing_collected

EXAMPLES = 5
EXAMPLE_LENGTH = 120
MEMORY = "2GB"
_NAME = re.compile(r"[a-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Evaluated:
    """What the suites said."""

    checks: tuple[Check, ...]
    results: tuple[Mapping[str, Any], ...]
    """The library's own results, a suite each, as JSON-able mappings."""


def evaluate(suites: Sequence[str], folder: Path, tables: Mapping[str, Path]) -> Evaluated:
    """Evaluate the suites `<folder>/<name>.json` on Parquet files, in the order of the files.

    `tables` maps table names to files; a suite says in `meta.table` which one it is about.

    Raises `ConfigError` naming the suite's file when it is missing, malformed, or uses an
    expectation or a table that does not exist.
    """
    loaded = [_load_suite(name, folder, tables) for name in suites]
    checks: list[Check] = []
    results: list[Mapping[str, Any]] = []
    if loaded:
        with _database(tables) as batches:
            for path, content in loaded:
                found, result = _run_suite(path, content, batches[content["meta"]["table"]])
                checks += found
                results.append(result)
    return Evaluated(tuple(checks), tuple(results))


def _load_suite(name: str, folder: Path, tables: Mapping[str, Path]) -> tuple[Path, dict[str, Any]]:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"validate_data.suites: found '{name}', expected a name of a-z, 0-9, '-' and '_'"
        )
    path = folder / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        present = ", ".join(sorted(file.stem for file in folder.glob("*.json"))) or "none"
        raise ConfigError(f"{path}: no such suite; present: {present}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict) or not isinstance(content.get("expectations"), list):
        raise ConfigError(f"{path}: expected an object with 'name', 'meta' and 'expectations'")
    table = (content.get("meta") or {}).get("table")
    if table not in tables:
        raise ConfigError(f"{path}: meta.table is '{table}', expected one of {sorted(tables)}")
    return path, content


def _run_suite(
    path: Path, content: dict[str, Any], batch: Any
) -> tuple[list[Check], Mapping[str, Any]]:
    import great_expectations as gx
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    name = str(content.get("name", path.stem))
    try:
        expectations = [
            ExpectationConfiguration(
                type=expectation["type"],
                kwargs=expectation["kwargs"],
                meta={**(expectation.get("meta") or {}), "position": position},
            ).to_domain_obj()
            for position, expectation in enumerate(content["expectations"])
        ]
        suite = gx.ExpectationSuite(name=name, expectations=expectations)
    except (GreatExpectationsError, ValueError, TypeError, KeyError, AttributeError) as error:
        cause = " ".join(str(error).split())
        raise ConfigError(f"{path}: not a suite of Great Expectations ({cause})") from None
    outcome = batch.validate(
        suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    )
    result = outcome.to_json_dict()
    result["results"].sort(key=lambda one: one["expectation_config"]["meta"]["position"])
    checks = [_check(name, one) for one in result["results"]]
    return checks, _anonymous(result)


def _anonymous(result: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs between two runs on the same data: identifiers and times."""
    return {
        "suite_name": result["suite_name"],
        "success": result["success"],
        "statistics": result["statistics"],
        "results": [
            {
                "expectation_config": {
                    **one["expectation_config"],
                    "kwargs": {
                        key: value
                        for key, value in one["expectation_config"]["kwargs"].items()
                        if key != "batch_id"
                    },
                    "id": None,
                },
                **{key: one[key] for key in ("success", "result", "exception_info")},
            }
            for one in result["results"]
        ],
    }


def _check(suite: str, result: Mapping[str, Any]) -> Check:
    configuration = result["expectation_config"]
    arguments = {
        key: value
        for key, value in configuration["kwargs"].items()
        if key != "batch_id" and value is not None
    }
    column = arguments.pop("column", None) or ", ".join(arguments.pop("column_list", []))
    found = result["result"]
    observed = found.get("observed_value")
    if not found:
        observed = f"could not be evaluated: {_cause(result.get('exception_info') or {})}"
    return Check(
        suite=suite,
        expectation=configuration["type"],
        column=column,
        expected=_expected(arguments),
        success=bool(result["success"]),
        rows=int(found.get("element_count") or 0),
        unexpected=int(found.get("unexpected_count") or 0),
        observed="" if observed is None else _shown(observed),
        examples=tuple(
            dict.fromkeys(_shown(value) for value in found.get("partial_unexpected_list") or ())
        ),
        notes=str((configuration.get("meta") or {}).get("notes", "")),
    )


def _expected(arguments: dict[str, Any]) -> str:
    """Say in words what an expectation's arguments ask for."""
    rest = dict(arguments)
    words = [
        f"{word} {_shown(rest.pop(key))}"
        for key, word in (("min_value", "at least"), ("max_value", "at most"))
        if key in rest
    ]
    return ", ".join([*words, *(f"{key} {_shown(value)}" for key, value in sorted(rest.items()))])


def _cause(information: Mapping[str, Any]) -> str:
    if "exception_message" in information:
        return str(information["exception_message"])
    for nested in information.values():
        if isinstance(nested, Mapping) and nested.get("exception_message"):
            return str(nested["exception_message"])
    return "no reason given"


def _shown(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = shown_number(value) if number else str(value)
    return text if len(text) <= EXAMPLE_LENGTH else text[:EXAMPLE_LENGTH] + "…"


class _PersistedDuckDB(str):
    """An entry of the library's list of dialects that need one connection kept open.

    The list holds members of an enumeration that compare as text and have a `value`.
    """

    __slots__ = ()

    @property
    def value(self) -> str:
        return str(self)


@contextmanager
def _database(tables: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    with nothing_collected():
        import duckdb
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig
        from great_expectations.execution_engine import sqlalchemy_execution_engine as engine_module

    with tempfile.TemporaryDirectory(prefix="slmrec-") as scratch:
        database = Path(scratch) / "log.duckdb"
        with duckdb.connect(str(database)) as connection:
            for name, path in tables.items():
                quoted = str(path).replace("'", "''")
                connection.execute(
                    f"CREATE VIEW \"{name}\" AS SELECT * FROM read_parquet('{quoted}')"  # noqa: S608
                )
        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        dialects = engine_module._PERSISTED_CONNECTION_DIALECTS
        engine_module._PERSISTED_CONNECTION_DIALECTS = (*dialects, _PersistedDuckDB("duckdb"))
        source = context.data_sources.add_sql(
            "log",
            connection_string=f"duckdb:///{database}",
            create_temp_table=False,
            kwargs={
                "connect_args": {"config": {"memory_limit": MEMORY, "temp_directory": scratch}}
            },
        )
        try:
            yield {
                name: source.add_table_asset(name, table_name=name)
                .add_batch_definition_whole_table("all")
                .get_batch()
                for name in tables
            }
        finally:
            engine_module._PERSISTED_CONNECTION_DIALECTS = dialects
            source.get_execution_engine().close()
            source.get_engine().dispose()
