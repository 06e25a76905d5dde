"""The compressed students of the study `compression`: one thing at a time, then together."""

from slmrec.config import Recovery, Sparsity, Variant

COMBINATIONS: tuple[tuple[Variant, str], ...] = (
    (Variant(name="float32", weights="float32"), "nothing, exported as it is"),
    (Variant(name="bfloat16", weights="bfloat16"), "bfloat16"),
    (Variant(name="int8", weights="int8"), "int8, static states"),
    (Variant(name="int8-dynamic", states="dynamic"), "int8, each state by its own largest"),
    (Variant(name="int4", weights="int4"), "int4 weights"),
    (Variant(name="product", product_bytes=32), "int8, items in 32 bytes by product quantization"),
    (Variant(name="memory-32", weights="float32", memory=32), "half of the transitions"),
    (Variant(name="channels", weights="float32", feed_forward_share=0.5), "half of the channels"),
    (Variant(name="heads", weights="float32", heads_share=0.5), "half of the attention heads"),
    (
        Variant(
            name="wanda", weights="float32", sparsity=Sparsity(method="wanda", two_of_four=True)
        ),
        "two of four weights zero, Wanda",
    ),
    (
        Variant(
            name="sparsegpt",
            weights="float32",
            sparsity=Sparsity(method="sparsegpt", two_of_four=True),
        ),
        "two of four weights zero, SparseGPT",
    ),
    (Variant(name="int8-memory-32", memory=32), "int8, half of the transitions"),
    (
        Variant(name="pruned-int8", feed_forward_share=0.75, memory=32),
        "int8, three quarters of the channels, half of the transitions",
    ),
    (
        Variant(name="half-int8", feed_forward_share=0.5, heads_share=0.5, memory=32),
        "int8, half of channels, heads and transitions",
    ),
    (
        Variant(
            name="half-int8-recovered",
            feed_forward_share=0.5,
            heads_share=0.5,
            memory=32,
            recovery=Recovery(),
        ),
        "the same, with a short distillation before int8",
    ),
    (
        Variant(name="half-int4", weights="int4", feed_forward_share=0.5, memory=16),
        "int4, half of the channels, a quarter of the transitions",
    ),
)
"""Each with what is done, in words."""
