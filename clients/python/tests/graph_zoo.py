"""Small random models of many architectures, for the tests of graphs.

Each entry makes a module and a function of (batch, length) that makes its inputs by keyword. Models of Hugging Face
that are held by `Logits` give their logits alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as tr
from torch import nn
from torch.nn import functional

WORDS = 97
Inputs = Callable[[int, int], dict[str, Any]]
Entry = Callable[[], tuple[Any, Inputs]]

# The architectures that the route was chosen by, and those that were tried afterwards.
ZOO: dict[str, Entry] = {}
MORE: dict[str, Entry] = {}


def ids(batch: int, length: int, least: int = 3) -> Any:
    return torch.randint(least, WORDS, (batch, length))


def text(batch: int, length: int) -> dict[str, Any]:
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[-1, length - 2 :] = 0
    return {"input_ids": ids(batch, length), "attention_mask": mask}


def plain(batch: int, length: int) -> dict[str, Any]:
    return {"input_ids": ids(batch, length)}


def both(batch: int, length: int) -> dict[str, Any]:
    return {**text(batch, length), "decoder_input_ids": ids(batch, length - 1)}


def image(size: int, name: str = "pixel_values") -> Inputs:
    return lambda batch, _: {name: torch.randn(batch, 3, size, size)}


class Logits(nn.Module):
    """The logits of a model of Hugging Face."""

    def __init__(self, m: Any, field: str = "logits", **more: Any) -> None:
        super().__init__()
        self.m, self.field, self.more = m, field, more

    def forward(self, **inputs: Any) -> Any:
        output = self.m(**inputs, **self.more)
        return getattr(output, self.field) if hasattr(output, self.field) else output


BASE: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
DECODER = {**BASE, "num_key_value_heads": 2}
VISION = {k: v for k, v in BASE.items() if k not in ("vocab_size", "max_position_embeddings")}
PADS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
COUPLED: dict[str, Any] = {
    "vocab_size": WORDS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}


def face(model: str, config: str, inputs: Inputs, field: Any = "logits", **given: Any) -> Entry:
    """A model of Hugging Face from names of classes and what the configuration is given."""
    attn = given.pop("attn", None)

    def make() -> tuple[Any, Inputs]:
        configuration = getattr(tr, config)(**given)
        if attn:
            configuration._attn_implementation = attn
        return Logits(getattr(tr, model)(configuration), field), inputs

    return make


def encoder(model: str, config: str, **more: Any) -> Entry:
    return face(model, config, text, **{**BASE, **more})


def decoder(model: str, config: str, **more: Any) -> Entry:
    return face(model, config, text, **{**DECODER, **more})


def timm_model(name: str, size: int, **more: Any) -> Entry:
    def make() -> tuple[Any, Inputs]:
        import timm

        return timm.create_model(name, num_classes=5, **more), image(size, "x")

    return make


def vision_model(name: str, size: int, **more: Any) -> Entry:
    def make() -> tuple[Any, Inputs]:
        import torchvision

        return getattr(torchvision.models, name)(num_classes=5, **more), image(size, "x")

    return make


class Recurrent(nn.Module):
    def __init__(self, kind: Any, **more: Any) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(WORDS, 16), kind(16, 24, batch_first=True, **more)
        self.head = nn.Linear(24 * (1 + bool(more.get("bidirectional"))), 5)

    def forward(self, input_ids: Any) -> Any:
        return self.head(self.layer(self.embed(input_ids))[0][:, -1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.embed, self.head = nn.Embedding(WORDS, 32), nn.Linear(32, 5)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, input_ids: Any) -> Any:
        return self.head(self.layers(self.embed(input_ids)).mean(1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8)
        self.down, self.up = nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.last, self.wider = nn.Conv2d(16, 4, 1), nn.Upsample(scale_factor=2)

    def forward(self, x: Any) -> Any:
        h = functional.silu(self.norm(self.first(x)))
        k = self.wider(functional.avg_pool2d(functional.elu(self.down(h)), 2))
        return self.last(torch.cat([self.up(k), h], 1)).mean((2, 3))


def clip() -> tuple[Any, Inputs]:
    words = {**BASE, "eos_token_id": 2}
    pixels = {**VISION, "image_size": 32, "patch_size": 8}
    model = tr.CLIPModel(tr.CLIPConfig(text_config=words, vision_config=pixels, projection_dim=16))
    return Logits(model, "logits_per_image"), lambda b, s: {**text(b, s), **image(32)(b, s)}


def lora() -> tuple[Any, Inputs]:
    import peft

    adapters = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    return Logits(peft.get_peft_model(tr.LlamaForCausalLM(tr.LlamaConfig(**DECODER)), adapters)), text


T5 = {"vocab_size": WORDS, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
T5["decoder_start_token_id"] = 0
GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
ZOO["bert"] = encoder("BertForSequenceClassification", "BertConfig")
ZOO["bert_tok"] = encoder("BertForTokenClassification", "BertConfig")
ZOO["bert_reg"] = encoder("BertForSequenceClassification", "BertConfig", num_labels=1)
ZOO["bert_mlm"] = encoder("BertForMaskedLM", "BertConfig")
ZOO["roberta"] = encoder("RobertaForSequenceClassification", "RobertaConfig")
ZOO["distilbert"] = face(
    "DistilBertForSequenceClassification",
    "DistilBertConfig",
    text,
    vocab_size=WORDS,
    dim=32,
    n_layers=2,
    n_heads=4,
    hidden_dim=64,
)
ZOO["deberta_v2"] = encoder(
    "DebertaV2ForSequenceClassification",
    "DebertaV2Config",
    relative_attention=True,
    pos_att_type=["p2c", "c2p"],
    position_buckets=8,
    norm_rel_ebd="layer_norm",
    share_att_key=True,
    attn="eager",
)
ZOO["modernbert"] = encoder(
    "ModernBertForSequenceClassification",
    "ModernBertConfig",
    num_hidden_layers=3,
    cls_token_id=1,
    sep_token_id=2,
    local_attention=8,
    global_attn_every_n_layers=3,
    **PADS,
)
ZOO["electra"] = encoder("ElectraForSequenceClassification", "ElectraConfig", embedding_size=16)
ZOO["gpt2"] = face("GPT2LMHeadModel", "GPT2Config", text, **GPT2)
ZOO["gpt_neox"] = encoder("GPTNeoXForCausalLM", "GPTNeoXConfig")
ZOO["llama"] = decoder("LlamaForCausalLM", "LlamaConfig")
ZOO["llama_cls"] = decoder("LlamaForSequenceClassification", "LlamaConfig", pad_token_id=0)
ZOO["mistral"] = decoder("MistralForCausalLM", "MistralConfig", sliding_window=4)
ZOO["qwen2"] = decoder("Qwen2ForCausalLM", "Qwen2Config")
ZOO["qwen3"] = decoder("Qwen3ForCausalLM", "Qwen3Config", head_dim=8)
ZOO["gemma2"] = decoder("Gemma2ForCausalLM", "Gemma2Config", head_dim=8, attn="eager")
ZOO["gemma3"] = decoder("Gemma3ForCausalLM", "Gemma3TextConfig", head_dim=8, sliding_window=4)
ZOO["phi3"] = decoder("Phi3ForCausalLM", "Phi3Config", pad_token_id=0)
ZOO["olmo2"] = decoder("Olmo2ForCausalLM", "Olmo2Config")
ZOO["mixtral"] = decoder("MixtralForCausalLM", "MixtralConfig", num_local_experts=4)
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ZOO["qwen3_moe"] = decoder("Qwen3MoeForCausalLM", "Qwen3MoeConfig", head_dim=8, **EXPERTS)
MAMBA = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
ZOO["mamba"] = face("MambaForCausalLM", "MambaConfig", plain, **MAMBA)
ZOO["t5"] = face("T5ForConditionalGeneration", "T5Config", both, **T5)
ZOO["mt5"] = face("MT5ForConditionalGeneration", "MT5Config", both, **T5)
ZOO["bart"] = face("BartForConditionalGeneration", "BartConfig", both, **COUPLED)
ZOO["vit"] = face(
    "ViTForImageClassification", "ViTConfig", image(32), image_size=32, patch_size=8, num_labels=5, **VISION
)
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 5}
ZOO["resnet"] = face(
    "ResNetForImageClassification", "ResNetConfig", image(32), embedding_size=8, layer_type="basic", **STAGES
)
ZOO["convnext"] = face(
    "ConvNextForImageClassification", "ConvNextConfig", image(32), num_stages=2, patch_size=4, **STAGES
)
ZOO["t_resnet18"] = timm_model("resnet18", 64)
ZOO["t_efficientnet"] = timm_model("efficientnet_b0", 64)
ZOO["t_swin"] = timm_model("swin_tiny_patch4_window7_224", 64, img_size=64, window_size=4)
ZOO["t_mixer"] = timm_model("mixer_s32_224", 64, img_size=64)
ZOO["unet"] = lambda: (UNet(), image(16, "x"))
ZOO["lstm"] = lambda: (Recurrent(nn.LSTM), plain)
ZOO["gru"] = lambda: (Recurrent(nn.GRU), plain)
ZOO["nn_transformer"] = lambda: (Encoder(), plain)
ZOO["clip"] = clip
ZOO["whisper"] = face(
    "WhisperForConditionalGeneration",
    "WhisperConfig",
    lambda b, s: {"input_features": torch.randn(b, 8, 32), "decoder_input_ids": ids(b, s)},
    **{k: v for k, v in COUPLED.items() if k != "max_position_embeddings"},
    num_mel_bins=8,
    max_source_positions=16,
    max_target_positions=64,
    decoder_start_token_id=1,
    suppress_tokens=None,
    begin_suppress_tokens=None,
    **PADS,
)
ZOO["lora_llama"] = lora


class Attended(nn.Module):
    """torch's own attention, with its weights and a mask of padding."""

    def __init__(self, **more: Any) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(WORDS, 32, padding_idx=0), nn.Linear(32, 5)
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True, **more)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        x = self.embed(input_ids)
        y, shares = self.attention(x, x, x, key_padding_mask=attention_mask == 0, need_weights=True)
        return self.head((x + y).mean(1)) + shares.std((1, 2))[:, None]


class Mixer(nn.Module):
    """Products by einsum, and a gate by outer products."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(6, 4) / 3), nn.Parameter(torch.randn(4, 8, 5) / 5)
        self.norm = nn.RMSNorm(8)

    def forward(self, x: Any) -> Any:
        h = torch.einsum("btc,tm->bmc", self.norm(x), self.a)
        h = h + torch.einsum("bmc,bmd,bnd->bnc", h, h, h) / 8
        return torch.einsum("bmc,mck->bk", functional.glu(torch.cat([h, h], -1)), self.b)


class Sentences(nn.Module):
    """Convolutions over words, the greatest of each feature (Kim, 2014)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.convs = nn.ModuleList([nn.Conv1d(16, 8, k, padding=k // 2) for k in (2, 3, 5)])
        self.head = nn.Linear(24, 5)

    def forward(self, input_ids: Any) -> Any:
        x = self.embed(input_ids).transpose(1, 2)
        return self.head(torch.cat([functional.relu(conv(x)).amax(2) for conv in self.convs], 1))


class Segments(nn.Module):
    """A class for each pixel: dilated convolutions, pyramid pools, bilinear upsampling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.InstanceNorm2d(8, affine=True), nn.PReLU(8))
        self.wide = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.pools = nn.ModuleList([nn.Sequential(nn.AdaptiveAvgPool2d(n), nn.Conv2d(8, 4, 1)) for n in (1, 2, 3)])
        self.head = nn.Conv2d(20, 4, 1)

    def forward(self, x: Any) -> Any:
        h = functional.hardswish(self.wide(self.stem(x)))
        size = h.shape[-2:]
        parts = [functional.interpolate(p(h), size=size, mode="bilinear", align_corners=False) for p in self.pools]
        return functional.interpolate(self.head(torch.cat([h, *parts], 1)), scale_factor=2, mode="bicubic")


class Detector(nn.Module):
    """Queries that look at an image's features, as in DETR: classes and boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.BatchNorm2d(16), nn.ReLU())
        self.queries, self.places = nn.Parameter(torch.randn(7, 16)), nn.Parameter(torch.randn(64, 16))
        self.layers = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
        self.classes, self.boxes = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x: Any) -> Any:
        h = self.backbone(x).flatten(2).transpose(1, 2) + self.places
        y = self.layers(h, self.queries.expand(x.shape[0], -1, -1))
        return torch.cat([self.classes(y), self.boxes(y).sigmoid()], -1)


class Variational(nn.Module):
    """The loss of a variational autoencoder in evaluation mode, and codes that are looked up with a straight-through
    gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.codes = nn.Linear(12, 8), nn.Linear(4, 12), nn.Parameter(torch.randn(9, 4))

    def forward(self, x: Any) -> Any:
        mean, log_variance = self.down(x).chunk(2, -1)
        nearest = torch.cdist(mean, self.codes).argmin(-1)
        code = mean + (self.codes[nearest] - mean).detach()
        divergence = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).sum(-1, keepdim=True)
        return torch.cat([self.up(code), divergence], -1)


class Graphs(nn.Module):
    """Messages along edges, summed by their ends."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Any, edges: Any) -> Any:
        sent = functional.silu(self.message(torch.gather(x, 1, edges[:, :, :1].expand(-1, -1, 6))))
        got = torch.zeros_like(x).scatter_add(1, edges[:, :, 1:].expand(-1, -1, 6), sent)
        return self.head(torch.cat([x, got], 1).mean(1))


class Halted(nn.Module):
    """A part without gradients, a part that is detached, and a fixed random projection in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)
        self.register_buffer("projection", torch.randn(6, 6))

    def forward(self, x: Any) -> Any:
        with torch.no_grad():
            target = self.a(x) @ self.projection
        return self.b(self.a(x) * target.sigmoid() + self.a(x).detach())


def series(batch: int, _: int) -> dict[str, Any]:
    return {"past_values": torch.randn(batch, 32, 3)}


MORE["albert"] = encoder("AlbertForSequenceClassification", "AlbertConfig", embedding_size=16)
MORE["xlnet"] = face(
    "XLNetForSequenceClassification", "XLNetConfig", text, vocab_size=WORDS, d_model=32, n_layer=2, n_head=4, d_inner=64
)
MORE["longformer"] = encoder("LongformerForSequenceClassification", "LongformerConfig", attention_window=4, **PADS)
MORE["funnel"] = face(
    "FunnelForSequenceClassification",
    "FunnelConfig",
    text,
    vocab_size=WORDS,
    block_sizes=[1, 1],
    d_model=32,
    n_head=4,
    d_head=8,
    d_inner=64,
)
MORE["mpnet"] = encoder("MPNetForSequenceClassification", "MPNetConfig", **PADS)
MORE["deberta"] = encoder(
    "DebertaForSequenceClassification", "DebertaConfig", relative_attention=True, pos_att_type=["p2c", "c2p"]
)
MORE["xlm_roberta"] = encoder("XLMRobertaForTokenClassification", "XLMRobertaConfig")
MORE["camembert_qa"] = face("CamembertForMaskedLM", "CamembertConfig", text, **BASE)
MORE["mobilebert"] = encoder("MobileBertForSequenceClassification", "MobileBertConfig", embedding_size=32)
MORE["squeezebert"] = encoder("SqueezeBertForSequenceClassification", "SqueezeBertConfig", embedding_size=32)
MORE["fnet"] = encoder("FNetForSequenceClassification", "FNetConfig", attn="eager")
MORE["convbert"] = encoder("ConvBertForSequenceClassification", "ConvBertConfig", embedding_size=32)
MORE["roformer"] = encoder("RoFormerForSequenceClassification", "RoFormerConfig", embedding_size=32)
MORE["bigbird"] = encoder("BigBirdForSequenceClassification", "BigBirdConfig", attention_type="original_full")
MORE["nystromformer"] = encoder("NystromformerForSequenceClassification", "NystromformerConfig", num_landmarks=2)
MORE["opt"] = face(
    "OPTForCausalLM",
    "OPTConfig",
    text,
    vocab_size=WORDS,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    ffn_dim=64,
    max_position_embeddings=64,
    word_embed_proj_dim=32,
)
MORE["bloom"] = face("BloomForCausalLM", "BloomConfig", text, vocab_size=WORDS, hidden_size=32, n_layer=2, n_head=4)
MORE["falcon"] = encoder("FalconForCausalLM", "FalconConfig")
MORE["falcon_alibi"] = encoder("FalconForCausalLM", "FalconConfig", alibi=True)
MORE["mpt"] = face(
    "MptForCausalLM", "MptConfig", text, vocab_size=WORDS, d_model=32, n_layers=2, n_heads=4, max_seq_len=64
)
MORE["gptj"] = face("GPTJForCausalLM", "GPTJConfig", text, rotary_dim=4, **GPT2)
MORE["gpt_neo"] = face(
    "GPTNeoForCausalLM",
    "GPTNeoConfig",
    text,
    vocab_size=WORDS,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    attention_types=[[["global", "local"], 1]],
    window_size=4,
    max_position_embeddings=64,
)
MORE["codegen"] = face("CodeGenForCausalLM", "CodeGenConfig", text, rotary_dim=4, **GPT2)
MORE["phi"] = encoder("PhiForCausalLM", "PhiConfig")
MORE["stablelm"] = decoder("StableLmForCausalLM", "StableLmConfig")
MORE["starcoder2"] = decoder("Starcoder2ForCausalLM", "Starcoder2Config")
MORE["cohere"] = decoder("CohereForCausalLM", "CohereConfig")
MORE["granite"] = decoder("GraniteForCausalLM", "GraniteConfig")
MORE["smollm3"] = decoder("SmolLM3ForCausalLM", "SmolLM3Config", pad_token_id=0)
MORE["qwen2_moe"] = decoder("Qwen2MoeForCausalLM", "Qwen2MoeConfig", shared_expert_intermediate_size=16, **EXPERTS)
MORE["olmoe"] = decoder("OlmoeForCausalLM", "OlmoeConfig", num_experts=4, num_experts_per_tok=2)
MORE["gpt_oss"] = decoder("GptOssForCausalLM", "GptOssConfig", num_local_experts=4, num_experts_per_tok=2, head_dim=8)
MORE["deepseek_v3"] = decoder(
    "DeepseekV3ForCausalLM",
    "DeepseekV3Config",
    num_key_value_heads=4,
    moe_intermediate_size=16,
    n_routed_experts=4,
    num_experts_per_tok=2,
    n_group=2,
    topk_group=1,
    q_lora_rank=16,
    kv_lora_rank=16,
    qk_rope_head_dim=4,
    qk_nope_head_dim=8,
    v_head_dim=8,
    first_k_dense_replace=1,
)
MORE["llama4"] = decoder(
    "Llama4ForCausalLM", "Llama4TextConfig", head_dim=8, num_local_experts=2, intermediate_size_mlp=64
)
MORE["glm4"] = decoder("Glm4ForCausalLM", "Glm4Config", head_dim=8, pad_token_id=0)
MORE["nemotron"] = decoder("NemotronForCausalLM", "NemotronConfig")
MORE["rwkv"] = face(
    "RwkvForCausalLM",
    "RwkvConfig",
    plain,
    vocab_size=WORDS,
    hidden_size=32,
    num_hidden_layers=2,
    attention_hidden_size=32,
)
MORE["recurrent_gemma"] = face(
    "RecurrentGemmaForCausalLM", "RecurrentGemmaConfig", text, lru_width=32, attention_window_size=8, **DECODER
)
MORE["mamba2"] = face(
    "Mamba2ForCausalLM", "Mamba2Config", plain, num_heads=8, head_dim=8, n_groups=2, chunk_size=4, **MAMBA
)
MORE["pegasus"] = face("PegasusForConditionalGeneration", "PegasusConfig", both, **COUPLED)
MORE["marian"] = face("MarianMTModel", "MarianConfig", both, pad_token_id=0, decoder_start_token_id=0, **COUPLED)
MORE["mbart"] = face("MBartForConditionalGeneration", "MBartConfig", both, **COUPLED)
MORE["blenderbot"] = face("BlenderbotForConditionalGeneration", "BlenderbotConfig", both, **COUPLED)
MORE["led"] = face(
    "LEDForConditionalGeneration",
    "LEDConfig",
    both,
    attention_window=4,
    max_encoder_position_embeddings=64,
    max_decoder_position_embeddings=64,
    **{k: v for k, v in COUPLED.items() if k != "max_position_embeddings"},
)
MORE["deit"] = face(
    "DeiTForImageClassification", "DeiTConfig", image(32), image_size=32, patch_size=8, num_labels=5, **VISION
)
MORE["beit"] = face(
    "BeitForImageClassification", "BeitConfig", image(32), image_size=32, patch_size=8, num_labels=5, **VISION
)
MORE["dinov2"] = face(
    "Dinov2ForImageClassification",
    "Dinov2Config",
    image(32),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    image_size=32,
    patch_size=8,
    num_labels=5,
)
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4}
MORE["swin"] = face("SwinForImageClassification", "SwinConfig", image(32), num_labels=5, **SWIN)
MORE["swinv2"] = face("Swinv2ForImageClassification", "Swinv2Config", image(32), num_labels=5, **SWIN)
MORE["convnextv2"] = face(
    "ConvNextV2ForImageClassification", "ConvNextV2Config", image(32), num_stages=2, patch_size=4, **STAGES
)
MORE["poolformer"] = face(
    "PoolFormerForImageClassification", "PoolFormerConfig", image(64), hidden_sizes=[8, 16, 16, 16]
)
MORE["segformer"] = face(
    "SegformerForSemanticSegmentation",
    "SegformerConfig",
    image(64),
    hidden_sizes=[8, 16, 16, 32],
    depths=[1, 1, 1, 1],
    num_attention_heads=[1, 2, 2, 4],
    decoder_hidden_size=16,
    num_labels=5,
)
MORE["mobilevit"] = face(
    "MobileViTForImageClassification",
    "MobileViTConfig",
    image(64),
    image_size=64,
    hidden_sizes=[16, 24, 32],
    neck_hidden_sizes=[4, 8, 16, 16, 16, 24, 32],
    num_labels=5,
)
MORE["levit"] = face("LevitForImageClassification", "LevitConfig", image(64), image_size=64, num_labels=5)
AUDIO: dict[str, Any] = {
    **VISION,
    "conv_dim": [8, 8, 8],
    "conv_stride": [4, 2, 2],
    "conv_kernel": [8, 4, 2],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 16,
    "num_labels": 5,
}
MORE["wav2vec2"] = face(
    "Wav2Vec2ForSequenceClassification", "Wav2Vec2Config", lambda b, s: {"input_values": torch.randn(b, 400)}, **AUDIO
)
MORE["hubert"] = face(
    "HubertForSequenceClassification", "HubertConfig", lambda b, s: {"input_values": torch.randn(b, 400)}, **AUDIO
)
MORE["ast"] = face(
    "ASTForAudioClassification",
    "ASTConfig",
    lambda b, s: {"input_values": torch.randn(b, 32, 16)},
    max_length=32,
    num_mel_bins=16,
    patch_size=8,
    time_stride=4,
    frequency_stride=4,
    **VISION,
)
MORE["patchtst"] = face(
    "PatchTSTForPrediction",
    "PatchTSTConfig",
    series,
    "prediction_outputs",
    num_input_channels=3,
    context_length=32,
    patch_length=8,
    patch_stride=8,
    prediction_length=4,
    d_model=16,
    num_attention_heads=2,
    num_hidden_layers=2,
    ffn_dim=32,
    loss="mse",
)
MORE["patchtsmixer"] = face(
    "PatchTSMixerForPrediction",
    "PatchTSMixerConfig",
    series,
    "prediction_outputs",
    num_input_channels=3,
    context_length=32,
    patch_length=8,
    patch_stride=8,
    prediction_length=4,
    d_model=8,
    num_layers=2,
)
MORE["perceiver"] = face(
    "PerceiverForSequenceClassification",
    "PerceiverConfig",
    text,
    vocab_size=WORDS,
    num_latents=6,
    d_latents=16,
    d_model=16,
    num_blocks=1,
    num_self_attends_per_block=2,
    num_self_attention_heads=2,
    num_cross_attention_heads=2,
    max_position_embeddings=64,
)
MORE["siglip"] = face(
    "SiglipForImageClassification",
    "SiglipConfig",
    image(32),
    vision_config={**VISION, "image_size": 32, "patch_size": 8},
    text_config={**BASE},
    num_labels=5,
)
MORE["v_mobilenet_v3"] = vision_model("mobilenet_v3_small", 64)
MORE["v_densenet"] = vision_model("densenet121", 64)
MORE["v_vgg"] = vision_model("vgg11_bn", 64)
MORE["v_resnext"] = vision_model("resnext50_32x4d", 64)
MORE["v_inception"] = vision_model("googlenet", 64, aux_logits=False, init_weights=False)
MORE["v_shufflenet"] = vision_model("shufflenet_v2_x0_5", 64)
MORE["v_squeezenet"] = vision_model("squeezenet1_1", 64)
MORE["v_maxvit"] = timm_model("maxvit_rmlp_pico_rw_256", 64, img_size=64)
MORE["v_regnet"] = vision_model("regnet_y_400mf", 64)
MORE["t_coatnet"] = timm_model("coatnet_nano_rw_224", 64, img_size=64)
MORE["t_vgg_nfnet"] = timm_model("nf_resnet26", 64)
MORE["attended"] = lambda: (Attended(), text)
MORE["attended_bias"] = lambda: (Attended(add_bias_kv=True, add_zero_attn=True), text)
MORE["mixer_einsum"] = lambda: (Mixer(), lambda b, s: {"x": torch.randn(b, 6, 8)})
MORE["sentences"] = lambda: (Sentences(), plain)
MORE["segments"] = lambda: (Segments(), image(24, "x"))
MORE["detector"] = lambda: (Detector(), image(32, "x"))
MORE["variational"] = lambda: (Variational(), lambda b, s: {"x": torch.randn(b, 12)})
MORE["graphs"] = lambda: (
    Graphs(),
    lambda b, s: {"x": torch.randn(b, 5, 6), "edges": torch.randint(0, 5, (b, s, 2))},
)
MORE["halted"] = lambda: (Halted(), lambda b, s: {"x": torch.randn(b, 6)})
MORE["bilstm"] = lambda: (Recurrent(nn.LSTM, bidirectional=True, num_layers=2), plain)
MORE["gru2"] = lambda: (Recurrent(nn.GRU, num_layers=2, bias=False), plain)
MORE["rnn_relu"] = lambda: (Recurrent(nn.RNN, nonlinearity="relu", bidirectional=True), plain)
MORE["lstm_projected"] = lambda: (Recurrent(nn.LSTM, num_layers=1), plain)


def made(name: str, seed: int = 0) -> tuple[Any, Inputs]:
    """A model in evaluation mode, with running statistics that are not those of a new one."""
    torch.manual_seed(seed)
    model, inputs = {**ZOO, **MORE}[name]()
    model.eval()
    for part in model.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            running: Any = part
            running.running_mean.normal_(0, 0.1)
            running.running_var.uniform_(0.5, 2)
    return model, inputs
