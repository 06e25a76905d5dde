import json
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from slmrec.artifacts import open_artifact, publish
from slmrec.config import EvaluateModels
from slmrec.errors import SlmrecError
from slmrec.evaluation import load_cost, load_once
from slmrec.evaluation.load_cost import measure_loads
from slmrec.models.checkpoint import write_model
from slmrec.models.sasrec import SASRec, SASRecShape
from tests.models.servables import catalogue_of, export_small

HISTORIES = [np.array([1, 2], dtype=np.int32), np.array([3], dtype=np.int32)]
CONFIG = EvaluateModels(batch_users=4, load_processes=1)


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    return export_small(tmp_path_factory.mktemp("servable") / "small", catalogue_of([3, 2, 1, 1]))


@pytest.fixture(scope="module")
def sasrec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sasrec") / "sasrec"
    torch.manual_seed(1)
    with publish(folder, "sasrec", properties={"name": "sasrec"}) as staging:
        write_model(staging, SASRec(SASRecShape(items=4, width=4, layers=1, heads=1, max_length=8)))
    return open_artifact(folder)


def answers(name, seconds, imported, peak):
    """A stand-in for the process: what it says is known beforehand."""
    said = iter(zip(seconds, imported, peak, strict=True))

    class Process:
        order = []  # noqa: RUF012

        def __init__(self, model, job, limit):
            self.model = model
            assert json.loads(job.read_text())["batch"] == [[1, 2], [3], [1, 2], [3]]

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def wait_until_ready(self):
            self.order.append(f"import {self.model}")

        def load(self):
            self.order.append(f"load {self.model}")
            taken, before, most = next(said) if self.model == name else (1.0, 0, 1)
            return {"seconds": taken, "imported_bytes": before, "peak_bytes": most}

    return Process


def test_figures_are_medians_of_models_that_took_turns(monkeypatch, servable):
    process = answers("a", [0.5, 0.1, 0.2], [10**6] * 3, [4 * 10**6, 3 * 10**6, 9 * 10**6])
    monkeypatch.setattr(load_cost, "_Process", process)
    three = EvaluateModels(batch_users=4, load_processes=3)
    found = measure_loads(dict.fromkeys("abc", servable), HISTORIES, three, 1)
    assert found["a"] == {"load_ms": 200.0, "peak_mb": 4.0, "model_mb": 3.0}
    loads = [what.split()[1] for what in process.order if what.startswith("load")]
    assert "".join(loads) == "abcbcacab"
    # Two import at the same time, and none does while another loads.
    assert process.order[:6] == [
        *("import a", "import b", "load a", "load b"),
        *("import c", "load c"),
    ]


def test_models_that_do_not_serve_are_loaded_once(monkeypatch, servable, sasrec):
    process = answers("none", [], [], [])
    monkeypatch.setattr(load_cost, "_Process", process)
    three = EvaluateModels(batch_users=4, load_processes=3)
    models = {"sasrec": sasrec, "a": servable, "b": servable}
    assert set(measure_loads(models, HISTORIES, three, 1)) == set(models)
    loads = [what.split()[1] for what in process.order if what.startswith("load")]
    assert loads == ["sasrec", "a", "b", "a", "b", "b", "a"]


def test_a_servable_is_loaded_without_torch_and_a_torch_model_with_it(servable, sasrec):
    found = measure_loads({"served": servable, "sasrec": sasrec}, HISTORIES, CONFIG, 1)
    assert set(found) == {"served", "sasrec"}
    for figures in found.values():
        assert figures["load_ms"] > 0
        assert 0 < figures["model_mb"] < figures["peak_mb"]
    # torch alone needs more than everything that a servable does.
    assert found["sasrec"]["peak_mb"] > found["served"]["peak_mb"] + 50


def test_the_peak_is_the_process_s_own_when_a_larger_one_started_it(servable):
    large = np.ones(50_000_000)  # 400 MB
    assert load_once.resident_bytes("VmRSS") >= large.nbytes
    found = measure_loads({"served": servable}, HISTORIES, CONFIG, 1)
    assert found["served"]["peak_mb"] < 0.9 * large.nbytes / 1e6


def test_resident_memory_comes_from_elsewhere_without_proc(monkeypatch):
    here = load_once.resident_bytes("VmHWM")
    monkeypatch.setattr(load_once, "STATUS", Path("/nowhere"))
    assert load_once.resident_bytes("VmHWM") >= 0.9 * here


def test_the_model_is_named_when_it_cannot_be_opened(tmp_path, servable):
    with publish(tmp_path / "hollow", "sasrec", properties={"name": "hollow"}):
        pass
    hollow = open_artifact(tmp_path / "hollow")
    with pytest.raises(SlmrecError, match=r"model 'hollow': .* ended with code 1: .*ArtifactError"):
        measure_loads({"served": servable, "hollow": hollow}, HISTORIES, CONFIG, 1)


def test_the_model_is_named_when_its_process_hangs(monkeypatch, tmp_path, servable):
    hanging = tmp_path / "python"
    hanging.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    with pytest.raises(SlmrecError, match=r"model 'served': .* not done within 0.2 s"):
        measure_loads({"served": servable}, HISTORIES, CONFIG, 1, limit_seconds=0.2)
    children = psutil.Process().children()
    assert not [child for child in children if str(hanging) in child.cmdline()]


def test_nothing_is_found_where_no_model_is_stored():
    assert measure_loads({}, HISTORIES, CONFIG, 1) == {}
