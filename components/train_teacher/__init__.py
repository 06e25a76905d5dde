"""The deep model that the student learns from, from scratch or of a pretrained language model."""
