"""How models are compared, and when one is promoted."""

from typing import Annotated, Literal

from pydantic import Field

from slmrec.config.section import Positive, Section, Seed, Share


class EvaluateModels(Section):
    """How models are compared."""

    cutoffs: tuple[Positive, ...] = (1, 5, 10, 20)
    """k of HR@k and NDCG@k."""
    filter_seen: bool = True
    """Items of the user's history are not ranked."""
    resamples: Positive = 10_000
    """Bootstrap resamples over users for every interval."""
    max_ndcg_loss: Share = 0.01
    """The fastest variant that loses at most this share of the student's NDCG@10 is the candidate."""
    min_overlap: Share = 0.95
    """What of the student's top-10 lists the candidate has to list, too."""
    equal_latency_share: Share = 0.1
    """Variants whose latency exceeds the fastest one's by at most this share count as equally fast; of
    those the smallest is taken."""
    latency_requests: Positive = 200
    """Timed single-user requests a model, after warm-up."""
    batch_users: Positive = 64
    """Users a request in the timing of batches."""
    load_processes: Positive = 3
    """Fresh processes a servable in which its load time and memory are measured; the median counts.
    Models that need torch do not serve and get one: the import alone takes seconds."""
    probe_users: Positive = 2000
    """Test users, evenly spread, of whom the costlier questions are asked: sampled negatives, shortened
    histories."""
    sampled_negatives: Positive = 999
    """Items that a target is ranked among in the SLMRec paper's protocol."""
    seed: Seed = 17
    """Of resamples and sampled negatives."""


class PromoteModel(Section):
    """Whether the candidate becomes production."""

    gates: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")] = "gates"
    """File `validation/<name>.yaml`."""
    approval: Literal["automatic", "manual"] = "automatic"
    """`manual`: a candidate that passed every gate waits until a person promotes it."""
