"""Handing the compiled pipeline to Kubeflow Pipelines or Vertex AI, once or on a schedule."""
