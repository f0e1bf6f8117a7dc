"""The editor of a notebook cell, without a browser: what it sends and the picture it leaves behind."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from bokeh.core.json_encoder import serialize_json
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet
from bokeh.protocol import Protocol

import engine as treadle
from studio import notebook
from studio.editor.state import EditorState
from studio.picture import picture

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> & \x0b"


@pytest.fixture
def view(monkeypatch):
    monkeypatch.setattr(ImportedStyleSheet, "to_serializable", ImportedStyleSheet.to_serializable)
    notebook._send_styles_along()
    with treadle.open("memory:") as eng:
        found = notebook.edit(eng.models.create("In a cell"), engine=eng)
        yield found
        found.close()


def add(state: EditorState, kind: str, name: str, **at: Any) -> str:
    spot = {"position": {"x": 0, "y": 0}, "parent": None, "link": None, **at}
    before = set(state.model.nodes)
    state.wish({"type": "add", "node_type": kind, **spot})
    (key,) = [key for key in state.model.nodes if key not in before][:1]
    state.wish({"type": "rename", "id": key, "name": name})
    return key


def texts(svg: str) -> list[str]:
    return [found.text or "" for found in ET.fromstring(svg).iter(f"{SVG}text")]


def test_no_style_sheet_is_linked_first_or_later(view) -> None:
    sent: list[str] = []

    class Browser:
        def _document_patched(self, event: Any) -> None:
            sent.append(Protocol().create("PATCH-DOC", [event]).content_json)

    document = Document()
    document.add_root(view.__panel__().get_root(document))
    sent.append(serialize_json(document.to_json()))
    document.on_change_dispatch_to(Browser())
    key = add(view.state, "stage", "Work")
    view._bench._selected([key])
    view._bench._selected([])
    assert len(sent) > 3
    assert "--panel-border-color: #e0e0e0" in sent[0]
    assert [text for text in sent if '"ImportedStyleSheet"' in text] == []


def test_only_panels_own_style_sheets_are_sent_along(view) -> None:
    document, other = Document(), ImportedStyleSheet(url="/other.css")
    document.add_root(other)
    assert "/other.css" in serialize_json(document.to_json())
    sending = ImportedStyleSheet.to_serializable
    notebook._send_styles_along()
    assert ImportedStyleSheet.to_serializable is sending


def test_the_picture_holds_every_node_where_it_stands(view) -> None:
    assert texts(picture(view.state.scene.graph())) == ["An empty model"]
    stage = add(view.state, "stage", "Work", position={"x": 500, "y": 40})
    add(view.state, "input", HOSTILE)
    svg = picture(view.state.scene.graph())
    assert texts(svg)[0] == "Work"
    assert texts(svg)[1].startswith("<script>alert")
    assert "<script" not in svg
    assert ET.fromstring(svg).attrib["viewBox"].startswith("-24 -24 ")
    view.state.wish({"type": "collapse", "id": stage, "collapsed": True})
    assert 'class="frame"' not in picture(view.state.scene.graph())


def test_the_output_is_an_image_and_words(view) -> None:
    add(view.state, "stage", "Work")
    still = view._still()
    assert still["text/plain"] == "<Editor of 'In a cell': 1 nodes, 0 wires>"
    assert 'src="data:image/svg+xml;base64,' in still["text/html"]
