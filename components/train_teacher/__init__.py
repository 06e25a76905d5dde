"""The deep Llama-architecture decoder that the student learns from."""
