"""Why a run should start now, and that the same reason starts one run only."""
