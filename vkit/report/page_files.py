"""Where a page's items go: into the page while they are few, into files beside it when they are many.

    store = ItemStore(Path("run/index_files"), embed=None, most_mib=25.0)
    key = store.add(0, 12, data)              # "0-12-3f9a1c0b77e2"
    ...                                       # the page is written, naming store.folder or store.embedded
    store.remove_stale()

A file is named by its content and written before the page that asks for it; files of an earlier page go only
after that page was replaced. So a kill at any moment leaves the old page or the new one, whole. What has not
changed since the last page is not written again.

Where making a page fails, `ItemStore.discard` takes back the files that were written for it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from vkit.errors import VkitError
from vkit.jsonl import write_bytes
from vkit.report.markup import as_data

SMALL_PAGE_MIB = 4.0  # of items: below it a page holds them itself, unless told otherwise
_OURS = re.compile(r"\d+-\d+-[0-9a-f]{12}\.js|\.\d+-\d+-[0-9a-f]{12}\.js\.part")  # the latter: after a kill

_DESKTOPS = (".DS_Store", "Thumbs.db", "desktop.ini")  # left by file managers that showed the folder


class ItemStore:
    """Takes a page's items one by one and keeps no more than `SMALL_PAGE_MIB` of them, unless it embeds all.

    folder: the files' folder where items lie there, None where the page holds them.
    embedded: JSON texts by key that the page must hold.
    mib: of all items so far.
    """

    def __init__(self, folder: Path, *, embed: bool | None, most_mib: float) -> None:
        """
        Args:
            folder: for the files; made when the first is written.
            embed: True: all in the page; False: all in files; None: in files once they are large.
            most_mib: the limit of a page that embeds all.

        Raises:
            VkitError: files are asked for, and ``folder`` holds something that no page wrote.
        """
        self.folder: Path | None = folder if embed is False else None
        self.embedded: dict[str, str] = {}
        self.mib = 0.0
        self._place, self._embed, self._most_mib = folder, embed, most_mib
        self._keys: set[str] = set()
        self._written: list[Path] = []
        if embed is False:
            self._refuse_strangers()

    def add(self, run: int, number: int, data: dict[str, Any]) -> str:
        """Keep an item; returns its key.

        Raises:
            VkitError: the items exceed the limit of a page that embeds all, or now go into files and the
                folder holds something that no page wrote.
        """
        text = as_data(data)
        key = f"{run}-{number}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.mib += len(text) / 2**20
        self._keys.add(key)
        if self.folder is not None:
            self._write(key, text)
            return key
        self.embedded[key] = text
        if self._embed and self.mib > self._most_mib:
            raise VkitError(
                f"{len(self._keys)} items take {self.mib:.3g} MiB, over the limit of {self._most_mib:g} MiB "
                "for a single file; write the items beside the page (--with-files), or raise --max-mib"
            )
        if self._embed is None and self.mib > SMALL_PAGE_MIB:
            self._refuse_strangers()
            self.folder = self._place
            while self.embedded:
                self._write(*self.embedded.popitem())
        return key

    def remove_stale(self) -> None:
        """Remove the files of earlier pages, and their folder where nothing is left in it."""
        if not self._place.is_dir():
            return
        kept = set() if self.folder is None else {f"{key}.js" for key in self._keys}
        for path in self._place.iterdir():
            if _OURS.fullmatch(path.name) and path.name not in kept:
                path.unlink()
        if not any(self._place.iterdir()):
            self._place.rmdir()

    def discard(self) -> None:
        """Remove what was written here so far, for a page that will not be."""
        for path in self._written:
            path.unlink(missing_ok=True)
        if self._place.is_dir() and not any(self._place.iterdir()):
            self._place.rmdir()

    def _write(self, key: str, text: str) -> None:
        path = self._place / f"{key}.js"
        content = f'vkitItem("{key}",{text});\n'.encode()
        if path.is_file() and path.stat().st_size == len(content):
            return  # named by its content, and written complete or not at all
        path.parent.mkdir(exist_ok=True)
        self._written.append(path)
        write_bytes(path, content)

    def _refuse_strangers(self) -> None:
        if self._place.is_dir():
            names = sorted(path.name for path in self._place.iterdir())
            strangers = [name for name in names if not _OURS.fullmatch(name) and name not in _DESKTOPS]
            if strangers:
                raise VkitError(
                    f"{self._place} holds {strangers[0]!r}, which is no page's; move it away, or give the "
                    "page another name with --out"
                )
        elif self._place.exists():
            raise VkitError(f"{self._place} is no folder, but the page's files go there; move it away")
