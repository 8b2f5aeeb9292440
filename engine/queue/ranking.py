"""queue.json: the images in the order of the newest ranking, with the reasons and what it was made from.

The newest ranking in each other order stands beside it, as queue-<order>.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.atomic import write_json
from engine.errors import UserError
from engine.intake import read_bytes
from engine.queue.scores import ORDERS, Score
from engine.store import Project, digest_of, is_name, label_set, source_of, tag_digest
from engine.store.names import now

__all__ = ["FILE", "Entry", "Ranking", "kept_path"]

FILE = "queue.json"
# An entry takes about 150 bytes.
_MAX_BYTES = 1 << 27
_ACCEPTED = "What `wsss queue` wrote is read."


@dataclass(frozen=True)
class Entry:
    """One image of the queue.

    Attributes:
        stem: The image.
        score: In [0, 1], higher to be looked at sooner; None where nothing is known of it.
        reason: Why it stands where it stands, in words; may be empty.
    """

    stem: str
    score: float | None
    reason: str = ""


@dataclass(frozen=True)
class Ranking:
    """The images in one order.

    Attributes:
        order: One of `ORDERS`.
        entries: First come first.
        asked: What was asked for: labels, source, others, split, seed.
        digests: Input in words (`labels 'irn'`, `maps cam/default`, `images`, `tags`) -> digest.
        when: ISO 8601.
    """

    order: str
    entries: tuple[Entry, ...]
    asked: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    when: str = ""

    @classmethod
    def of(
        cls, project: Project, order: str, scores: Mapping[str, Score], asked: Mapping[str, Any]
    ) -> Ranking:
        """Return the images sorted: those without a score first, then the highest, ties by name.

        `name` sorts by the name alone.
        """
        entries = [Entry(stem, score.value, score.reason) for stem, score in scores.items()]
        if order == "name":
            entries.sort(key=lambda e: e.stem)
        else:
            entries.sort(key=lambda e: (e.score is not None, -(e.score or 0.0), e.stem))
        return cls(order, tuple(entries), dict(asked), _digests(project, order, tuple(scores), asked), now())

    @property
    def stems(self) -> tuple[str, ...]:
        return tuple(entry.stem for entry in self.entries)

    def save(self, root: Path) -> None:
        """Write queue.json, atomically; what stood there in another order is kept as `kept` reads it."""
        try:
            last = Ranking.load(root)
        except UserError:
            last = None  # damaged, which was told; another ranking is the way out of it
        if last is not None and last.order != self.order:
            last._write(kept_path(root, last.order))
        self._write(root / FILE)
        kept_path(root, self.order).unlink(missing_ok=True)

    def _write(self, path: Path) -> None:
        write_json(
            path,
            {
                "order": self.order,
                "when": self.when,
                "asked": self.asked,
                "digests": self.digests,
                "entries": [[e.stem, e.score, e.reason] for e in self.entries],
            },
        )

    @classmethod
    def load(cls, root: Path) -> Ranking | None:
        """Return the project's newest queue, or None when nothing was ranked yet.

        Raises:
            UserError: The file is damaged.
        """
        return cls._read(root / FILE)

    @classmethod
    def kept(cls, root: Path, order: str) -> Ranking | None:
        """Return what was last ranked in an order before the newest queue, or None.

        Raises:
            UserError: The file is damaged.
        """
        return cls._read(kept_path(root, order), order)

    @classmethod
    def _read(cls, path: Path, wanted: str = "") -> Ranking | None:
        if not path.exists():
            return None
        try:
            value = json.loads(read_bytes(path, _MAX_BYTES, _ACCEPTED))
            order, when = value["order"], value["when"]
            if order not in ORDERS or order != (wanted or order) or not isinstance(when, str):
                raise ValueError(f"there is no order {str(order)[:40]!r}")
            return cls(
                order,
                tuple(_entries(value["entries"])),
                dict(value["asked"]),
                {str(k): str(v) for k, v in value["digests"].items()},
                when,
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged: {error}.", _ACCEPTED, "Rank the images again with `wsss queue`."
            ) from None

    def stale(self, project: Project) -> list[str]:
        """Return why the order no longer answers to what it was made from; empty when nothing changed."""
        stems = tuple(s for s in self.stems if s in project.images and not project.images[s].aside)
        try:
            today = _digests(project, self.order, stems, self.asked)
        except UserError as error:
            return [f"What the images were ranked by is gone: {error.found}"]
        return [
            f"{what[:1].upper()}{what[1:]} changed after the images were ranked."
            for what, digest in self.digests.items()
            if today.get(what) != digest
        ]


def kept_path(root: Path, order: str) -> Path:
    """Return where a ranking is kept that is not the newest."""
    return root / f"queue-{order}.json"


def _digests(
    project: Project, order: str, stems: tuple[str, ...], asked: Mapping[str, Any]
) -> dict[str, str]:
    """Return the digest of each input; cheap, for it is asked whenever the page is opened."""
    found = {"images": digest_of([sorted(stems), sorted(project.stems(asked.get("split")))])}
    if order in ("name", "random"):
        return found
    if order == "tags":
        found["tags"] = tag_digest(project, tuple(sorted(stems)))
    names = [asked.get("labels"), asked.get("source"), *asked.get("others", ())]
    for name in names:
        if name is None or name == "corrected":
            continue  # a person's masks change with every stroke: to say so would say nothing
        if is_name(name) and (project.root / "labels" / name).is_dir():
            labels = label_set(project.root, project.colours, name)
            found[f"labels '{name}'"] = digest_of([labels.facts, labels.stems()])
        else:
            views = source_of(project.root, name)
            found[f"maps {views}"] = digest_of([views.facts, views.stems()])
    return found


def _entries(rows: Iterable[Any]) -> Iterable[Entry]:
    seen: set[str] = set()
    for stem, score, reason in rows:
        number = isinstance(score, (int, float)) and not isinstance(score, bool) and 0 <= score <= 1
        if not isinstance(stem, str) or not isinstance(reason, str) or not (score is None or number):
            raise ValueError(f"an entry reads {str([stem, score, reason])[:80]}")
        if stem in seen:
            raise ValueError(f"the image {stem[:80]!r} stands twice")
        seen.add(stem)
        yield Entry(stem, None if score is None else float(score), reason)
