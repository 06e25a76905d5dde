"""Studies: what depth, each loss term and the certificate are worth on a log, over several seeds."""
