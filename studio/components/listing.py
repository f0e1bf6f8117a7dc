"""Lists of things as plain HTML tables: one look, links that a keyboard can reach, names that may be long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from markupsafe import Markup

from studio.theme import ago, exact

LIST_CSS = """
table.list{width:100%;border-collapse:collapse;table-layout:fixed;font-size:var(--t2);font-variant-numeric:tabular-nums}
.list th{height:32px;padding:0 12px;border-bottom:1px solid var(--line);color:var(--ink-2);font-weight:600;
  text-align:left;white-space:nowrap}
.list td{position:relative;height:38px;padding:0 12px;border-bottom:1px solid var(--line);color:var(--ink-2);
  overflow:hidden;
  text-overflow:ellipsis;white-space:nowrap}
.list tr:last-child td{border-bottom:0}
.list tbody tr{position:relative}
.list tbody tr:hover td{background:var(--idle-soft)}
.list tr[data-current] td{background:var(--accent-soft)}
.list :is(th,td).num{text-align:right}
.list a.name{color:var(--ink);font-size:var(--t3);font-weight:600;text-decoration:none}
.list a.name::before{content:"";position:absolute;inset:0}
.list a.name:focus-visible{outline:none}
.list tr:has(a.name:focus-visible){outline:2px solid var(--accent);outline-offset:-2px}
.list td:has(a.name){position:static}
.list .mono{color:var(--ink-3)}
.list .doing{position:relative;z-index:1}
"""
# The label of a filter is read to screen readers; the placeholder says it to everybody else.
QUIET_LABEL = (
    ".bk-input-group>label,.bk-input-group label{position:absolute!important;width:1px;height:1px;overflow:hidden;"
    "clip-path:inset(50%);white-space:nowrap}"
)
BOX = {
    "border": "1px solid var(--line)",
    "border-radius": "var(--r3)",
    "background": "var(--surface)",
    "overflow": "hidden",
}


def table(heads: Iterable[tuple[str, str, str]], rows: Iterable[Markup], label: str) -> Markup:
    """Return a table. Each head is (words, CSS width or nothing, CSS class); `label` is for screen readers."""
    columns, titles = Markup(""), Markup("")
    for words, width, css_class in heads:
        columns += Markup('<col style="width:{}">').format(width) if width else Markup("<col>")
        titles += Markup('<th scope="col" class="{}">{}</th>').format(css_class, words)
    return Markup(
        '<table class="list" aria-label="{}"><colgroup>{}</colgroup><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(label, columns, titles, Markup("").join(rows))


def when(moment: datetime, now: datetime) -> Markup:
    """Return how long ago it was; the exact time on hover."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        moment.isoformat(), exact(moment), ago(moment, now)
    )
