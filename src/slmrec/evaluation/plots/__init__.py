"""The figures of the report, as SVG text: the same for the same numbers, readable on light and dark."""
