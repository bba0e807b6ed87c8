"""Cross-encoders of a few thousand numbers, in the files that real ones have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOLD = "gold"


def random_reranker(folder: Path, num_labels: int = 1) -> Path:
    """Two layers of random weights: it scores, and nobody knows how."""
    import torch
    from transformers import BertForSequenceClassification

    torch.manual_seed(0)
    return _saved(BertForSequenceClassification(_config(2, num_labels)), folder)


def gold_reranker(folder: Path) -> Path:
    """Weights set by hand: the larger the share of words that are "gold", the higher the score.

    Attention is uniform and hands the words' vectors on, of which only the one of "gold" has its first number changed;
    all that follows keeps the order of that number.
    """
    import torch
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification(_config(1, 1))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.fill_(1.0 if "LayerNorm.weight" in name else 0.0)
        identity = torch.eye(model.config.hidden_size)
        layer: Any = model.bert.encoder.layer[0]
        for linear in (layer.attention.self.value, layer.attention.output.dense, model.bert.pooler.dense):
            linear.weight.copy_(identity)
        words = model.bert.embeddings.word_embeddings.weight
        words[:, 1] = 1.0
        words[_vocabulary().index(GOLD), 0] = 3.0
        model.classifier.weight[0, 0] = 4.0
    return _saved(model, folder)


def _vocabulary() -> list[str]:
    return [*SPECIAL, GOLD, *"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]


def _config(n_layers: int, num_labels: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=16,
        num_hidden_layers=n_layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=512,
        num_labels=num_labels,
    )


def _saved(model: Any, folder: Path) -> Path:
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(_vocabulary()) + "\n")
    model.save_pretrained(folder)
    tokenizer = BertTokenizerFast(vocab={word: place for place, word in enumerate(_vocabulary())}, model_max_length=512)
    tokenizer.save_pretrained(folder)
    return folder
