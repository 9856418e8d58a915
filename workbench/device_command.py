"""The command `workbench device`: variants of a kept study, measured on whatever opens an address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from workbench.errors import BadValue
from workbench.report_command import loaded
from workbench.study_commands import Place
from workbench.terminal import console, plain_table

if TYPE_CHECKING:
    from workbench.devices.answered import Device
    from workbench.devices.invitation import Invitation
    from workbench.study import Study


def device(  # noqa: PLR0913  # the options of a command
    study: Place,
    variants: Annotated[
        list[str] | None, typer.Argument(help="Variants: ids, beginnings of them, or names; none takes all.")
    ] = None,
    lan: Annotated[bool, typer.Option("--lan", help="Let devices in the local network open it.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 0,
    devices: Annotated[int, typer.Option(min=1, help="How many devices to wait for.")] = 1,
    certificate: Annotated[Path | None, typer.Option(help="A certificate (PEM), for HTTPS: all threads.")] = None,
    key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
    model: Annotated[str, typer.Option(help="The model's name or file, where the study's own name is none.")] = "",
    data: Annotated[str, typer.Option(help="The data, likewise.")] = "",
) -> None:
    """Show an address, and a QR code of it; measure the variants on the devices that open it, and keep the figures."""
    if (certificate is None) != (key is None):
        raise BadValue("A certificate needs its key, and a key its certificate: --certificate cert.pem --key key.pem.")
    runs, chosen = _opened(study, variants or [], model, data)
    pair = None if certificate is None or key is None else (certificate, key)
    with runs.device(chosen, lan=lan, port=port, certificate=pair) as invitation:
        for number in range(1, devices + 1):
            _show(invitation)
            invitation.wait(number)
        for one in invitation.devices:
            console.print(_table(one, runs), soft_wrap=True)
        for sentence in invitation.refusals:
            console.print(f"[yellow]Refused:[/] {escape(sentence)}", highlight=False, soft_wrap=True)


def _opened(place: str, variants: list[str], model: str, data: str) -> tuple[Study, list[str] | None]:
    """The study with its network and data, and the ids of its variants that are meant."""
    import workbench as wb
    from workbench.kept import Kept

    kept = Kept(place)
    runs = wb.Study(*loaded(kept, model, data), path=kept.address or kept.name)
    return runs, [kept.variant(one).id for one in variants] or None


def _show(invitation: Invitation) -> None:
    """What to open, as letters that a camera reads where that can be drawn."""
    code = invitation.qr
    if code:
        print(code)  # not through rich: it would break the lines
    console.print(f"Open [bold]{escape(invitation.address)}[/] on a device.  (Ctrl-C ends it)", soft_wrap=True)
    for note in invitation.notes:
        console.print(escape(note), highlight=False, soft_wrap=True)


def _table(device: Device, runs: Study) -> object:
    table = plain_table(f"{device.name}: {device.browser}")
    for name in ("", "variant", "ms", "times as fast", "other answers"):
        table.add_column(name, justify="left" if name in {"", "variant"} else "right")
    for row in device.rows:
        for one in row.speedup:
            speed, answers = row.speedup[one], device.answers.get(one)
            other = "" if answers is None or answers.differing is None else f"{answers.differing} of {answers.n}"
            ratio = f"{speed.value:.2f}× ({speed.low:.2f} to {speed.high:.2f})"
            table.add_row(row.title, escape(runs[one].name), f"{row.latency[one].value:.3g}", ratio, other)
        if row.note:
            table.add_row(row.title, escape(row.note), "", "", "")
    return table
