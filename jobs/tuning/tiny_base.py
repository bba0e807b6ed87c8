"""A chat model of random weights in the shape of Mistral, for tests: everything a student goes through, in seconds.

It knows nothing and learns next to nothing; what it proves is that files, tokens, training, merging and loading fit
together. The tokenizer falls back to bytes as Mistral's does, and the weights lie in several files.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CONTEXT_TOKENS = 4096
HIDDEN = 64  # a multiple of 64, the block of NF4
_UNKNOWN, _BEGIN, _END = "<unk>", "<s>", "</s>"
_SPECIAL = (_UNKNOWN, _BEGIN, _END, "[INST]", "[/INST]")
_TEMPLATE = """{{ bos_token }}{% set ns = namespace(system='') %}{% for message in messages %}
{%- if message['role'] == 'system' %}{% set ns.system = message['content'] + '\n\n' %}
{%- elif message['role'] == 'user' %}{{ '[INST] ' + ns.system + message['content'] + ' [/INST]' }}
{%- set ns.system = '' %}
{%- else %}{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{% endif %}
{%- endfor %}"""
# What the tokenizer learns its pieces from: our own words about the field, so that a sentence is some forty tokens.
_TEXT = """
A language model reads the question and the passages and answers from them with a number of the passage in brackets.
The adapter has two small matrices of low rank for every linear layer while the weights of the base stay as they are.
Quantization keeps four bits of a weight and one scale for each block of sixty-four weights, and the scales again in
eight bits. The paper shows that the method needs less memory than full training and reaches the same score on the
test. Search by words counts how often a term occurs in the text and how rare it is in the collection of documents.
Search by vectors compares the meaning of the question with the meaning of each passage by their inner product.
The result is a list of passages in order, and the best of them is likely to contain the answer to the question.
We train the student on pairs of question and answer that a teacher wrote, and we measure its loss on papers that it
has never seen. If no passage says what was asked, the right answer is that the passages do not say it.
What does this mean? Why is it used? How many are there? When does it fail? Which one is better than the other?
"""


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """Write model and tokenizer into `folder` (made if missing), which is returned. Equal seeds, equal bytes."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _make_tokenizer()
    config = MistralConfig(
        vocab_size=64 * -(-len(tokenizer) // 64),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=CONTEXT_TOKENS,
        sliding_window=None,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float16",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = MistralForCausalLM(config)
    model.to(torch.float16).save_pretrained(folder, max_shard_size="128KB")
    tokenizer.save_pretrained(folder)
    for path in folder.iterdir():  # shards are written for the owner's eyes alone
        path.chmod(0o644)
    return folder


def _make_tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    learnt = _learn_pieces(normalizer)
    pieces = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [piece for piece, _ in sorted(learnt["vocab"].items(), key=lambda item: item[1]) if piece not in pieces]
    merges = [tuple(merge) for merge in learnt["merges"]]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=_UNKNOWN, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[(_BEGIN, 1)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        unk_token=_UNKNOWN,
        bos_token=_BEGIN,
        eos_token=_END,
        pad_token=_UNKNOWN,
        additional_special_tokens=["[INST]", "[/INST]"],
        padding_side="left",
        model_max_length=CONTEXT_TOKENS,
        chat_template=_TEMPLATE,
    )


def _learn_pieces(normalizer: Any) -> dict[str, Any]:
    """Vocabulary and merges of a BPE over `_TEXT`, as tokenizers writes them."""
    import json

    from tokenizers import Tokenizer, models, trainers

    learner = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    learner.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=640, special_tokens=[_UNKNOWN], show_progress=False, min_frequency=2, max_token_length=12
    )
    learner.train_from_iterator(_TEXT.split(), trainer)
    learnt: dict[str, Any] = json.loads(learner.to_str())["model"]
    return learnt
