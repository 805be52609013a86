"""Graphs for other programs: SVG, Mermaid and DOT say what the study says, whatever actions are called."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli import theme
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.graphs.alphabets import Mark
from jobrunner_cli.graphs.languages import dot, mermaid
from jobrunner_cli.graphs.svg import svg
from jobrunner_cli.output import one_line
from support.graphs import Needs, edges_of, family, studies

SVG = "{http://www.w3.org/2000/svg}"
DIAMOND = {"extract": [], "count": ["extract"], "listing": ["extract"], "report": ["count", "listing", "extract"]}
AWKWARD = [
    "a & b",
    '"quoted"',
    "<script>alert(1)</script>",
    "end]]>",
    "é",
    "データ",
    "a\nb",
    "x\x1b[31m",
    "\ud800",
    "#35;",
    "%%",
    "a\\n",
]
FAILED = StatusCode.NONZERO_EXIT
MARK = Mark(glyph=theme.glyph(FAILED), word=theme.word(FAILED), colours=theme.colours(FAILED))


def texts_of(picture: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture).iter(f"{SVG}text")]


# SVG.


@given(studies())
def test_svg_has_a_box_for_every_action_and_an_arrow_for_every_need(needs: Needs) -> None:
    picture = svg(needs)
    root = ElementTree.fromstring(picture)
    assert sorted(texts_of(picture)) == sorted(needs)
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("marker-end")]
    assert len(arrows) == len(edges_of(needs))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [
        [float(rect.attrib[key]) for key in ("x", "y", "width", "height")]
        for group in root.iter(f"{SVG}g") for rect in group.findall(f"{SVG}rect")
    ]  # fmt: skip
    assert len(boxes) == len(needs)
    for n, (x, y, w, h) in enumerate(boxes):
        assert x >= 0
        assert y >= 0
        assert x + w <= width
        assert y + h <= height
        for other_x, other_y, other_w, other_h in boxes[n + 1 :]:
            assert x + w < other_x or other_x + other_w < x or y + h < other_y or other_y + other_h < y


@pytest.mark.parametrize("name", AWKWARD)
def test_svg_takes_any_name_and_stays_one_picture(name: str) -> None:
    picture = svg({name: [], "b": [name]})
    assert picture.isascii()
    shown = one_line(name).encode("utf-8", "replace").decode()
    assert texts_of(picture) == [shown, "b"]


def test_svg_needs_nothing_from_elsewhere() -> None:
    picture = svg(family(), dict.fromkeys(family(), MARK))
    assert [element.tag for element in ElementTree.fromstring(picture).iter() if "script" in element.tag] == []
    assert re.findall(r"(?:href|src|@import|url\((?!#))", picture) == []
    assert float(ElementTree.fromstring(picture).attrib["width"]) < 2000


def test_svg_has_the_colours_of_the_legend_with_glyph_and_word() -> None:
    marks = {"a": MARK, "b": Mark(glyph="·", word="no job yet")}
    root = ElementTree.fromstring(svg({"a": [], "b": ["a"]}, marks))
    boxes = [group for group in root.iter(f"{SVG}g") if group.find(f"{SVG}rect") is not None]
    colours = {group.findall(f"{SVG}text")[0].text: group for group in boxes}
    rect, text = colours["a"].find(f"{SVG}rect"), colours["a"].findall(f"{SVG}text")
    assert rect is not None
    assert (rect.get("fill"), rect.get("stroke"), text[0].get("fill")) == ("#b6093d", "#770628", "#fef3f6")
    assert text[1].text == "✘ nonzero exit"
    assert [text.text for text in colours["b"].findall(f"{SVG}text")] == ["b", "· no job yet"]


# The languages.


def mermaid_graph(text: str) -> tuple[list[str], set[tuple[str, str]]]:
    """The labels and edges that Mermaid reads, as far as these lines go."""
    nodes = dict(re.findall(r'^    (a\d+)\["(.*)"\](?::::\w+)?$', text, re.MULTILINE))
    labels = {node: re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label) for node, label in nodes.items()}
    edges = re.findall(r"^    (a\d+) --> (a\d+)$", text, re.MULTILINE)
    return list(labels.values()), {(labels[one], labels[other]) for one, other in edges}


def dot_graph(text: str) -> tuple[list[str], set[tuple[str, str]]]:
    """The labels and edges that Graphviz reads, as far as these lines go."""
    nodes = dict(re.findall(r'^    (a\d+) \[label="([^"]*)"[^\]]*\];$', text, re.MULTILINE))
    labels = {node: html.unescape(label) for node, label in nodes.items()}
    edges = re.findall(r"^    (a\d+) -> (a\d+);$", text, re.MULTILINE)
    return list(labels.values()), {(labels[one], labels[other]) for one, other in edges}


@given(studies())
def test_languages_have_every_action_in_order_and_every_need(needs: Needs) -> None:
    assert mermaid_graph(mermaid(needs)) == (list(needs), edges_of(needs))
    assert dot_graph(dot(needs)) == (list(needs), edges_of(needs))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(one_line))
def test_no_name_breaks_out_of_its_label(name: str) -> None:
    needs = {"first": [], f"x{name}y": ["first"]}
    for text, read in ((mermaid(needs), mermaid_graph), (dot(needs), dot_graph)):
        assert text.isascii()
        # Two code points are read as others in HTML, and both are no characters of any script.
        if all(html.unescape(f"&#{ord(char)};") == char for char in name):
            assert read(text) == (["first", f"x{name}y"], {("first", f"x{name}y")})


def test_mermaid_looks_like_this() -> None:
    marks = {**dict.fromkeys(DIAMOND, MARK), "report": Mark(glyph="·", word="no job yet")}
    assert mermaid(DIAMOND, marks) == (
        "flowchart TD\n"
        '    a0["extract<br/>#10008; nonzero exit"]:::legend0\n'
        '    a1["count<br/>#10008; nonzero exit"]:::legend0\n'
        '    a2["listing<br/>#10008; nonzero exit"]:::legend0\n'
        '    a3["report<br/>#183; no job yet"]\n'
        "    a0 --> a1\n"
        "    a0 --> a2\n"
        "    a1 --> a3\n"
        "    a2 --> a3\n"
        "    a0 --> a3\n"
        "    classDef legend0 fill:#b6093d,color:#fef3f6,stroke:#770628\n"
    )


def test_dot_has_the_colours_of_the_legend() -> None:
    text = dot({"a": [], "b": ["a"]}, {"a": MARK, "b": Mark(glyph="·", word="no job yet")})
    assert (
        '    a0 [label="a\\n&#10008; nonzero exit", fillcolor="#b6093d", fontcolor="#fef3f6", color="#770628"];' in text
    )
    assert '    a1 [label="b\\n&#183; no job yet"];' in text
