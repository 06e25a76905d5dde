"""Checkpoints in the Hugging Face format: brought here, looked at, opened as weights and nothing else.

A checkpoint is hostile input: only safetensors weights are read, never a pickle, and no code that
lies beside them runs.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn

from slmrec.confinement import objection
from slmrec.errors import ConfigError, first_line
from slmrec.storage.client import is_remote
from slmrec.storage.files import fetch, list_objects

WANTED = (".safetensors", ".json", ".txt", ".model")
"""Suffixes of what is fetched of a checkpoint: weights, configuration, tokenizer."""
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
"""Files that a tokenizer is made of; without any, transformers makes one that knows no word."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")

FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, ImportError)
"""What transformers raises on files, and on settings in them, that it cannot use."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files lie in a local folder."""

    location: str
    """As the user gave it, for messages."""
    folder: Path

    def config(self) -> Any:
        """Its `transformers` configuration. Raises `ConfigError`."""
        from transformers import AutoConfig

        with self._explained("config.json"):
            config = AutoConfig.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
        if getattr(config, "quantization_config", None) is not None:
            raise ConfigError(
                f"checkpoint {self.location}: its weights are quantized, expected float32, float16 "
                "or bfloat16; name the checkpoint that it was quantized from"
            )
        return config

    def network(self, config: Any, dtype: torch.dtype) -> nn.Module:
        """The network without its head, in evaluation mode: of the weights, those `config` asks for.

        Raises `ConfigError` when the weights cannot be read or one of them is missing.
        """
        from transformers import AutoModel

        with self._explained("weights"), _quiet():
            network, report = AutoModel.from_pretrained(
                self.folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        # A pooler is made for classification; nothing here reads it.
        missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
        if missing:
            raise ConfigError(
                f"checkpoint {self.location}: {len(missing)} weights are missing, the first is "
                f"{missing[0]}; fetch the checkpoint again, with all of its safetensors files"
            )
        loaded: nn.Module = network.eval()
        return loaded

    def tokenizer(self) -> Any:
        """Its tokenizer. Raises `ConfigError` when it has none."""
        from transformers import AutoTokenizer

        if not any((self.folder / name).is_file() for name in VOCABULARIES):
            raise ConfigError(
                f"checkpoint {self.location}: no tokenizer in it; put the files of its tokenizer "
                "there (tokenizer.json and what belongs to it)"
            )
        with self._explained("tokenizer"), _quiet():
            return AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )

    def require_vocabulary(self, tokens: Iterable[int], network: nn.Module) -> None:
        """Refuse tokens that the network has no embedding for. Raises `ConfigError`."""
        rows = network.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
        largest = max(tokens, default=0)
        if largest >= rows:
            raise ConfigError(
                f"checkpoint {self.location}: its tokenizer gives the token {largest}, its embeddings "
                f"have {rows} rows; the tokenizer is another checkpoint's, put the right one beside it"
            )

    @contextmanager
    def _explained(self, part: str) -> Iterator[None]:
        from safetensors import SafetensorError

        try:
            yield
        except (*FAULTS, SafetensorError) as error:
            raise ConfigError(
                f"checkpoint {self.location}: its {part} cannot be used ({first_line(error)}); "
                f"expected a folder of safetensors, config.json and tokenizer that transformers saved"
            ) from error


def load_checkpoint(location: str, scratch: Path) -> Checkpoint:
    """Bring a checkpoint here and refuse what is none.

    `location` is a folder, `gs://BUCKET/FOLDER/`, or a hub id, `OWNER/NAME` or `OWNER/NAME@REVISION`.
    What comes from Cloud Storage goes into the directory `scratch`, what comes from the hub into the
    hub's own cache. Raises `ConfigError`, and `SourceMissingError` when a bucket cannot be read.
    """
    if is_remote(location):
        folder = _from_cloud_storage(location, scratch)
    elif Path(location).is_dir():
        folder = Path(location)
    else:
        folder = _from_hub(location)
    _require_checkpoint(location, {path.name for path in folder.iterdir()})
    _require_own_weights(location, folder)
    return Checkpoint(location, folder)


def _from_cloud_storage(location: str, scratch: Path) -> Path:
    prefix = location.rstrip("/") + "/"
    uris = [described.uri for described in list_objects(prefix)]
    # Folders inside hold the same weights in other formats.
    names = [uri.removeprefix(prefix) for uri in uris]
    names = [name for name in names if "/" not in name]
    _require_checkpoint(location, set(names))
    for name in names:
        if PurePosixPath(name).suffix in WANTED:
            fetch(prefix + name, scratch)
    return scratch


def _from_hub(location: str) -> Path:
    named = HUB_ID.fullmatch(location)
    if named is None:
        raise ConfigError(
            f"checkpoint {location}: no such folder; expected a folder, gs://BUCKET/FOLDER/ or a hub "
            "id, OWNER/NAME or OWNER/NAME@REVISION"
        )
    from huggingface_hub import snapshot_download

    try:
        with _quiet():
            return Path(
                snapshot_download(
                    named["name"],
                    revision=named["revision"],
                    allow_patterns=[f"*{suffix}" for suffix in WANTED],
                    ignore_patterns="*/*",
                )
            )
    except (OSError, ValueError) as error:  # of which the hub's own errors are kinds
        raise ConfigError(
            f"checkpoint {location}: no such folder, and as a hub id it cannot be downloaded "
            f"({first_line(error)}); check the name, the network and HF_TOKEN, or download it "
            "elsewhere and give the folder's path"
        ) from error


def _require_checkpoint(location: str, names: set[str]) -> None:
    suffixes = {name: PurePosixPath(name).suffix for name in names}
    if "adapter_config.json" in names:
        raise ConfigError(
            f"checkpoint {location}: holds an adapter (adapter_config.json), expected whole weights; "
            "merge the adapter into its model and save that"
        )
    if "config.json" not in names:
        raise ConfigError(
            f"checkpoint {location}: no config.json in it, expected a checkpoint in the Hugging Face "
            f"format; found {', '.join(sorted(names)[:5]) or 'nothing'}"
        )
    if ".safetensors" not in suffixes.values():
        pickles = sorted(name for name, suffix in suffixes.items() if suffix in PICKLES)
        found = f"only {', '.join(pickles)}, which can run code" if pickles else "no weights"
        raise ConfigError(
            f"checkpoint {location}: {found}; expected *.safetensors, convert it with "
            "transformers' save_pretrained where you trust it"
        )


def _require_own_weights(location: str, folder: Path) -> None:
    """Refuse an index that names weights elsewhere, which transformers would open."""
    for index in sorted(folder.glob("*.index.json")):
        try:
            names = {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"checkpoint {location}: {index.name} is no index of weights ({first_line(error)}); "
                "fetch the checkpoint again"
            ) from None
        for name in sorted(names):
            if reason := objection(name):
                raise ConfigError(
                    f"checkpoint {location}: {index.name} names the file {name[:200]!r} ({reason}), "
                    "expected files of this folder; do not use it"
                )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' bars and reports off the terminal: a truncated network is meant."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
