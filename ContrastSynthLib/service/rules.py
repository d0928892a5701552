"""The rule file of the node: who may send and receive, and which methods run on what arrives."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import ContrastSynthLib.methods  # noqa: F401 - declares them
from ContrastSynthLib.archive.dimse import Node
from ContrastSynthLib.errors import RequestError, unknown_name
from ContrastSynthLib.registry import METHODS, find_method, resolve_parameters

NAME = re.compile(r"[\w-]{1,40}")


@dataclass(frozen=True)
class Peer:
    """Another node: its title and address, and what it may do."""

    title: str
    host: str
    port: int = 104
    sends: bool = False
    receives: bool = False


@dataclass(frozen=True)
class Rule:
    """A method that runs on each study that has its inputs; results go ``to`` these titles."""

    name: str
    method: str
    to: tuple[str, ...]
    preset: str | None = None
    mask: str | None = None
    set: Mapping[str, Any] | None = None
    unsure: bool = False


@dataclass(frozen=True)
class Rules:
    """What the file says. ``folder`` keeps what arrives and what is made; ``watch`` is a folder
    whose subfolders are studies; a study is whole when nothing came for ``quiet_s`` seconds."""

    title: str
    host: str
    port: int
    folder: Path
    quiet_s: float
    watch: Path | None
    peers: tuple[Peer, ...]
    rules: tuple[Rule, ...]

    @classmethod
    def read(cls, path: Path) -> Rules:
        """Return the rules of a TOML file, whose folders are relative to it.

        Raises RequestError, with the place, for what is missing, unknown or impossible.
        """
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RequestError(f"{path}: no rule file can be read there ({error}).") from error
        _refuse_unknown(path, "the file", told, ("node", "watch", "peers", "rules"))
        node = _table(path, told, "node")
        _refuse_unknown(path, "[node]", node, ("title", "host", "port", "folder", "quiet_s"))
        watch = told.get("watch", {}).get("folder")
        found = cls(
            str(node.get("title", "CONTRASTSYNTH")),
            str(node.get("host", "127.0.0.1")),
            int(node.get("port", 11112)),
            path.parent / str(node.get("folder", "contrastsynth-work")),
            float(node.get("quiet_s", 30.0)),
            None if watch is None else path.parent / str(watch),
            tuple(_peer(path, n, one) for n, one in enumerate(told.get("peers", []), start=1)),
            tuple(_rule(path, n, one) for n, one in enumerate(told.get("rules", []), start=1)),
        )
        found._check(path)
        return found

    def receiver(self, title: str) -> Node:
        """Return the node that results go to."""
        peer = next(peer for peer in self.peers if peer.title == title)
        return Node(peer.title, peer.host, peer.port, self.title)

    def may_send(self, title: str, address: str) -> bool:
        """Whether a caller is one of the peers that may send, by its title and its address."""
        return any(
            peer.sends and (peer.title, peer.host) == (title, address) for peer in self.peers
        )

    def _check(self, path: Path) -> None:
        if not self.rules:
            raise RequestError(f"{path}: there is no rule. Expected [[rules]] with a method.")
        names = [rule.name for rule in self.rules]
        receivers = [peer.title for peer in self.peers if peer.receives]
        for rule in self.rules:
            if names.count(rule.name) > 1:
                raise RequestError(f"{path}: the rule '{rule.name}' is there twice.")
            for title in rule.to:
                if title not in receivers:
                    raise unknown_name("peer that receives", title, receivers)
        if not any(peer.sends for peer in self.peers) and self.watch is None:
            raise RequestError(f"{path}: no peer may send, and no folder is watched.")


def _peer(path: Path, number: int, told: Mapping[str, Any]) -> Peer:
    where = f"peer {number}"
    _refuse_unknown(path, where, told, [field.name for field in fields(Peer)])
    for needed in ("title", "host"):
        if not told.get(needed):
            raise RequestError(f"{path}: {where} has no {needed}.")
    return Peer(**told)


def _rule(path: Path, number: int, told: Mapping[str, Any]) -> Rule:
    where = f"rule {number}"
    _refuse_unknown(path, where, told, [field.name for field in fields(Rule)])
    method = str(told.get("method", ""))
    if method not in METHODS:
        raise unknown_name(f"method of {where}", method, METHODS)
    rule = Rule(**{**told, "name": str(told.get("name", method)), "to": tuple(told.get("to", ()))})
    if not NAME.fullmatch(rule.name):
        raise RequestError(f"{path}: {where}: '{rule.name}' is no name: letters, digits, - and _.")
    resolve_parameters(find_method(method), dict(rule.set or {}), rule.preset)
    return rule


def _table(path: Path, told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    if not isinstance(found, Mapping):
        raise RequestError(f"{path}: there is no [{name}].")
    return found


def _refuse_unknown(path: Path, where: str, told: Mapping[str, Any], known: Any) -> None:
    for name in told:
        if name not in known:
            raise RequestError(f"{path}: {where} has no '{name}'. Expected: {', '.join(known)}.")
