"""How names are compared and texts are searched: the same in every store, so it is computed here and stored."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import normalize

from engine.domain.entities import Entity
from engine.domain.events import Draft
from engine.domain.model import FunctionModel
from engine.domain.nodes import Node
from engine.domain.runs import Run


def fold(text: str) -> str:
    """Return `text` for comparison without case: 'STRASSE' and 'straße' are one, 'é' composed and decomposed too.

    Canonical caseless matching of the Unicode Standard, section 3.13, D145. NUL is dropped: no database searches it.
    """
    return normalize("NFC", normalize("NFD", text).casefold()).replace("\x00", "")


def shown(text: str) -> str:
    """Return a text as lists show it: without NUL, which a column of Postgres can't hold."""
    return text.replace("\x00", "")


def model_search(model: FunctionModel) -> str:
    """Return where a search for models looks: name, description and the names of nodes."""
    return "\n".join(map(fold, (model.name, model.description, *(node.name for node in model.nodes.values()))))


def tag_search(tags: Iterable[str]) -> str:
    """Return tags, each between line breaks: tags have none inside."""
    return "\n" + "".join(f"{fold(tag)}\n" for tag in tags)


def entity_search(entity: Entity) -> str:
    """Return where a search for entities looks."""
    return "\n".join(map(fold, entity.words))


def subjects(entity: Entity) -> str:
    """Return the ids that an entity is about, each between line breaks: ids have none inside."""
    return "\n" + "".join(f"{shown(one)}\n" for one in entity.about)


def run_search(run: Run) -> str:
    """Return where a search for runs looks: model name, id and error."""
    return f"{fold(run.model_name)}\n{fold(run.id)}\n{fold(run.error or '')}"


def entry_search(entry: Draft) -> str:
    """Return where a search in the ledger looks: everything that words were put into. Compared with `lower`."""
    words = (entry.actor, entry.action, entry.entity_kind, entry.entity, entry.run, entry.request, entry.patch)
    return "\n".join(word or "" for word in words).lower()


def holds(model: FunctionModel, text: str) -> bool:
    """Say whether a search for models finds this one."""
    return fold(text) in model_search(model)


def is_tagged(tags: Iterable[str], tag: str | None) -> bool:
    """Say whether `tag` is among the tags, without case; None asks for none."""
    return tag is None or fold(tag) in map(fold, tags)


def is_asked_for(node: Node, text: str, tag: str | None) -> bool:
    """Say whether a search for nodes finds this one."""
    return fold(text) in fold(node.name) and is_tagged(node.tags, tag)
