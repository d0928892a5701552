"""Put trained weights where the library ships them from, with their figures on the model card.

    python training/ship_weights.py runs/sphere/bundle --metrics results/sphere.json

copies the bundle to ``Resources/weights/<name>`` and enters it into ``Resources/Weights.json``.
``--metrics`` holds the figures as JSON, whatever was measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from loop.card import licence_of_weights

from ContrastSynthLib.resources import resource
from ContrastSynthLib.weights.bundles import read_bundle
from ContrastSynthLib.weights.storage import load_state, save_bundle


def main() -> None:
    """Ship one bundle."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--metrics", type=Path, help="JSON with the figures of the model card")
    parser.add_argument("--name", help="of the weights; that of the bundle without it")
    parser.add_argument("--version", help="of the weights; that of the bundle without it")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    card = {key: bundle.metadata[key] for key in bundle.metadata if key != "sha256"}
    if arguments.metrics:
        card["metrics"] = json.loads(arguments.metrics.read_text(encoding="utf-8"))
    for key in ("name", "version"):
        card[key] = getattr(arguments, key) or card[key]
    table_path = resource("Weights.json")
    folder = table_path.parent / "weights" / card["name"]
    shipped = save_bundle(folder, load_state(bundle), card, licence_of_weights(), replace=True)

    table = json.loads(table_path.read_text(encoding="utf-8"))
    others = [entry for entry in table["weights"] if entry["name"] != shipped.name]
    entry = {
        "name": shipped.name,
        "version": shipped.version,
        "sha256": shipped.sha256,
        "method": shipped.method,
        "bytes": (folder / "model.safetensors").stat().st_size,
    }
    table["weights"] = sorted([*others, entry], key=lambda each: each["name"])
    table_path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(f"{shipped.id} in {folder.name}, {entry['bytes'] / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
