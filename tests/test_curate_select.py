"""``vkit curate select``: clear pictures in a ratio, all of the rarest, evenly over their sources."""

import json
from base64 import b64decode
from collections import Counter
from fractions import Fraction
from io import BytesIO

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tests.fake_endpoint import FakeEndpoint
from tests.test_curate_labels import write_drawings
from vkit.curate.labels import Label
from vkit.curate.pool import read_pool, source_of
from vkit.curate.selection import largest_total, parse_ratio, quotas_of, select, spread
from vkit.errors import VkitError
from vkit.records import Sample, read_samples, write_samples

counts = st.lists(st.integers(1, 60), min_size=4, max_size=4)
ratios = st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any)


class TestQuotas:
    @given(counts, ratios)
    def test_all_of_the_class_that_is_rarest_for_its_share_is_taken(self, available, ratio):
        quotas = quotas_of(available, ratio)
        allowed = {
            value: Fraction(have, ratio[value]) for value, have in enumerate(available) if ratio[value]
        }
        for value, each in allowed.items():
            if each == min(allowed.values()):
                assert quotas[value] == available[value]
        assert all(quota <= have for quota, have in zip(quotas, available))
        assert sum(quotas) == largest_total(available, ratio)

    @given(counts, ratios, st.data())
    def test_every_quota_is_its_exact_share_rounded(self, available, ratio, data):
        largest = largest_total(available, ratio)
        total = data.draw(st.integers(1, largest))
        quotas = quotas_of(available, ratio, total)
        assert sum(quotas) == total
        for quota, weight, have in zip(quotas, ratio, available):
            assert abs(quota - Fraction(total * weight, sum(ratio))) < (1 if total < largest else 2)
            assert quota <= have

    def test_the_paper_s_forty_thousand(self):
        assert quotas_of([31_000, 20_000, 17_000, 4_000], (2, 3, 4, 1)) == [8_000, 12_000, 16_000, 4_000]

    def test_the_rarest_for_its_share_need_not_be_the_smallest(self):
        assert quotas_of([900, 900, 40, 50], (2, 3, 4, 1)) == [20, 30, 40, 10]

    def test_more_than_is_there_is_refused_with_the_largest_possible(self):
        assert sum(quotas_of([90, 90, 90, 10], (2, 3, 4, 1), 100)) == 100
        with pytest.raises(
            VkitError, match=r"101 in ratio 2:3:4:1 .* possible is 100, with 90, 90, 90, 10 clear"
        ):
            quotas_of([90, 90, 90, 10], (2, 3, 4, 1), 101)

    def test_a_class_that_is_asked_for_and_empty_is_refused(self):
        with pytest.raises(VkitError, match="no clear picture of complexity 3"):
            quotas_of([9, 9, 9, 0], (2, 3, 4, 1))
        assert quotas_of([9, 9, 9, 0], (1, 1, 1, 0)) == [9, 9, 9, 0]

    @pytest.mark.parametrize("text", ["", "2:3:4", "2:3:4:1:1", "2:3:4:-1", "2:3:4:x", "0:0:0:0", "2:3::4:1"])
    def test_a_ratio_is_four_whole_numbers(self, text):
        with pytest.raises(VkitError, match="write it as 2:3:4:1"):
            parse_ratio(text)


class TestSpread:
    @given(st.lists(st.integers(1, 12), min_size=1, max_size=7), st.data(), st.integers(0, 5))
    def test_sources_give_alike_or_all_they_have(self, sizes, data, seed):
        sources = {f"s{i}": [f"{i}-{j}" for j in range(size)] for i, size in enumerate(sizes)}
        quota = data.draw(st.integers(0, sum(sizes)))
        taken = spread(sources, quota, seed)
        assert len(taken) == len(set(taken)) == quota
        given_by = Counter(f"s{name.split('-')[0]}" for name in taken)
        most = max(given_by.values(), default=0)
        for name, names in sources.items():
            assert given_by[name] >= most - 1 or given_by[name] == len(names)

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data(), st.randoms(use_true_random=False))
    def test_the_order_of_sources_and_names_changes_nothing(self, sizes, data, random):
        sources = {f"s{i}": [f"{i}-{j}" for j in range(size)] for i, size in enumerate(sizes)}
        quota = data.draw(st.integers(0, sum(sizes)))
        mixed = list(sources.items())
        random.shuffle(mixed)
        shuffled = {name: random.sample(names, len(names)) for name, names in mixed}
        assert set(spread(shuffled, quota, 0)) == set(spread(sources, quota, 0))

    def test_another_seed_draws_others(self):
        sources = {"a": [str(number) for number in range(50)]}
        assert set(spread(sources, 10, 0)) != set(spread(sources, 10, 1))


def make_pool(plan):
    """A pool, its digests and labels: of each (complexity, source, problems) one clear picture."""
    pool, digests, labels = [], [], {}
    for number, (complexity, source, problems) in enumerate(plan):
        digest = f"{number:064x}"
        labels[digest] = Label(1, complexity, "csv")
        for problem in range(problems):
            meta = {"source": source} if source else {}
            pool.append(Sample(f"p{number}-{problem}", "Find x.", image=f"{number}.png", meta=meta))
            digests.append(digest)
    return pool, digests, labels


plans = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "b"]), st.integers(1, 3)), min_size=4, max_size=40
)


class TestSelect:
    @settings(deadline=None)
    @given(plans, st.randoms(use_true_random=False), st.booleans())
    def test_the_order_of_the_file_changes_nothing(self, plan, random, all_questions):
        assume({complexity for complexity, _, _ in plan} == {0, 1, 2, 3})
        pool, digests, labels = make_pool(plan)
        mixed = list(zip(pool, digests))
        random.shuffle(mixed)
        one = select(pool, digests, labels, all_questions=all_questions)
        other = select(*map(list, zip(*mixed)), labels, all_questions=all_questions)
        assert {sample.id for _, sample in one.problems} == {sample.id for _, sample in other.problems}
        assert one.report == other.report

    def test_one_problem_of_a_picture_or_all(self):
        pool, digests, labels = make_pool([(complexity, "a", 3) for complexity in (0, 1, 2, 3)])
        one = select(pool, digests, labels, (1, 1, 1, 1))
        every = select(pool, digests, labels, (1, 1, 1, 1), all_questions=True)
        assert (len(one.problems), len(every.problems)) == (4, 12)
        assert one.report["selected"] == {"pictures": 4, "problems": 4, "label_by": {"csv": 4}}
        assert every.report["selected"] == {"pictures": 4, "problems": 12, "label_by": {"csv": 4}}
        drawn = {
            sample.id
            for seed in range(9)
            for _, sample in select(pool, digests, labels, (1,) * 4, seed=seed).problems
        }
        assert len(drawn) > 4

    def test_an_id_that_hangs_on_the_line_decides_nothing(self, tmp_path):
        """LLaVA's files repeat ids, and `read_pool` tells such records apart by their lines."""
        said = [[{"from": "human", "value": f"{n}?"}, {"from": "gpt", "value": "3"}] for n in range(5)]
        lines = [json.dumps({"id": "7", "image": "a.png", "conversations": each}) for each in said]
        drawn = set()
        for start in range(5):
            (tmp_path / "pool.jsonl").write_text("\n".join(lines[start:] + lines[:start]))
            pool = read_pool(tmp_path / "pool.jsonl")
            [(_, sample)] = select(pool, ["d"] * 5, {"d": Label(1, 0, "csv")}, (1, 0, 0, 0)).problems
            drawn.add(sample.question)
        assert len(drawn) == 1

    def test_unclear_and_unlabelled_pictures_are_counted_and_left_out(self):
        pool, digests, labels = make_pool([(complexity, "a", 1) for complexity in (0, 1, 2, 3, 0, 1)])
        labels[digests[4]] = Label(0, None, "teacher")
        del labels[digests[5]]
        found = select(pool, digests, labels, (1, 1, 1, 1))
        assert [sample.id for _, sample in found.problems] == ["p0-0", "p1-0", "p2-0", "p3-0"]
        assert (found.report["clear"], found.report["unclear"], found.report["unlabelled"]) == (4, 1, 1)

    def test_the_report_counts_by_class_and_source(self):
        plan = [(0, "a", 1)] * 5 + [(0, "b", 1)] * 2 + [(1, "a", 1), (2, "", 1), (3, "b", 1)]
        found = select(*make_pool(plan), (4, 1, 1, 1))
        assert found.report["complexity"]["0"] == {
            "available": 7,
            "selected": 4,
            "by_source": {"a": {"available": 5, "selected": 2}, "b": {"available": 2, "selected": 2}},
        }
        assert found.report["complexity"]["2"]["by_source"] == {"": {"available": 1, "selected": 1}}

    def test_a_problem_keeps_its_meta_and_gets_its_label_and_source(self):
        pool, digests, labels = make_pool([(complexity, "", 1) for complexity in (0, 1, 2, 3)])
        pool[0] = Sample("p0-0", "Find x.", image="Geo/0.png", meta={"literals": ["x"]})
        _, sample = select(pool, digests, labels, (1, 1, 1, 1)).problems[0]
        curation = {"clarity": 1, "complexity": 0, "label_by": "csv"}
        assert sample.meta == {"literals": ["x"], "source": "Geo", "curation": curation}


@pytest.fixture
def drawings(tmp_path):
    """80 drawings with complexities 0 to 3 in turn; two problems show one of them, ten are blurred."""
    folder = tmp_path / "pool"
    pool = write_drawings(folder, 80)
    for number in range(70, 80):
        place = folder / pool[number].image
        with Image.open(place) as image:
            image.convert("L").filter(ImageFilter.GaussianBlur(9)).save(place)
    write_samples(folder / "pool.jsonl", [*pool, Sample("again", "And y?", answer="4", image=pool[0].image)])
    return folder / "pool.jsonl"


class TestCommands:
    def test_from_labels_by_a_teacher_to_a_selection(self, vkit, monkeypatch, drawings, tmp_path):
        """label, classify and select, with a teacher that knows each picture by its pixels."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-no")
        numbers = {sample.open_image().tobytes(): n for n, sample in enumerate(read_pool(drawings)[:80])}

        def teacher(request):
            parts = request.body["messages"][0]["content"]
            url = next(part["image_url"]["url"] for part in parts if "image_url" in part)
            with Image.open(BytesIO(b64decode(url.split(",")[1]))) as image:
                number = numbers[image.convert("RGB").tobytes()]
            return f"say:Clarity: {int(number < 70)}\nComplexity: {number % 4}"

        labels, everything, out = tmp_path / "labels", tmp_path / "all", tmp_path / "selected"
        with FakeEndpoint(teacher) as endpoint:
            code, _, err = vkit(
                "curate", "label", "--data", drawings, "--model", "gpt-4o", "--base-url", endpoint.url,
                "--sample", 60, "--out", labels,
            )  # fmt: skip
        assert code == 0, err
        code, text, err = vkit(
            "curate", "classify", "--data", drawings, "--labels", labels / "labels.csv", "--vision", "tiny",
            "--out", everything,
        )  # fmt: skip
        assert code == 0, err
        report = json.loads(text)
        assert (report["pictures"], report["labelled"], report["problems"]) == (80, 60, 81)
        assert report == json.loads((everything / "report.json").read_text())
        assert "complexity: right for" in err
        code, text, err = vkit(
            "curate", "select", "--data", drawings, "--labels", everything / "labels.csv", "--out", out
        )
        assert code == 0, err
        report = json.loads(text)
        chosen = list(read_samples(out / "selected.jsonl"))
        assert len(chosen) == report["selected"]["pictures"] == report["largest_total"]
        complexities = Counter(sample.meta["curation"]["complexity"] for sample in chosen)
        assert {str(value): count for value, count in complexities.items()} == {
            value: each["selected"] for value, each in report["complexity"].items()
        }
        assert {sample.meta["curation"]["label_by"] for sample in chosen} == {"teacher", "classifier"}
        assert {source_of(sample) for sample in chosen} == {"Geo", "Chart"}
        for sample in chosen:
            assert sample.open_image().size == (96, 96)
        told = [sample for sample in chosen if sample.meta["curation"]["label_by"] == "teacher"]
        assert all(int(sample.id.removeprefix("p")) < 70 for sample in told if sample.id != "again")

    def test_a_csv_of_labels_is_enough(self, vkit, drawings, tmp_path):
        rows = [f"p{number},{number % 4}" for number in range(80)]
        (tmp_path / "mine.csv").write_text("\n".join(["id,complexity", *rows]))
        arguments = ("curate", "select", "--data", drawings, "--labels", tmp_path / "mine.csv")
        code, text, err = vkit(*arguments, "--ratio", "1:1:1:1", "--all-questions", "--out", tmp_path / "one")
        assert code == 0, err
        assert "no column 'clarity': all of its pictures are taken as clear" in err
        assert json.loads(text)["selected"] == {"pictures": 80, "problems": 81, "label_by": {"csv": 80}}
        assert len(list((tmp_path / "one" / "images").iterdir())) == 80
        first = (tmp_path / "one" / "selected.jsonl").read_bytes()
        vkit(*arguments, "--ratio", "1:1:1:1", "--all-questions", "--out", tmp_path / "two")
        assert (tmp_path / "two" / "selected.jsonl").read_bytes() == first
        code, _, err = vkit(*arguments, "--total", 51, "--out", tmp_path / "three")
        assert (code, "the largest possible is 50" in err) == (1, True)
        assert not (tmp_path / "three").exists()

    def test_what_a_file_is_made_from_is_never_overwritten(self, vkit, drawings, tmp_path):
        labels = tmp_path / "labels.csv"
        labels.write_text("id,complexity\np0,1\n")
        code, _, err = vkit("curate", "classify", "--data", drawings, "--labels", labels, "--out", tmp_path)
        assert (code, "give another --out" in err) == (1, True)
        drawings.rename(drawings.with_name("selected.jsonl"))
        data = drawings.with_name("selected.jsonl")
        code, _, err = vkit("curate", "select", "--data", data, "--labels", labels, "--out", drawings.parent)
        assert (code, "give another --out" in err) == (1, True)

    def test_too_few_labels_are_refused_before_any_picture_is_encoded(self, vkit, drawings, tmp_path):
        (tmp_path / "mine.csv").write_text("id,complexity\np0,1\n")
        out = tmp_path / "all"
        code, _, err = vkit(
            "curate", "classify", "--data", drawings, "--labels", tmp_path / "mine.csv", "--vision", "tiny",
            "--out", out,
        )  # fmt: skip
        assert (code, "1 of complexity 1" in err) == (1, True)
        assert not out.exists()
