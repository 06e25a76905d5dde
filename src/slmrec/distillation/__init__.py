"""From the teacher through its cache to the student (SLMRec, arXiv 2405.17890)."""
