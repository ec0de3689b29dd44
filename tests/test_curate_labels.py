"""``vkit curate label``, its CSV, and the classifier: labels of pictures, asked for, read and learned."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.fake_endpoint import FakeEndpoint
from tests.rationale_cases import PRICES, lines_of
from vkit.curate.classifier import FOLDS, Softmax, classify, folds_of, picture_features
from vkit.curate.labelling import AFTER, BEFORE, chosen_pictures, read_label
from vkit.curate.labels import Label, read_labels, write_labels
from vkit.curate.pool import read_pool, source_of
from vkit.errors import VkitError
from vkit.records import Sample, write_samples
from vkit.train.feature_work import picture_digests, progress_bars


def digests_of(pool):
    return picture_digests(pool, progress_bars(False))


@pytest.fixture
def pool_file(tmp_path):
    """Four problems with three distinct pictures: c.png has the bytes of a.png."""
    for name, colour in (("a", 10), ("b", 20), ("c", 10), ("d", 30)):
        Image.new("RGB", (8, 6), (colour, 0, 0)).save(tmp_path / f"{name}.png")
    pool = [Sample(f"p{name}", "Find x.", answer="3", image=f"{name}.png") for name in "abcd"]
    write_samples(tmp_path / "pool.jsonl", pool)
    return tmp_path / "pool.jsonl"


class TestPool:
    def test_a_file_of_samples_is_read_as_it_is(self, pool_file):
        assert [sample.id for sample in read_pool(pool_file)] == ["pa", "pb", "pc", "pd"]

    def test_a_conversation_gives_its_first_turn_without_the_tag(self, tmp_path):
        turns = ["<image>\nWhat time is it?", "3:10", "And later?", "4:10"]
        said = [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(turns)]
        line = json.dumps({"id": 7, "image": "Clock/images/1.png", "conversations": said})
        (tmp_path / "pool.jsonl").write_text(f"{line}\n\n{line}\n")
        first, second = read_pool(tmp_path / "pool.jsonl")
        assert (first.question, first.answer, first.choices) == ("What time is it?", "3:10", ())
        assert (first.folder, source_of(first)) == (tmp_path, "Clock")
        assert (first.id, second.id) == ("7", "7-line3")

    def test_problems_without_picture_are_refused_with_their_number(self, tmp_path):
        write_samples(tmp_path / "pool.jsonl", [Sample("1", "?", image="a.png"), Sample("2", "?")])
        with pytest.raises(VkitError, match="1 of 2 problems have no picture, the first '2'"):
            read_pool(tmp_path / "pool.jsonl")

    def test_a_bad_conversation_is_named_by_its_line(self, tmp_path):
        good = {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]}
        bad = {"conversations": [{"from": "human", "value": "?"}]}
        lines = [json.dumps({"id": "1", "image": "a.png", **each}) for each in (good, bad)]
        (tmp_path / "pool.jsonl").write_text("\n".join(lines))
        with pytest.raises(VkitError, match=r"pool\.jsonl:2: turn 1 \(human\) has no answer"):
            read_pool(tmp_path / "pool.jsonl")

    def test_a_made_id_that_stands_already_is_refused(self, tmp_path):
        said = [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]
        ids = ["7", "7", "7-line2"]
        lines = [json.dumps({"id": each, "image": "a.png", "conversations": said}) for each in ids]
        (tmp_path / "pool.jsonl").write_text("\n".join(lines))
        with pytest.raises(VkitError, match=r"pool\.jsonl:2: id '7' stands twice"):
            read_pool(tmp_path / "pool.jsonl")

    def test_a_source_is_told_by_meta_before_the_folder(self):
        assert source_of(Sample("1", "?", image="Geo/7.png", meta={"source": "geometry3k"})) == "geometry3k"
        assert source_of(Sample("1", "?", image="Geo/7.png", meta={"source": 3})) == "Geo"
        assert source_of(Sample("1", "?", image="images/7.png")) == ""


class TestReplies:
    @pytest.mark.parametrize(
        "said",
        [
            "Clarity: 1\nComplexity: 2",
            "**Clarity:** 1\r\n**Complexity:** 2\n",
            "clarity score = 1, comprehension complexity level is 2.",
            "- Clarity (0 or 1): 1\n- Complexity (0-3): 2/3",
            '{"clarity": 1, "complexity": 2}',
            '{"clarity_score": 1, "comprehension_complexity": 2}',
            "| Clarity | 1 |\n| Complexity | 2 |",
            "Clarity: 1 - all 12 marks can be told\nComplexity: 2.0\n\nSo: Clarity: 1, Complexity: 2",
        ],
    )
    def test_both_lines_are_read_however_they_are_dressed(self, said):
        assert read_label(said) == Label(1, 2, "teacher")

    @pytest.mark.parametrize(
        "said",
        [
            "",
            "Clarity: 1",
            "Complexity: 2",
            "Clarity: 2\nComplexity: 2",
            "Clarity: 1\nComplexity: 4",
            "Clarity: 1\nComplexity: 12",
            "Clarity: 1\nComplexity: 2-3",
            "Clarity: 1\nComplexity: 2 or 3",
            "Clarity: 1\nComplexity: 2~3",
            "Clarity: 1\nComplexity: 2…3",
            "Clarity: 1\nComplexity: 2..3",
            "Clarity: 0 -> 1\nComplexity: 2",
            "Clarity: 1\nComplexity: 1.5",
            "Clarity: -1\nComplexity: 1",
            "Clarity: 0\nComplexity: 1\nClarity: 1",
            "Clarity: 0 or 1\nComplexity: 0, 1, 2 or 3",
            "The clarity is good and the complexity moderate; there are 2 circles.",
        ],
    )
    def test_what_is_no_label_or_two_is_not_guessed(self, said):
        assert read_label(said) is None

    def test_the_prompt_itself_is_no_label(self):
        assert read_label(BEFORE + AFTER) is None

    @settings(max_examples=50, deadline=None)
    @given(st.text(alphabet="clarity compex0123:*_-.\n ()", max_size=200))
    def test_any_text_is_read_or_set_aside(self, said):
        label = read_label(said)
        assert label is None or (label.clarity in (0, 1) and label.complexity in (0, 1, 2, 3))


class TestCsv:
    @pytest.fixture
    def read(self, pool_file):
        pool = read_pool(pool_file)
        digests = digests_of(pool)

        def call(text):
            path = pool_file.with_name("labels.csv")
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
            labels, notes = read_labels(path, pool, digests)
            return {sample.id: labels.get(digest) for sample, digest in zip(pool, digests)}, notes

        return call

    def test_a_label_holds_for_every_problem_with_the_picture(self, read):
        labels, notes = read("id,clarity,complexity\npa,1,3\npb,0,\n")
        assert labels == {
            "pa": Label(1, 3, "csv"),
            "pb": Label(0, None, "csv"),
            "pc": labels["pa"],
            "pd": None,
        }
        assert notes == []

    def test_a_spreadsheet_s_file_is_read(self, read):
        labels, _ = read(
            b'\xef\xbb\xbfImage , Clarity,Complexity\r\n\r\n"b.png",1.0,2.0\r\n,,\r\nd.png,0,1\r\n'
        )
        assert (labels["pb"], labels["pd"]) == (Label(1, 2, "csv"), Label(0, 1, "csv"))

    def test_without_clarity_all_are_clear_and_it_is_said(self, read):
        labels, notes = read("id,complexity,by,remark\npb,2,anna,nice\n")
        assert labels["pb"] == Label(1, 2, "anna")
        assert "taken as clear" in notes[0]
        assert "passed over: remark" in notes[1]

    def test_one_picture_may_be_labelled_twice_alike(self, read):
        assert read("id,complexity\npa,2\npc,2\n")[0]["pc"] == Label(1, 2, "csv")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "id,clarity,complexity\npa,1,1\npb,1,4\n",
                r"labels\.csv:3: complexity is '4'; write one of 0, 1",
            ),
            ("id,clarity,complexity\npa,yes,1\n", "csv:2: clarity is 'yes'; write one of 0, 1$"),
            ("id,clarity,complexity\npa,1,\n", "csv:2: complexity is ''"),
            ("id,clarity,complexity\npa,1,1\npc,1,2\n", "csv:3: says .* that line 2 says otherwise"),
            ("id,clarity,complexity\nzz,1,1\n", "csv:2: id 'zz' is not in the pool"),
            ("image,complexity\nzz.png,1\n", "csv:2: image 'zz.png' is not in the pool"),
            (
                "id,image,complexity\npa,b.png,1\n",
                "csv:2: id 'pa' has another picture in the pool than 'b.png'",
            ),
            ("id,image,complexity\n,,1\n", "csv:2: neither id nor image"),
            ("id,complexity\npa,1,2\n", "csv:2: 3 cells under 2 columns"),
            ('id,complexity\n"pa,1\n', "csv:2: not CSV"),
            ("id;complexity\npa;1\n", "csv:1: no column 'id' or 'image', but 'id;complexity'"),
            ("id,clarity\npa,1\n", "csv:1: no column 'complexity'"),
            ("id,id,complexity\npa,pa,1\n", "csv:1: column 'id' stands twice"),
            ("id,complexity\n", "holds no labels"),
            ("", "holds no labels"),
            (b"id,complexity\n\xff,1\n", "not UTF-8"),
        ],
    )
    def test_a_fault_is_told_by_its_line(self, read, text, message):
        with pytest.raises(VkitError, match=message):
            read(text)

    def test_columns_that_a_spreadsheet_leaves_empty_are_none(self, read):
        labels, notes = read("id,clarity,complexity,,\npb,1,2,,\n")
        assert (labels["pb"], notes) == (Label(1, 2, "csv"), [])

    def test_a_name_with_blanks_of_its_own_is_found(self, pool_file):
        names = [" 1", "1 ", "\t", "1\n2"]
        pool = [Sample(name, "?", image=f" {number}.png") for number, name in enumerate(names)]
        labels = {f"{number}": Label(1, number, "csv") for number in range(4)}
        path = pool_file.with_name("labels.csv")
        write_labels(path, pool, list(labels), labels)
        assert read_labels(path, pool, list(labels)) == (labels, [])

    def test_what_is_written_is_read_back(self, pool_file):
        pool = read_pool(pool_file)
        digests = digests_of(pool)
        labels = {digests[0]: Label(1, 3, "teacher"), digests[1]: Label(0, None, 'a, b\n"c"')}
        path = pool_file.with_name("labels.csv")
        write_labels(path, pool, digests, labels)
        assert read_labels(path, pool, digests) == (labels, [])
        assert path.read_text().splitlines()[:2] == ["id,image,clarity,complexity,by", "pa,a.png,1,3,teacher"]


@pytest.fixture
def label(vkit, monkeypatch, pool_file):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-no")
    out = pool_file.parent / "labels"

    def call(*more, endpoint=None):
        url = ("--base-url", endpoint.url) if endpoint else ()
        return vkit(
            "curate", "label", "--data", pool_file, "--model", "gpt-4o", "--out", out, *PRICES, *url, *more
        )

    return call


class TestCommand:
    def test_each_distinct_picture_is_asked_about_once(self, label, pool_file):
        with FakeEndpoint(lambda request: "say:Clarity: 1\nComplexity: 2") as endpoint:
            code, out, err = label(endpoint=endpoint)
            assert code == 0, err
            assert len(endpoint.requests) == 3
            assert label(endpoint=endpoint)[0] == 0
            assert len(endpoint.requests) == 3  # all were in the store
        summary = json.loads(out)
        assert (summary["pictures"], summary["labelled"], summary["left"]) == (3, 3, 0)
        assert summary["complexity"] == {"0": 0, "1": 0, "2": 3, "3": 0}
        assert summary["cost_usd"] > 0
        rows = (pool_file.parent / "labels" / "labels.csv").read_text().splitlines()
        assert rows[1:] == [f"p{name},{name}.png,1,2,teacher" for name in "abcd"]

    def test_a_reply_without_label_is_set_aside_by_name_and_asked_again_on_request(self, label, pool_file):
        say = "say:It looks fine."
        with FakeEndpoint(lambda request: say) as endpoint:
            code, out, _ = label(endpoint=endpoint)
            assert (code, json.loads(out)["set_aside"]) == (0, {"unreadable_label": 3})
            aside = lines_of(pool_file.parent / "labels" / "set-aside.jsonl")
            assert [each["ids"] for each in aside] == [["pa", "pc"], ["pb"], ["pd"]]
            assert {(each["reason"], each["said"]) for each in aside} == {
                ("unreadable_label", "It looks fine.")
            }
            say = "say:Clarity: 0\nComplexity: 0"
            assert json.loads(label(endpoint=endpoint)[1])["labelled"] == 0
            assert json.loads(label("--retry-failures", endpoint=endpoint)[1])["labelled"] == 3

    def test_a_picture_that_cannot_be_opened_is_set_aside_before_anything_is_paid(self, label, pool_file):
        (pool_file.parent / "b.png").write_bytes(b"no picture")
        with FakeEndpoint(lambda request: "say:Clarity: 1\nComplexity: 2") as endpoint:
            _, out, _ = label(endpoint=endpoint)
            assert len(endpoint.requests) == 2
        assert json.loads(out)["set_aside"] == {"bad_image": 1}

    def test_an_estimate_counts_distinct_pictures_and_makes_no_folder(self, label, pool_file):
        code, out, _ = label("--estimate", "--sample", 2)
        assert (code, json.loads(out)["requests"]) == (0, 2)
        assert not (pool_file.parent / "labels").exists()

    def test_a_batch_asks_about_each_distinct_picture_once(self, label, pool_file, tmp_path):
        code, out, _ = label("--export-batch", tmp_path / "batch.jsonl")
        assert (code, json.loads(out)["left"]) == (0, 3)
        requests = lines_of(tmp_path / "batch.jsonl")
        assert len({request["custom_id"] for request in requests}) == len(requests) == 3
        words = requests[0]["body"]["messages"][0]["content"][0]["text"]
        assert "Find x" not in json.dumps(requests)  # the picture alone is rated
        assert words == BEFORE

    def test_a_larger_sample_holds_the_smaller_one_in_any_order(self):
        digests = [f"{number:04x}" for number in range(40)] * 2
        small, large = set(chosen_pictures(digests, 5, 3)), set(chosen_pictures(digests, 20, 3))
        assert small < large
        assert set(chosen_pictures(digests[::-1], 5, 3)) == small != set(chosen_pictures(digests, 5, 4))
        assert chosen_pictures(digests, 400, 3) == digests[:40]


class TestClassifier:
    def test_a_softmax_is_the_minimum_of_its_loss(self):
        """Beside a plain gradient descent in float64 that knows nothing of the code."""
        generator = np.random.default_rng(0)
        values, answers = generator.normal(size=(40, 3)) * [1, 5, 0.1] + 2, generator.integers(0, 3, 40)
        found = Softmax.fit(values, answers, 0.05).log_probabilities(values)
        z, weight, bias = (values - values.mean(0)) / values.std(0), np.zeros((3, 3)), np.zeros(3)
        for _ in range(3000):
            scores = np.exp(z @ weight + bias)
            error = scores / scores.sum(1, keepdims=True) - np.eye(3)[answers]
            weight -= z.T @ error / 40 + 0.05 * weight
            bias -= error.mean(0)
        scores = np.exp(z @ weight + bias)
        np.testing.assert_allclose(np.exp(found), scores / scores.sum(1, keepdims=True), atol=1e-4)

    def test_every_fold_holds_every_class_and_hangs_on_the_picture_alone(self):
        digests = [f"{number:04x}" for number in range(33)]
        answers = np.array([0] * 5 + [1] * 7 + [2] * 21)
        folds = folds_of(digests, answers, 0)
        for value in (0, 1, 2):
            assert set(folds[answers == value]) == set(range(FOLDS))
        assert np.ptp(np.bincount(folds)) <= 1
        np.testing.assert_array_equal(folds_of(digests[::-1], answers[::-1], 0)[::-1], folds)

    def test_noise_does_not_beat_the_majority_and_the_report_says_so(self):
        generator = np.random.default_rng(1)
        digests = [f"{number:04x}" for number in range(120)]
        known = {each: Label(1, int(generator.integers(0, 4)), "csv") for each in digests[:80]}
        labels, report = classify(digests, generator.normal(size=(120, 30)), known)
        assert report["clarity"] == {
            "labels": {"0": 0, "1": 80},
            "constant": 1,
            "classified": {"0": 0, "1": 40},
        }
        assert report["complexity"]["beats_majority"] is False
        confusion = report["complexity"]["confusion"]
        assert {true: sum(told.values()) for true, told in confusion.items()} == report["complexity"][
            "labels"
        ]
        assert {labels[each].by for each in digests[80:]} == {"classifier"}
        assert {each: labels[each] for each in known} == known

    def test_what_could_be_learned_by_heart_is_not_counted_as_right(self, monkeypatch):
        """More features than pictures, hardly any penalty: what was fitted is right always, noise or not."""
        monkeypatch.setattr("vkit.curate.classifier.LAMBDAS", (0.0001,))
        generator = np.random.default_rng(3)
        digests = [f"{number:04x}" for number in range(80)]
        values, answers = generator.normal(size=(80, 200)), generator.integers(0, 4, 80)
        assert (Softmax.fit(values, answers, 0.0001).predict(values) == answers).all()
        known = {each: Label(1, int(value), "csv") for each, value in zip(digests, answers)}
        assert classify(digests, values, known)[1]["complexity"]["accuracy"]["value"] < 0.5

    def test_a_feature_that_never_changes_among_the_labelled_decides_nothing(self):
        generator = np.random.default_rng(0)
        digests = [f"{number:04x}" for number in range(160)]
        known = {each: Label(1, number % 4, "csv") for number, each in enumerate(digests[:83])}
        values = 0.01 * generator.normal(size=(160, 5))
        values[np.arange(160), np.arange(160) % 4] = 3
        values[:, 4] = np.where(np.arange(160) < 83, 0.1, generator.normal(size=160))
        assert 0 < values[:83, 4].std() < 1e-15  # by rounding
        labels, _ = classify(digests, values, known)
        assert [labels[each].complexity for each in digests] == [number % 4 for number in range(160)]

    def test_a_large_pool_takes_little_memory_beside_its_features(self):
        generator = np.random.default_rng(0)
        model = Softmax.fit(generator.normal(size=(20, 64)), np.arange(20) % 4, 0.1)
        values = generator.normal(size=(20_000, 64)).astype(np.float32)
        whole = model.classes[model.log_probabilities(values).argmax(axis=1)]
        tracemalloc.start()
        said = model.predict(values)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < values.nbytes
        np.testing.assert_array_equal(said, whole)

    def test_a_feature_that_is_no_number_is_refused(self):
        digests = [f"{number:04x}" for number in range(24)]
        known = {each: Label(1, number % 4, "csv") for number, each in enumerate(digests[:20])}
        values = np.zeros((24, 2))
        values[22, 1] = np.nan
        with pytest.raises(VkitError, match="features of 1 of 24 pictures are not finite"):
            classify(digests, values, known)

    def test_a_class_with_too_few_labels_is_refused_by_name(self):
        digests = [f"{number:04x}" for number in range(20)]
        known = {each: Label(1, (0, 0, 0, 1, 2)[place % 5], "csv") for place, each in enumerate(digests)}
        with pytest.raises(VkitError, match="4 of complexity 1, 4 of complexity 2, 0 of complexity 3"):
            classify(digests, np.zeros((20, 2)), known)

    def test_the_same_labels_give_the_same_numbers(self):
        generator = np.random.default_rng(2)
        digests = [f"{number:04x}" for number in range(60)]
        known = {each: Label(1, place % 4, "csv") for place, each in enumerate(digests[:40])}
        values = generator.normal(size=(60, 8))
        assert classify(digests, values, known) == classify(digests, values, known)

    def test_held_out_pictures_are_told_better_than_by_the_majority(self, tmp_path):
        """Lines by the dozen are complex, few are simple: the tiny encoder's features tell."""
        pool = write_drawings(tmp_path, 120)
        digests, features = picture_features(pool, digests_of(pool), "tiny", tmp_path / "features")
        truth = {digest: Label(1, number % 4, "csv") for number, digest in enumerate(digests)}
        known = dict(list(truth.items())[:80])
        labels, report = classify(digests, features, known)
        assert report["complexity"]["beats_majority"] is True
        unseen = digests[80:]
        right = np.mean([labels[each].complexity == truth[each].complexity for each in unseen])
        assert right > 0.6  # by the majority: 0.25
        accuracy = report["complexity"]["accuracy"]
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]


def write_drawings(folder, count):
    """Pictures of 1, 4, 12 and 30 lines in turn, complexities 0 to 3, of two sources."""
    generator = np.random.default_rng(0)
    pool = []
    for number in range(count):
        image = Image.new("RGB", (96, 96), "white")
        for x0, y0, x1, y1 in generator.integers(0, 96, size=((1, 4, 12, 30)[number % 4], 4)).tolist():
            ImageDraw.Draw(image).line((x0, y0, x1, y1), fill="black", width=2)
        place = f"{('Geo', 'Chart')[number // 4 % 2]}/images/{number}.png"
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / place)
        pool.append(Sample(f"p{number}", f"Question {number}?", answer="3", image=place, folder=folder))
    write_samples(folder / "pool.jsonl", pool)
    return pool
