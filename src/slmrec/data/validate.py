"""The verdict on a canonical log: suites on all rows, the quarantine, and a page that says why."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
import pyarrow.parquet as pq

from slmrec.artifacts import Artifact, write_json
from slmrec.columns import Quarantine
from slmrec.config import ValidateData
from slmrec.data.checks import Check
from slmrec.data.expectations import EXAMPLES, evaluate
from slmrec.data.history_checks import check_histories, check_previous, check_sum
from slmrec.progress import Progress
from slmrec.times import day
from slmrec.visible import shown

RESULTS = "validation.json"
PAGE = "validation.html"
GREAT_EXPECTATIONS = "great_expectations.json"


@dataclass(frozen=True)
class Verdict:
    """All checks on one log."""

    checks: tuple[Check, ...]
    card: Mapping[str, Any]
    """The data card of the log."""
    quarantined: tuple[Mapping[str, Any], ...]
    """A few quarantined rows of each reason: columns `Quarantine`."""
    great_expectations: tuple[Mapping[str, Any], ...] = ()
    """The results of the suites as Great Expectations gives them."""

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.success)

    @property
    def success(self) -> bool:
        """Whether every check passed."""
        return not self.failures


def validate(
    log: Artifact,
    previous: Mapping[str, Any],
    settings: ValidateData,
    folder: Path,
    progress: Progress,
) -> Verdict:
    """Hold an `interactions` artifact against the suites in `folder` and the rules of a log.

    `previous` is what `check_previous` takes. Raises `ConfigError` when a suite is missing or
    malformed; a log that fails raises nothing here.
    """
    card = log.json("card.json")
    if card["equal_time_share"] > 0.5 and not card["order_only"]:
        progress.say(
            f"{100 * card['equal_time_share']:.0f} % of interactions share user and time with "
            "another: their order is not time's (ingest_interactions.ties)"
        )
    tables = {name: log.file(f"{name}.parquet") for name in ("interactions", "items", "quarantine")}
    progress.update(0, 3, "suites and histories")
    with ThreadPoolExecutor(1) as pool:
        # Great Expectations takes seconds to import, in which one core would do nothing.
        pending = pool.submit(check_histories, tables["interactions"], card, settings)
        evaluated = evaluate(settings.suites, folder, tables)
        histories = pending.result()
    progress.update(2, 3, "previous data")
    compared = check_previous(tables["interactions"], card, previous, settings)
    progress.update(3, 3)
    checks = (
        *evaluated.checks,
        *histories,
        check_sum(card),
        quarantine_check(card, settings.max_quarantine_share),
        *compared,
    )
    return Verdict(checks, card, _examples(tables["quarantine"]), evaluated.results)


def _examples(quarantine: Path) -> tuple[Mapping[str, Any], ...]:
    """Take a few rows of each reason; the file may be large, so it is read a group at a time."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    with pq.ParquetFile(quarantine) as file:
        for number in range(file.num_row_groups):
            rows = pl.DataFrame(pl.from_arrow(file.read_row_group(number)))
            few = rows.group_by(Quarantine.REASON, maintain_order=True).head(EXAMPLES)
            for row in few.iter_rows(named=True):
                kept = found.setdefault(row[Quarantine.REASON], [])
                if len(kept) < EXAMPLES:
                    kept.append(row)
    return tuple(row for reason in sorted(found) for row in found[reason])


def quarantine_check(card: Mapping[str, Any], allowed: float) -> Check:
    """Check that no larger share of source rows than `allowed` is in the quarantine."""
    share = card["quarantined"] / max(card["rows_in"], 1)
    return Check(
        suite="quarantine",
        expectation="share of source rows in the quarantine",
        column="",
        expected=f"at most {allowed:.6g}",
        success=share <= allowed,
        rows=card["rows_in"],
        unexpected=card["quarantined"],
        observed=f"{share:.6g}",
        examples=tuple(f"{reason}: {rows}" for reason, rows in card["quarantine_reasons"].items()),
        notes="validate_data.max_quarantine_share",
    )


def write_verdict(directory: Path, verdict: Verdict) -> None:
    """Write `validation.json`, `great_expectations.json` and `validation.html`.

    The same verdict gives the same bytes.
    """
    write_json(
        directory / RESULTS,
        {
            "success": verdict.success,
            "checks": [check.to_json() for check in verdict.checks],
            "card": dict(verdict.card),
        },
    )
    write_json(directory / GREAT_EXPECTATIONS, list(verdict.great_expectations))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slmrec.data", "."),
        autoescape=True,
        finalize=shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": "{:,}".format, "day": day, "in_words": _in_words}
    page = environment.get_template("validation.html").render(verdict=verdict)
    (directory / PAGE).write_text(page, encoding="utf-8")


def _in_words(expectation: str) -> str:
    # The library's names are sentences; ours are already written as such.
    if not expectation.startswith("expect_"):
        return expectation
    return expectation.removeprefix("expect_").replace("_", " ")


def failure_message(verdict: Verdict, page: Path) -> str:
    """Name the first failure, how many others there are, and where to read about them."""
    first, *others = verdict.failures
    about = f" on {first.column}" if first.column else ""
    if first.unexpected:
        found = f"{first.unexpected:,} of {first.rows:,} rows break it"
    else:
        found = f"found {first.observed}"
    more = f" (and {len(others)} more)" if others else ""
    return (
        f"suite {first.suite}: {first.expectation}{about} failed: {found}, expected "
        f"{first.expected or 'none'}{more}; read {page}, then mend the source or the suite"
    )
