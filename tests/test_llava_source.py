"""LLaVA's conversations: each turn a request, the picture where its tag stands, whatever is wrong named."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vkit.errors import VkitError
from vkit.models.protocol import Picture, Text
from vkit.records import BadRecord
from vkit.sources import llava
from vkit.sources.llava import Conversation, parse_conversation, scan_conversations, split_at_tag


def human(value):
    return {"from": "human", "value": value}


def gpt(value):
    return {"from": "gpt", "value": value}


def record(*turns, **keys) -> str:
    return json.dumps({"id": "7", "conversations": list(turns), **keys})


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (8, 6), "red").save(tmp_path / "clock.png")
    return tmp_path


def parts_of(request):
    return ["picture" if isinstance(part, Picture) else part.text for part in request.parts]


def test_each_turn_is_a_request_with_the_picture_in_the_first(folder):
    line = record(
        human("<image>\nWhat time is it?"), gpt("3:10."), human("And later?"), gpt("4:10."), image="clock.png"
    )
    (first, answer), (second, later) = parse_conversation(line, folder).turns_with_requests()
    assert parts_of(first) == ["picture", "What time is it?"]
    assert first.images[0].size == (8, 6)
    assert parts_of(second) == ["And later?"]
    assert (answer, later) == ("3:10.", "4:10.")


def test_all_that_the_user_says_is_question(folder):
    line = record(human("In <image> find x."), gpt("3"), human("And y?"), gpt("4"), image="clock.png")
    requests = [request for request, _ in parse_conversation(line, folder).turns_with_requests()]
    texts = [part for request in requests for part in request.parts if isinstance(part, Text)]
    assert len(texts) == 3
    assert all(text.question for text in texts)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("<image>\nFind x.", ["picture", "Find x."]),
        ("Find x.\n<image>", ["Find x.", "picture"]),
        ("In <image> find x.", ["In ", "picture", " find x."]),
        ("Find x.", ["picture", "Find x."]),  # a picture without a tag comes first
        ("<image>", ["picture"]),
        ("  \n<image> \n", ["picture"]),
        ("", ["picture"]),  # the picture says it all
    ],
)
def test_the_picture_stands_where_its_tag_stood(folder, said, parts):
    line = record(human(said), gpt("3"), image="clock.png")
    ((request, _),) = parse_conversation(line, folder).turns_with_requests()
    assert parts_of(request) == parts


@given(st.text(), st.text())
def test_no_word_is_lost_at_the_tag(before, after):
    if "<image>" not in before + after:
        words = "".join(split_at_tag(f"{before}<image>{after}")).split()
        assert "".join(words) == "".join((before + after).split())


def test_a_conversation_without_a_picture_is_text(folder):
    conversation = parse_conversation(record(human(" 2 + 3? "), gpt("5")), folder)
    assert conversation.image is None
    assert [parts_of(request) for request, _ in conversation.turns_with_requests()] == [[" 2 + 3? "]]


def test_numbers_serve_as_ids_and_name_the_requests(folder):
    conversation = parse_conversation(record(human("2 + 3?"), gpt("5"), id=12), folder)
    assert conversation == Conversation("12", None, (("2 + 3?", "5"),))
    assert conversation.turns_with_requests()[0][0].id == "12"


def test_keys_that_say_nothing_to_the_model_are_passed_over(folder):
    line = record(human("2 + 3?"), gpt("5"), model="", source="GeoQA", images=[], system=None)
    assert parse_conversation(line, folder).turns == (("2 + 3?", "5"),)


ASKED = (human("Find x."), gpt("3"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("7", "not an object"),
        (record(*ASKED).replace('"id": "7", ', ""), "'id' is missing"),
        (record(*ASKED, id=""), "'id' is empty"),
        (record(*ASKED, id=True), "'id' must be text, not true"),
        (record(*ASKED, id=1.5), "'id' must be text, not 1.5"),
        ('{"id": "7"}', "'conversations' is missing"),
        (record(), "list of turns that is not empty"),
        ('{"id": "7", "conversations": {"from": "human"}}', "list of turns that is not empty"),
        (record("Find x.", "3"), "turn 1 must be {'from': ..., 'value': text}"),
        (record(human(None), gpt("3")), "turn 1 must be {'from': ..., 'value': text}"),
        (record({"value": "Find x."}, gpt("3")), "turn 1 must be {'from': ..., 'value': text}"),
        (
            record({"from": "system", "value": "Be kind."}, *ASKED),
            "turn 1 is from system; the model has its own",
        ),
        (
            record({"from": "user", "value": "Find x."}, gpt("3")),
            'turn 1 is from "user"; LLaVA\'s speakers are',
        ),
        (record({"from": ["human"], "value": "Find x."}, gpt("3")), 'turn 1 is from ["human"]'),
        (record(gpt("3"), human("Find x.")), "turn 1 is from gpt where human is due"),
        (record(human("Find"), human("x."), gpt("3")), "turn 2 is from human where gpt is due"),
        (record(*ASKED, gpt("4")), "turn 3 is from gpt where human is due"),
        (record(*ASKED, human("And y?")), "turn 3 (human) has no answer"),
        (record(human("Find x."), gpt(" \n")), "turn 2 (gpt) is empty"),
        (record(human(" "), gpt("3")), "turn 1 (human) is empty"),
        (record(*ASKED, human(""), gpt("4"), image="a.png"), "turn 3 (human) is empty"),
        (record(human("<image> Find x."), gpt("3")), "holds <image> 1 times, but the record has no 'image'"),
        (record(human("<image><image>"), gpt("3"), image="a.png"), "<image> 2 times, but the record has one"),
        (record(*ASKED, human("<image> y?"), gpt("4"), image="a.png"), "turn 3 (human) holds <image>"),
        (record(human("Find x."), gpt("<image>"), image="a.png"), "turn 2 (gpt) holds <image>"),
        (record(*ASKED, image=""), "'image' must be the path of one picture"),
        (record(*ASKED, image=["a.png"]), "'image' must be the path of one picture"),
        (record(*ASKED, images=["a.png"]), "'images' is not read by vkit"),
        (record(*ASKED, system="Be kind."), "'system' is not read by vkit"),
        (record(human("\ud83d"), gpt("3")), "half a character"),
        (record(*ASKED, note=0).replace("note", r"\uD83D"), "half a character"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path, line, reason):
    path = tmp_path / "talk.jsonl"
    path.write_text("\n".join([record(*ASKED, id="a"), line, record(*ASKED, id="b")]))
    first, bad, last = scan_conversations(path)
    assert (first.id, last.id) == ("a", "b")
    assert isinstance(bad, BadRecord)
    assert bad.where == f"{path}:2"
    assert reason in bad.reason
    assert "\n" not in bad.reason


@pytest.mark.parametrize("image", ["none.png", "../clock.png", "/etc/passwd"])
def test_a_picture_that_cannot_be_had_is_told_with_the_record(folder, image):
    with pytest.raises(VkitError, match=r"record '7': image .*(missing|outside its folder)"):
        parse_conversation(record(*ASKED, image=image), folder / "sub").turns_with_requests()


def test_ids_must_be_unique(tmp_path):
    path = tmp_path / "talk.jsonl"
    path.write_text(record(*ASKED) + "\n" + record(*ASKED))
    assert "stands twice" in list(scan_conversations(path))[1].reason


def run(command, folder):
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    subprocess.run(command, shell=True, check=True, cwd=folder)


def test_the_documented_command_gives_the_records_of_a_release_ids_of_their_own(tmp_path):
    (tmp_path / "release.json").write_text(json.dumps([json.loads(record(*ASKED))] * 2))
    (command,) = [line for line in llava.__doc__.splitlines() if line.strip().startswith("jq")]
    run(command, tmp_path)
    conversations = list(scan_conversations(tmp_path / "conversations.jsonl"))
    assert [conversation.id for conversation in conversations] == ["7-0", "7-1"]


def test_an_array_is_refused_with_the_command_that_makes_lines_of_it(tmp_path):
    path = tmp_path / "the release.json"
    path.write_text("\n " + json.dumps([json.loads(record(*ASKED, id=i)) for i in range(3)], indent=2))
    with pytest.raises(VkitError, match="is one JSON array; write a record a line: jq") as refusal:
        scan_conversations(path)
    command = str(refusal.value).partition("line: ")[2]
    run(command, tmp_path)
    lines = Path(shlex.split(command)[-1])
    assert [conversation.id for conversation in scan_conversations(lines)] == ["0", "1", "2"]
