"""The role that the name of a series implies: pre, post, low, t2, adc."""

import re

# What a scan's name says, in the order in which it is looked for; a match is cut out of the
# name. Letters continue a word, digits and signs do not: "t1post" and "T1+C" have two each.
CONTRAST = r"contrast\w*|kontrast\w*|gad\w*|gd|km|ce|enhanced|injection"
NAME_WORDS = {
    "other adc": r"e ?adc|exp\w* adc",
    "adc": r"d?adc|apparent diffusion( coefficient)?",
    "other": r"flair|t2 ?(\*|star)|stir|tirm|dark[ -]fluid|swi|dwi|dti|diff\w*|trace|b ?\d{3,4}|pd"
    r"|tof|mra|angio\w*|perf\w*|pwi|dsc|dce|dyn\w*|asl|bold|fmri|map|mip|scout|survey|subtr\w*"
    r"|locali[sz]er|seg\w*|label|mask|synthetic|uptake",
    "no role": r"(pre|post)[ -]?(op|operative|surg\w*|rt|radiation|treatment|chemo\w*)|low ?res",
    "low": r"low([ -]?dose)?|\d\d? ?(%|percent|pct)|(1/\d+|0\.\d+|half|third|quarter|tenth) ?dose",
    "pre": rf"(pre|non?|without|w/o|ohne|sans|un)[ -]?({CONTRAST}|c)|pre|native?|plain|(?<= )-c",
    "post": rf"t1w?ce?|post|{CONTRAST}|\+ ?c|c ?\+|full dose",
    "unclear": r"c",
    "t2": r"t2(wi?|weighted)?",
    "t1": r"t1(wi?|weighted)?|mprage|f?spgr|bravo|vibe|lava|thrive|flash",
}

RESULT = re.compile(r"(.+) (\w+) SYNTHETIC(_\d+)?")


def result_in_name(name: str) -> tuple[str, str] | None:
    """Return the name of the volume that a result was made from, and its role; None of others."""
    found = RESULT.fullmatch(name)
    return (found[1], found[2]) if found else None


def role_in_name(name: str) -> str | None:
    """Return the role that a scan's name implies: pre, post, low, t2, adc; "t1" if no more."""
    text = re.sub(r"[^a-z0-9+*%/.-]+", " ", name.lower())
    said = set()
    for word, pattern in NAME_WORDS.items():
        text, count = re.subn(rf"(?<![a-z])({pattern})(?![a-z])", " ; ", text)
        said |= {word} if count else set()
    if "adc" in said:
        return "adc"
    message = said & {"low", "pre", "post", "t2"} - ({"post"} if "low" in said else set())
    if said & {"other", "unclear"} or len(message) > 1 or said >= {"t1", "t2"}:
        return None
    return message.pop() if message else "t1" if "t1" in said else None


def pick_roles(nodes: list, wanted_roles: list[str]) -> dict:
    """Return by role the one node whose name implies it, or None; mere T1 is pre if no other is."""
    by_role: dict[str | None, list] = {}
    for node in nodes:
        by_role.setdefault(role_in_name(node.GetName()), []).append(node)
    by_role.setdefault("pre", by_role.get("t1", []))
    found = {role: by_role.get(role, []) for role in wanted_roles}
    return {role: several[0] if len(several) == 1 else None for role, several in found.items()}
