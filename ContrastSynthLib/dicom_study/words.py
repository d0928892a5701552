"""What the words of a series' name mean, in the languages and spellings of hospitals.

Only whole words count. A word may be written together with others that are known, as in "t1post" or
"3DT1gd", and may have a number behind it, as in "dyn2"; "posterior" is not "post".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from ContrastSynthLib.agents import AGENT, WITHOUT
from ContrastSynthLib.texts import one_of, plain

T1, T2, FLAIR, ADC, DWI = "T1", "T2", "FLAIR", "ADC", "DWI"
LOCALIZER, DERIVED, SYNTHETIC = "localizer", "derived map", "synthetic"
SEGMENTATION, OTHER = "segmentation", "other"

WEIGHTINGS: Mapping[str, frozenset[str]] = {
    SYNTHETIC: one_of("synthetic synth synthetisch synthetique sintetico sintetica"),
    SEGMENTATION: one_of(
        "seg segm segmentation segmentierung segmentacion segmentazione segments rtstruct "
        "contours labelmap"
    ),
    LOCALIZER: one_of(
        "loc locs localizer localiser localizers lokalizer lokalisator localizador "
        "localizzatore localisateur lokalisation scout scouts aahscout aahead survey "
        "scanogram scano topogram topo planscan planung reperage reperages smartbrain "
        "smartexam 3plane triplane 3pl локалайзер"
    ),
    DERIVED: one_of(
        "sub subs subtr subtract subtracted subtraction subtractions subtraktion "
        "soustraction sottrazione sustraccion subtracao subtrakcja subtractie dt1 mip "
        "mips minip thinmip map maps mapping karte carte mappa mapa t1map t2map cbf cbv "
        "rcbf rcbv mtt ttp tmax ktrans kep auc iauc washin washout eadc colfa tensor "
        "r2star quantitative parametric difference ratio"
    ),
    ADC: one_of("adc adcs dadc apparent"),
    DWI: one_of(
        "dwi dw dti diff diffusion diffusione difusion difusao trace tracew ivim resolve "
        "hardi dwibs"
    ),
    OTHER: one_of(
        "pd pdw dp stir swi swan sw venbold tof angio angiography mra mrv cemra hemo "
        "haemo medic ciss fiesta fiestac truefisp bffe balanced bold fmri resting asl "
        "pcasl dsc fieldmap b0map b1map spectroscopy mrs svs csi press qsm t2star dir "
        "psir calibration calib asset shim phasecontrast cine mrcp twist tricks "
        "screenshot report summary"
    ),
    FLAIR: one_of("flair flairs darkfluid tirm t2flair"),
    T2: one_of("t2 t2w t2wi t2tse t2fse t2weighted frfse haste"),
    T1: one_of(
        "t1 t1w t1wi t1weighted t1se t1tse t1fse mprage mp2rage spgr fspgr irfspgr bravo "
        "tfe tfl vibe lava thrive ethrive flash turboflash"
    ),
}
"""Each weighting with its words; where several fit, the first counts."""

BEFORE = one_of(
    "before pre prae prec prek precontrast precontraste prekontrast pregd pregad "
    "nativ native nativo nativa natif nat plain unenhanced noncontrast nocontrast "
    "nonenhanced blanco basale avant vor antes prima przed voor innan до 平扫 单纯 単純 造影前"
)
AFTER = one_of(
    "after post postcontrast postcontraste postkontrast postgd postgad postkm apres "
    "nach despues depois dopo efter enhanced delayed late tardif tardive spaet "
    "arterial venous portal после 增强 造影 造影後"
)
BOTH = "prepost"
LOW = one_of("low lowdose reduced reduceddose niedrig halfdose quarterdose tenthdose")
DYNAMIC = one_of(
    "dyn dynamic dynamisch dynamique dinamico dinamica dynamika dce dcemri perf "
    "perfusion perfusie multiphase multiphasic ph phase phases twist tricks"
)
NOT_OF_AGENT = one_of(
    "op ops operative operation surgery surgical rt radiotherapy treatment therapy "
    "chemo tx biopsy proc process processed processing scan sat saturation ictal void "
    "exercise fossa"
)
"""After these words "pre" and "post" tell of something else than the agent."""
NOT_A_DOSE = one_of("res resolution b bvalue snr sar noise field quality")
NEUTRAL = one_of(
    "ax axial tra trans cor sag 3d 2d fs se tse fse gre ir sp iso mm brain head hirn "
    "kopf tete cerebro schaedel breast mamma space cube vista blade propeller fatsat "
    "spair dixon w"
)
WHOLE_ONLY = one_of("w o no sw dw dp ph sp ir c map ratio press seg sub nat dir")
"""Words too short, or too common inside of others, to be found in what is written together."""

SIGNS = (
    (r"t2\s*\*", " t2star "),
    (r"dark[\s_-]*fluid", " darkfluid "),
    (r"field[\s_-]*map", " fieldmap "),
    (r"phase[\s_-]*contrast", " phasecontrast "),
    (r"(?<![a-z])low[\s_-]*dose", " lowdose "),
    (r"(?<!\d)\d{1,2}\s*%\s*(dose|dosis|gd|gado?|km|contrast)(?![a-z])", r" lowdose \1 "),
    (r"(?<![a-z])(half|quarter|tenth|reduced)[\s_-]*dose", r" \1dose "),
    (r"(?<![a-z0-9])w(ith)?\s*[/&+, ]\s*(and\s*)?w(/?o|ithout)(?![a-z])", f" {BOTH} "),
    (r"(?<![a-z0-9])w/?o\s*[/&+]\s*w(?![a-z])", f" {BOTH} "),
    (r"(?<![a-z0-9])w\s*/\s*o(?![a-z0-9])", " without "),
    (r"(?<![a-z0-9])[os]\s*/\s*(?=(c|gd|gad|km|mdc|contr)[a-z]*)", " without "),
    (r"^sub-\w+", " subject "),
    (r"\+\s*(c|ce|gd|gado?|km|k|mdc|contraste?|kontrast)(?![a-z0-9])", " after "),
    (r"(?<=t1)(w?c?)\s*\+(?!\s*\w)", " after "),
    (r"(?<![a-z0-9])(c|gd|km)\s?\+(?![a-z])", " after "),
    (r"(?<![a-z0-9])(c|gd|km)-(?![a-z0-9])", " before "),
    (r"(?<=\s)-\s?(c|gd|gad|km)(?![a-z0-9])", " before "),
    (r"(?<![a-z0-9])t1w?[\s_-]?c(?![a-z0-9])", " t1 after "),
)
"""What is said with signs, and the words for it."""

KNOWN = frozenset().union(
    *WEIGHTINGS.values(), BEFORE, AFTER, AGENT, WITHOUT, LOW, DYNAMIC, NOT_OF_AGENT, NEUTRAL
)
GLUED = frozenset(word for word in KNOWN if len(word) > 1) - WHOLE_ONLY
LONGEST_NAME, LONGEST_WORD = 300, 40


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in their order, those written together as words of their own."""
    text = plain(name[:LONGEST_NAME])
    for sign, meaning in SIGNS:
        text = re.sub(sign, meaning, text)
    found: list[str] = []
    for token in re.findall(r"[^\W_]+", text):
        found += [token] if token in KNOWN else _apart(token[:LONGEST_WORD]) or [token]
    return tuple(found)


@cache
def _apart(token: str) -> list[str] | None:
    """Return the known words that a token is made of, as few as possible; None where it is not."""
    best: list[list[str] | None] = [[]] + [None] * len(token)
    for end in range(1, len(token) + 1):
        for start in range(end):
            before, piece = best[start], token[start:end]
            if before is None:
                continue
            # A number stands behind a word: that of a phase, not the 12 of the vertebra T12.
            number = piece.isdigit() and bool(before) and not before[-1][-1].isdigit()
            if not (piece in GLUED or number):
                continue
            made, now = [*before, piece], best[end]
            if now is None or len(made) < len(now):
                best[end] = made
    return best[-1]
