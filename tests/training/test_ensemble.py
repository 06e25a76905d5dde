from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.config import EnsembleMembers, Training, TrainTeacher
from slmrec.data.sequences import Sequences
from slmrec.models.decoder import Decoder
from slmrec.models.encoder import right_padded
from slmrec.progress import Silent
from slmrec.training.ensemble import train_ensemble
from slmrec.training.folds import fold_of_users
from slmrec.training.teachers import build_network

QUICK = Training(
    epochs=6,
    learning_rate=1e-2,
    batch_tokens=64,
    dropout=0.0,
    embedding_dropout=0.0,
    precision="float32",
)
TEACHER = TrainTeacher(
    kind="ensemble",
    ensemble=EnsembleMembers(folds=2, top_k=4),
    width=16,
    layers=2,
    heads=2,
    feed_forward=16,
    max_length=8,
    item_embeddings="random",
    training=QUICK,
)


def with_share(share: float) -> TrainTeacher:
    return TEACHER.model_copy(
        update={"ensemble": EnsembleMembers(folds=2, top_k=4, counted_share=share)}
    )


def test_an_ensemble_learns_the_circle_and_is_the_same_when_trained_again(
    cycles: Sequences,
) -> None:
    first, second = (train_ensemble(cycles, None, TEACHER, Silent()) for _ in range(2))
    assert first.training == second.training
    assert first.quality == second.quality
    assert first.training.best_ndcg == first.quality["together"] > 0.95
    assert {"ce", "transitions"} <= set(first.training.history[0])
    for one, other in zip(first.ensemble.networks, second.ensemble.networks, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_network_knows_nothing_of_its_fold(cycles: Sequences) -> None:
    fold = fold_of_users(cycles, 2)
    owner = np.repeat(np.arange(cycles.users), np.diff(cycles.offsets))
    # The users of fold 0 live backwards. Without soft labels only the other network can tell.
    turned = np.where(fold[owner] == 0, 1 + cycles.items[::-1] % cycles.item_count, cycles.items)
    changed = replace(cycles, items=turned.astype(np.int32))
    short = with_share(0.0)
    before = train_ensemble(cycles, None, short, Silent()).ensemble.networks
    after = train_ensemble(changed, None, short, Silent()).ensemble.networks
    # The best weights are chosen on validation, whose histories of the other fold did not change.
    same = [
        all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        for one, other in zip(before, after, strict=True)
    ]
    assert same == [True, False]


def test_soft_labels_change_what_networks_learn(cycles: Sequences) -> None:
    taught, alone = (
        train_ensemble(cycles, None, with_share(share), Silent()) for share in (0.9, 0.0)
    )
    weights = taught.ensemble.networks[0].items.weight, alone.ensemble.networks[0].items.weight
    assert not torch.allclose(*weights)


def test_networks_start_from_seeds_of_their_own(
    cycles: Sequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmrec.training import ensemble

    started = []

    def build(*args: object) -> Decoder:
        network = build_network(*args)
        started.append(network.items.weight.detach().clone())
        return network

    monkeypatch.setattr(ensemble, "build_network", build)
    training = QUICK.model_copy(update={"epochs": 1})
    config = TEACHER.model_copy(update={"training": training})
    for _ in range(2):
        train_ensemble(cycles, None, config, Silent())
    assert not torch.allclose(started[0], started[1])
    assert torch.equal(started[0], started[2])
    assert torch.equal(started[1], started[3])


def test_a_stopped_ensemble_does_not_train_finished_networks_again(
    cycles: Sequences, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from slmrec.training import ensemble, loop

    whole = train_ensemble(cycles, None, TEACHER, Silent())
    steps: list[int] = []
    stepping = loop._step
    fitting = ensemble.fit_gains

    def step(*args: object) -> object:
        steps.append(1)
        return stepping(*args)

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_step", step)
    monkeypatch.setattr(ensemble, "fit_gains", stop)
    with pytest.raises(KeyboardInterrupt):
        train_ensemble(cycles, None, TEACHER, Silent(), tmp_path / "checkpoints")
    assert steps
    steps.clear()
    monkeypatch.setattr(ensemble, "fit_gains", fitting)
    again = train_ensemble(cycles, None, TEACHER, Silent(), tmp_path / "checkpoints")
    assert not steps
    assert again.training == whole.training
    assert not (tmp_path / "checkpoints").exists()
    for one, other in zip(whole.ensemble.networks, again.ensemble.networks, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name


def test_networks_of_several_kinds_are_dealt_to_the_folds_in_turn(
    cycles: Sequences, tiny_llama: Path
) -> None:
    members = EnsembleMembers(folds=3, top_k=4, networks=("scratch", "sasrec", "pretrained"))
    config = TrainTeacher.model_validate(
        TEACHER.model_dump()
        | {
            "ensemble": members.model_dump(),
            "training": QUICK.model_dump() | {"epochs": 20},
            "pretrained": {"checkpoint": str(tiny_llama), "layers": 1, "prompt": ""},
        }
    )
    trained = train_ensemble(cycles, None, config, Silent())
    kinds = [type(network).__name__ for network in trained.ensemble.networks]
    assert kinds == ["Decoder", "SASRec", "PretrainedDecoder"]
    assert trained.quality["together"] > 0.9
    # each knows of the circle what its own network learned
    histories = [cycles.items[cycles.offsets[0] : cycles.offsets[0] + 4]]
    follows = 1 + histories[0][-1] % cycles.item_count
    for network in trained.ensemble.networks:
        scores = network.catalogue_scores(*right_padded(histories, 8))
        assert scores[0, 1:].argmax() + 1 == follows
