"""The server of devices over HTTP, with a test in the device's place; and what becomes of its answers in the study."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
import pytest
import tiny

import workbench as wb
from workbench.devices.invitation import Invitation
from workbench.errors import BadValue, UnknownName
from workbench.frames.limits import read_limits
from workbench.frames.pareto import more_is_better
from workbench.kept import Kept
from workbench.study import Study
from workbench.variant import Variant

SLOWER = "it is slower than the original:"
WHO = {"browser": "Test/1.0", "name": "Pixel 8", "cores": 4, "isolated": True}


@dataclass
class Answer:
    status: int
    headers: Any
    content: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.content)


class Phone:
    """A device: it keeps its cookie, and asks and sends as the page does."""

    def __init__(self, address: str) -> None:
        found = urlsplit(address)
        assert found.hostname == "127.0.0.1"
        self.port, self.path, self.cookie = found.port, found.path, ""

    def ask(self, path: str = "", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            where = path if path.startswith("/") else self.path + path
            method = "GET" if body is None else "POST"
            connection.request(method, where, body, {"Cookie": self.cookie, **headers})
            found = connection.getresponse()
            given = found.headers.get("Set-Cookie", "")
            self.cookie = given.partition(";")[0] or self.cookie
            return Answer(found.status, found.headers, found.read())
        finally:
            connection.close()

    def send(self, path: str, about: Any) -> Answer:
        return self.ask(path, json.dumps(about).encode())


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return wb.Study(tiny.tiny_model(), tiny.tiny_data(), path=tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def variant(study: Study) -> Variant:
    return study.run(wb.Quantize("int8"), progress=False)


@pytest.fixture
def invited(study: Study, variant: Variant) -> Iterator[Invitation]:
    with study.device(variant) as invitation:
        yield invitation


@pytest.fixture
def phone(invited: Invitation) -> Phone:
    found = Phone(invited.address)
    found.offer = found.send("claim", WHO).said
    return found


def times(phone: Phone, half: float, session: int = 0, threads: int = 1) -> Answer:
    rounds = [[1.0 * k, half * k] for k in (1, 1.2, 0.9, 1.1)]
    about = {"backend": "wasm", "threads": threads, "session": session, "start": 0, "load_ms": [2.0, 2.0]}
    return phone.send("times", {"offer": phone.offer["offer"], **about, "rounds": rounds})


def test_an_address_is_for_one_device(invited: Invitation) -> None:
    first, second = Phone(invited.address), Phone(invited.address)
    assert first.ask().status == second.ask().status == 200  # a preview uses nothing up
    assert first.ask("network/0").status == 403
    assert first.send("claim", WHO).status == 200
    for answer in (second.send("claim", WHO), second.ask("network/0"), second.ask(), second.ask("page.js")):
        assert answer.status == 403
        assert b"Another device has used this address already" in answer.content
    assert first.ask().status == first.send("claim", WHO).status == 200  # loaded again
    assert Phone(invited.address).path != first.path  # the next one's
    assert any("Another device has used" in one for one in invited.refusals)


def test_a_device_that_introduces_itself_badly_may_do_so_again(invited: Invitation) -> None:
    phone = Phone(invited.address)
    assert phone.send("claim", WHO | {"name": "<script>"}).status == 400
    assert phone.send("claim", WHO).status == phone.ask("network/0").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/aaaaaaaaaaaa/", "/aaaaaaaaaaaa/network/0", "/../etc/passwd", "/%2e%2e/x", "//", "/%C3%A9/"]
)
def test_a_forged_address_opens_nothing(invited: Invitation, path: str) -> None:
    answer = Phone(invited.address).ask(path)
    assert answer.status == 404
    assert b"none that the workbench gave" in answer.content


def test_the_page_reaches_its_artefacts_and_nothing_else(phone: Phone, study: Study, variant: Variant) -> None:
    assert phone.ask("network/0").content == study.baseline.onnx.read_bytes()
    assert phone.ask("network/1").content == variant.onnx.read_bytes()
    inputs = np.frombuffer(phone.ask("input/0").content, "<f4").reshape(-1, *tiny.SHAPE)
    assert np.array_equal(inputs, study.data["test"].inputs.numpy()[: phone.offer["count"]])
    for path in ("network/2", "input/1", "study.sqlite", "worker.mjs", "network/-1", "x/y", "..%2f..%2fserving.py"):
        answer = phone.ask(path)
        assert answer.status in {403, 404} and len(answer.content) < 2000
    for site in ("cross-site", "same-site"):
        assert phone.ask("network/0", **{"Sec-Fetch-Site": site}).status == 403


def test_the_page_is_isolated_and_fetches_nothing_from_elsewhere(phone: Phone) -> None:
    page = phone.ask()
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert b"//" not in page.content
    for name in ("page.js", "worker.js", "clock.js", "page.css"):
        zipped, plain = (phone.ask(name, **{"Accept-Encoding": how}) for how in ("gzip, br", "identity"))
        assert zipped.headers["Content-Encoding"] == "gzip" and plain.headers["Content-Encoding"] is None
        assert b"http://" not in plain.content.replace(b"http://www.w3.org", b"")


def test_answers_are_counted_against_the_same_file_here(phone: Phone, study: Study, variant: Variant) -> None:
    """Outputs by ONNX Runtime itself, of which three are made to be other answers."""
    count = phone.offer["count"]
    inputs = study.data["test"].inputs.numpy()[:count]
    session = onnxruntime.InferenceSession(str(variant.onnx))
    (values,) = session.run(None, {session.get_inputs()[0].name: inputs})
    changed = values.copy()
    changed[[3, 50, 7]] = -values[[3, 50, 7]]
    expected = int((changed.argmax(1) != values.argmax(1)).sum())
    for start in range(0, count, 25):
        said = phone.ask(f"outputs?network=1&start={start}", changed[start : start + 25].astype("<f4").tobytes()).said
    assert said["answers"][1]["differing"] == expected > 0
    assert said["answers"][1]["largest"] == pytest.approx(2 * np.abs(values[[3, 50, 7]]).max(), rel=1e-4)
    assert said["answered"] == [0, count]
    assert phone.ask("outputs?network=x&start=0", b"").status == 400


def test_what_a_device_answers_belongs_to_the_study(phone: Phone, study: Study, variant: Variant) -> None:
    said = [times(phone, 2.0, session).said for session in range(3)][-1]
    assert said["rows"][0]["enough"]
    assert said["rows"][0]["figures"][1]["ratio"][0] == pytest.approx(0.5)
    assert phone.send("name", {"name": "Old phone"}).said["name"] == "Old phone"
    renewed = study[variant.id]
    assert renewed["speedup on Old phone"].value == pytest.approx(0.5)
    assert f"On Old phone (WebAssembly in its browser, one thread) {SLOWER} 0.50×" in renewed.verdict
    assert "latency_ms on Pixel 8" not in renewed.elsewhere
    frame = study.frame().set_index("id")
    assert frame.loc[study.baseline.id, "latency_ms on Old phone"] == pytest.approx(1.05, rel=0.01)  # between 1 and 1.1
    assert frame.loc[variant.id, "speedup on Old phone_high"] < 1
    column = wb.charts.column("latency_ms on Old phone")
    assert column.title == "Latency on Old phone (ms, batch 1)"
    assert more_is_better(frame, "speedup on Old phone") and not more_is_better(frame, "latency_ms on Old phone")
    (limit,) = read_limits("latency on Old phone < 1.5 ms")
    assert list(frame[limit.met(frame[limit.column])].index) == [study.baseline.id]
    assert wb.charts.tradeoff(study.frame(), x="latency_ms on Old phone").to_dict()["layer"]


def test_a_study_that_is_opened_again_knows_its_devices(phone: Phone, study: Study, variant: Variant) -> None:
    times(phone, 2.0)
    phone.send("name", {"name": "Old phone"})
    renewed = study[variant.id]
    again = wb.Study(study.model, study.data, path=study.path)
    assert again[variant.id]["speedup on Old phone"] == renewed["speedup on Old phone"]
    assert again[variant.id].verdict == renewed.verdict
    kept = Kept(str(study.path))
    assert kept.variant(variant.id).verdict == renewed.verdict and kept.devices == study.devices
    assert "latency_ms on Old phone" in kept.frame()

    for device in study.devices:
        study.forget_device(device)
    assert study[variant.id].elsewhere == {} and "slower than the original: 0.50" not in study[variant.id].verdict
    with pytest.raises(BadValue, match="No device of this study"):
        study.forget_device(device.id)


def test_a_device_is_a_row_of_the_portability_matrix(phone: Phone, study: Study, variant: Variant) -> None:
    times(phone, 0.5)
    times(phone, 0.25, threads=4)
    matrix = study.portability(variant, ["onnxruntime"], images=20, progress=False)
    here, one, four = matrix[matrix.device.isin(["", "Pixel 8"])].to_dict("records")
    assert (here["device"], one["device"], four["device"]) == ("", "Pixel 8", "Pixel 8")
    assert (one["runtime"], one["threads"], four["threads"]) == ("onnxruntime-web-wasm", 1, 4)
    assert one["over_original"] == pytest.approx(2) and four["over_original"] == pytest.approx(4)
    assert one["over_original_low"] < 2 < one["over_original_high"] and math.isnan(one["speedup"])
    assert here["over_original"] == variant["speedup"].value


def test_refused_results_leave_the_study_as_it_was(phone: Phone, invited: Invitation, study: Study) -> None:
    times(phone, 0.5)
    before = study.devices
    more: dict[str, int]
    for half, more in ((-1.0, {}), (1e9, {}), (1e-9, {}), (0.5, {"session": 5}), (0.5, {"threads": 99})):
        answer = times(phone, half, **more)
        assert answer.status == 400 and answer.said["refused"].endswith(".")
        assert invited.refusals[-1] == f"Pixel 8: {answer.said['refused']}"
    phone.offer["offer"] = "0" * 16
    assert "other networks" in times(phone, 0.5).said["refused"]
    with contextlib.suppress(ConnectionError):  # or hung up on while it still sends
        assert phone.ask("times", b"x" * (3 << 20)).status in {400, 413}
    assert study.devices == before


def test_a_damaged_answer_is_left_out_and_told(phone: Phone, study: Study, variant: Variant) -> None:
    times(phone, 0.5)
    study._storage.keep_device("broken", "{}")
    with pytest.warns(UserWarning, match="device broken answered cannot be read"):
        again = wb.Study(study.model, study.data, path=study.path)
    assert "speedup on Pixel 8" in again[variant.id].elsewhere
    assert any("broken" in note for note in Kept(str(study.path)).notes)
    study._storage.forget_device("broken")


def test_devices_are_waited_for(invited: Invitation, phone: Phone) -> None:
    times(phone, 0.5)
    assert not invited.wait(seconds=0.01)[0].finished
    phone.send("done", {})
    assert [one.name for one in invited.wait(seconds=30) if one.finished] == ["Pixel 8"]
    assert "█" in invited.qr and invited.address in invited._repr_html_() and "<svg" in invited._repr_html_()
    assert "--lan" in repr(invited)
    with pytest.raises(BadValue, match="at least one"):
        invited.wait(0)


def test_what_cannot_be_measured_is_refused_at_the_desk(study: Study, variant: Variant, tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="1 to 8 variants"):
        study.device(study.baseline)
    with pytest.raises(UnknownName):
        study.device("nothing")
    with pytest.raises(BadValue, match="certificate"):
        study.device(variant, certificate=(tmp_path / "cert.pem", tmp_path / "key.pem"))
    with pytest.raises(BadValue, match="two files"):
        study.device(variant, certificate=["cert.pem"])
    with study.device(variant) as invitation:
        taken = urlsplit(invitation.address).port
        assert taken is not None
        with pytest.raises(BadValue, match="Name another port"):
            study.device(variant, port=taken)
