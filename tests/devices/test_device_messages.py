"""What a device sends is held to what can be; what cannot is refused with a sentence and changes nothing."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from workbench.devices.answered import Answers, Device, Row, by_variant, measured, slower, timings
from workbench.devices.keys import LENGTH, LETTERS, Keys
from workbench.devices.received import Received, enough
from workbench.devices.refusal import Refused
from workbench.errors import BadFile
from workbench.estimate import Z95, Estimate
from workbench.measure.latency import PLACEMENT

IDS = ("original", "half")


class Clock:
    """Seconds that a test lets pass."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def compared(index: int, values: Any) -> Answers:
    return Answers(len(values), int((values.argmax(1) != index).sum()), float(np.abs(values).max()))


def stand_in() -> Any:
    """An offer of two networks of 10 million MACs, which give three numbers for each of four inputs."""
    variants = [SimpleNamespace(name=one) for one in IDS]
    return SimpleNamespace(
        digest="this", ids=IDS, macs=[1e7, 1e7], width=3, count=4, variants=variants, compare=compared
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def received(clock: Clock) -> Received:
    found = Received("d1", stand_in(), clock)
    found.introduce(body(browser="Test/1.0", name="Phone", cores=8, isolated=True), ())
    clock.now += 60
    return found


def body(**entries: Any) -> bytes:
    return json.dumps(entries).encode()


def rounds(**changes: Any) -> bytes:
    usual = {"offer": "this", "backend": "wasm", "threads": 1, "session": 0, "start": 0, "load_ms": [5.0, 4.0]}
    return body(**{**usual, "rounds": [[10.0, 5.0]] * 4, **changes})


def test_a_key_is_for_one_device() -> None:
    keys = Keys()
    key, other = keys.issue(), keys.issue()
    assert len(key) == LENGTH and set(key) <= set(LETTERS) and key != other
    keys.check(key, "")
    keys.check(key, "")  # looking does not use it up
    cookie = keys.claim(key, "")
    assert keys.claim(key, cookie) == cookie and keys.holds(key, cookie)
    assert not keys.holds(other, cookie)
    for stranger in ("", "x", cookie[:-1], "é"):
        with pytest.raises(Refused, match="Another device has used this address") as refused:
            keys.claim(key, stranger)
        assert refused.value.status == 403
    with pytest.raises(Refused, match="none that the workbench gave"):
        keys.claim(key[:-1] + "0", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rounds": [[10.0, -5.0]]}, r"holds -5\.0; a time is a number of milliseconds above 0"),
        ({"rounds": [[10.0, 0]]}, "above 0"),
        ({"rounds": [[10.0, math.nan]]}, "above 0"),
        ({"rounds": [[10.0, math.inf]]}, "no run takes longer"),
        ({"rounds": [[10.0, 10**400]]}, "no run takes longer"),
        ({"rounds": [[10.0, True]]}, "above 0"),
        ({"rounds": [[10.0, "5"]]}, "above 0"),
        ({"rounds": [[10.0, 1e-3]]}, "no processor computes that network in less than 0.005 ms"),
        ({"rounds": [[10.0]]}, "it holds 2 times, one for each network"),
        ({"rounds": [10.0]}, "it holds 2 times"),
        ({"rounds": [[5e4, 5e4]]}, "worked 100 s, and it came 60 s ago"),
        ({"rounds": [[1.0, 1.0]] * 401}, "sessions of 400 rounds are not taken"),
        ({"offer": "another"}, "results of other networks"),
        ({"backend": "npu"}, "no backend 'npu'"),
        ({"threads": 9}, "a whole number from 1 to 8"),
        ({"threads": True}, "of another kind"),
        ({"session": 2}, "number of the session is 2"),
        ({"start": 1}, "number of the first round is 1"),
        ({"load_ms": [-1, 4]}, "above 0"),
        ({"rounds": {}}, "of another kind"),
        ({"more": 1}, "other entries"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    received: Received, changes: dict[str, Any], said: str
) -> None:
    received.times(rounds(threads=2))
    before = received.device()
    with pytest.raises(Refused, match=said):
        received.times(rounds(**changes))
    assert received.device() == before


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"rounds": 1}'])
def test_what_is_no_message_is_refused(received: Received, sent: bytes) -> None:
    for take in (received.times, received.fail, received.sustain):
        with pytest.raises(Refused, match=r"no JSON|other entries"):
            take(sent)
    assert received.device().rows == ()


@pytest.mark.parametrize("name", ["", " Phone", "Phone ", "a  b", "a_b", "<b>", "x" * 41, "Pixel, 8", "a\nb", "🙂"])
def test_a_name_is_words(received: Received, name: str) -> None:
    with pytest.raises(Refused, match="cannot be used"):
        received.rename(body(name=name), ())
    assert received.name == "Phone"


def test_devices_have_names_of_their_own(received: Received) -> None:
    received.rename(body(name="Größe 8-a"), ())
    with pytest.raises(Refused, match="called Tablet already"):
        received.rename(body(name="Tablet"), {"Tablet"})
    second = Received("d2", stand_in())
    second.introduce(body(browser="b", name="Größe 8-a", cores=1, isolated=False), {"Größe 8-a"})
    assert (received.name, second.name) == ("Größe 8-a", "Größe 8-a 2")


def test_what_is_sent_twice_counts_once(received: Received) -> None:
    received.times(rounds())
    received.times(rounds())
    received.times(rounds(start=3, rounds=[[10.0, 5.0], [11.0, 5.5]]))
    received.times(rounds(session=1))
    (row,) = received.device().rows
    assert [len(one) for one in row.rounds] == [5, 4]
    assert row.rounds[0][4] == (11.0, 5.5)
    assert row.load_ms == ((5.0, 4.0), (5.0, 4.0))


def test_ratios_and_intervals_are_those_of_the_desk(received: Received) -> None:
    """Twice as fast in every round, however the device drifts: all doubt that is left is that of placement."""
    for session, drift in enumerate((1.0, 3.0, 2.0)):
        assert not any(map(enough, received.device().rows))
        times = [[10 * drift * k, 5 * drift * k] for k in (1, 1.5, 1.2, 0.9)]
        received.times(rounds(session=session, rounds=times))
    (row,) = received.device().rows
    speed = row.speedup["half"]
    assert speed.value == pytest.approx(2)
    assert speed.low == pytest.approx(2 * math.exp(-Z95 * PLACEMENT))
    assert speed.high == pytest.approx(2 * math.exp(Z95 * PLACEMENT))
    every = [5 * drift * k for drift in (1, 2, 3) for k in (1, 1.5, 1.2, 0.9)]
    assert row.latency["half"].value == pytest.approx(np.median(every), rel=0.05)  # the median of logarithms
    assert row.speedup["original"] == Estimate(1, 1, 1)
    assert enough(row)


def test_sessions_of_other_lengths_count_by_their_last_rounds() -> None:
    """Of 5, 4, 1 and 2 rounds the last four of the first two are most; the slow first one is left out."""
    one = [[9.0, 9.0]] + [[k, k / 2] for k in (1.0, 2.0, 3.0, 4.0)]
    found = timings([one, one[1:], one[:1], one[:2]], 1)
    assert found is not None
    assert [times.tolist() for times in found.times] == [[[1, 2, 3, 4]] * 2, [[0.5, 1, 1.5, 2]] * 2]
    assert timings([one[:2], []], 1) is None


def test_a_wide_interval_is_not_enough(received: Received) -> None:
    for session in range(3):
        received.times(rounds(session=session, rounds=[[10.0, 10.0 * k] for k in (0.5, 2, 1, 3)]))
    assert not enough(received.device().rows[0])


def test_outputs_come_in_pieces_and_are_compared(received: Received) -> None:
    values = np.eye(3, dtype="<f4")[[0, 0, 1, 0]]
    received.outputs(0, 0, values[:2].tobytes())
    assert received.answered == [2, 0]
    received.outputs(0, 1, values[1:].tobytes())  # overlaps, after a break
    assert received.device().answers == {"original": Answers(4, 1, 1.0)}
    for index, start, sent, said in [
        (2, 0, values.tobytes(), "number of the network is 2"),
        (0, 5, values.tobytes(), "number of the first input is 5"),
        (1, 1, values.tobytes(), "number of the first input is 1"),
        (1, 0, values.tobytes()[:-1], "bytes of outputs came"),
        (1, 0, np.zeros((5, 3), "<f4").tobytes(), "bytes of outputs came"),
        (1, 0, b"", "bytes of outputs came"),
        (1, 0, np.full((4, 3), np.nan, "<f4").tobytes(), "are no numbers"),
    ]:
        with pytest.raises(Refused, match=said):
            received.outputs(index, start, sent)
    assert received.answered == [4, 0]


def test_keeping_on_is_kept_and_cannot_have_been_in_the_future(received: Received) -> None:
    about = {"offer": "this", "backend": "wasm", "threads": 1}
    received.sustain(body(**about, points=[[5, 10, 5], [10, 12, 6]]))
    for points in ([[5, 10, 5], [5, 12, 6]], [[70, 10, 5]], [[1, 10]], [[-1, 10, 5]]):
        with pytest.raises(Refused):
            received.sustain(body(**about, points=points))
    found = received.device().over_time()
    assert list(found.seconds) == [5, 5, 10, 10] and list(found.latency_ms) == [10, 5, 12, 6]
    assert list(found.variant) == [*IDS, *IDS]


def test_a_row_that_fails_says_why(received: Received) -> None:
    received.fail(body(offer="this", backend="webgpu", threads=1, why="no adapter"))
    assert [(one.title, one.note) for one in received.device().rows] == [("WebGPU in its browser", "no adapter")]
    for threads in (1, 2, 3):
        received.times(rounds(threads=threads))
    with pytest.raises(Refused, match="More than 4 ways"):
        received.times(rounds(threads=4))


def row(threads: int, half: float) -> Row:
    times = tuple(tuple((10.0 * k, 10.0 * k * half) for k in (1, 1.1, 0.9)) for _ in range(2))
    return measured(Row("wasm", threads, IDS, ((1.0, 1.0),), times))


def device(identity: str, name: str, created: str, *rows: Row) -> Device:
    return Device(identity, name, "Test/1.0", created, 4, True, rows, {"half": Answers(4, 1, 0.5)})


def test_a_device_is_read_as_it_was_written_and_else_refused() -> None:
    one = device("d1", "Phone", "2026-01-01", row(1, 0.5), row(4, 2.0))
    assert Device.from_json("d1", one.to_json()) == one
    for damaged in ("", "[]", "{}", one.to_json()[:-2], one.to_json().replace('"backend"', '"front"')):
        with pytest.raises(BadFile, match="device d1"):
            Device.from_json("d1", damaged)


def test_the_newest_of_a_name_counts_in_figures_and_verdicts() -> None:
    old = device("d1", "Phone", "2026-01-01", row(1, 2.0), row(4, 2.0))
    new, other = device("d2", "Phone", "2026-01-02", row(1, 0.5)), device("d3", "Tablet", "2026-01-03", row(1, 4.0))
    found = by_variant([old, new, other])["half"]
    assert found["speedup on Phone"].value == pytest.approx(2)
    assert found["latency_ms on Phone"].unit == "ms"
    assert found["speedup on Phone, 4 threads"].value == pytest.approx(0.5)
    said = slower([old, new, other], "half")
    assert len(said) == 2
    assert "On Phone (WebAssembly in its browser, 4 threads) it is slower than the original: 0.50×" in said[0]
    assert "Tablet" in said[1] and "0.25×" in said[1]
    assert slower([old, new, other], "original") == []
