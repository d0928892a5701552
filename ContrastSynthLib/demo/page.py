"""The page of the demonstration: one HTML file that includes its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from ContrastSynthLib.analysis.enhancement import ADDED_PART, INVENTED, LOST_PART, MISSED
from ContrastSynthLib.analysis.evaluation import enhancement_of
from ContrastSynthLib.analysis.kinetics import KineticCurve, mean_curve, measure_curve
from ContrastSynthLib.analysis.profiles import line_profile
from ContrastSynthLib.analysis.uptake import uptake
from ContrastSynthLib.errors import RequestError
from ContrastSynthLib.plots.figures import (
    Panel,
    choose_slice,
    display_slice,
    plot_profiles,
    slice_figure,
)
from ContrastSynthLib.plots.html import html_picture, html_table
from ContrastSynthLib.plots.kinetics import plot_curves
from ContrastSynthLib.preprocessing.foreground import foreground
from ContrastSynthLib.registry import IMAGE, Method
from ContrastSynthLib.resources import resource
from ContrastSynthLib.running.provenance import software
from ContrastSynthLib.running.result import Result
from ContrastSynthLib.volumes import BoolArray, Volume, times_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROFILE_HALF_LENGTH_MM = 70.0
LESIONS_LISTED = 8
DEEP_MM = 15.0
"""Depth in the brain below which uptake determines the slice that is shown."""
KINDS = ("found", "missed", "invented")
KINETICS = {
    "initial_enhancement": "initial enhancement",
    "delayed_change": "delayed change",
    "signal_enhancement_ratio": "SER",
    "time_to_peak_s": "time to peak, s",
}
METRICS = {"mae": "MAE", "rmse": "RMSE", "psnr_db": "PSNR, dB", "ssim": "SSIM"}


class Page:
    """Collects the sections of the page, one for each case."""

    def __init__(self) -> None:
        self._body: list[str] = []
        self._place: tuple[float, float, float] = (0.0, 0.0, 0.0)
        self._region: BoolArray = np.zeros((0, 0, 0), bool)

    def start_case(self, name: str, description: str, scans: Mapping[str, Volume]) -> None:
        """Start a section; show the scans and the uptake."""
        self._body.append(f"<h2>{escape(name)}</h2><p class='soft'>{escape(description)}</p>")
        pre, post = scans["pre"], scans["post"]
        region = foreground([pre, post])
        self._region = region.mask
        found = uptake(pre, post, region.mask, convention="real_scans")
        mask = pre.with_array(found.soft)
        self._place = _slice_with_deep_uptake(pre.with_array(found.binary), region.mask)
        panels = [
            self._panel(role, volume)
            for role, volume in scans.items()
            if role in ("pre", "low", "post", "corrupted")
        ]
        panels.append(self._panel("uptake on post", post, uptake=self._slice(mask)))
        self._show(slice_figure(panels))
        self._body.append(
            f"<p>Uptake {found.volume_ml:.1f} ml, {found.share_of_brain:.1%} of the region "
            f"({escape(region.source)}): post - pre exceeds {found.threshold:g} of the pre scan's "
            f"{escape(found.reference_level)}.</p>"
        )

    def add_result(
        self,
        scans: Mapping[str, Volume],
        method: Method,
        result: Result,
        reports: Mapping[str, dict[str, Any]],
    ) -> None:
        """Add the result of a method: figures, a line profile, measures and warnings."""
        self._body.append(f"<h3>{escape(method.title)} (<code>{method.key}</code>)</h3>")
        self._body.append(f"<p class='soft'>{escape(method.intended_use)}</p>")
        inputs = {role: scans[role] for role in method.inputs if role in scans}
        volumes = {
            name: output for name, output in result.outputs.items() if isinstance(output, Volume)
        }
        for name, volume in volumes.items():
            if method.outputs[name].kind != IMAGE:
                continue
            truth = scans.get(name)
            self._show(slice_figure(self._comparison(inputs, name, volume, truth)))
            lines = dict(inputs)
            lines |= {f"{name}, true": truth} if truth is not None else {}
            lines |= {f"{name}, SYNTHETIC": volume}
            self._show(plot_profiles(self._profiles(lines), unit="medians"), css="picture plot")
        for name, report in reports.items():
            self._body.append(_table(name, report))
            self._show_enhancement(scans, name, volumes[name], report["enhancement"])
        self._body.append(_table_of_record(result.provenance["record"]))
        if result.warnings:
            listed = "".join(f"<li>{escape(warning)}</li>" for warning in result.warnings)
            self._body.append(f"<ul class='warnings'>{listed}</ul>")

    def add_kinetics(
        self,
        name: str,
        phases: Sequence[Volume],
        labels: NDArray[np.uint8],
        made_as: Sequence[str],
    ) -> None:
        """Show a dynamic series, and the curve and type of each labelled lesion.

        ``made_as`` are the true types of the lesions with the labels 1, 2, ...
        """
        self._body.append(f"<h2>{escape(name)}</h2>")
        self._body.append(
            "<p class='soft'>A virtual patient in six phases, with lesions of types I, II and III. "
            "The curves follow the Tofts model.</p>"
        )
        pre, early, late = phases[0], phases[1], phases[-1]
        self._place = choose_slice(pre.with_array(labels > 0))
        self._region = foreground(phases).mask
        rise = early.with_array(early.array - pre.array)
        shown = {"pre": pre, "first phase": early, "last phase": late, "first - pre": rise}
        panels = [
            Panel(title, *display_slice(volume, at_ras_mm=self._place))
            for title, volume in shown.items()
        ]
        self._show(slice_figure(panels))
        curves = {f"lesion {n}": _curve(phases, labels, n) for n in range(1, len(made_as) + 1)}
        self._show(plot_curves(curves), css="picture plot")
        rows = [
            [title, true, curve.type or "none", *(_number(getattr(curve, m)) for m in KINETICS)]
            for (title, curve), true in zip(curves.items(), made_as, strict=True)
        ]
        self._body.append(html_table(["lesion", "made as", "found as", *KINETICS.values()], rows))

    def add_later_phases(
        self,
        method: Method,
        phases: Sequence[Volume],
        made: Sequence[Volume],
        labels: NDArray[np.uint8],
    ) -> None:
        """Show the last of the phases that a method made beside the real ones, and the curves.

        ``made`` are the last phases of the series, and the method was given those before.
        """
        self._body.append(f"<h3>{escape(method.title)} (<code>{method.key}</code>)</h3>")
        self._body.append(f"<p class='soft'>{escape(method.intended_use)}</p>")
        given = phases[: len(phases) - len(made)]
        shown = {"given": given[-1], "last phase, true": phases[-1]}
        shown |= {"last phase, SYNTHETIC": made[-1]}
        self._show(slice_figure([self._panel(title, volume) for title, volume in shown.items()]))
        curves: dict[str, KineticCurve] = {}
        rows: list[list[str]] = []
        for n in range(1, int(labels.max()) + 1):
            pair = [_curve(series, labels, n) for series in (phases, [*given, *made])]
            curves |= dict(zip((f"lesion {n}, true", f"lesion {n}, SYNTHETIC"), pair, strict=True))
            changes = [_number(curve.delayed_change) for curve in pair]
            rows.append([f"lesion {n}", *(curve.type or "none" for curve in pair), *changes])
        self._show(plot_curves(curves), css="picture plot")
        heads = ["lesion", "type, true", "type, SYNTHETIC"]
        heads += ["delayed change, true", "delayed change, SYNTHETIC"]
        self._body.append(html_table(heads, rows))

    def write(self, path: Path, command: str, seconds: float) -> None:
        """Write the page; raises RequestError when the file cannot be written."""
        template = Template(resource("DemoPage.html").read_text(encoding="utf-8"))
        text = template.substitute(
            body="\n".join(self._body),
            command=escape(command),
            seconds=f"{seconds:.0f}",
            software=escape(json.dumps(software(), indent=2)),
        )
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"{path}: could not be written ({error.strerror}).") from error

    def _show_enhancement(
        self, scans: Mapping[str, Volume], name: str, made: Volume, report: Mapping[str, Any]
    ) -> None:
        """Show missed and invented enhancement, as a map and as a list of lesions."""
        found = enhancement_of(
            scans[name], made, pre=scans["pre"], post=scans["post"], brain=self._region
        )
        kinds = {"missed": (MISSED, LOST_PART), "invented": (INVENTED, ADDED_PART)}
        post = scans["post"]
        panels = [self._panel("post", post)]
        for kind, values in kinds.items():
            marked = self._slice(post.with_array(np.isin(found.map, values)))
            panels.append(self._panel(f"{kind} enhancement, on post", post, uptake=marked))
        self._show(slice_figure(panels))
        totals = ", ".join(
            f"{k} {report[f'{k}_count']} ({report[f'{k}_ml']:.2f} ml)" for k in KINDS
        )
        self._body.append(
            f"<p>Lesions of at least {report['minimum_volume_mm3']:g} mm<sup>3</sup>: {totals}; "
            f"parts of found lesions that are missing: {report['lost_part_ml']:.1f} ml.</p>"
        )
        wrong = [lesion for lesion in report["lesions"] if lesion["kind"] != "found"]
        rows = [
            [
                lesion["kind"],
                f"{lesion['volume_ml']:.3f}",
                f"{lesion['mean_error']:.3f}",
                " ".join(f"{mm:.0f}" for mm in lesion["centre_ras_mm"]),
            ]
            for lesion in wrong[:LESIONS_LISTED]
        ]
        if rows:
            header = ["lesion", "volume, ml", "mean error", "centre, R A S mm"]
            self._body.append(html_table(header, rows))

    def _comparison(
        self, inputs: Mapping[str, Volume], name: str, made: Volume, truth: Volume | None
    ) -> list[Panel]:
        """Return input, result, true scan and difference; without true scan, result - input."""
        *_, (role, last) = inputs.items()
        panels = [
            self._panel(role, last),
            self._panel(name, made, tag="SYNTHETIC"),
        ]
        other, label = last, role
        if truth is not None:
            other, label = truth, f"true {name}"
            panels.append(self._panel(label, truth))
        difference = made.with_array(self._in_medians(made) - self._in_medians(other))
        picture, extent = display_slice(difference, at_ras_mm=self._place)
        panels.append(
            Panel(
                f"{name} - {label}", picture, extent, difference=True, unit="medians of the brain"
            )
        )
        return panels

    def _panel(self, title: str, volume: Volume, uptake: Any = None, tag: str = "") -> Panel:
        scaled = volume.with_array(self._in_medians(volume))
        picture, extent = display_slice(scaled, at_ras_mm=self._place)
        return Panel(title, picture, extent, uptake=uptake, tag=tag)

    def _slice(self, volume: Volume) -> Any:
        return display_slice(volume, at_ras_mm=self._place)[0]

    def _in_medians(self, volume: Volume) -> Any:
        return volume.array / float(np.median(volume.array[self._region]))

    def _profiles(self, volumes: Mapping[str, Volume]) -> dict[str, Any]:
        """Return profiles from right to left through the point that is shown."""
        right, anterior, superior = self._place
        start, end = (
            (right + sign * PROFILE_HALF_LENGTH_MM, anterior, superior) for sign in (1, -1)
        )
        return {
            name: line_profile(volume.with_array(self._in_medians(volume)), start, end)
            for name, volume in volumes.items()
        }

    def _show(self, figure: Figure, css: str = "picture") -> None:
        self._body.append(html_picture(figure, css))


def _slice_with_deep_uptake(uptake: Volume, brain: BoolArray) -> tuple[float, float, float]:
    """Return a point in the slice with the most uptake deep in the brain.

    Near the surface there is uptake without lesions, in dura and vessels.
    """
    spacing_kji = uptake.grid.spacing_mm[::-1]
    deep = distance_transform_edt(brain, sampling=spacing_kji) > DEEP_MM
    inside = uptake.with_array(uptake.array * deep)
    return choose_slice(inside if inside.array.any() else uptake)


def _table(name: str, report: Mapping[str, Any]) -> str:
    """Return the measures by region, and a comparison with the unchanged post scan."""
    rows = [
        [region, f"{found['volume_ml']:.1f}", *(_number(found[metric]) for metric in METRICS)]
        for region, found in report["regions"].items()
    ]
    header = [f"{name}: inside the", "volume, ml", *METRICS.values()]
    text = html_table(header, rows)
    if "scale" in report:
        scale = report["scale"]
        text += (
            f"<p>The unchanged post scan has a PSNR of {scale['do_nothing_psnr_db']:.1f} dB. If "
            f"the uptake were removed perfectly, it would be {scale['reachable_psnr_db']:.1f} dB. "
            f"The result has {scale['share_of_reachable']:.0%} of this gain.</p>"
        )
    return text + f"<p class='soft'>Unit: {escape(report['unit'])}.</p>"


def _table_of_record(record: Mapping[str, Any]) -> str:
    rows = []
    for key, value in record.items():
        several = value.items() if isinstance(value, dict) else [("", value)]
        rows += [
            [f"{key} {part}".strip(), _number(v) if isinstance(v, (int, float)) else str(v)]
            for part, v in several
            if v != []
        ]
    return html_table(["recorded", "value"], rows)


def _curve(phases: Sequence[Volume], labels: NDArray[np.uint8], label: int) -> KineticCurve:
    return measure_curve(times_of(phases).tolist(), mean_curve(phases, labels == label))


def _number(value: float | int | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
