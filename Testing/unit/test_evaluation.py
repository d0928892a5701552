"""The report of ``evaluate``: right numbers, in the right region, and always JSON."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from ContrastSynthLib.analysis.enhancement import ADDED_PART, INVENTED, KINDS
from ContrastSynthLib.analysis.evaluation import enhancement_of, evaluate, onto_reference
from ContrastSynthLib.analysis.evaluation_rows import (
    COLUMNS,
    evaluation_rows,
    measured_by,
)
from ContrastSynthLib.analysis.uptake import REFERENCE_LEVELS, uptake
from ContrastSynthLib.cli import main
from ContrastSynthLib.errors import MissingError, RequestError
from ContrastSynthLib.files.csv_rows import rows_as_csv
from ContrastSynthLib.files.images import read_volume, write_volume
from ContrastSynthLib.files.writing import write_text
from ContrastSynthLib.geometry import Grid
from ContrastSynthLib.metrics import image
from ContrastSynthLib.volumes import Volume

GRID = Grid((20, 18, 16), (1.0, 1.5, 2.0))
INNER = (slice(2, -2),) * 3
LESION = (slice(4, 8), slice(5, 9), slice(6, 12))


def scans() -> tuple[Volume, Volume]:
    """A pre and a post scan of a brain in air: a lesion enhances, the gain is 1.4."""
    rng = np.random.default_rng(11)
    pre = np.zeros(GRID.shape, np.float32)
    pre[INNER] = rng.uniform(80, 120, pre[INNER].shape)
    post = pre.copy()
    post[LESION] += 70
    post[INNER] += rng.normal(0, 2, pre[INNER].shape)
    return Volume(pre, GRID), Volume(np.float32(1.4) * post, GRID)


@pytest.fixture
def pre() -> Volume:
    return scans()[0]


@pytest.fixture
def post() -> Volume:
    return scans()[1]


def in_medians(volume: Volume, brain: np.ndarray) -> np.ndarray:
    array = volume.array.astype(float)
    return np.clip(array / np.median(array[brain]), 0, None)


def strict_json(report):
    return json.loads(json.dumps(report, allow_nan=False))


def test_the_numbers_are_those_of_the_recipe_written_out(pre, post):
    synthetic = post.with_array(np.where(post.array > 200, 140, post.array))
    report = strict_json(evaluate(pre, synthetic, pre=pre, post=post))
    brain = (pre.array > 0) & (post.array > 0)
    real, made, given = (in_medians(v, brain) for v in (pre, synthetic, post))
    span = np.percentile(real[brain], 99.9)
    agent = brain & (given - real > 0.1 * span)
    assert agent.sum() == pytest.approx(4 * 4 * 6, abs=2)

    assert report["schema_version"] == 1
    assert report["data_range"] == pytest.approx(span, rel=1e-6)
    for name, where in (("brain", brain), ("uptake", agent)):
        region = report["regions"][name]
        error = made[where] - real[where]
        assert region["voxels"] == where.sum()
        assert region["volume_ml"] == pytest.approx(where.sum() * 3e-3)
        assert region["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert region["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-5)
        assert region["psnr_db"] == pytest.approx(
            peak_signal_noise_ratio(real[where], made[where], data_range=span), abs=1e-4
        )
        assert 0 < region["ssim"] < 1
        assert region["ssim_dimensions"] == 3
    assert report["uptake"]["convention"] == "real_scans"
    assert report["uptake"]["share_of_brain"] == pytest.approx(agent.sum() / brain.sum())
    assert report["notes"] == []


def test_the_scale_places_a_result_between_nothing_and_what_can_be_reached(pre, post):
    brain = (pre.array > 0) & (post.array > 0)
    nothing = evaluate(pre, post, pre=pre, post=post)["scale"]
    assert nothing["share_of_reachable"] == pytest.approx(0, abs=1e-6)
    assert nothing["uptake_mae_of_do_nothing"] == pytest.approx(1)
    assert nothing["gain_db"] == pytest.approx(0, abs=1e-6)

    real, given = in_medians(pre, brain), in_medians(post, brain)
    span = np.percentile(real[brain], 99.9)
    best = np.where(given - real > 0.1 * span, real, given)
    expected = 10 * np.log10(span**2 / np.mean((best - real)[brain] ** 2))
    assert nothing["reachable_psnr_db"] == pytest.approx(expected, abs=1e-3)
    # A result is divided by its own median again, as any other.
    reached = pre.with_array(best)
    scale = evaluate(pre, reached, pre=pre, post=post)["scale"]
    left = best / np.median(best[brain]) - real
    got = 10 * np.log10(span**2 / np.mean(left[brain] ** 2))
    none = nothing["do_nothing_psnr_db"]
    assert scale["gain_db"] == pytest.approx(got - none, abs=1e-3)
    assert scale["share_of_reachable"] == pytest.approx((got - none) / (expected - none), abs=1e-3)
    assert scale["share_of_reachable"] == pytest.approx(1, abs=0.1)
    assert scale["uptake_mae_of_do_nothing"] < 0.05


def test_there_is_no_scale_unless_the_reference_is_the_pre_scan(pre, post):
    assert "scale" in evaluate(pre, post, pre=pre.with_array(pre.array.copy()), post=post)
    assert "scale" not in evaluate(post, pre, pre=pre, post=post)
    assert "scale" not in evaluate(pre, post)
    assert "uptake" not in evaluate(pre, post)["regions"]


def test_a_gain_is_forgiven_by_the_medians_and_only_by_them(pre):
    brighter = pre.with_array(2 * pre.array)
    assert evaluate(pre, brighter)["regions"]["brain"]["mae"] == pytest.approx(0, abs=1e-7)
    plain = evaluate(pre, brighter, normalise="none")
    assert plain["regions"]["brain"]["mae"] == pytest.approx(pre.array[pre.array > 0].mean())
    assert plain["data_range"] == pytest.approx(np.percentile(pre.array[pre.array > 0], 99.9))
    assert plain["unit"] == "as in the files"


def test_values_below_zero_count_as_zero_in_medians_and_as_they_are_otherwise(pre):
    """Resampling undershoots beside bright rims; a magnitude image has no negative values."""
    undershoot, dark = pre.array.copy(), pre.array.copy()
    undershoot[5, 6, 7], dark[5, 6, 7] = -300, 0
    brain = pre.array > 0
    for normalise, mae in (("median", 0.0), ("none", 300 / brain.sum())):
        report = evaluate(
            pre.with_array(dark), pre.with_array(undershoot), brain=brain, normalise=normalise
        )
        assert report["regions"]["brain"]["mae"] == pytest.approx(mae, abs=1e-9)


def test_the_range_is_stated_and_is_that_of_the_pre_scan(pre, post):
    brain = pre.array > 0
    peak = np.percentile(pre.array[brain], 99.9)
    found = evaluate(post, pre, pre=pre, post=post)
    assert found["data_range"] == pytest.approx(peak / np.median(pre.array[brain]), rel=1e-5)
    assert "pre scan" in found["data_range_from"]
    found = evaluate(post, pre, pre=pre, post=post, normalise="none")
    assert found["data_range"] == pytest.approx(np.percentile(post.array[brain], 99.9))
    assert "reference" in found["data_range_from"]


def test_a_perfect_result_is_json_and_says_why_a_number_is_missing(pre, post):
    report = strict_json(evaluate(pre, pre, pre=pre, post=post))
    assert report["regions"]["brain"]["psnr_db"] is None
    assert report["regions"]["brain"]["ssim"] == 1.0
    assert report["regions"]["brain"]["mae"] == 0.0
    assert "regions.brain.psnr_db is infinite." in report["notes"]
    assert report["scale"]["uptake_mae_of_do_nothing"] == 0.0


def test_without_uptake_its_metrics_are_missing(pre):
    report = strict_json(evaluate(pre, pre, pre=pre, post=pre))
    assert report["regions"]["uptake"]["voxels"] == 0
    assert report["regions"]["uptake"]["mae"] is None
    assert any("regions.uptake.mae is undefined" in note for note in report["notes"])
    assert report["scale"]["share_of_reachable"] is None


@pytest.mark.parametrize("as_volume", [True, False])
def test_a_mask_bounds_the_numbers(pre, post, as_volume):
    mask = np.zeros(GRID.shape, bool)
    mask[LESION] = True
    spoiled = pre.array.copy()
    spoiled[9:, 12:, 12:] *= 3
    given = pre.with_array(mask) if as_volume else mask
    report = evaluate(pre, pre.with_array(spoiled), mask=given, normalise="none")
    assert report["regions"]["mask"]["voxels"] == mask.sum()
    assert report["regions"]["mask"]["mae"] == 0
    assert report["regions"]["brain"]["mae"] > 1


def test_the_default_brain_is_where_both_scans_are_positive(pre, post):
    half = post.array.copy()
    half[:, :9] = 0
    report = evaluate(pre, post.with_array(half))
    assert report["regions"]["brain"]["voxels"] == ((pre.array > 0) & (half > 0)).sum()
    assert report["brain_from"] == "voxels above 0 in reference and synthetic"
    assert "outside of the estimated brain" in report["notes"][0]
    # With both scans, a synthetic volume cannot choose where it is measured.
    report = evaluate(pre, post.with_array(half), pre=pre, post=post, normalise="none")
    assert report["regions"]["brain"]["voxels"] == (pre.array > 0).sum()
    brain = np.zeros(GRID.shape, bool)
    brain[5:9] = True
    report = evaluate(pre, post, brain=brain)
    assert report["regions"]["brain"]["voxels"] == brain.sum()
    assert report["brain_from"] == "given"


def test_a_thin_volume_is_compared_slice_by_slice(pre, post):
    thin = Grid((20, 18, 1), (1.0, 1.5, 2.0))
    pair = [Volume(volume.array[5:6], thin) for volume in (pre, post)]
    region = evaluate(*pair)["regions"]["brain"]
    assert region["ssim_dimensions"] == 2
    assert 0 < region["ssim"] < 1
    narrow = Grid((20, 8, 1), (1.0, 1.5, 2.0))
    report = strict_json(evaluate(*(Volume(v.array[5:6, :8], narrow) for v in (pre, post))))
    assert report["regions"]["brain"]["ssim"] is None
    assert any("too small" in note for note in report["notes"])


def test_wrong_requests_are_named(pre, post):
    with pytest.raises(RequestError, match="both pre and post"):
        evaluate(pre, post, pre=pre)
    with pytest.raises(RequestError, match="Only the post scan"):
        evaluate(pre, post, post=post)
    with pytest.raises(RequestError, match=r"normalisation 'medain'. Did you mean 'median'"):
        evaluate(pre, post, normalise="medain")
    with pytest.raises(RequestError, match="uptake convention"):
        evaluate(pre, post, pre=pre, post=post, convention="own")
    elsewhere = Volume(post.array, Grid(GRID.size, origin_mm=(5.0, 0.0, 0.0)))
    for arguments in [(pre, elsewhere), (pre, post, elsewhere), (pre, post, None, elsewhere)]:
        reference, synthetic, *more = arguments
        with pytest.raises(RequestError, match="different grids"):
            evaluate(
                reference,
                synthetic,
                **({"pre": pre, "post": more[0]} if len(more) == 1 else {}),
                **({"mask": more[1]} if len(more) == 2 else {}),
            )
    with pytest.raises(RequestError, match="mask is empty"):
        evaluate(pre, post, mask=np.zeros(GRID.shape, bool))
    with pytest.raises(RequestError, match="brain mask has the shape"):
        evaluate(pre, post, brain=np.ones((2, 2, 2), bool))
    with pytest.raises(RequestError, match="There are no"):
        evaluate(pre, pre.with_array(-pre.array))
    with pytest.raises(RequestError, match="data range is -"):
        evaluate(pre.with_array(-pre.array), pre, brain=pre.array > 0, normalise="none")
    with pytest.raises(RequestError, match="median of the synthetic volume"):
        evaluate(pre, pre.with_array(0 * pre.array), brain=pre.array > 0)


def test_inputs_are_not_written_into(pre, post):
    before = [volume.sha256() for volume in (pre, post)]
    evaluate(pre, post, pre=pre, post=post)
    assert [volume.sha256() for volume in (pre, post)] == before


def test_every_measure_of_the_papers_is_there(pre, post):
    report = strict_json(evaluate(pre, post, pre=pre, post=post))
    named = {"mae", "rmse", "relative_error", "psnr_db", "ssim", "cfs", "irc", "eis", "gmsd"}
    for region in report["regions"].values():
        assert named | {"gradient_magnitude_rmse"} <= set(region)
    assert set(report["contrast"]) == {"cnr_error", "mae_ce", "mae_sigma"}
    assert len(report["noise"]["radial"]) == len(report["noise"]["radial_frequency_per_mm"]) > 3


def test_a_perfect_result_has_no_error_of_contrast_or_noise(pre, post):
    report = evaluate(post, post, pre=pre, post=post)
    assert report["contrast"] == {"cnr_error": 0, "mae_ce": 0, "mae_sigma": 0}
    assert report["noise"]["variance"] == 0
    assert report["enhancement"]["missed_count"] == report["enhancement"]["invented_count"] == 0
    assert report["enhancement"]["found_count"] == 1


def counts(reference, synthetic, pre, post):
    found = enhancement_of(reference, synthetic, pre=pre, post=post)
    return [sum(lesion.kind == kind for lesion in found.lesions) for kind in KINDS.values()]


def test_enhancement_left_in_a_pre_scan_is_missed_and_a_hole_in_it_is_invented(pre, post):
    """The sign follows what was synthesised: what stays in a pre scan hides in the difference."""
    assert counts(pre, pre, pre, post) == [1, 0, 0]
    assert counts(pre, post, pre, post) == [0, 1, 0]
    dark = pre.array.copy()
    dark[10:13, 4:8, 12:17] *= 0.3
    assert counts(pre, pre.with_array(dark), pre, post) == [1, 0, 1]


def test_enhancement_lost_or_added_in_a_post_scan(pre, post):
    assert counts(post, pre.with_array(1.4 * pre.array), pre, post) == [0, 1, 0]
    bright = post.array.copy()
    bright[10:13, 4:8, 12:17] *= 1.7
    assert counts(post, post.with_array(bright), pre, post) == [1, 0, 1]


@pytest.mark.parametrize("level", REFERENCE_LEVELS)
def test_by_the_convention_of_the_uptake_found_and_missed_are_the_uptake(pre, post, level):
    brain, convention = (pre.array > 0) & (post.array > 0), REFERENCE_LEVELS[level]
    how = {"convention": convention, "minimum_volume_mm3": 0.0}
    for reference, made in ((pre, post), (pre, pre), (post, pre.with_array(1.2 * pre.array))):
        found = enhancement_of(reference, made, pre=pre, post=post, **how)
        expected = uptake(pre, post, brain, reference_level=level)
        assert expected.volume_ml > 0
        real = found.as_dict()["found_ml"] + found.missed_ml
        assert real == pytest.approx(expected.volume_ml)
        other = (made, post) if reference is pre else (pre, made)
        synthetic = uptake(*other, brain, reference_level=level).binary
        invented = np.isin(found.map, (INVENTED, ADDED_PART))
        assert (synthetic & ~expected.binary == invented & ~expected.binary).all()


def test_the_map_is_written_from_the_command_line(pre, post, tmp_path, capsys):
    for name, volume in (("pre", pre), ("post", post)):
        write_volume(volume, tmp_path / f"{name}.nrrd")
    pair = [f"--pre={tmp_path}/pre.nrrd", f"--post={tmp_path}/post.nrrd"]
    arguments = [
        "evaluate",
        f"--reference={tmp_path}/pre.nrrd",
        f"--synthetic={tmp_path}/post.nrrd",
    ]
    assert main([*arguments, *pair, f"--map={tmp_path}/map.nrrd"]) == 0
    assert "missed" in capsys.readouterr().out
    written = read_volume(tmp_path / "map.nrrd")
    assert (written.array == enhancement_of(pre, post, pre=pre, post=post).map).all()
    assert "research only" in written.synthetic
    assert main([*arguments, f"--map={tmp_path}/none.nrrd"]) == 2
    assert not (tmp_path / "none.nrrd").exists()


def test_lesions_are_listed_with_the_mean_of_a_map_of_uncertainty(pre, post, tmp_path, capsys):
    expected = np.random.default_rng(5).uniform(0.01, 0.3, GRID.shape).astype(np.float32)
    coarse = Grid((10, 9, 16), (2.0, 3.0, 2.0), (0.5, 0.75, 0.0))
    volumes = {"pre": pre, "post": post, "error": pre.with_array(expected)}
    volumes["coarse"] = Volume(np.ascontiguousarray(expected[:, ::2, ::2]), coarse)
    files = {name: tmp_path / f"{name}.nrrd" for name in volumes}
    for name, volume in volumes.items():
        write_volume(volume, files[name])
    words = ["evaluate", f"--reference={files['pre']}", f"--synthetic={files['post']}"]
    pair = [f"--pre={files['pre']}", f"--post={files['post']}"]
    assert main([*words, *pair, f"--uncertainty={files['error']}", "--json"]) == 0
    (lesion,) = json.loads(capsys.readouterr().out)["enhancement"]["lesions"]
    assert lesion["uncertainty"] == pytest.approx(expected[LESION].mean(), rel=1e-5)
    assert main([*words, *pair, f"--uncertainty={files['error']}"]) == 0
    assert f"{lesion['uncertainty']:.5g}" in capsys.readouterr().out
    assert main([*words, *pair, "--json"]) == 0
    (lesion,) = json.loads(capsys.readouterr().out)["enhancement"]["lesions"]
    assert "uncertainty" not in lesion
    assert main([*words, *pair, f"--uncertainty={files['coarse']}"]) == 2
    said = capsys.readouterr().err
    assert "different grids" in said
    assert "uncertainty" in said
    assert main([*words, f"--uncertainty={files['error']}"]) == 2
    assert "need both pre and post" in capsys.readouterr().err


def test_a_map_of_uncertainty_is_moved_by_its_header_and_never_registered(pre, post):
    expected = pre.with_array(np.ones(GRID.shape, np.float32))
    _aligned, done = onto_reference({"reference": pre, "uncertainty": expected}, "rigid")
    assert "translation_mm" not in done["uncertainty"]


# ---- as a table


def whole_report(pre, post):
    return strict_json(evaluate(pre, post, pre=pre, post=post, mask=pre.array > 100))


SETTINGS = {"minimum_volume_mm3", "minimum_overlap", "connectivity", "schema_version"}


def numbers_in(values):
    """Count the numbers of a report that are measures; lesions have a table of their own."""
    count = 0
    for name, value in values.items():
        if isinstance(value, dict):
            count += numbers_in(value)
        elif name not in SETTINGS and (value is None or type(value) in (int, float)):
            count += 1
    return count


def test_every_number_of_a_report_has_a_row(pre, post):
    report = whole_report(pre, post)
    rows = evaluation_rows(report)
    # The data range is stated with the measures it is part of, and the volume of the uptake twice.
    assert len(rows) == numbers_in(report) - 2
    assert all(tuple(row) == COLUMNS for row in rows)
    assert all(row["measure"] and row["about"] for row in rows)
    assert {row["better"] for row in rows} == {"lower", "higher", ""}
    assert list(dict.fromkeys(row["region"] for row in rows))[:3] == ["Brain", "Mask", "Uptake"]


def test_a_row_states_how_its_number_was_measured(pre, post):
    report = whole_report(pre, post)
    rows = {(row["region"], row["measure"]): row for row in evaluation_rows(report)}
    psnr = rows["Uptake", "PSNR"]
    assert psnr["value"] == report["regions"]["uptake"]["psnr_db"]
    assert (psnr["unit"], psnr["better"]) == ("dB", "higher")
    assert psnr["data_range"] == report["data_range"]
    mae = rows["Brain", "MAE"]
    assert (mae["unit"], mae["better"], mae["data_range"]) == ("medians", "lower", None)
    as_they_are = evaluation_rows(evaluate(pre, post, normalise="none"))
    assert as_they_are[2]["unit"] == "file units"
    assert report["data_range_from"] in measured_by(report)
    assert report["brain_from"] in measured_by(report)


def test_rows_as_csv_can_be_read_back(pre, post):
    rows = evaluation_rows(whole_report(pre, pre))  # its PSNR is not a number
    read = list(csv.DictReader(io.StringIO(rows_as_csv(rows, COLUMNS))))
    assert [row["measure"] for row in read] == [row["measure"] for row in rows]
    for one, row in zip(read, rows, strict=True):
        assert one["value"] == ("" if row["value"] is None else str(row["value"]))


def test_a_text_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "measures.csv"
    write_text(path, "a\n")
    write_text(path, "b\n")
    assert path.read_bytes() == b"b\n"
    with pytest.raises(RequestError, match=r"measures\.csv: could not be written"):
        write_text(tmp_path / "none" / "measures.csv", "a")
    assert [one.name for one in tmp_path.iterdir()] == ["measures.csv"]


# ---- on other grids


def test_volumes_are_brought_onto_the_reference(pre, post):
    half = Grid((10, 9, 16), (2.0, 3.0, 2.0), (0.5, 0.75, 0.0))
    coarse = Volume(np.ascontiguousarray(post.array[:, ::2, ::2]), half)
    with pytest.raises(RequestError, match="--align resample"):
        onto_reference({"reference": pre, "synthetic": coarse}, "none")
    given = {"reference": pre, "synthetic": coarse, "pre": pre}
    volumes, done = onto_reference(given, "resample")
    assert volumes["synthetic"].grid == pre.grid
    assert volumes["pre"] is volumes["reference"]
    assert done["synthetic"]["mode"] == "resample"


def test_the_command_line_aligns_and_says_so(pre, post, tmp_path, capsys):
    half = Grid((10, 9, 16), (2.0, 3.0, 2.0), (0.5, 0.75, 0.0))
    write_volume(pre, tmp_path / "pre.nrrd")
    coarse = Volume(np.ascontiguousarray(post.array[:, ::2, ::2]), half)
    write_volume(coarse, tmp_path / "coarse.nrrd")
    arguments = [
        "evaluate",
        f"--reference={tmp_path}/pre.nrrd",
        f"--synthetic={tmp_path}/coarse.nrrd",
    ]
    assert main(arguments) == 2
    assert "different grids" in capsys.readouterr().err
    assert main([*arguments, "--align=resample", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["alignment"]["synthetic"]["mode"] == "resample"


def test_without_scikit_image_the_message_says_what_to_install(pre, post, monkeypatch):
    monkeypatch.setattr(image, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match="pip install scikit-image"):
        evaluate(pre, post)
