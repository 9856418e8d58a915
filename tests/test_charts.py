"""The charts as a reader gets them: drawn by Vega, then looked at mark by mark."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from workbench import charts
from workbench.errors import UnknownName


def row(name: str, accuracy: float, latency: float, **more: Any) -> dict[str, Any]:
    figures = {"accuracy": accuracy, "accuracy_low": accuracy - 0.005, "accuracy_high": accuracy + 0.005}
    figures |= {"latency_ms": latency, "latency_ms_low": latency * 0.9, "latency_ms_high": latency * 1.1}
    speed = {"speedup": 1 / latency, "speedup_low": 0.95 / latency, "speedup_high": 1.05 / latency}
    base = {"id": name, "name": name, "macs": 8e7, "params": 7e5, "predicted_speedup": 1.0, "is_baseline": False}
    return base | figures | speed | more


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        row("original", 0.94, 1.0, is_baseline=True),
        row("Tucker 0.5", 0.93, 0.8, predicted_speedup=2.0),
        row("int8", 0.938, 0.4, predicted_speedup=2.5),
        row("slow and wrong", 0.90, 1.2, predicted_speedup=0.5),
    ]
    return pd.DataFrame(rows)


def spec_rows(chart: Any) -> pd.DataFrame:
    spec = chart.to_dict()
    assert spec["data"]["name"] == charts.DATASET
    return pd.DataFrame(spec["data"]["values"])


def draw(chart: Any) -> str:
    """The SVG that Vega makes of a chart, in a fixed width."""
    vega = pytest.importorskip("vl_convert", reason="drawing without a browser needs the extra `images`")
    spec = chart.to_dict() | {"width": 600}
    svg: str = vega.vegalite_to_svg(json.dumps(spec), vl_version="6.4")
    return svg


def marks(svg: str, layer: str) -> list[dict[str, str]]:
    """The attributes of each path of one named layer, without the axes and the legend."""
    groups = [g for g in ElementTree.fromstring(svg).iter() if g.get("class", "").endswith(f" {layer}_marks")]
    assert len(groups) == 1
    return [path.attrib for path in groups[0]]


def test_each_variant_is_one_mark_and_groups_differ_in_shape_and_colour(frame: pd.DataFrame) -> None:
    drawn = marks(draw(charts.tradeoff(frame)), "points")
    assert len(drawn) == 4
    assert len({mark["fill"] for mark in drawn}) == 3
    assert len({re.sub(r"[0-9.-]+", "", mark["d"]) for mark in drawn}) == 3


def test_front_is_what_no_other_beats(frame: pd.DataFrame) -> None:
    rows = spec_rows(charts.tradeoff(frame)).set_index("name")
    assert list(rows.index[rows["on_front"]]) == ["original", "int8"]
    assert rows.loc["original", "role"] == "Original"
    assert rows.loc["int8", "role"] == "Pareto front"
    assert rows.loc["Tucker 0.5", "role"] == "Other variant"


def test_more_is_better_where_it_is(frame: pd.DataFrame) -> None:
    rows = spec_rows(charts.tradeoff(frame, x="speedup")).set_index("name")
    assert list(rows.index[rows["on_front"]]) == ["original", "int8"]


def test_axes_carry_units_and_values_are_in_them(frame: pd.DataFrame) -> None:
    chart = charts.tradeoff(frame, x="macs")
    assert "MACs (M)" in draw(chart)
    rows = spec_rows(chart)
    assert rows["x"].tolist() == [80.0] * 4
    assert rows["y"].tolist() == pytest.approx([94.0, 93.0, 93.8, 90.0])
    assert rows["y_low"].tolist() == pytest.approx([93.5, 92.5, 93.3, 89.5])
    assert (rows["x_low"] == rows["x"]).all()  # a count has no interval


def test_area_grows_with_parameters(frame: pd.DataFrame) -> None:
    frame.loc[1, "params"] = 7e6
    drawn = marks(draw(charts.tradeoff(frame)), "points")
    large, small = (float(re.match(r"M([0-9.]+)", drawn[i]["d"]).group(1)) for i in (1, 3))  # type: ignore[union-attr]
    assert large > 2 * small  # ten times the area is about three times the radius


def test_selected_variant_is_named(frame: pd.DataFrame) -> None:
    chart = charts.tradeoff(frame)
    assert ">int8<" not in draw(chart)
    chart.params[0].value = "int8"
    assert ">int8<" in draw(chart)


@pytest.mark.parametrize("above", [-0.003, -0.0005, 0.0, 0.0005, 0.003])
def test_the_names_of_two_marks_that_lie_close_do_not_lie_across_one_another(frame: pd.DataFrame, above: float) -> None:
    frame.loc[3, ["latency_ms", "accuracy"]] = [1.002, 0.94 + above]  # beside the original
    chart = charts.tradeoff(frame, x="latency_ms")
    chart.params[0].value = str(frame.loc[3, "id"])
    places = {}
    for text in ElementTree.fromstring(draw(chart)).iter("{http://www.w3.org/2000/svg}text"):
        if text.text in {"original", frame.loc[3, "name"]}:
            places[text.text] = float(re.search(r",([-0-9.]+)\)", text.get("transform", "")).group(1))  # type: ignore[union-attr]
    heights = sorted(places.values())
    assert len(heights) == 2
    assert heights[1] - heights[0] > 14  # a line's height
    assert (places["original"] < places[frame.loc[3, "name"]]) == (above < 0)  # as their marks


@pytest.mark.parametrize("size", [0, 1])
def test_few_rows(frame: pd.DataFrame, size: int) -> None:
    for chart in (charts.tradeoff(frame[:size]), charts.speedup(frame[:size])):
        assert len(marks(draw(chart), "points")) == size


def test_an_empty_frame_without_columns_is_a_chart() -> None:
    assert charts.tradeoff(pd.DataFrame()).to_dict()["data"]["values"] == []


def test_rows_without_a_measurement_are_left_out_and_said(frame: pd.DataFrame) -> None:
    frame.loc[2, "accuracy"] = float("nan")
    assert list(spec_rows(charts.tradeoff(frame))["name"]) == ["original", "Tucker 0.5", "slow and wrong"]
    sentence = charts.summary(frame, "latency_ms", "accuracy")
    assert "1 without a measurement is not drawn" in sentence
    assert "int8" not in sentence


def test_speedup_says_whether_the_prediction_held(frame: pd.DataFrame) -> None:
    rows = spec_rows(charts.speedup(frame)).set_index("name")
    # measured 1.25 against 2 predicted; 2.5 against 2.5; 0.83 against 0.5
    assert rows["role"].to_dict() == {
        "original": "Original",
        "Tucker 0.5": "Slower than predicted",
        "int8": "As predicted",
        "slow and wrong": "Faster than predicted",
    }


def test_summary_says_ranges_and_front(frame: pd.DataFrame) -> None:
    assert charts.summary(frame, "latency_ms", "accuracy") == (
        "Accuracy against latency of 4 variants: accuracy 90.00 to 94.00 % and latency 0.400 to 1.200 ms. "
        "On the Pareto front: int8, original."
    )
    assert charts.summary(frame[:0], "macs", "accuracy") == "Accuracy against MACs: nothing measured yet."


def test_unknown_columns_are_named(frame: pd.DataFrame) -> None:
    with pytest.raises(UnknownName, match=r"no column named 'latency'.*latency_ms"):
        charts.tradeoff(frame, x="latency")
    with pytest.raises(UnknownName, match="no column named 'speedup'"):
        charts.speedup(frame.drop(columns="speedup"))


def test_every_column_of_a_study_with_a_number_can_be_shown() -> None:
    from workbench.frames.frame import EXACT, MEASURED

    assert {*EXACT, *MEASURED} <= set(charts.COLUMNS)


@pytest.mark.parametrize(
    ("name", "title", "shown"),
    [
        ("accuracy_change", "Change of accuracy (points)", "−0.50 points"),
        ("validation_top5_change", "Change of validation top-5 accuracy (points)", "−0.50 points"),
        ("psnr_change", "Change of signal over noise (dB)", "−0.005 dB"),
        ("own_change", "Change of own", "−0.005"),
    ],
)
def test_a_paired_difference_is_shown_with_its_sign(name: str, title: str, shown: str) -> None:
    assert (charts.column(name).title, charts.column(name).text(-0.005)) == (title, shown)
    assert charts.column(name).number(0.005).startswith("+")


def test_parallel_axes_end_at_the_worst_and_the_best(frame: pd.DataFrame) -> None:
    rows = spec_rows(charts.parallel(frame, ["accuracy", "latency_ms"]))
    axes = rows[rows["kind"] == "axis"]
    assert axes["label"].tolist() == ["Accuracy", "Latency"]
    assert axes[["worst", "best"]].to_numpy().tolist() == [["90.00 %", "94.00 %"], ["1.200 ms", "0.400 ms"]]
    values = rows[rows["kind"] == "value"].set_index(["label", "name"])["place"]
    # By hand: (0.93 - 0.90) / 0.04 and (1.2 - 0.8) / 0.8; less latency is better.
    assert values["Accuracy"].tolist() == pytest.approx([1.0, 0.75, 0.95, 0.0])
    assert values["Latency"].tolist() == pytest.approx([0.25, 0.5, 1.0, 0.0])


def test_parallel_axes_are_drawn_in_the_order_asked_for(frame: pd.DataFrame) -> None:
    frame.loc[1, "latency_ms"] = float("nan")
    svg = draw(charts.parallel(frame, ["latency_ms", "macs", "accuracy"]))
    assert len(marks(svg, "points")) == 3 * len(frame) - 1
    labels = re.findall(r">(Latency|MACs|Accuracy)<", svg)
    assert labels == ["Latency", "MACs", "Accuracy"]


def test_parallel_axes_leave_out_what_nobody_has(frame: pd.DataFrame) -> None:
    frame["energy_uj"] = float("nan")
    assert charts.parallel_columns(frame) == ["accuracy", "latency_ms", "speedup", "macs", "params"]
    assert charts.parallel(pd.DataFrame()).to_dict()["data"]["values"] == []
    with pytest.raises(UnknownName, match="colour"):
        charts.parallel(frame, ["colour"])


def test_parallel_axes_in_words(frame: pd.DataFrame) -> None:
    text = charts.parallel_summary(frame, ["accuracy", "latency_ms"])
    assert text == ("2 figures of 4 variants. The best of each: accuracy 94.00 % (original), latency 0.400 ms (int8).")


def test_lineage_hangs_each_under_what_it_continues(frame: pd.DataFrame) -> None:
    tucker, int8 = {"step": "Tucker"}, {"step": "Quantize"}
    frame["recipe"] = [json.dumps(one) for one in ([], [tucker], [tucker, int8], [int8])]
    frame["name"] = ["original", "Tucker 0.5", "Tucker 0.5 + int8", "int8"]
    chart = charts.lineage(frame)
    rows = spec_rows(chart)
    assert rows["step"].tolist() == ["original", "Tucker 0.5", "+ int8", "int8"]
    assert rows["depth"].tolist() == [0, 1, 2, 1]
    assert rows["from_place"].tolist()[1:] == [0, 1, 0]
    assert rows["text"].tolist()[2] == "93.80 %, 2.50×"
    svg = draw(chart)
    heights = [float(re.search(r"translate\([\d.]+,([\d.]+)\)", one["transform"])[1]) for one in marks(svg, "points")]  # type: ignore[index]
    assert heights == [15, 45, 75, 105]  # a line each, from top to bottom
    assert charts.lineage_summary(frame) == "Lineage of 4 variants, 3 deep. Tucker 0.5 + int8 continues Tucker 0.5."


# --- what is predicted


@pytest.fixture
def predicted() -> pd.DataFrame:
    front = [
        {"id": f"promise {n}", "name": f"choice {n}", "kind": "front", "accuracy": 0.94 - 0.01 * n, "latency_ms": 1 / n}
        for n in (1, 2, 3)
    ]
    return pd.DataFrame([*front, {"id": "edited", "name": "SVD 0.5", "kind": "recipe", "latency_ms": 0.6}])


def test_what_is_predicted_is_drawn_hollow_and_is_no_variant(frame: pd.DataFrame, predicted: pd.DataFrame) -> None:
    svg = draw(charts.tradeoff(frame, x="latency_ms", predicted=predicted))
    assert len(marks(svg, "points")) == len(frame)
    hollow = [*marks(svg, "promises"), *marks(svg, "edited")]
    assert len(hollow) == 4
    assert all(mark.get("fill") in {None, "none", "transparent"} for mark in hollow)
    plain = spec_rows(charts.tradeoff(frame, x="latency_ms"))
    rows = spec_rows(charts.tradeoff(frame, x="latency_ms", predicted=predicted))
    measured = rows[rows["kind"] == "measured"].reset_index(drop=True)
    assert measured["on_front"].tolist() == plain["on_front"].tolist()  # nothing predicted competes


def test_a_recipe_of_unknown_height_stands_at_the_original_s(frame: pd.DataFrame, predicted: pd.DataFrame) -> None:
    rows = charts.predicted_points(frame, predicted, "latency_ms", "accuracy").set_index("id")
    assert rows.loc["edited", "y"] == pytest.approx(94.0)
    assert not rows.loc["edited", "known"]
    assert rows.loc["promise 2", "y"] == pytest.approx(92.0)
    said = charts.predicted_summary(rows.reset_index(), "latency_ms", "accuracy")
    assert "3 points" in said
    assert "accuracy not known before it runs" in said


@pytest.mark.parametrize(("x", "drawn"), [("latency_ms", 4), ("macs", 0), ("energy_uj", 0)])
def test_what_nobody_predicts_is_left_out(frame: pd.DataFrame, predicted: pd.DataFrame, x: str, drawn: int) -> None:
    assert len(charts.predicted_points(frame, predicted, x, "accuracy")) == drawn
    assert len(charts.predicted_points(frame[:0], predicted, x, "accuracy")) == 0
    assert len(charts.predicted_points(frame, None, x, "accuracy")) == 0


def test_a_long_front_is_named_in_part() -> None:
    rows = [row(f"v{n:02}", 0.9 - 0.01 * n, 1 - 0.05 * n, is_baseline=n == 0) for n in range(13)]
    sentence = charts.summary(pd.DataFrame(rows), "speedup", "accuracy")
    assert sentence.endswith("v00, v01, v02, v03, v04, v05, v06, v07, v08, v09 and 3 more.")


def test_a_class_is_marked_by_its_interval_and_keeps_the_order_of_the_rows() -> None:
    rows = [("coat", -3.0, -5.0, -1.0), ("bag", -0.5, -1.5, 0.5), ("shirt", 2.0, 0.5, 3.5)]
    frame = pd.DataFrame([dict(zip(("name", "change", "low", "high"), one, strict=True), n=100) for one in rows])
    chart = charts.by_class(frame)
    assert list(spec_rows(chart)["state"]) == ["Worse", "Not distinguishable", "Better"]
    drawn = draw(chart)
    places = [drawn.index(f">{name}</text>") for name, *_ in rows]
    assert places == sorted(places)
    with pytest.raises(UnknownName, match="low"):
        charts.by_class(frame.drop(columns="low"))
