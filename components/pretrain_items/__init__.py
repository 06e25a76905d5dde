"""Item embeddings from SASRec, the paper's first stage."""
