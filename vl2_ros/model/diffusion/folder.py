"""A local Stable Diffusion folder: its location, its parts, the ids of the empty text.

Reads JSON only; weights come from the checkpoint. Nothing is ever looked up on a network.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vl2_ros.documents import (
    MAX_LIST_BYTES,
    is_file,
    is_folder,
    read_json_object,
    shorten,
    shorten_path,
)
from vl2_ros.errors import CheckpointError
from vl2_ros.model.diffusion.config import COMPONENTS

#: Folder of a converted checkpoint with one folder each for image generation and editing.
COMPANIONS = "diffusion"

_INDEX = "model_index.json"
_TOKENIZER = "tokenizer"
_SAFETY = ("safety_checker", "feature_extractor")
_CONFIG_FILES: Mapping[str, str] = {
    name: "scheduler_config.json" if name == "scheduler" else "config.json" for name in COMPONENTS
}


@dataclass(frozen=True, slots=True)
class DiffusionFolder:
    """A folder in the layout of diffusers, whole or what a converted checkpoint keeps of it.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def tokenizer(self) -> Path:
        """Folder of the text encoder's tokenizer."""
        return self.path / _TOKENIZER

    @property
    def safety_checker(self) -> Path | None:
        """Folder of the checker that looks for unsafe images.

        Also where `model_index.json` names one that is missing, so that it cannot be lost unseen;
        None where the folder neither has nor names one.

        Raises:
            CheckpointError: if `model_index.json` is broken.
        """
        folder = self.path / _SAFETY[0]
        return folder if is_folder(folder) or self._names_component(_SAFETY[0]) else None

    @property
    def feature_extractor(self) -> Path | None:
        """Folder of the settings that prepare the safety checker's images."""
        folder = self.path / _SAFETY[1]
        return folder if is_file(folder / "preprocessor_config.json") else None

    def find_safety(self) -> tuple[Path, Path] | None:
        """Return the folders of the safety checker and of the settings of its images, or None.

        Raises:
            CheckpointError: if a checker is missing though named, or lacks the settings: then
                nothing may be shown unchecked.
        """
        checker = self.safety_checker
        if checker is None:
            return None
        if not is_folder(checker):
            raise CheckpointError(
                f"{self.path} names a safety checker in model_index.json, but {checker} is not "
                "there; copy that folder as well"
            )
        if self.feature_extractor is None:
            raise CheckpointError(
                f"{self.path} has a safety checker, but no feature_extractor with the settings of "
                "its images; copy that folder as well"
            )
        return checker, self.feature_extractor

    def read_components(self) -> dict[str, dict[str, Any]]:
        """Read the configs of `unet`, `vae`, `text_encoder` and `scheduler`.

        Raises:
            CheckpointError: if one is missing or broken.
        """
        return {
            name: read_json_object(self.path / name / file, CheckpointError)
            for name, file in _CONFIG_FILES.items()
        }

    def read_unconditional_ids(self, length: int) -> tuple[int, ...]:
        """Return the ids of the empty text: start, end, then padding up to `length`.

        Raises:
            CheckpointError: if the tokenizer does not have them.
        """
        special: dict[str, Any] = {}
        for file in ("special_tokens_map.json", "tokenizer_config.json"):
            if is_file(self.tokenizer / file):
                special |= read_json_object(self.tokenizer / file, CheckpointError)
        vocabulary = read_vocabulary(self.tokenizer)
        start, end, pad = (
            _find_id(special.get(f"{name}_token"), vocabulary, name, self.tokenizer)
            for name in ("bos", "eos", "pad")
        )
        return (start, end, *[pad] * (length - 2))

    def _names_component(self, name: str) -> bool:
        index = self.path / _INDEX
        if not is_file(index):
            return False
        named = read_json_object(index, CheckpointError).get(name)
        # Library and class; both are null where there is none.
        return any(named) if isinstance(named, list) else bool(named)

    def copy_companions(self, target: Path) -> None:
        """Copy the other files that serving needs: tokenizer, scheduler, safety checker.

        Args:
            target: the new folder; made if missing.

        Raises:
            CheckpointError: if a file cannot be read or written.
        """
        for name in (_INDEX, _TOKENIZER, "scheduler", *_SAFETY):
            whole = self.path / name
            for path in filter(Path.is_file, (whole, *whole.rglob("*"))):
                copy = target / path.relative_to(self.path)
                try:
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    # Contents alone: the original may be read-only, the copy is to be replaced.
                    shutil.copyfile(path, copy)
                except OSError as error:
                    raise CheckpointError(f"cannot copy {path} to {copy}: {error}") from error


def read_vocabulary(tokenizer: Path) -> dict[str, Any]:
    """Read the ids of a tokenizer folder, whichever of its two forms it has.

    Raises:
        CheckpointError: if it has neither, or a broken one.
    """
    if is_file(tokenizer / "vocab.json") or not is_file(tokenizer / "tokenizer.json"):
        vocabulary = _read_list(tokenizer / "vocab.json")
        if is_file(tokenizer / "added_tokens.json"):
            vocabulary |= _read_list(tokenizer / "added_tokens.json")
        return vocabulary
    whole = _read_list(tokenizer / "tokenizer.json")
    try:
        added = {entry["content"]: entry["id"] for entry in whole.get("added_tokens") or ()}
        return dict(whole["model"]["vocab"]) | added
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{tokenizer / 'tokenizer.json'} has no vocabulary ({type(error).__name__}: {error})"
        ) from error


def _read_list(path: Path) -> dict[str, Any]:
    return read_json_object(path, CheckpointError, max_bytes=MAX_LIST_BYTES)


def find_diffusion_folder(checkpoint: Path, model_id: str) -> DiffusionFolder:
    """Find the local folder that a release's `sd_model_id` names.

    Args:
        checkpoint: the checkpoint folder.
        model_id: a path; a relative one is looked for beside the checkpoint's files, beside the
            checkpoint and in the working directory.

    Raises:
        CheckpointError: if it is in none of these places.
    """
    places = [root / model_id for root in _roots(checkpoint)]
    for place in places:
        if is_file(place / "unet" / "config.json"):
            return DiffusionFolder(place)
    tried = ", ".join(shorten_path(place) for place in places)
    raise CheckpointError(
        f"no Stable Diffusion folder {shorten(model_id)}; looked for unet/config.json in {tried}. "
        "Copy or link the folder to one of these, or write its path as sd_model_id into "
        "config.json; nothing is downloaded"
    )


def _roots(checkpoint: Path) -> Sequence[Path]:
    # The folder may be a link, and what is beside the link or beside the folder may be meant.
    roots = (checkpoint, checkpoint.absolute().parent, checkpoint.resolve().parent, Path.cwd())
    return list(dict.fromkeys(roots))


def _find_id(token: Any, vocabulary: Mapping[str, Any], name: str, folder: Path) -> int:
    content = token.get("content") if isinstance(token, Mapping) else token
    found = vocabulary.get(content) if isinstance(content, str) else None
    if type(found) is not int:
        raise CheckpointError(
            f"{folder} names {shorten(content)} as {name}_token, which has no id in its "
            "vocabulary; expected the tokenizer of a Stable Diffusion folder"
        )
    return found
