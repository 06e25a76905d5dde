"""A study written down: `results.json`, `figure.svg` and the page `README.md`, without a date."""

from collections.abc import Mapping
from typing import Any

from slmrec.artifacts import write_json
from slmrec.data.sequences import Sequences
from slmrec.studies.job import Job
from slmrec.studies.outcome import Outcome, Table

RESULTS, FIGURE, PAGE = "results.json", "figure.svg", "README.md"
SCHEMA = 1


def write_study(job: Job, sequences: Sequences, outcome: Outcome) -> dict[str, Any]:
    """Write the three files into the study's folder; the same numbers give the same bytes.

    Returns the content of `results.json`.
    """
    results = {
        "schema": SCHEMA,
        "study": job.study,
        "data": describe(job, sequences),
        "settings_digest": job.settings_digest,
        "seeds": list(outcome.seeds),
        "command": job.command,
        "findings": list(outcome.findings),
        **outcome.results,
    }
    job.output.mkdir(parents=True, exist_ok=True)
    write_json(job.output / RESULTS, results)
    outcome.draw(job.output / FIGURE)
    (job.output / PAGE).write_text(page(outcome, results), encoding="utf-8")
    return results


def describe(job: Job, sequences: Sequences) -> dict[str, Any]:
    """The data's name, size, split and digest."""
    assert sequences.artifact is not None
    return {
        "name": job.data,
        "users": sequences.users,
        "items": sequences.item_count,
        "interactions": sequences.interactions,
        "split": sequences.artifact.properties["split"],
        "digest": sequences.artifact.digest,
    }


def page(outcome: Outcome, results: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    data = results["data"]
    facts = {
        "data": f"{_plain(data['name'])}, sequences `{data['digest'][:12]}`",
        "size": f"{data['users']:,} users, {data['items']:,} items, "
        f"{data['interactions']:,} interactions",
        "split": f"{data['split']}, {results['users']:,} test users",
        "settings": f"`{results['settings_digest'][:12]}`",
        "seeds": ", ".join(map(str, results["seeds"])),
    }
    parts = [
        f"# {outcome.title}",
        *outcome.findings,
        f"![{outcome.title}]({FIGURE})",
        *(part for table in outcome.tables for part in (f"## {table.heading}", markdown(table))),
        "## How it was measured",
        outcome.method,
        markdown(Table("", ("", ""), [list(fact) for fact in facts.items()], numbers=False)),
        f"All numbers are in [{RESULTS}]({RESULTS}). To measure them again:",
        f"```\n{results['command']}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def markdown(table: Table) -> str:
    """A table as Markdown; numbers are aligned to the right."""
    rule = ["---", *("---:" if table.numbers else "---" for _ in table.header[1:])]
    lines = [table.header, rule, *([_plain(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    # A file may be called anything; it must not end the cell or open a tag.
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
