"""The merged model is the trained one, and what cannot be merged is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.core.errors import ContractError
from jobs.serving import merge, tensor_files
from jobs.tuning import bases, fitting, loading
from jobs.tuning.student import Student

pytestmark = pytest.mark.slow
CPU = loading.Precision("float32", "cpu", "test")
PROMPTS = [[{"role": "user", "content": text}] for text in ("What is the base?", "Why does the adapter learn less?")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> bases.Base:
    return bases.open_base(bases.TINY, bases.make_tiny(tmp_path_factory.mktemp("tiny")), "seed 0")


@pytest.fixture(scope="module")
def adapter(base: bases.Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": PROMPTS[0], "completion": [{"role": "assistant", "content": "It is a model."}]}] * 8
    recipe = fitting.Recipe(256, 4, 1, 1, 0.02, 8, 16, 0.0, False, False, 10, 0)
    return fitting.fit(base, rows, recipe, CPU, tmp_path_factory.mktemp("fit")).adapter


def plain(folder: Path, base: bases.Base) -> Student:
    """A model without any quantization."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return Student(model, loading.load_tokenizer(base.folder), CPU, has_adapter=False)


def logits(student: Student) -> list[Any]:
    return [student.logits(messages) for messages in PROMPTS]


@pytest.fixture(scope="module")
def merged(base: bases.Base, adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("merged")
    merge.merge(base.folder, adapter, target, trained_in="float32")
    return target


def test_merged_model_says_what_the_trained_one_says(base: bases.Base, adapter: Path, merged: Path) -> None:
    with Student.load(base, adapter, CPU) as trained:
        assert merge.require_same(logits(trained), logits(plain(merged, base)), merge.MAX_KL) < 1e-6


def test_adapter_on_weights_that_were_never_quantized_is_refused(base: bases.Base, adapter: Path) -> None:
    from peft import PeftModel

    wrong = PeftModel.from_pretrained(plain(base.folder, base)._model, str(adapter)).eval()
    other = Student(wrong, loading.load_tokenizer(base.folder), CPU, has_adapter=True)
    with Student.load(base, adapter, CPU) as trained, pytest.raises(ContractError, match="nothing was released"):
        merge.require_same(logits(trained), logits(other), 1e-6)


def test_numbers_that_are_none_are_refused(base: bases.Base, adapter: Path, merged: Path) -> None:
    import torch

    broken = plain(merged, base)
    with torch.no_grad():
        next(broken._model.parameters()).fill_(float("nan"))
    with Student.load(base, adapter, CPU) as trained, pytest.raises(ContractError):
        merge.require_same(logits(trained), logits(broken), merge.MAX_KL)


def test_dequantized_weight_is_that_of_the_loaded_layer(base: bases.Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit, in small blocks, though the scales are quantized over the whole weight."""
    import bitsandbytes.functional as bnb
    import torch

    monkeypatch.setattr(merge, "BLOCK_VALUES", 1 << 10)
    model, _ = loading.load_quantized(base, CPU)
    compared = 0
    for shard in base.folder.glob("*.safetensors"):
        for name, tensor in tensor_files.read_header(shard).items():
            if name not in merge.quantized_weights(base.folder):
                continue
            weight = model.get_parameter(name)
            blocks = list(merge.dequantized(tensor, torch.float32))
            assert len(blocks) > 1
            assert torch.equal(torch.cat(blocks), bnb.dequantize_4bit(weight.data, weight.quant_state))
            compared += 1
    assert compared == 2 * 7


def test_block_size_changes_no_byte(
    base: bases.Base, adapter: Path, merged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "BLOCK_VALUES", 1 << 11)
    merge.merge(base.folder, adapter, tmp_path, trained_in="float32")
    assert bases.model_digest(tmp_path) == bases.model_digest(merged)


def test_what_is_not_quantized_is_copied_as_it_is(base: bases.Base, merged: Path) -> None:
    from safetensors import safe_open

    for shard in base.folder.glob("*.safetensors"):
        with safe_open(shard, "pt") as before, safe_open(merged / shard.name, "pt") as after:
            assert list(before.keys()) == list(after.keys())
            names = set(before.keys()) - merge.quantized_weights(base.folder)
            assert all(before.get_tensor(name).equal(after.get_tensor(name)) for name in names)


def test_tokenizer_template_and_index_come_along(base: bases.Base, merged: Path) -> None:
    for name in ("tokenizer.json", "chat_template.jinja", "model.safetensors.index.json", "generation_config.json"):
        assert (merged / name).read_bytes() == (base.folder / name).read_bytes()
    config = json.loads((merged / "config.json").read_bytes())
    assert config["dtype"] == "float16"
    assert "quantization_config" not in config


def changed(adapter: Path, target: Path, **settings: Any) -> Path:
    shutil.copytree(adapter, target)
    config = json.loads((target / "adapter_config.json").read_bytes())
    (target / "adapter_config.json").write_text(json.dumps(config | settings))
    return target


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("use_dora", True),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 4}),
        ("alpha_pattern", {"q_proj": 4}),
        ("bias", "all"),
        ("fan_in_fan_out", True),
        ("init_lora_weights", "pissa"),
        ("peft_type", "IA3"),
    ],
)
def test_adapter_that_is_not_plain_lora_is_refused(adapter: Path, tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(ContractError, match=name):
        merge.read_loras(changed(adapter, tmp_path / "changed", **{name: value}))


def rewritten(adapter: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(adapter, target)
    tensors = load_file(target / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, target / "adapter_model.safetensors")
    return target


def test_half_a_pair_is_refused(adapter: Path, tmp_path: Path) -> None:
    broken = rewritten(adapter, tmp_path / "a", lambda tensors: tensors.pop(next(iter(tensors))))
    with pytest.raises(ContractError, match="one of the two matrices"):
        merge.read_loras(broken)


def test_matrix_of_an_unknown_kind_is_refused(adapter: Path, tmp_path: Path) -> None:
    import torch

    extra = "base_model.model.lm_head.weight"
    broken = rewritten(adapter, tmp_path / "a", lambda tensors: tensors.update({extra: torch.zeros(2)}))
    with pytest.raises(ContractError, match="lm_head"):
        merge.read_loras(broken)


def test_adapter_of_another_shape_is_refused(base: bases.Base, adapter: Path, tmp_path: Path) -> None:
    def widen(tensors: dict[str, Any]) -> None:
        name = next(name for name in tensors if "q_proj.lora_B" in name)
        tensors[name] = tensors[name].repeat(2, 1)

    with pytest.raises(ContractError, match="q_proj"):
        merge.merge(base.folder, rewritten(adapter, tmp_path / "a", widen), tmp_path / "m", trained_in="float32")


def test_number_too_large_for_float16_is_refused(base: bases.Base, adapter: Path, tmp_path: Path) -> None:
    def enlarge(tensors: dict[str, Any]) -> None:
        for name in tensors:
            tensors[name].fill_(1e3)

    with pytest.raises(ContractError, match="float16 cannot hold"):
        merge.merge(base.folder, rewritten(adapter, tmp_path / "a", enlarge), tmp_path / "m", trained_in="float32")


def test_truncated_file_of_the_base_is_refused(base: bases.Base, tmp_path: Path) -> None:
    shard = next(base.folder.glob("*.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ContractError, match="its header says"):
        tensor_files.read_header(tmp_path / "cut.safetensors")


def test_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff" * 100)
    with pytest.raises(ContractError, match="no safetensors"):
        tensor_files.read_header(tmp_path / "x")


def test_too_few_numbers_are_an_error(base: bases.Base, tmp_path: Path) -> None:
    tensors = tensor_files.read_header(next(base.folder.glob("*.safetensors")))
    with (
        pytest.raises(ContractError, match="its header says"),
        tensor_files.writing(tmp_path / "x", tensors, "float16"),
    ):
        pass


def test_memory_is_that_of_a_block_and_not_of_the_model(tmp_path: Path) -> None:
    """A weight of 256 MB in float32 is written in blocks of 32 MB: the largest tensor alive is one of them."""
    import torch
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(1 << 13, 1 << 13, dtype=torch.float16)}, tmp_path / "w.safetensors")
    tensor = tensor_files.read_header(tmp_path / "w.safetensors")["w"]
    sizes = [block.numel() for block in tensor.blocks(merge.BLOCK_VALUES)]
    assert sum(sizes) == 1 << 26
    assert max(sizes) <= merge.BLOCK_VALUES
