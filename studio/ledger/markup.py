"""The list of entries and the story of one as escaped HTML."""

from __future__ import annotations

from datetime import datetime

from markupsafe import Markup

from engine.domain.events import Entry
from studio.components import COPY_CSS, LIST_CSS, copy_button, table, when
from studio.ledger.state import MOST_CHANGES, Change, Found, changes_of, href_of, label_of, words_of
from studio.theme import exact, icon, number, short_id

LIST = (
    LIST_CSS
    + """
.list button.name{padding:0;border:0;background:none;color:var(--ink);font:600 var(--t3)/1.4 var(--font);
  cursor:pointer;max-width:100%;
  overflow:hidden;text-overflow:ellipsis;white-space:nowrap;text-align:left}
.list button.name::before{content:"";position:absolute;inset:0}
.list button.name:focus-visible{outline:none}
.list tr:has(button.name:focus-visible){outline:2px solid var(--accent);outline-offset:-2px}
.list td:has(button.name){position:static}
.list tr:has([data-current]) td{background:var(--accent-soft)}
.list a.to{position:relative;z-index:1;text-decoration:none}.list a.to:hover{text-decoration:underline}
"""
)
STORY = (
    COPY_CSS
    + """
.inside{display:grid;grid-template-columns:minmax(0,1fr);gap:16px;padding:16px 16px 24px}
h2{margin:0;font-size:var(--t4)}h3{margin:0 0 6px;font-size:var(--t1);color:var(--ink-2)}
p{margin:2px 0 0;font-size:var(--t2);color:var(--ink-2);line-height:1.5;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:76px minmax(0,1fr);gap:6px 10px;margin:0;font-size:var(--t2)}
dt{color:var(--ink-3)}dd{margin:0;overflow-wrap:anywhere}
.hash{display:flex;align-items:center;gap:4px;min-height:30px;margin-top:6px;padding:2px 4px 2px 9px;
  border:1px solid var(--line-strong);border-radius:6px}
.hash span:first-child{flex:none;width:62px;font-size:var(--t1);color:var(--ink-3)}
.hash .mono{flex:1;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.change{padding:8px 0;border-top:1px solid var(--line);display:grid;gap:4px}
.change .path{font-size:var(--t2);font-weight:600;overflow-wrap:anywhere}
.value{display:grid;grid-template-columns:44px minmax(0,1fr);gap:6px;padding:3px 8px;border-radius:var(--r1);
  font:var(--t2)/1.5 var(--mono);
  white-space:pre-wrap;overflow-wrap:anywhere}
.value small{font:500 var(--t1)/1.7 var(--font);color:inherit}
.was{color:var(--bad);background:var(--bad-soft)}.now{color:var(--ok);background:var(--ok-soft)}
"""
)
_HEADS = (
    ("#", "72px", "num"),
    ("What", "", ""),
    ("To", "30%", ""),
    ("By", "92px", ""),
    ("When", "104px", ""),
    ("Hash", "84px", ""),
)


def entries_html(found: Found, now: datetime) -> Markup:
    """A page of entries, newest first."""
    return table(_HEADS, [_row(entry, found, now) for entry in found.entries], "Ledger entries, newest first")


def story_html(entry: Entry | None, found: Found) -> Markup:
    """Everything about one entry: who, what, what it was before, and the hashes that bind it."""
    if entry is None:
        return Markup("<p>Choose an entry to see what it changed, before and after.</p>")
    label, href = label_of(entry, found.names), href_of(entry)
    target = Markup('<a href="{}">{}</a>').format(href, label) if href else Markup("{}").format(label)
    rows = [("by", Markup("{}").format(entry.actor)), ("when", Markup("{}").format(exact(entry.ts))), ("about", target)]
    if entry.run and entry.run != entry.entity:
        rows.append(("run", Markup('<a href="/run?id={}">run {}</a>').format(entry.run, short_id(entry.run))))
    if entry.request:
        rows.append(("request", Markup('<span class="mono">{}</span>').format(entry.request)))
    facts = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows)
    head = Markup("<div><h2>Entry {}</h2><p>{} {}</p></div><dl>{}</dl>").format(
        number(entry.sequence), entry.actor, words_of(entry), facts
    )
    hashes = _hash("own", entry.hash) + _hash("previous", entry.previous_hash)
    return head + _changes(entry) + Markup("<div><h3>Bound by</h3>{}</div>").format(hashes)


def verdict_html(sentence: str, *, ok: bool) -> Markup:
    """The result of a verification, quiet when all is well."""
    name = "shield-check" if ok else "shield-alert"
    return Markup('<div class="verdict {}" role="status">{}<span>{}</span></div>').format(
        "ok" if ok else "bad", icon(name, 16), sentence
    )


def _row(entry: Entry, found: Found, now: datetime) -> Markup:
    label, href = label_of(entry, found.names), href_of(entry)
    target = Markup('<a class="to" href="{}">{}</a>').format(href, label) if href else Markup("{}").format(label)
    return Markup(
        '<tr><td class="num">{}</td><td><button class="name" data-do="select" data-key="{}">{}</button></td>'
        '<td title="{}">{}</td><td title="{}">{}</td><td>{}</td><td><span class="mono" title="{}">{}</span></td></tr>'
    ).format(
        number(entry.sequence), entry.sequence, words_of(entry), label, target, entry.actor, entry.actor,
        when(entry.ts, now), entry.hash, entry.hash[:7],
    )  # fmt: skip


def _changes(entry: Entry) -> Markup:
    changes, count = changes_of(entry)
    if not changes:
        return Markup("<div><h3>Changed</h3><p>Nothing else was changed.</p></div>")
    note = Markup("")
    if count > MOST_CHANGES:
        note = Markup("<p>The first {} of {} changes; the export has all.</p>").format(MOST_CHANGES, number(count))
    return Markup("<div><h3>Changed</h3>{}{}</div>").format(Markup("").join(map(_change, changes)), note)


def _change(change: Change) -> Markup:
    before = Markup('<div class="value was"><small>before</small><span>{}</span></div>').format(change.before)
    after = Markup('<div class="value now"><small>after</small><span>{}</span></div>').format(change.after)
    gone = Markup('<div class="value now"><small>after</small><span>removed</span></div>')
    values = (before if change.before is not None else Markup("")) + (after if change.after is not None else gone)
    return Markup('<div class="change"><span class="path">{}</span>{}</div>').format(change.path, values)


def _hash(label: str, value: str) -> Markup:
    words = Markup('<div class="hash"><span>{}</span><span class="mono" title="{}">{}</span>{}</div>')
    return words.format(label, value, value, copy_button(value, f"the {label} hash"))
