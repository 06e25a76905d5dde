import numpy as np
import pytest
import torch

from slmrec.artifacts import open_artifact, publish
from slmrec.models.checkpoint import load_model, write_model
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.ensemble import evidence
from slmrec.models.memory import CountedMemory
from slmrec.models.transitions import DAMPING, DECAY, SECOND_HOP, Transitions

CATALOGUE = 30


@pytest.fixture
def transitions(sequences_of):
    generator = np.random.default_rng(0)
    train = [generator.integers(1, CATALOGUE + 1, 8).tolist() for _ in range(60)]
    return Transitions.fit(sequences_of(train, [[]] * 60, CATALOGUE))


def remembering(transitions, neighbours: int, gain: float = 1.0) -> CountedMemory:
    memory = CountedMemory(CATALOGUE, neighbours)
    memory.remember(transitions)
    memory.gain.fill_(gain)
    return memory


def test_whole_memory_says_what_the_graph_says(transitions):
    memory = remembering(transitions, CATALOGUE)
    items = torch.tensor([[3, 9, 27, 4, 1, 8, 2], [5, 6, 0, 0, 0, 0, 0]])
    found = memory.evidence(items, torch.tensor([6, 1])).numpy()
    histories = [np.array([3, 9, 27, 4, 1, 8, 2], np.int32), np.array([5, 6], np.int32)]
    np.testing.assert_allclose(found, evidence(transitions.scores(histories)), rtol=1e-4)


def test_only_the_strongest_are_kept_when_the_memory_is_small(transitions):
    whole, _ = transitions.strongest(CATALOGUE)
    kept, weights = transitions.strongest(3)
    assert np.array_equal(kept, whole[:, :3])
    assert (np.diff(weights, axis=1) <= 0).all()
    found = remembering(transitions, 3).evidence(torch.tensor([[7]]), torch.tensor([0]))
    assert found[0].nonzero().ravel().tolist() == sorted(kept[7].tolist())


def test_weights_equal_hand_arithmetic_when_one_user_was_seen(sequences_of):
    # 1 → 2 → 3: from 2 forward to 3 with 1, back to 1 with 1/4; from 1 to 2 with 1, to 3 with 1/2.
    graph = Transitions.fit(sequences_of([[1, 2, 3]], [[]], 3))
    neighbours, weights = graph.strongest(3)
    strength = [1 + 1 / 2, 1 + 1 / 4, 1 / 4 + 1 / 8]
    entering = strength[1] ** -DAMPING
    to_three = entering * (1 + 1 / 4 * SECOND_HOP / strength[0] * 1 / 2)
    found = dict(zip(neighbours[2].tolist(), weights[2].tolist(), strict=True))
    assert found[3] == pytest.approx(to_three, rel=1e-5)


def test_nothing_is_found_when_the_history_is_empty(transitions):
    memory = remembering(transitions, 5)
    assert memory(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([0])).abs().max() == 0


def test_padding_and_company_change_nothing(transitions):
    memory = remembering(transitions, 5)
    alone = memory(torch.tensor([[3, 4]]), torch.tensor([1]))
    padded = memory(torch.tensor([[3, 4, 0, 0], [8, 9, 1, 2]]), torch.tensor([1, 3]))
    assert torch.equal(alone[0], padded[0])


def test_older_items_count_less(sequences_of):
    # Two separate pairs alike: what the older item leads to has DECAY times the newer one's share.
    memory = CountedMemory(4, 4)
    memory.remember(Transitions.fit(sequences_of([[1, 2], [3, 4]], [[], []], 4)))
    evidence_of = memory.evidence(torch.tensor([[1, 3]]), torch.tensor([1]))[0]
    share = torch.expm1(evidence_of)
    assert (share[2] / share[4]).item() == pytest.approx(DECAY, rel=1e-5)


def test_scores_are_those_of_the_layers_plus_the_memory_when_stored_and_loaded(
    transitions, tmp_path
):
    torch.manual_seed(0)
    shape = DecoderShape(
        items=CATALOGUE, width=8, heads=2, feed_forward=(8,), max_length=5, memory=4
    )
    model = Decoder(shape).eval()
    assert model.memory is not None
    model.memory.remember(transitions)
    model.memory.gain.fill_(1.5)
    with publish(tmp_path / "m", "student") as staging:
        write_model(staging, model)
    loaded = load_model(open_artifact(tmp_path / "m"))
    items, last = torch.tensor([[3, 9, 27]]), torch.tensor([2])
    layers = model.last_states(items, last) @ model.items.weight.T
    expected = layers + 1.5 * model.memory.evidence(items, last)
    torch.testing.assert_close(loaded.catalogue_scores(items, last), expected)
    plain = Decoder(shape.model_copy(update={"memory": 0}))
    assert loaded.parameters_backbone() == plain.parameters_backbone()
    assert loaded.parameters_total() == plain.parameters_total() + (4 + 1) * (CATALOGUE + 1)


def test_what_is_popular_is_added_whatever_the_history(transitions):
    memory = remembering(transitions, 5)
    items, last = torch.tensor([[3, 9], [0, 0]]), torch.tensor([1, 0])
    before = memory(items, last)
    popular = torch.arange(CATALOGUE + 1) / 10
    memory.popular.copy_(popular)
    torch.testing.assert_close(memory(items, last), before + popular)
