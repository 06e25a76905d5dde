import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from slmrec.errors import ConfigError, SourceMissingError
from slmrec.models import hugging_face
from slmrec.models.hugging_face import load_checkpoint
from slmrec.storage.files import ObjectDescription


@pytest.fixture
def copied(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "copied"))


def edit_config(folder: Path, **changes: object) -> None:
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | changes))


def test_folder_is_read_where_it_lies(tiny_llama: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(str(tiny_llama), tmp_path)
    network = checkpoint.network(checkpoint.config(), torch.float32)
    stored = load_file(tiny_llama / "model.safetensors")
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, stored[f"model.{name}"])
    assert checkpoint.tokenizer()("the history")["input_ids"] == [0, 7, 5]
    assert not any(tmp_path.iterdir())


def test_weights_come_in_the_type_that_is_asked_for(tiny_llama: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(str(tiny_llama), tmp_path)
    network = checkpoint.network(checkpoint.config(), torch.bfloat16)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


def test_nothing_is_printed_when_most_layers_are_left_out(
    tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = load_checkpoint(str(tiny_llama), tmp_path)
    config = checkpoint.config()
    config.num_hidden_layers = 1
    assert len(checkpoint.network(config, torch.float32).layers) == 1
    assert capfd.readouterr() == ("", "")


def test_only_what_is_needed_is_fetched_from_a_bucket(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = "gs://models/tiny/"
    stored = {prefix + path.name: path for path in tiny_llama.iterdir()}
    stored |= {prefix + name: tiny_llama / "config.json" for name in ("run.py", "old/model.bin")}
    fetched = []

    def list_objects(uri: str) -> list[ObjectDescription]:
        assert uri == prefix
        return [ObjectDescription(name, 1, "", "", 1) for name in sorted(stored)]

    def fetch(uri: str, destination: Path) -> Path:
        fetched.append(uri.removeprefix(prefix))
        return Path(shutil.copy(stored[uri], destination))

    monkeypatch.setattr(hugging_face, "list_objects", list_objects)
    monkeypatch.setattr(hugging_face, "fetch", fetch)
    checkpoint = load_checkpoint("gs://models/tiny", tmp_path)
    assert sorted(fetched) == sorted(path.name for path in tiny_llama.iterdir())
    assert len(checkpoint.network(checkpoint.config(), torch.float32).layers) == 3
    stored = {prefix + "config.json": tiny_llama / "config.json", prefix + "model.bin": tmp_path}
    fetched.clear()
    with pytest.raises(ConfigError, match=r"only model\.bin, which can run code"):
        load_checkpoint("gs://models/tiny", tmp_path)
    assert fetched == []


def test_bucket_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def list_objects(uri: str) -> list[ObjectDescription]:
        raise SourceMissingError(f"{uri}: could not be listed")

    monkeypatch.setattr(hugging_face, "list_objects", list_objects)
    with pytest.raises(SourceMissingError, match="gs://models/tiny/: could not be listed"):
        load_checkpoint("gs://models/tiny/", tmp_path)


def test_hub_id_is_downloaded_without_code_and_pickles(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}

    def snapshot_download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tiny_llama)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert load_checkpoint("owner/tiny-llama@v1.0", tmp_path).folder == tiny_llama
    assert asked == {
        "name": "owner/tiny-llama",
        "revision": "v1.0",
        "allow_patterns": ["*.safetensors", "*.json", "*.txt", "*.model"],
        "ignore_patterns": "*/*",
    }


def test_hub_id_is_refused_with_what_to_do_when_the_hub_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"owner/absent: no such folder, .*give the folder's path"
    ):
        load_checkpoint("owner/absent", tmp_path)


@pytest.mark.parametrize("location", ["absent", "../absent/model", "/absent", "a/b/c", "a b/c"])
def test_location_that_is_nothing_is_refused(tmp_path: Path, location: str) -> None:
    with pytest.raises(ConfigError, match=r"no such folder"):
        load_checkpoint(location, tmp_path)


def test_pickled_weights_are_refused_by_name_and_not_opened(copied: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (tmp_path.joinpath("harm").write_text, ("done",))

    (copied / "model.safetensors").unlink()
    (copied / "pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(ConfigError, match=r"only pytorch_model\.bin, which can run code"):
        load_checkpoint(str(copied), tmp_path)
    assert not (tmp_path / "harm").exists()


def test_code_beside_the_weights_does_not_run(copied: Path, tmp_path: Path) -> None:
    (copied / "modeling.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    edit_config(copied, model_type="own", auto_map={"AutoConfig": "modeling.C"})
    checkpoint = load_checkpoint(str(copied), tmp_path)
    with pytest.raises(ConfigError, match=r"its config\.json cannot be used"):
        checkpoint.config()
    assert not (tmp_path / "harm").exists()


def test_folder_without_a_checkpoint_is_refused_with_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    with pytest.raises(ConfigError, match=r"no config\.json in it, .*found notes\.md"):
        load_checkpoint(str(tmp_path), tmp_path)


def test_adapter_is_refused_where_whole_weights_are_expected(copied: Path, tmp_path: Path) -> None:
    (copied / "adapter_config.json").write_text('{"base_model_name_or_path": "elsewhere/model"}')
    with pytest.raises(ConfigError, match="merge the adapter into its model"):
        load_checkpoint(str(copied), tmp_path)


def test_quantized_weights_are_refused(copied: Path, tmp_path: Path) -> None:
    edit_config(copied, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(ConfigError, match="its weights are quantized"):
        load_checkpoint(str(copied), tmp_path).config()


def test_missing_weights_are_refused_and_not_made_up(copied: Path, tmp_path: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    checkpoint = load_checkpoint(str(copied), tmp_path)
    with pytest.raises(ConfigError, match=r"1 weights are missing.*layers\.1\.mlp\.up_proj"):
        checkpoint.network(checkpoint.config(), torch.float32)


@pytest.mark.parametrize("spoilt", ["cut", "empty", "wide"])
def test_weights_that_cannot_be_read_are_refused(copied: Path, tmp_path: Path, spoilt: str) -> None:
    path = copied / "model.safetensors"
    if spoilt == "wide":
        edit_config(copied, intermediate_size=64)
    else:
        path.write_bytes(path.read_bytes()[:1000] if spoilt == "cut" else b"")
    checkpoint = load_checkpoint(str(copied), tmp_path)
    with pytest.raises(ConfigError, match="its weights cannot be used"):
        checkpoint.network(checkpoint.config(), torch.float32)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "oracle"}'])
def test_configuration_that_is_none_is_refused(copied: Path, tmp_path: Path, text: str) -> None:
    (copied / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"its config\.json cannot be used"):
        load_checkpoint(str(copied), tmp_path).config()
