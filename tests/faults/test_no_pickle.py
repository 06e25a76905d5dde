"""Row 12: no pickle is ever loaded, and nothing that a file says is run."""

import ast
import contextlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from slmrec.artifacts import Artifact, open_artifact
from slmrec.config import IngestInteractions, Training
from slmrec.data.ingest import ingest
from slmrec.data.sequences import load_sequences
from slmrec.errors import ArtifactError, ConfigError, DataError
from slmrec.models.checkpoint import SHAPE, WEIGHTS, load_model
from slmrec.models.decoder import Decoder, DecoderShape
from slmrec.models.hugging_face import load_checkpoint
from slmrec.models.servable import LAYERS, RECOMMEND, Servable, open_graph
from slmrec.models.servable import WEIGHTS as SERVED
from slmrec.progress import Silent
from slmrec.training.checkpoints import KIND, TENSORS, Checkpoints
from slmrec.training.optimizer import AdamW, parameter_groups
from slmrec.training.parallel import World
from tests.conftest import ROOT
from tests.faults.child import made
from tests.faults.conftest import Tell
from tests.models.servables import catalogue_of, export_small

CODE = ("src", "components", "pipeline", "benchmarks")
MODULES = frozenset(
    {
        *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "shelve", "marshal", "jsonpickle"),
        *("pickletools", "copyreg", "torch.serialization", "torch.package", "pandas.io.pickle"),
    }
)
NEVER = frozenset(
    {
        *("eval", "exec", "__import__", "builtins.eval", "builtins.exec"),
        *("joblib.load", "joblib.dump", "pandas.read_pickle", "torch.load", "torch.jit.load"),
        *("torch.save", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"),
        *("yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader", "runpy.run_path", "os.system"),
    }
)
PICKLED_BY_DEFAULT = frozenset({"numpy.load", "numpy.save", "numpy.savez"})
"""Calls that must say `allow_pickle=False`."""


class Names(ast.NodeVisitor):
    """What a module imports and calls, by full name whatever it is called there."""

    def __init__(self, tree: ast.AST) -> None:
        self.known: dict[str, str] = {}
        self.found: list[tuple[str, ast.AST]] = []
        self.visit(tree)

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self.known[name.asname or name.name.partition(".")[0]] = (
                name.name if name.asname else name.name.partition(".")[0]
            )
            self.found.append((name.name, node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for name in node.names:
            whole = f"{node.module}.{name.name}"
            self.known[name.asname or name.name] = whole
            self.found += [(whole, node), (str(node.module), node)]

    def visit_Name(self, node: ast.Name) -> None:
        self.found.append((self.known.get(node.id, node.id), node))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            parts.append(self.known.get(value.id, value.id))
            self.found.append((".".join(reversed(parts)), node))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        given = {one.arg: one.value for one in node.keywords}
        for argument in ("allow_pickle", "trust_remote_code"):
            value = given.get(argument)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
                self.found.append((f"{argument} that may be true", node))
        for name in {name for name, _ in self.of(node.func, self.known)} & PICKLED_BY_DEFAULT:
            if "allow_pickle" not in given:
                self.found.append((f"{name} without allow_pickle=False", node))
        self.generic_visit(node)

    @classmethod
    def of(cls, node: ast.AST, known: dict[str, str]) -> list[tuple[str, ast.AST]]:
        """The names in an expression."""
        names = cls(ast.Module([], []))
        names.known = known
        names.visit(node)
        return names.found


def faults(source: str, place: str) -> list[str]:
    """What in a module's text could load a pickle or run what a file says."""
    found = []
    for name, node in Names(ast.parse(source)).found:
        module = any(name == one or name.startswith(f"{one}.") for one in MODULES)
        if module or name in NEVER or " " in name:
            found.append(f"{place}:{getattr(node, 'lineno', 0)}: {name}")
    own = place.startswith(
        "benchmarks/"
    )  # their arrays are their own, and numpy's rule is the same
    return [one for one in found if not (own and "without" in one)]


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the product with its text."""
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def test_no_code_loads_a_pickle_or_runs_a_text() -> None:
    assert [fault for place, source in modules() for fault in faults(source, place)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads as read",
        "import numpy as np\nnp.load(path)",
        "from numpy import load\nload(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=flag)",
        "import torch\ntorch.load(path)",
        "from torch import load as fetch\nfetch(path)",
        "import pandas\nframe = pandas.read_pickle(path)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "import joblib as j\nj.load(path)",
        "value = eval(text)",
        "run = exec",
        "from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_code_is_found_when_it_could_load_a_pickle(source: str) -> None:
    assert faults(source, "planted.py")


class Harm:
    """Makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def torch_file(canary: Path, *, zipped: bool) -> bytes:
    """A `.pt` that does harm when it is loaded without care."""
    out = io.BytesIO()
    torch.save({"weight": Harm(canary)}, out, _use_new_zipfile_serialization=zipped)
    return out.getvalue()


def object_array(canary: Path) -> bytes:
    """A `.npy` of Python objects."""
    out = io.BytesIO()
    np.save(out, np.array([Harm(canary)], dtype=object), allow_pickle=True)
    return out.getvalue()


def planted(canary: Path) -> dict[str, bytes]:
    """Files that make `canary` when they are loaded as what they are."""
    packed = io.BytesIO()
    np.savez(packed, a=np.array([Harm(canary)], dtype=object))
    return {
        **{f"protocol {n}": pickle.dumps(Harm(canary), protocol=n) for n in range(6)},
        "pt": torch_file(canary, zipped=True),
        "old pt": torch_file(canary, zipped=False),
        "npy": object_array(canary),
        "npz": packed.getvalue(),
    }


def test_planted_files_do_harm_when_they_are_loaded_without_care(tmp_path: Path) -> None:
    # So that what the other tests find absent would be there.
    def loaded(name: str, content: bytes) -> None:
        stream = io.BytesIO(content)
        if name.endswith("pt"):
            torch.load(stream, weights_only=False)
        elif name.startswith("np"):
            found = np.load(stream, allow_pickle=True)
            found["a"] if name == "npz" else found[0]
        else:
            pickle.loads(content)

    for name in planted(tmp_path):
        canary = tmp_path / name
        loaded(name, planted(canary)[name])
        assert canary.is_dir()


def as_log(content: bytes, folder: Path) -> None:
    for name in ("log.pkl", "log.csv", "log.parquet", "log.jsonl"):
        (folder / name).write_bytes(content)
        with pytest.raises(DataError):
            ingest(str(folder / name), "", IngestInteractions(), folder, Silent())


def as_items(content: bytes, folder: Path) -> None:
    (folder / "log.csv").write_bytes(b"user,item,timestamp\nu1,i1,1\n")
    (folder / "items.pkl").write_bytes(content)
    with pytest.raises(DataError):
        ingest(
            str(folder / "log.csv"),
            str(folder / "items.pkl"),
            IngestInteractions(),
            folder,
            Silent(),
        )


def as_sequences(content: bytes, folder: Path) -> None:
    arrays = ("offsets", "items", "timestamps", "train_end", "validation_end")
    files = {f"{name}.npy": content for name in arrays}
    with pytest.raises(ArtifactError, match=r"offsets\.npy: not a plain array"):
        load_sequences(made(folder / "sequences", "sequences", files, items=3))


def as_student(content: bytes, folder: Path) -> None:
    shape = DecoderShape(items=9, width=8, heads=2, feed_forward=(8,), max_length=4)
    described = json.dumps({"model": "Decoder", **shape.model_dump()}).encode()
    with pytest.raises(ArtifactError, match="safetensors"):
        load_model(
            open_artifact(made(folder / "m", "student", {WEIGHTS: content, SHAPE: described}))
        )


def as_suffix(content: bytes, folder: Path) -> None:
    with pytest.raises(ArtifactError, match="may not hold"):
        made(folder / "m", "student", {"weights.pt": content})


def as_training_checkpoint(content: bytes, folder: Path) -> None:
    made(
        folder / "checkpoints" / "epoch-001",
        KIND,
        {TENSORS: content, "state.json": b"{}"},
        training="t",
        epoch=1,
    )
    shape = DecoderShape(items=9, width=8, heads=2, feed_forward=(8,), max_length=4)
    decoder = Decoder(shape)
    optimizer = AdamW(parameter_groups(decoder, Training()))
    world = World(0, 1, torch.device("cpu"))
    kept = Checkpoints(folder / "checkpoints", "t", world, Silent())
    standing = kept.resume(decoder, optimizer, np.random.default_rng(1))
    assert standing.epoch == 0  # not used, and the training begins anew


def as_graph(content: bytes, folder: Path) -> None:
    sound = export_small(folder / "sound", catalogue_of([3, 2, 1]))
    for name in (LAYERS, RECOMMEND, SERVED):
        files = {one: sound.file(one).read_bytes() for one in sound.files} | {name: content}
        model = made(folder / name, "servable", files, **sound.properties)
        with pytest.raises(ArtifactError):
            serve(open_artifact(model))


def serve(artifact: Artifact) -> None:
    """Open both graphs and the weights."""
    open_graph(artifact.file(RECOMMEND), 1)
    Servable(artifact).best([np.array([1], np.int32)], 2, exclude_seen=True)


def as_checkpoint(content: bytes, folder: Path, llama: Path) -> None:
    for name in ("pytorch_model.bin", "model.pt", "model.safetensors"):
        copied = folder / f"llama-{name}"
        shutil.copytree(llama, copied)
        (copied / "model.safetensors").unlink()
        (copied / name).write_bytes(content)
        with pytest.raises(ConfigError):
            opened(str(copied), folder)


def opened(location: str, scratch: Path) -> None:
    """Open the network of a checkpoint."""
    checkpoint = load_checkpoint(location, scratch)
    checkpoint.network(checkpoint.config(), torch.float32)


PLACES: dict[str, Callable[[bytes, Path], None]] = {
    "log": as_log,
    "items": as_items,
    "sequences": as_sequences,
    "student": as_student,
    "suffix": as_suffix,
    "training checkpoint": as_training_checkpoint,
    "graph": as_graph,
}


def test_a_planted_pickle_is_refused_and_not_run_wherever_it_lies(
    tmp_path: Path, tiny_llama: Path, tell: Tell
) -> None:
    canary = tmp_path / "ran"
    tried = 0
    for number, content in enumerate(planted(canary).values()):
        for place, plant in PLACES.items():
            folder = tmp_path / f"{place} {number}"
            folder.mkdir()
            plant(content, folder)
            tried += 1
        folder = tmp_path / f"checkpoint {number}"
        folder.mkdir()
        as_checkpoint(content, folder, tiny_llama)
        tried += 1
        assert not canary.exists()
    tell(
        12,
        "no pickle is ever loaded",
        "static check, planted files refused, nothing executed",
        f"{len([*modules()])} modules without; {tried} planted files refused, nothing ran",
    )


def test_code_beside_a_checkpoint_is_not_run_when_its_settings_name_it(
    tmp_path: Path, tiny_llama: Path
) -> None:
    copied = tmp_path / "llama"
    shutil.copytree(tiny_llama, copied)
    canary = tmp_path / "ran"
    (copied / "modeling_harm.py").write_text(f"import os\nos.mkdir({str(canary)!r})\n")
    for name, auto in (
        ("config.json", {"AutoConfig": "modeling_harm.C", "AutoModel": "modeling_harm.M"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["modeling_harm.T", "modeling_harm.T"]}),
    ):
        settings = json.loads((copied / name).read_text())
        (copied / name).write_text(json.dumps(settings | {"auto_map": auto}))
    checkpoint = load_checkpoint(str(copied), tmp_path)
    for use in (checkpoint.config, checkpoint.tokenizer):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("builtins.input", lambda *_: "y")  # what transformers would ask
            with contextlib.suppress(ConfigError):
                use()
    assert not canary.exists()


def test_an_archive_of_pickles_is_refused_when_it_is_given_as_a_log(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Harm(tmp_path / "ran")))
    with pytest.raises(DataError, match="a zip archive"):
        ingest(str(tmp_path / "log.zip"), "", IngestInteractions(), tmp_path, Silent())
    assert not (tmp_path / "ran").exists()
