"""The steps of the pipeline, one folder each: ports for KFP, the work, and why it exists."""
