"""Orchestration: the DAG, its settings, and the command line that compiles and runs it."""
