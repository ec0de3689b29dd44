"""What `SECURITY.md` says is defended: one test a threat, with an attack that would show if it worked."""

import copy
import html
import io
import json
import os
import pickle
import re
import struct
import sys
import zipfile
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from tests.fake_endpoint import FakeEndpoint
from tests.fake_puma_report import example, fake_report
from tests.fake_run import HOSTILE, fake_item, write_fake_run, write_items
from tests.rationale_cases import write_problems
from tests.tiny_checkpoints import write_checkpoint
from tests.training_data import write_pairs
from vkit.attention import run_folder
from vkit.attention.run_folder import read_details, read_maps
from vkit.errors import VkitError
from vkit.images import open_image, resolve_inside
from vkit.models.huggingface_loading import load_huggingface
from vkit.models.loading import load_model
from vkit.models.lora import add_lora, merge_lora, save_adapter
from vkit.models.tensors import read_tensors
from vkit.models.tiny import build_stand_in
from vkit.models.tinyllava_checkpoint import read_checkpoint, read_config
from vkit.models.tinyllava_images import ImageSettings
from vkit.records import parse_sample
from vkit.report.page import write_page
from vkit.report.puma_page import write_puma_page
from vkit.report.smart_curves import Curves, curves_page, curves_svg
from vkit.sources.math_puma import in_place
from vkit.sources.mathvista import scan_mathvista

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
ITEM = fake_item(np.random.default_rng(0), "11", ["So", " x"])

# ---- Paths that lead out ----


@pytest.fixture
def outside(tmp_path):
    """A folder of records with a picture beside it that nobody may read, and links to that."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    np.savez(tmp_path / "secret.npz", weights=np.zeros(1))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    return folder


OUT = [
    "../secret.png",
    "images/../../secret.png",
    "link.png",
    "up/secret.png",
    "/etc/passwd",
    "a\0b.png",
    "./../secret.png",
]


@pytest.mark.parametrize("path", OUT)
def test_a_path_that_leaves_its_folder_is_refused_whoever_names_it(outside, path):
    sample = parse_sample(json.dumps({"id": "1", "question": "?", "image": path}), outside)
    item = {**ITEM, "maps": path.replace(".png", ".npz"), "details": path.replace(".png", ".npz")}
    (outside / "link.npz").symlink_to(outside.parent / "secret.npz")
    for read in (
        sample.open_image,
        lambda: in_place(outside, outside)(path),
        lambda: read_maps(outside, item),
        lambda: read_details(outside, item),
    ):
        with pytest.raises(VkitError, match="lies outside its folder"):
            read()


def test_a_link_that_stays_inside_serves(outside):
    Image.new("RGB", (4, 4)).save(outside / "images" / "1.png")
    (outside / "near.png").symlink_to(outside / "images" / "1.png")
    assert open_image(resolve_inside(outside, "near.png")).size == (4, 4)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "x" * 300, "a\0b"])
def test_an_index_of_weights_names_files_of_its_own_folder_only(checkpoint, name):
    index = {"weight_map": {"a": name}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(VkitError, match="which is not there"):
        read_checkpoint(checkpoint, CPU, torch.float32)


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "\udcff.png"])
def test_a_picture_whose_name_no_disk_can_hold_is_told(outside, name):
    with pytest.raises(VkitError, match=r"missing|no path"):
        in_place(outside, outside)(name)


# ---- Files that grow ----


def test_an_archive_is_refused_by_what_it_would_unpack_to_before_it_does(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "maps.npz", weights=np.zeros(4_000_000, np.uint8), scale=0, boxes=0)
    assert (tmp_path / "maps.npz").stat().st_size < 10_000
    monkeypatch.setattr(run_folder, "ARRAYS_LIMIT_BYTES", 1_000_000)
    monkeypatch.setattr(np, "load", None)  # nothing is read of it
    with pytest.raises(VkitError, match=r"unpacked it has 4,000,\d+ bytes, over the limit of 1,000,000"):
        read_maps(tmp_path, {**ITEM, "maps": "maps.npz"})


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "maps.npz", "w") as archive:
        archive.writestr("weights.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    with pytest.raises(VkitError, match="cannot be read"):
        read_maps(tmp_path, {**ITEM, "maps": "maps.npz"})


def test_an_array_with_an_archive_behind_it_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "several.npz", weights=np.zeros(3))
    both = (tmp_path / "one.npy").read_bytes() + (tmp_path / "several.npz").read_bytes()
    (tmp_path / "maps.npz").write_bytes(both)
    with pytest.raises(VkitError, match="it is one array"):
        read_maps(tmp_path, {**ITEM, "maps": "maps.npz"})


@pytest.mark.parametrize(
    "content",
    [b"no array", b"\x93NUMPY\x01\x00\x10\x00{'descr': ((((  ", b"\x93NUMPY\x09\x00"],
    ids=["bytes", "broken header", "unknown version"],
)
def test_a_member_that_is_no_array_is_refused(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "maps.npz", "w") as archive:
        for name in ("weights", "scale", "boxes"):
            archive.writestr(f"{name}.npy", content)
    with pytest.raises(VkitError, match="cannot be read"):
        read_maps(tmp_path, {**ITEM, "maps": "maps.npz"})


def test_a_picture_is_refused_by_the_size_it_claims(tmp_path):
    """A PNG of 1.6 gigapixels in a few hundred bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(VkitError, match="over the limit of 89478485"):
        open_image(tmp_path / "bomb.png")


def test_a_picture_that_needs_another_program_is_no_picture(tmp_path, monkeypatch):
    """Pillow has Ghostscript draw EPS, whatever the file is called."""
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("a program was asked for")
    )
    (tmp_path / "1.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n%%EOF\n"
    )
    with pytest.raises(VkitError, match="cannot be read"):
        open_image(tmp_path / "1.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "TGA"])
def test_the_kinds_of_pictures_that_data_sets_have_are_read(tmp_path, kind):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "picture", kind)
    assert open_image(tmp_path / "picture").size == (16, 16)


# ---- Pickles ----


class Harm:
    """Its pickle makes a folder when it is opened by a pickle module that runs what it is told."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


@pytest.fixture
def canary(tmp_path):
    """The folder that every attack here makes, proved to work where nothing defends."""
    place = tmp_path / "canary"
    pickle.loads(pickle.dumps(Harm(place)))
    place.rmdir()
    yield place
    assert not place.exists(), "the code of a file ran"


@pytest.fixture
def checkpoint(tmp_path):
    build_stand_in().save(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("zipped", [True, False])
def test_weights_in_a_pickle_run_nothing(tmp_path, canary, zipped):
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": Harm(canary)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(VkitError, match="could run code"):
        list(read_tensors(path))


def test_an_adapter_in_a_pickle_runs_nothing(tmp_path, canary):
    model = build_stand_in()
    add_lora(model, 2, 4)
    save_adapter(model, tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    torch.save({"a": Harm(canary)}, tmp_path / "adapter" / "adapter_model.bin")
    with pytest.raises(VkitError, match="could run code"):
        merge_lora(build_stand_in().model.language_model, tmp_path / "adapter")


@pytest.mark.parametrize("name", ["maps", "details"])
def test_arrays_of_objects_are_not_unpickled(tmp_path, canary, name):
    harm = np.empty(1, dtype=object)
    harm[0] = Harm(canary)
    names = {
        "maps": ("weights", "scale", "boxes"),
        "details": ("head_share", "layer_share", "columns", "column_attention"),
    }
    np.savez(tmp_path / "a.npz", **dict.fromkeys(names[name], harm))
    read = {"maps": read_maps, "details": read_details}[name]
    with pytest.raises(VkitError, match="cannot be read"):
        read(tmp_path, {**ITEM, name: "a.npz"})


def test_weights_of_other_families_run_nothing(tmp_path, canary):
    folder = write_checkpoint("llava", tmp_path / "llava")
    (folder / "model.safetensors").unlink()
    torch.save({"model.a": Harm(canary)}, folder / "pytorch_model.bin")
    with pytest.raises(VkitError):
        load_huggingface(folder)


def test_settings_in_yaml_build_no_objects(vkit, tmp_path, canary):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"lr: !!python/object/apply:os.mkdir ['{canary}']\n")
    data = write_pairs(tmp_path / "data", 2)
    code, _, error = vkit(
        "train-puma",
        "--data",
        data,
        "--model",
        "tiny-random",
        "--out",
        tmp_path / "out",
        "--config",
        settings,
    )
    assert (code, error.count("\n")) == (1, 1), error
    assert "cannot be read as YAML" in error


# ---- Code that comes with a model ----


def write_code(folder, canary):
    """Code that makes the canary, and settings that ask for it in every place that transformers knows."""
    body = f"import os\nos.mkdir({str(canary)!r})\n"
    for module in (
        "configuration_evil",
        "modeling_evil",
        "tokenization_evil",
        "processing_evil",
        "megatron_evil",
    ):
        (folder / f"{module}.py").write_text(body)
    maps = {
        "config.json": {
            "AutoConfig": "configuration_evil.C",
            "AutoModel": "modeling_evil.M",
            "AutoModelForImageTextToText": "modeling_evil.M",
            "AutoModelForCausalLM": "modeling_evil.M",
        },
        "tokenizer_config.json": {"AutoTokenizer": ["tokenization_evil.T", "tokenization_evil.T"]},
        "processor_config.json": {"AutoProcessor": "processing_evil.P"},
        "preprocessor_config.json": {
            "AutoImageProcessor": "processing_evil.P",
            "AutoProcessor": "processing_evil.P",
        },
    }
    for name, auto_map in maps.items():
        path = folder / name
        if path.is_file():
            path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": auto_map}))


def test_a_tinyllava_that_brings_code_is_read_without_it(checkpoint, canary):
    write_code(checkpoint, canary)
    assert load_model(checkpoint, device="cpu").name == checkpoint.name


def test_another_family_that_brings_code_is_read_without_it(tmp_path, canary):
    folder = write_checkpoint("llava", tmp_path / "llava")
    write_code(folder, canary)
    load_huggingface(folder, device="cpu")


@pytest.mark.parametrize("model_type", ["evil", "llava"])
def test_a_family_that_is_only_code_is_refused(tmp_path, canary, model_type):
    folder = write_checkpoint("llava", tmp_path / "llava")
    values = {**json.loads((folder / "config.json").read_text()), "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(values))
    write_code(folder, canary)
    with pytest.raises(VkitError):
        load_model(folder, device="cpu")


def test_no_call_ever_trusts_remote_code():
    """Every loader of transformers' is told so in the call; it would ask at a terminal otherwise."""
    loads = re.compile(r"\b(?:Auto\w+|kind)\.from_pretrained\((?:[^()]|\([^()]*\))*\)")
    for folder in ("vkit", "kernels", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            source = path.read_text()
            assert not re.search(r"trust_remote_code\s*=\s*(?!False)\w", source), path
            for call in loads.findall(source):
                assert "trust_remote_code=False" in call, f"{path}: {call}"


@pytest.mark.parametrize("family", ["tinyllava", "llava"])
def test_an_adapter_imports_no_module_of_its_choice(tmp_path, canary, monkeypatch, family):
    adapter = tmp_path / "adapter"
    folder = write_checkpoint("llava", tmp_path / "llava")
    model = build_stand_in() if family == "tinyllava" else load_huggingface(folder)
    add_lora(model, 2, 4)
    save_adapter(model, adapter)
    write_code(adapter, canary)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    more = {"megatron_config": {"a": 1}, "megatron_core": "megatron_evil"}
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, **more}))
    monkeypatch.syspath_prepend(adapter)
    target = build_stand_in().model.language_model
    with pytest.raises(VkitError, match="Megatron"):
        merge_lora(target, adapter) if family == "tinyllava" else load_huggingface(folder, adapter=adapter)
    assert "megatron_evil" not in sys.modules


# ---- Pages ----


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def assert_harmless(page, plain):
    """As many scripts as on the page with plain texts, no code in attributes, nothing from elsewhere."""
    found, expected = Elements(page).tags, Elements(plain).tags
    scripts = [[tag for tag, _ in tags].count("script") for tags in (found, expected)]
    assert scripts[0] == scripts[1]
    assert {tag for tag, _ in found} <= {tag for tag, _ in expected}
    for tag, attributes in found:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in ("src", "href", "action", "formaction", "srcdoc", "xlink:href"):
            target = (attributes.get(name) or "").strip().lower()
            assert not re.match(r"(?!data:(image/|,))[a-z][a-z0-9+.-]*:|//", target), (tag, target)
    assert "Content-Security-Policy" in page


ATTACKS = [
    HOSTILE,
    "</script><script>alert(1)</script>",
    '" onmouseover="alert(1)" x="',
    "' onfocus='alert(1)",
    "--><svg onload=alert(1)>",
    "javascript:alert(1)",
    "</title></style></textarea><iframe src=//evil>",
    "{{scripts}}{{policy}}",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_page_of_a_run_shows_hostile_text_as_text(tmp_path, attack):
    run = write_fake_run(tmp_path / "run")
    write_page(run, single_file=True)
    plain = (run / "index.html").read_text()
    items = [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()]
    for item in items[:2]:
        item.update(
            id=item["id"] + attack, question=attack, choices=[attack], answer=attack, extracted=attack
        )
        item["output_tokens"] = [attack] * len(item["output_tokens"])
    write_items(run, items)
    summary = json.loads((run / "summary.json").read_text())
    summary.update({key: attack for key in summary if isinstance(summary[key], str) and key != "reduce"})
    summary[attack] = attack
    (run / "summary.json").write_text(json.dumps(summary))
    write_page(run, single_file=True)
    assert_harmless((run / "index.html").read_text(), plain)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_page_of_a_demo_shows_hostile_text_as_text(tmp_path, attack):
    report = fake_report(tmp_path)
    plain = write_puma_page(tmp_path / "plain.html", report).read_text()
    bad = copy.deepcopy(report)
    bad["warnings"], bad["model"] = [attack], attack
    bad["seconds"] = {attack: 1.0}
    bad["orders"][1]["name"] = attack
    texts = {"id": attack, "question": attack, "answer": attack, "version": attack}
    bad["examples"] = [example("bad", report["examples"][0]["picture"], **texts)]
    item = bad["attention"]["items"][0]
    item.update(id=attack, tokens=[attack] * len(item["tokens"]))
    path = attack.encode("utf-8", "replace").decode()  # of the program's own making, as paths are
    bad["attention"]["after"]["page"] = bad["attention"]["before"]["page"] = path
    page = write_puma_page(tmp_path / "bad.html", bad).read_text()
    assert_harmless(page, plain.replace("<body", "<div><p class='banner'></p></div><body", 1))


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_page_of_curves_shows_hostile_text_as_text(attack):
    scores = {"S_acc": 1.0, "O_acc": 1.0, "five_option": 1.0}

    def drawn(name):
        epochs = [{"overall": scores, "skills": {name: scores}}] * 2
        return Curves({0: epochs}, {0: [(2.0, 2.0)] * 2})

    plain = curves_page(drawn("logic"), {"lr": 1})
    assert_harmless(curves_page(drawn(attack), {attack: attack}), plain)
    picture = curves_svg(drawn(attack))
    assert "<script" not in picture
    assert not [
        name for _, attributes in Elements(picture).tags for name in attributes if name.startswith("on")
    ]
    visible = "".join(letter for letter in attack if letter.isprintable())
    if visible == attack:
        assert html.escape(attack) in picture


# ---- Secrets ----

SECRETS = {
    "OPENAI_API_KEY": "sk-verysecret-0123456789",
    "HF_TOKEN": "hf_verysecret9876543210",
    "AWS_SECRET_ACCESS_KEY": "aws-verysecret-5555",
    "WANDB_API_KEY": "wandb-verysecret-7777",
}


def test_no_file_and_no_line_of_output_holds_a_secret_of_the_environment(vkit, tmp_path, monkeypatch):
    """The endpoint repeats the key that it was sent, as endpoints do in their errors."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    problems, pairs = write_problems(tmp_path / "problems", 2), write_pairs(tmp_path / "pairs", 2)
    said = []

    def run(*arguments, code=0):
        found, *texts = vkit(*arguments)
        said.extend(texts)
        assert found == code, texts

    out = tmp_path / "out"
    run("doctor")
    run("attn-ratio", "--model", "tiny", "--data", problems, "--out", out / "run", "--max-new-tokens", 2)
    run("report", out / "run")
    run("generate", "--model", "tiny", "--data", problems, "--out", out / "said.jsonl", "--max-new-tokens", 2)
    run(
        "train-sft",
        "--model",
        "tiny-random",
        "--data",
        pairs,
        "--out",
        out / "sft",
        "--set",
        "max_steps=1",
        "--recipe",
        "tiny",
    )
    run(
        "train-sft",
        "--model",
        "tiny-random",
        "--data",
        pairs,
        "--out",
        out / "no",
        "--set",
        "max_stepz=1",
        code=1,
    )
    limits = ("--max-retries", 0, "--timeout", 5, "--price-in", 1, "--price-out", 1)
    for behaviour, code in (("echo", 0), ("400", 0), ("401", 1), ("404", 1)):
        with FakeEndpoint(lambda request, said=behaviour: said) as endpoint:
            run(
                "rationales",
                "--data",
                problems,
                "--model",
                "m",
                "--base-url",
                endpoint.url,
                "--out",
                out / behaviour,
                *limits,
                code=code,
            )
            assert endpoint.keys == [f"Bearer {SECRETS['OPENAI_API_KEY']}"] * len(endpoint.keys)
            assert endpoint.keys, "the endpoint was not asked"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 30
    for secret in SECRETS.values():
        for text in said:
            assert secret not in text, text
        for path in written:
            assert secret.encode() not in path.read_bytes(), path


# ---- Found by fuzzing: each crashed before; now one line tells it ----


def write_vista(folder, **changes):
    row = {"pid": "1", "question": "?", "answer": "4", "question_type": "free_form", "answer_type": "integer"}
    (folder / "testmini.json").write_text(json.dumps([{**row, **changes}]))
    return [*scan_mathvista(folder)]


@pytest.mark.parametrize("precision", [[1], "x", {}, 1e400, -1, 10**400])
def test_decimals_that_are_none_make_a_bad_record(tmp_path, precision):
    [bad] = write_vista(tmp_path, precision=precision)
    assert "'precision' must be decimals from 0 to 15" in bad.reason


def test_decimals_as_the_release_writes_them_are_read(tmp_path):
    assert write_vista(tmp_path, precision=2.0, answer_type="float")[0].meta["precision"] == 2
    assert "precision" not in write_vista(tmp_path, precision=None)[0].meta


@pytest.mark.parametrize(
    "changes",
    [
        {"size": {"shortest_edge": {}}, "do_center_crop": True},
        {"size": {"height": [], "width": {}}},
        {"image_mean": [10**400, 0.5, 0.5]},
        {"image_std": [float("nan"), 0.5, 0.5]},
        {"rescale_factor": float("inf")},
        {"resample": {}},
    ],
)
def test_a_preprocessor_of_other_types_is_refused(checkpoint, changes):
    with pytest.raises(VkitError, match=r"preprocessor_config\.json"):
        ImageSettings.from_dicts(changes, read_config(checkpoint))


@pytest.mark.parametrize("damage", ["page", "name"])
def test_a_parquet_file_that_is_damaged_behind_its_schema_is_told(tmp_path, damage):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    row = {
        "pid": "1",
        "question": "What is it?",
        "question_type": "free_form",
        "answer_type": "integer",
        "answer": "4",
    }
    buffer = io.BytesIO()
    parquet.write_table(
        pa.Table.from_pylist([row] * 3),
        buffer,
        compression="none",
        use_dictionary=False,
        write_statistics=False,
    )
    data = bytearray(buffer.getvalue())
    place = 4 if damage == "page" else data.index(b"What is it?")
    data[place : place + 3] = b"\xff\xfe\xff"
    (tmp_path / "testmini.parquet").write_bytes(data)
    with pytest.raises(VkitError, match="cannot be read as parquet"):
        list(scan_mathvista(tmp_path))


@pytest.mark.parametrize(
    "changes", [{"alpha_pattern": 1.0}, {"r": "x"}, {"peft_type": [[]]}, {"layers_pattern": 3}]
)
def test_an_adapter_with_settings_of_other_types_is_refused(tmp_path, changes):
    adapter = tmp_path / "adapter"
    model = build_stand_in()
    add_lora(model, 2, 4)
    save_adapter(model, adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**settings, **changes}))
    with pytest.raises(VkitError, match=re.escape(str(adapter))):
        merge_lora(build_stand_in().model.language_model, adapter)


@pytest.mark.parametrize(
    "changes",
    [
        {"output_tokens": [], "V": [], "P": [], "ratio": [], "shares": "none"},
        {"output_tokens": [], "V": [], "P": [], "ratio": [], "shares": {"image": "x"}},
        {"reduced": {**ITEM["reduced"], "more": "x"}},
        {"shares": {**ITEM["shares"], "more": ["x"]}},
    ],
)
def test_an_item_whose_figures_are_none_is_refused(tmp_path, changes):
    run = write_fake_run(tmp_path / "run")
    write_items(run, [{**ITEM, **changes}])
    with pytest.raises(VkitError, match=r"items\.jsonl:1: '(shares|image|more)' must be"):
        write_page(run)
