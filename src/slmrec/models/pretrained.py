"""A teacher made of a pretrained language model's first layers, as in SLMRec (arXiv 2405.17890).

Item embeddings of their own width are mapped into the language model, may follow a prompt in words,
pass its first layers, of which only low-rank adapters are trained, and are mapped back to the width
of the item embeddings, where dot products score the catalogue.
"""

import json
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slmrec.config import PretrainedCheckpoint, Section
from slmrec.errors import ArtifactError, ConfigError, first_line
from slmrec.models.dropout import Dropout
from slmrec.models.encoder import SequenceEncoder, packed_mask
from slmrec.models.hugging_face import FAULTS, Checkpoint

PARTS = ("embed_tokens", "layers", "norm", "rotary_emb")
"""What a language model must be made of: Llama, Mistral, Qwen, Gemma and their kin are."""
MADE_ELSEWHERE = ("_name_or_path", "architectures", "auto_map", "transformers_version")
"""Parts of a `transformers` configuration that say where it comes from, not what to build."""


class PretrainedShape(Section):
    """Everything needed to build the network again without the checkpoint it came from."""

    items: int
    """Catalogue size, padding not counted."""
    width: int
    """Of the item embeddings, and so of the states that are given."""
    max_length: int
    prompt_tokens: tuple[int, ...]
    """What stands in front of every history; the embedded tokens are among the weights."""
    precision: Literal["float32", "bfloat16"]
    """Type of the language model's weights."""
    language_model: dict[str, Any]
    """Its `transformers` configuration, cut to the layers that are used."""

    @property
    def layers(self) -> int:
        """Number of decoder layers."""
        return int(self.language_model["num_hidden_layers"])

    @property
    def dtype(self) -> torch.dtype:
        """`precision` as torch knows it."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


class PretrainedDecoder(SequenceEncoder):
    """Item embeddings → language model → states in the width of the item embeddings.

    `network` is the language model's body without its token embeddings; it is frozen, and what is
    trained are the item embeddings, the two maps, and adapters once `add_adapters` made them.
    `prompt` [tokens, hidden] are the embedded tokens of the prompt.
    """

    prompt: Tensor

    def __init__(
        self,
        shape: PretrainedShape,
        network: nn.Module,
        prompt: Tensor,
        embedding_dropout: float = 0.0,
    ) -> None:
        super().__init__(shape.items, shape.width, shape.max_length)
        self.shape = shape
        self.network = network.requires_grad_(False)
        hidden = int(shape.language_model["hidden_size"])
        self.up = nn.Linear(shape.width, hidden, bias=False)
        self.down = nn.Linear(hidden, shape.width, bias=False)
        self.register_buffer("prompt", prompt)
        self.embedding_dropout = Dropout(embedding_dropout)
        nn.init.normal_(self.items.weight, std=0.02)
        self.items.weight.data[0].zero_()

    @property
    def layers(self) -> nn.ModuleList:
        """The language model's layers."""
        layers: nn.ModuleList = self.network.layers  # type: ignore[assignment]
        return layers

    @property
    def layer_width(self) -> int:
        """Width inside the layers."""
        return self.up.out_features

    def forward(
        self, items: Tensor, positions: Tensor, mask: Tensor | None = None, blocks: int = 1
    ) -> list[Tensor]:
        """Hidden states at the end of each of `blocks` equal groups of layers.

        `items`, `positions` int64 [batch, length]; `mask` bool [batch, 1, length, length], true
        where a query (row) may look, none for plain causal; everybody may look at the prompt. Returns
        `blocks` tensors [batch, length, width], all in the width of the item embeddings: the last
        one is normed and mapped back, it is what items are scored with; the inner ones are mapped
        back by the same map, without the norm.
        """
        if self.shape.layers % blocks:
            raise ConfigError(f"{blocks} blocks do not divide {self.shape.layers} layers")
        every = self.shape.layers // blocks
        inner = list(range(every, self.shape.layers, every))
        batch, ahead = len(items), len(self.prompt)
        entering = self.up(self.embedding_dropout(self.items(items)))
        prompt = self.prompt.expand(batch, -1, -1)
        before = torch.arange(ahead, device=items.device).expand(batch, -1)
        if mask is None:
            mask = packed_mask(torch.ones_like(items))
        outputs = self.network(
            # [batch, prompt + length, hidden]
            inputs_embeds=torch.cat((prompt, entering.to(prompt.dtype)), dim=1),
            attention_mask=additive_mask(mask, ahead, prompt.dtype),
            position_ids=torch.cat((before, positions + ahead), dim=1),
            use_cache=False,
            output_hidden_states=inner or False,
        )
        states = [outputs.hidden_states[layer] for layer in inner] + [outputs.last_hidden_state]
        return [self.down(state[:, ahead:].to(self.down.weight.dtype)) for state in states]

    @torch.no_grad()
    def start_items(self, table: Tensor | None, token_scale: float) -> None:
        """Take item embeddings [items + 1, width], if given, and fit the map that leads into the model.

        It is scaled so that an item enters the first layer as large as one of the language model's
        tokens does (`token_scale`, the standard deviation of their entries): larger ones drown what
        its layers add, smaller ones are drowned.
        """
        if table is not None:
            self.items.weight.copy_(table)
        entering = self.up(self.items.weight[1:]).std()
        if entering > 0:
            self.up.weight.mul_(token_scale / entering)

    def add_adapters(self, settings: PretrainedCheckpoint) -> None:
        """Put trainable low-rank adapters (LoRA) beside the chosen linear maps of every layer.

        They add nothing until they are trained. Raises `ConfigError` when the layers have no map of
        such a name.
        """
        from peft import LoraConfig, inject_adapter_in_model

        linear = {
            name.rpartition(".")[2]
            for name, module in self.layers.named_modules()
            if isinstance(module, nn.Linear)
        }
        unknown = sorted(set(settings.lora_modules) - linear)
        if unknown:
            raise ConfigError(
                f"train_teacher.pretrained.lora_modules: the layers of {settings.checkpoint} have no "
                f"{', '.join(unknown)}; choose from {', '.join(sorted(linear))}"
            )
        lora = LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=list(settings.lora_modules),
        )
        inject_adapter_in_model(lora, self.network)
        for parameter in self.network.parameters():
            if parameter.requires_grad:  # small steps would be lost in bfloat16
                parameter.data = parameter.data.float()

    def merge_adapters(self) -> None:
        """Add what the adapters learned to the weights beside them and drop the adapters.

        Up to rounding in the type of those weights nothing changes; without adapters nothing at all.
        """
        from peft.tuners.lora import LoraLayer

        for name, module in list(self.network.named_modules()):
            if isinstance(module, LoraLayer):
                module.merge()
                parent, _, child = name.rpartition(".")
                setattr(self.network.get_submodule(parent), child, module.get_base_layer())
        self.network.requires_grad_(False)


def additive_mask(mask: Tensor, prompt: int, dtype: torch.dtype) -> Tensor:
    """A mask for rows that begin with a prompt, as `transformers` takes it whatever the attention.

    `mask` bool [batch, 1, length, length]. Returns [batch, 1, prompt + length, prompt + length]: 0
    where a row may look, the least number where not. The prompt looks at itself, causally; the rest
    at the prompt and where `mask` says.
    """
    batch, length = len(mask), mask.shape[-1]
    size = prompt + length
    visible = torch.ones(batch, 1, size, size, dtype=torch.bool, device=mask.device).tril()
    visible[..., prompt:, prompt:] = mask
    blank = torch.zeros(visible.shape, dtype=dtype, device=mask.device)
    return blank.masked_fill(~visible, torch.finfo(dtype).min)


def open_decoder(
    checkpoint: Checkpoint,
    settings: PretrainedCheckpoint,
    *,
    items: int,
    width: int,
    max_length: int,
    embedding_dropout: float,
    item_vectors: Tensor | None = None,
) -> PretrainedDecoder:
    """Build a teacher of a checkpoint's first layers, with fresh maps and adapters.

    `item_vectors` [items + 1, width] starts the item embeddings. Raises `ConfigError` when the
    checkpoint is not a language model of the kind that is understood, has too few layers, or does
    not fit the prompt or the length of the histories.
    """
    config = checkpoint.config()
    truncated = _first_layers(checkpoint, config, settings.layers)
    tokens = _prompt_tokens(checkpoint, settings.prompt)
    _require_reach(checkpoint, config, len(tokens) + max_length)
    described = json.loads(truncated.to_json_string(use_diff=False))
    shape = PretrainedShape(
        items=items,
        width=width,
        max_length=max_length,
        prompt_tokens=tokens,
        precision=settings.precision,
        language_model={k: v for k, v in described.items() if k not in MADE_ELSEWHERE},
    )
    network = checkpoint.network(truncated, shape.dtype)
    _require_parts(checkpoint, network)
    checkpoint.require_vocabulary(tokens, network)
    embedding: nn.Embedding = network.embed_tokens  # type: ignore[assignment]
    with torch.no_grad():
        prompt = embedding(torch.tensor(tokens, dtype=torch.int64)).clone()
        first = torch.arange(min(embedding.num_embeddings, 4096))
        token_scale = float(embedding(first).float().std())
    network.embed_tokens = None  # type: ignore[assignment]
    _require_masks_kept(checkpoint, network, embedding.embedding_dim, shape.dtype)
    model = PretrainedDecoder(shape, network, prompt, embedding_dropout)
    model.start_items(item_vectors, token_scale)
    model.add_adapters(settings)
    return model


def build_decoder(shape: PretrainedShape) -> PretrainedDecoder:
    """An untrained network of a stored shape, for weights that are loaded next.

    Raises `ArtifactError` when this version of `transformers` does not know such a network.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.initialization import no_init_weights

    described = dict(shape.language_model)
    try:
        config = AutoConfig.for_model(described.pop("model_type"), **described)
        with no_init_weights():
            network = AutoModel.from_config(config, dtype=shape.dtype, trust_remote_code=False)
    except FAULTS as error:
        raise ArtifactError(
            f"a stored '{shape.language_model.get('model_type')}' cannot be built with this version "
            f"of transformers ({first_line(error)}); train the teacher again"
        ) from error
    network.embed_tokens = None
    prompt = torch.empty(len(shape.prompt_tokens), config.hidden_size, dtype=shape.dtype)
    return PretrainedDecoder(shape, network, prompt)


def _first_layers(checkpoint: Checkpoint, config: Any, layers: int) -> Any:
    available = getattr(config, "num_hidden_layers", None)
    if not isinstance(available, int):
        raise ConfigError(
            f"checkpoint {checkpoint.location}: a '{config.model_type}' without num_hidden_layers in "
            "its config.json, expected a causal language model for text"
        )
    if layers > available:
        raise ConfigError(
            f"train_teacher.pretrained.layers is {layers}, and {checkpoint.location} has {available}; "
            f"ask for {available} or fewer"
        )
    described = config.to_dict()
    for name, value in described.items():  # layer_types and the like: one entry a layer
        if "layer" in name and isinstance(value, list) and len(value) == available:
            described[name] = value[:layers]
    return type(config).from_dict({**described, "num_hidden_layers": layers})


def _prompt_tokens(checkpoint: Checkpoint, prompt: str) -> tuple[int, ...]:
    if not prompt:
        return ()
    try:
        tokenizer = checkpoint.tokenizer()
    except ConfigError as error:
        raise ConfigError(
            f"{error}; without one, set train_teacher.pretrained.prompt to ''"
        ) from None
    return tuple(tokenizer(prompt)["input_ids"])


def _require_reach(checkpoint: Checkpoint, config: Any, needed: int) -> None:
    for name in ("max_position_embeddings", "sliding_window"):
        reach = getattr(config, name, None)
        if isinstance(reach, int) and reach < needed:
            raise ConfigError(
                f"checkpoint {checkpoint.location}: its {name} is {reach}, prompt and history need "
                f"{needed}; lower train_teacher.max_length or shorten train_teacher.pretrained.prompt"
            )


def _require_parts(checkpoint: Checkpoint, network: nn.Module) -> None:
    missing = [name for name in PARTS if not isinstance(getattr(network, name, None), nn.Module)]
    if missing:
        raise ConfigError(
            f"checkpoint {checkpoint.location}: a {type(network).__name__} without "
            f"{', '.join(missing)}; expected a causal language model built like Llama, Mistral, Qwen "
            "or Gemma"
        )


@torch.no_grad()
def _require_masks_kept(
    checkpoint: Checkpoint, network: nn.Module, hidden: int, dtype: torch.dtype
) -> None:
    """Refuse a network that looks where it may not: histories packed into one row would mix."""
    entering = torch.randn(1, 4, hidden, generator=torch.Generator().manual_seed(0))
    changed = entering.clone()
    changed[:, :2] += 1.0
    mask = additive_mask(packed_mask(torch.tensor([[1, 1, 2, 2]])), 0, dtype)
    positions = torch.tensor([[0, 1, 0, 1]])
    try:
        states = [
            network(
                inputs_embeds=rows.to(dtype),
                attention_mask=mask,
                position_ids=positions,
                use_cache=False,
            ).last_hidden_state.float()
            for rows in (entering, changed)
        ]
    except FAULTS as error:
        raise ConfigError(
            f"checkpoint {checkpoint.location}: a {type(network).__name__} does not run on embeddings "
            f"alone ({first_line(error)}); expected a language model built like Llama"
        ) from error
    if not torch.allclose(states[0][:, 2:], states[1][:, 2:], atol=1e-3):
        raise ConfigError(
            f"checkpoint {checkpoint.location}: a {type(network).__name__} looks where a mask forbids "
            "it, so several histories cannot share a row; expected a language model with attention in "
            "every layer"
        )
