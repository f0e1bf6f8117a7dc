"""The lists and cards of the start page as escaped HTML."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from markupsafe import Markup

from engine.domain.runs import Run
from engine.domain.writes import ModelRow
from studio.components import LIST_CSS, table, when
from studio.demos import Demo
from studio.theme import duration, icon, number
from studio.values.states import status_pill

CSS = (
    LIST_CSS
    + """
.act{display:inline-grid;place-items:center;width:28px;height:28px;padding:0;border:0;border-radius:6px;
  background:none;color:var(--ink-3);
  cursor:pointer}
.act:hover{background:var(--bad-soft);color:var(--bad)}
.do{height:26px;padding:0 10px;border:1px solid var(--line-strong);border-radius:6px;background:var(--surface);
  color:var(--ink);
  font:600 var(--t2)/1 var(--font);cursor:pointer;white-space:nowrap;display:inline-flex;align-items:center;gap:5px;
  text-decoration:none}
.do:hover{background:var(--idle-soft)}
.do.main{border-color:var(--accent);background:var(--accent);color:var(--on-accent)}
.do.main:hover{background:color-mix(in srgb,var(--accent) 88%,var(--ink))}
.list td.acts{padding:0 8px;text-align:right;overflow:visible}
.more{display:block;width:100%;height:38px;border:0;border-top:1px solid var(--line);background:none;
  color:var(--accent);
  font:600 var(--t2)/1 var(--font);cursor:pointer}
.more:hover{background:var(--idle-soft)}
.none{padding:26px 16px;text-align:center;font-size:var(--t3);color:var(--ink-2)}
"""
)
RUNS_CSS = """
ul{margin:0;padding:0;list-style:none}
li{position:relative;display:grid;grid-template-columns:20px minmax(0,1fr) auto;gap:10px;align-items:center;
  height:46px;padding:0 14px;
  border-bottom:1px solid var(--line)}
li:last-child{border-bottom:0}li:hover{background:var(--idle-soft)}
a{color:var(--ink);font-size:var(--t3);font-weight:600;text-decoration:none;overflow:hidden;text-overflow:ellipsis;
  white-space:nowrap;display:block}
a::before{content:"";position:absolute;inset:0}
a:focus-visible{outline:none}li:has(a:focus-visible){outline:2px solid var(--accent);outline-offset:-2px}
.mark{display:grid;place-items:center;width:20px;height:20px;border-radius:50%;color:var(--idle);
  background:var(--idle-soft)}
.mark.ok{color:var(--ok);background:var(--ok-soft)}.mark.bad{color:var(--bad);background:var(--bad-soft)}
.mark.run{color:var(--run);background:var(--run-soft)}.mark.warn{color:var(--warn);background:var(--warn-soft)}
small{display:block;font-size:var(--t1);color:var(--ink-3)}
.num{font-size:var(--t2);color:var(--ink-2)}
.none{padding:26px 16px;text-align:center;font-size:var(--t3);color:var(--ink-2);line-height:1.5}
"""
CARDS_CSS = (
    CSS
    + """
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:14px}
.card{display:flex;flex-direction:column;gap:6px;padding:14px 16px;border:1px solid var(--line);
  border-radius:var(--r3);background:var(--surface)}
.card .chip{display:grid;place-items:center;width:26px;height:26px;border-radius:7px;color:var(--accent);
  background:var(--accent-soft)}
.card h3{margin:4px 0 0;font-size:var(--t3)}
.card p{margin:0;flex:1;font-size:var(--t2);line-height:1.5;color:var(--ink-2);display:-webkit-box;
  -webkit-line-clamp:3;-webkit-box-orient:vertical;overflow:hidden}
.row{display:flex;gap:8px;margin-top:8px}
"""
)
NOTICE_CSS = (
    CSS
    + """
.rows{border:1px solid color-mix(in srgb,var(--warn) 35%,var(--line));border-radius:var(--r3);
  background:var(--surface);overflow:hidden}
.interrupted{display:flex;align-items:center;gap:10px;min-height:46px;padding:4px 12px 4px 16px;
  border-bottom:1px solid var(--line);font-size:var(--t3)}
.interrupted:last-child{border-bottom:0}
.interrupted b{font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.interrupted span{color:var(--ink-2);font-size:var(--t2);white-space:nowrap}.interrupted i{flex:1}
.interrupted>.icon{color:var(--warn)}
"""
)
UNDO_CSS = """
.undo{position:fixed;right:16px;bottom:16px;z-index:90;display:flex;align-items:center;gap:12px;max-width:420px;
  padding:8px 8px 8px 14px;
  border:1px solid var(--line);border-radius:var(--r2);background:var(--raised);box-shadow:var(--sh2);
  font-size:var(--t3);
  animation:leave 1ms 15s forwards}
.undo span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.undo button{height:28px;padding:0 10px;border:0;border-radius:6px;background:none;color:var(--accent);
  font:600 var(--t2)/1 var(--font);cursor:pointer}
.undo button:hover{background:var(--accent-soft)}
@keyframes leave{to{visibility:hidden}}
"""
_HEADS = (
    ("Name", "", ""),
    ("Status", "112px", ""),
    ("Version", "82px", ""),
    ("Revision", "82px", "num"),
    ("Nodes", "70px", "num"),
    ("Changed", "104px", ""),
    ("", "48px", ""),
)
_DELETED_HEADS = (("Name", "", ""), ("Nodes", "70px", "num"), ("Deleted", "120px", ""), ("", "110px", ""))
_MARKS = {
    "succeeded": ("ok", "check"),
    "failed": ("bad", "x"),
    "running": ("run", "loader-circle"),
    "cancelled": ("idle", "circle-stop"),
    "interrupted": ("warn", "triangle-alert"),
    "paused": ("warn", "pause"),
    "waiting": ("warn", "hourglass"),
}
_DEMO_ICONS = {"penguins.json": "table", "machine-health.json": "activity", "nested-etl.json": "boxes"}


def models_html(rows: Sequence[ModelRow], now: datetime, *, more: bool) -> Markup:
    """The models as a table; `more`: a button for the next ones."""
    lines = [_model_html(row, now) for row in rows]
    button = Markup('<button class="more" data-do="more">Show more</button>') if more else Markup("")
    return table(_HEADS, lines, "Models, the last changed first") + button


def deleted_html(rows: Sequence[ModelRow], now: datetime) -> Markup:
    """The deleted models, each with the way back."""
    if not rows:
        return Markup('<p class="none">Nothing is deleted. A deleted model stays here for 30 days.</p>')
    lines = [
        Markup(
            '<tr><td title="{}">{}</td><td class="num">{}</td><td>{}</td><td class="acts">'
            '<button class="do" data-do="recover" data-key="{}">Recover</button></td></tr>'
        ).format(row.name, row.name, number(row.nodes), when(row.deleted_at or row.updated_at, now), row.id)
        for row in rows
    ]
    return table(_DELETED_HEADS, lines, "Deleted models")


def runs_html(runs: Sequence[tuple[Run, str]], now: datetime) -> Markup:
    """The last runs."""
    if not runs:
        return Markup('<p class="none">No runs yet. Open a model and press Run, or run a demo.</p>')
    return Markup("<ul>{}</ul>").format(Markup("").join(_run_html(run, status, now) for run, status in runs))


def interrupted_html(runs: Sequence[Run], now: datetime) -> Markup:
    """The interrupted runs, each with the way on."""
    lines = [
        Markup(
            '<div class="interrupted">{}<b title="{}">{}</b><span>was interrupted; begun {}</span><i></i>'
            '<a class="do" href="/run?id={}">Look</a>'
            '<button class="do main" data-do="resume" data-key="{}">Resume</button></div>'
        ).format(
            icon("triangle-alert", 16),
            run.model_name,
            run.model_name,
            when(run.started_at or run.created_at, now),
            quote(run.id),
            run.id,
        )
        for run in runs
    ]
    return Markup('<div class="rows">{}</div>').format(Markup("").join(lines))


def demos_html(demos: Sequence[Demo]) -> Markup:
    """The demos as cards."""
    cards = [
        Markup(
            '<article class="card"><span class="chip">{}</span><h3>{}</h3><p>{}</p><div class="row">'
            '<button class="do" data-do="open-demo" data-key="{}" aria-label="Open {}">Open</button>'
            '<button class="do" data-do="run-demo" data-key="{}" aria-label="Run {}">{}Run</button></div></article>'
        ).format(
            icon(_DEMO_ICONS.get(demo.file, "sparkles"), 15),
            demo.name,
            demo.sentence,
            demo.file,
            demo.name,
            demo.file,
            demo.name,
            icon("play", 12, 2.25),
        )
        for demo in demos
    ]
    return Markup('<div class="cards">{}</div>').format(Markup("").join(cards))


def undo_html(name: str, model: str) -> Markup:
    """What stands at the bottom for a while after a model was deleted."""
    words = Markup(
        '<div class="undo" role="status"><span>{} was deleted.</span>'
        '<button data-do="undo" data-key="{}">Undo</button></div>'
    )
    return words.format(name, model)


def _model_html(row: ModelRow, now: datetime) -> Markup:
    hint = f"{row.name}: {row.description}" if row.description else row.name
    return Markup(
        '<tr><td title="{}"><a class="name" href="/editor?model={}">{}</a></td>'
        '<td>{}</td><td>{}</td><td class="num">{}</td>'
        '<td class="num">{}</td><td>{}</td><td class="acts"><span class="doing">'
        '<button class="act" data-do="delete" data-key="{}" aria-label="Delete {}" title="Delete">{}</button>'
        "</span></td></tr>"
    ).format(
        hint, quote(row.id), row.name, status_pill(row.status), row.version or "–", number(row.revision),
        number(row.nodes), when(row.updated_at, now), row.id, row.name, icon("trash-2", 14),
    )  # fmt: skip


def _run_html(run: Run, status: str, now: datetime) -> Markup:
    tone, name = _MARKS.get(status, ("idle", "clock"))
    took = duration(run.duration_s) if run.duration_s is not None else ""
    return Markup(
        '<li><span class="mark {}">{}</span><span style="min-width:0"><a href="/run?id={}" title="{}">{}</a>'
        '<small>{} {}</small></span><span class="num">{}</span></li>'
    ).format(
        tone, icon(name, 12, 2.25), quote(run.id), run.model_name, run.model_name,
        "running, begun" if status == "running" else status, when(run.started_at or run.created_at, now), took,
    )  # fmt: skip
