"""Names and shapes of a released checkpoint, written from docs/spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

Shapes = dict[str, tuple[int, ...]]
Rows = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class ReleaseSizes:
    """Sizes of a release; the defaults are those of the 7B model with Swin-T."""

    vision: int = 1024
    vision_mlp: int = 4096
    vision_layers: int = 24
    image: int = 336
    patch: int = 14
    llm: int = 4096
    llm_mlp: int = 11008
    llm_layers: int = 32
    vocabulary: int = 32026
    embs: int = 4
    embs_gen: int = 64
    swin: int = 96
    swin_depths: tuple[int, ...] = (2, 2, 6, 2)
    swin_heads: tuple[int, ...] = (3, 6, 12, 24)
    width: int = 256
    ffn: int = 2048
    queries: int = 900
    layers: int = 6
    box_layers: int = 2
    heads: int = 8
    points: int = 4
    mask: int = 256
    extra: Shapes = field(default_factory=dict)

    @property
    def positions(self) -> int:
        return (self.image // self.patch) ** 2 + 1


def _linear(name: str, out: int, into: int, bias: bool = True) -> Rows:
    yield f"{name}.weight", (out, into)
    if bias:
        yield f"{name}.bias", (out,)


def _norm(name: str, width: int) -> Rows:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _conv(name: str, *shape: int) -> Rows:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _packed_attention(name: str, width: int) -> Rows:
    yield f"{name}.in_proj_weight", (3 * width, width)
    yield f"{name}.in_proj_bias", (3 * width,)
    yield from _linear(f"{name}.out_proj", width, width)


def _deformable(name: str, s: ReleaseSizes) -> Rows:
    samples = s.heads * 4 * s.points
    yield from _linear(f"{name}.sampling_offsets", 2 * samples, s.width)
    yield from _linear(f"{name}.attention_weights", samples, s.width)
    yield from _linear(f"{name}.value_proj", s.width, s.width)
    yield from _linear(f"{name}.output_proj", s.width, s.width)


def vision_keys(s: ReleaseSizes) -> Rows:
    top = "vis_encoder.vision_model"
    yield f"{top}.embeddings.class_embedding", (s.vision,)
    yield f"{top}.embeddings.patch_embedding.weight", (s.vision, 3, s.patch, s.patch)
    yield f"{top}.embeddings.position_embedding.weight", (s.positions, s.vision)
    yield from _norm(f"{top}.pre_layrnorm", s.vision)
    yield from _norm(f"{top}.post_layernorm", s.vision)
    for i in range(s.vision_layers):
        layer = f"{top}.encoder.layers.{i}"
        for part in ("q", "k", "v", "out"):
            yield from _linear(f"{layer}.self_attn.{part}_proj", s.vision, s.vision)
        yield from _norm(f"{layer}.layer_norm1", s.vision)
        yield from _norm(f"{layer}.layer_norm2", s.vision)
        yield from _linear(f"{layer}.mlp.fc1", s.vision_mlp, s.vision)
        yield from _linear(f"{layer}.mlp.fc2", s.vision, s.vision_mlp)


def llm_keys(s: ReleaseSizes) -> Rows:
    yield "llm.model.embed_tokens.weight", (s.vocabulary, s.llm)
    yield "llm.lm_head.weight", (s.vocabulary, s.llm)
    yield "llm.model.norm.weight", (s.llm,)
    for i in range(s.llm_layers):
        layer = f"llm.model.layers.{i}"
        for part in "qkvo":
            yield from _linear(f"{layer}.self_attn.{part}_proj", s.llm, s.llm, False)
        yield from _linear(f"{layer}.mlp.gate_proj", s.llm_mlp, s.llm, False)
        yield from _linear(f"{layer}.mlp.up_proj", s.llm_mlp, s.llm, False)
        yield from _linear(f"{layer}.mlp.down_proj", s.llm, s.llm_mlp, False)
        yield f"{layer}.input_layernorm.weight", (s.llm,)
        yield f"{layer}.post_attention_layernorm.weight", (s.llm,)


def glue_keys(s: ReleaseSizes) -> Rows:
    half = s.patch // 2
    yield from _conv("region_encoder.mask_embedding.0", 64, 4, half, half)
    yield from _norm("region_encoder.mask_embedding.1", 64)
    yield from _conv("region_encoder.mask_embedding.3", 256, 64, 2, 2)
    yield from _norm("region_encoder.mask_embedding.4", 256)
    yield from _conv("region_encoder.mask_embedding.6", s.vision, 256, 1, 1)
    yield from _linear("region_encoder.up_dim", s.llm, s.vision)
    yield from _linear("vl_bridge.0", s.llm, s.vision)
    yield from _linear("vl_bridge.2", s.llm, s.llm)
    for table in ("det", "pose"):
        yield f"emb_embeddings_{table}.weight", (s.embs, s.llm)
    for table in ("gen", "edit"):
        yield f"emb_embeddings_{table}.weight", (s.embs_gen, s.llm)


def mapper_keys(top: str, llm: int = 4096, width: int = 768) -> Rows:
    """What stands before the diffusion networks of `sd` and `ip2p`."""
    yield f"{top}.llm2sd_mapper_queries", (1, 77, width)
    yield from _linear(f"{top}.emb_proj.0", width, llm)
    yield from _linear(f"{top}.emb_proj.2", width, width)
    for side, norms in (("encoder", 2), ("decoder", 3)):
        layer = f"{top}.llm2sd_mapper.{side}.layers.0"
        yield from _packed_attention(f"{layer}.self_attn", width)
        if side == "decoder":
            yield from _packed_attention(f"{layer}.multihead_attn", width)
        yield from _linear(f"{layer}.linear1", 4 * width, width)
        yield from _linear(f"{layer}.linear2", width, 4 * width)
        for index in range(norms):
            yield from _norm(f"{layer}.norm{index + 1}", width)
        yield from _norm(f"{top}.llm2sd_mapper.{side}.norm", width)


def swin_keys(s: ReleaseSizes) -> Rows:
    top = "gdino.model.backbone.conv_encoder.model"
    yield from _conv(f"{top}.embeddings.patch_embeddings.projection", s.swin, 3, 4, 4)
    yield from _norm(f"{top}.embeddings.norm", s.swin)
    for stage, (depth, heads) in enumerate(zip(s.swin_depths, s.swin_heads, strict=True)):
        c = s.swin * 2**stage
        for b in range(depth):
            block = f"{top}.encoder.layers.{stage}.blocks.{b}"
            yield from _norm(f"{block}.layernorm_before", c)
            yield from _norm(f"{block}.layernorm_after", c)
            for part in ("query", "key", "value"):
                yield from _linear(f"{block}.attention.self.{part}", c, c)
            yield f"{block}.attention.self.relative_position_bias_table", (169, heads)
            yield f"{block}.attention.self.relative_position_index", (49, 49)
            yield from _linear(f"{block}.attention.output.dense", c, c)
            yield from _linear(f"{block}.intermediate.dense", 4 * c, c)
            yield from _linear(f"{block}.output.dense", c, 4 * c)
        if stage < 3:
            downsample = f"{top}.encoder.layers.{stage}.downsample"
            yield f"{downsample}.reduction.weight", (2 * c, 4 * c)
            yield from _norm(f"{downsample}.norm", 4 * c)
        yield from _norm(f"{top}.hidden_states_norms.stage{stage + 1}", c)


def _gdino_encoder_keys(s: ReleaseSizes) -> Rows:
    d, fusion = s.width, s.ffn // 2
    for i in range(s.layers):
        layer = f"gdino.model.encoder.layers.{i}"
        for side in ("vision", "text"):
            yield f"{layer}.fusion_layer.{side}_param", (d,)
            yield from _norm(f"{layer}.fusion_layer.layer_norm_{side}", d)
            yield from _linear(f"{layer}.fusion_layer.attn.{side}_proj", fusion, d)
            yield from _linear(f"{layer}.fusion_layer.attn.values_{side}_proj", fusion, d)
            yield from _linear(f"{layer}.fusion_layer.attn.out_{side}_proj", d, fusion)
        text = f"{layer}.text_enhancer_layer"
        yield from _packed_attention(f"{text}.self_attn", d)
        yield from _linear(f"{text}.fc1", s.ffn // 2, d)
        yield from _linear(f"{text}.fc2", d, s.ffn // 2)
        yield from _norm(f"{text}.layer_norm_before", d)
        yield from _norm(f"{text}.layer_norm_after", d)
        deformable = f"{layer}.deformable_layer"
        yield from _deformable(f"{deformable}.self_attn", s)
        yield from _norm(f"{deformable}.self_attn_layer_norm", d)
        yield from _norm(f"{deformable}.final_layer_norm", d)
        yield from _linear(f"{deformable}.fc1", s.ffn, d)
        yield from _linear(f"{deformable}.fc2", d, s.ffn)


def _gdino_decoder_keys(s: ReleaseSizes) -> Rows:
    d = s.width
    for i in range(s.layers):
        layer = f"gdino.model.decoder.layers.{i}"
        yield from _packed_attention(f"{layer}.self_attn", d)
        yield from _packed_attention(f"{layer}.encoder_attn_text", d)
        yield from _deformable(f"{layer}.encoder_attn", s)
        for norm in ("self_attn", "encoder_attn_text", "encoder_attn"):
            yield from _norm(f"{layer}.{norm}_layer_norm", d)
        yield from _norm(f"{layer}.final_layer_norm", d)
        yield from _linear(f"{layer}.fc1", s.ffn, d)
        yield from _linear(f"{layer}.fc2", d, s.ffn)
    yield from _norm("gdino.model.decoder.layer_norm", d)
    yield from _linear("gdino.model.decoder.reference_points_head.layers.0", d, 2 * d)
    yield from _linear("gdino.model.decoder.reference_points_head.layers.1", d, d)


def _gdino_head_keys(s: ReleaseSizes) -> Rows:
    d = s.width
    boxes = ["gdino.model.encoder_output_bbox_embed"]
    masks = ["gdino.model.mask_embed"]
    for i in range(s.layers):
        boxes += [f"gdino.bbox_embed.{i}", f"gdino.model.decoder.bbox_embed.{i}"]
        masks.append(f"gdino.mask_embed.{i}")
    for name in boxes + masks:
        yield from _linear(f"{name}.layers.0", d, d)
        yield from _linear(f"{name}.layers.1", d, d)
        yield from _linear(f"{name}.layers.2", 4 if name in boxes else s.mask, d)


def gdino_keys(s: ReleaseSizes) -> Rows:
    yield from swin_keys(s)
    d = s.width
    yield "gdino.model.level_embed", (4, d)
    for level, c in enumerate((2, 4, 8)):
        yield from _conv(f"gdino.model.input_proj_vision.{level}.0", d, c * s.swin, 1, 1)
    yield from _conv("gdino.model.input_proj_vision.3.0", d, 8 * s.swin, 3, 3)
    for level in range(4):
        yield from _norm(f"gdino.model.input_proj_vision.{level}.1", d)
    yield "gdino.model.query_position_embeddings.weight", (s.queries, d)
    yield from _gdino_encoder_keys(s)
    yield from _linear("gdino.model.enc_output", d, d)
    yield from _norm("gdino.model.enc_output_norm", d)
    yield from _gdino_decoder_keys(s)
    yield from _gdino_head_keys(s)
    yield "gdino.model.lateral_convs.0.weight", (d, s.swin, 1, 1)
    yield from _norm("gdino.model.lateral_convs.0.norm", d)
    yield "gdino.model.output_convs.0.weight", (d, d, 3, 3)
    yield from _norm("gdino.model.output_convs.0.norm", d)
    yield from _conv("gdino.model.mask_features", s.mask, d, 1, 1)
    for layer, into in enumerate((s.llm, d, d)):
        yield from _linear(f"gdino.patch2query.layers.{layer}", d, into)


def _unipose_backbone_keys(s: ReleaseSizes) -> Rows:
    top = "unipose.backbone.0"
    yield from _conv(f"{top}.patch_embed.proj", s.swin, 3, 4, 4)
    yield from _norm(f"{top}.patch_embed.norm", s.swin)
    for stage, (depth, heads) in enumerate(zip(s.swin_depths, s.swin_heads, strict=True)):
        c = s.swin * 2**stage
        for b in range(depth):
            block = f"{top}.layers.{stage}.blocks.{b}"
            yield from _norm(f"{block}.norm1", c)
            yield from _norm(f"{block}.norm2", c)
            yield from _linear(f"{block}.attn.qkv", 3 * c, c)
            yield from _linear(f"{block}.attn.proj", c, c)
            yield f"{block}.attn.relative_position_bias_table", (169, heads)
            yield f"{block}.attn.relative_position_index", (49, 49)
            yield from _linear(f"{block}.mlp.fc1", 4 * c, c)
            yield from _linear(f"{block}.mlp.fc2", c, 4 * c)
        if stage < 3:
            yield f"{top}.layers.{stage}.downsample.reduction.weight", (2 * c, 4 * c)
            yield from _norm(f"{top}.layers.{stage}.downsample.norm", 4 * c)
            yield from _norm(f"{top}.norm{stage + 1}", 2 * c)


def _unipose_transformer_keys(s: ReleaseSizes) -> Rows:
    d, half, top = s.width, s.ffn // 2, "unipose.transformer"
    for i in range(s.layers):
        fusion = f"{top}.encoder.fusion_layers.{i}"
        for side in "vl":
            yield f"{fusion}.gam_{side}", (d,)
            yield from _norm(f"{fusion}.layer_norm_{side}", d)
            yield from _linear(f"{fusion}.attn.{side}_proj", half, d)
            yield from _linear(f"{fusion}.attn.values_{side}_proj", half, d)
            yield from _linear(f"{fusion}.attn.out_{side}_proj", d, half)
        text, image = (f"{top}.encoder.{kind}.{i}" for kind in ("text_layers", "layers"))
        yield from _packed_attention(f"{text}.self_attn", d)
        yield from _deformable(f"{image}.self_attn", s)
        decoder = f"{top}.decoder.layers.{i}"
        yield from _packed_attention(f"{decoder}.self_attn", d)
        yield from _packed_attention(f"{decoder}.ca_text", d)
        yield from _deformable(f"{decoder}.cross_attn", s)
        yield from _norm(f"{decoder}.catext_norm", d)
        yield from _norm(f"{decoder}.norm3", d)
        for layer, ffn in ((text, half), (image, s.ffn), (decoder, s.ffn)):
            yield from _linear(f"{layer}.linear1", ffn, d)
            yield from _linear(f"{layer}.linear2", d, ffn)
            yield from _norm(f"{layer}.norm1", d)
            yield from _norm(f"{layer}.norm2", d)


def _unipose_head_keys(s: ReleaseSizes) -> Rows:
    d = s.width
    boxes = ["unipose.transformer.enc_out_bbox_embed"]
    points = []
    for kind, count, names in (
        ("bbox", s.layers, boxes),
        ("pose", s.layers - s.box_layers + 1, points),
        ("pose_hw", s.layers - s.box_layers, points),
    ):
        for top in ("unipose", "unipose.transformer.decoder"):
            names += [f"{top}.{kind}_embed.{i}" for i in range(count)]
    for name in boxes + points:
        yield from _linear(f"{name}.layers.0", d, d)
        yield from _linear(f"{name}.layers.1", d, d)
        yield from _linear(f"{name}.layers.2", 4 if name in boxes else 2, d)
    yield "unipose.transformer.decoder.hw.weight", (17, 2)
    yield "unipose.transformer.decoder.hw_append.weight", (51, 2)


def unipose_keys(s: ReleaseSizes) -> Rows:
    yield from _unipose_backbone_keys(s)
    d, top = s.width, "unipose.transformer"
    for level, c in enumerate((2, 4, 8)):
        yield from _conv(f"unipose.input_proj.{level}.0", d, c * s.swin, 1, 1)
    yield from _conv("unipose.input_proj.3.0", d, 8 * s.swin, 3, 3)
    for level in range(4):
        yield from _norm(f"unipose.input_proj.{level}.1", d)
    yield f"{top}.level_embed", (4, d)
    yield f"{top}.tgt_embed.weight", (s.queries, d)
    yield from _unipose_transformer_keys(s)
    yield from _linear(f"{top}.enc_output", d, d)
    yield from _norm(f"{top}.enc_output_norm", d)
    yield from _norm(f"{top}.decoder.norm", d)
    yield from _linear(f"{top}.decoder.ref_point_head.layers.0", d, 2 * d)
    yield from _linear(f"{top}.decoder.ref_point_head.layers.1", d, d)
    yield from _unipose_head_keys(s)
    for part in ("projection_llava", "projection_kpt_llava"):
        for layer, into in enumerate((s.llm, d, d)):
            yield from _linear(f"unipose.{part}.layers.{layer}", d, into)


def release_keys(s: ReleaseSizes) -> Shapes:
    """All names of the core and both decoders, every alias included, and `extra`."""
    decoders = [*gdino_keys(s), *unipose_keys(s)]
    rows = [*vision_keys(s), *llm_keys(s), *glue_keys(s), *decoders, *s.extra.items()]
    table = dict(rows)
    assert len(table) == len(rows)
    return table


def release_config(s: ReleaseSizes) -> dict:
    """A config.json of the released form for these sizes."""
    swin = {
        "model_type": "swin",
        "image_size": 224,
        "patch_size": 4,
        "embed_dim": s.swin,
        "depths": list(s.swin_depths),
        "num_heads": list(s.swin_heads),
        "window_size": 7,
        "mlp_ratio": 4.0,
        "qkv_bias": True,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    return {
        "model_type": "visionllmv2",
        "architectures": ["VisionLLMv2Model"],
        "vis_encoder_config": {
            "architectures": None,
            "hidden_size": s.vision,
            "intermediate_size": s.vision_mlp,
            "num_hidden_layers": s.vision_layers,
            "num_attention_heads": max(1, s.vision // 64),
            "image_size": s.image,
            "patch_size": s.patch,
            "hidden_act": "quick_gelu",
        },
        "llm_config": {
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": s.vocabulary,
            "hidden_size": s.llm,
            "intermediate_size": s.llm_mlp,
            "num_hidden_layers": s.llm_layers,
            "num_attention_heads": max(1, s.llm // 128),
            "num_key_value_heads": max(1, s.llm // 128),
            "rms_norm_eps": 1e-5,
            "max_position_embeddings": 4096,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
        "vl_bridge_type": "mlp2x_gelu",
        "vis_output_layer": -2,
        "use_pixelshuffle": False,
        "num_embs": s.embs,
        "num_embs_gen": s.embs_gen,
        "use_region_encoder": True,
        "use_gdino": True,
        "gdino_config": {
            "model_type": "grounding-dino",
            "backbone_config": swin,
            "d_model": s.width,
            "num_queries": s.queries,
            "encoder_layers": s.layers,
            "decoder_layers": s.layers,
            "encoder_attention_heads": s.heads,
            "decoder_attention_heads": s.heads,
            "encoder_ffn_dim": s.ffn,
            "decoder_ffn_dim": s.ffn,
            "encoder_n_points": s.points,
            "decoder_n_points": s.points,
            "num_feature_levels": 4,
            "mask_dim": s.mask,
            "l_hidden_size": s.llm,
            "num_embs": s.embs,
        },
        "use_unipose": True,
        "unipose_config": {
            "backbone": "swin_T_224_1k",
            "swin": {
                "embed_dim": s.swin,
                "depths": list(s.swin_depths),
                "num_heads": list(s.swin_heads),
            },
            "hidden_dim": s.width,
            "nheads": s.heads,
            "dim_feedforward": s.ffn,
            "enc_layers": s.layers,
            "dec_layers": s.layers,
            "num_box_decoder_layers": s.box_layers,
            "num_queries": s.queries,
            "enc_n_points": s.points,
            "dec_n_points": s.points,
            "num_feature_levels": 4,
            "num_body_points": 68,
            "l_hidden_size": s.llm,
            "num_embs": s.embs,
        },
        "use_sd": True,
        "use_ip2p": True,
    }
