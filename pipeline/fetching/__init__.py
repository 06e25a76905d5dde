"""Bringing runs home from Kubeflow Pipelines or Vertex AI, as if they had run here."""
