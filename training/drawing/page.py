"""A self-contained page: escaped text, tables, one style for light and dark, and no script (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

_NO_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What XML cannot hold, and what turns the direction of the text around it."""
_SHORT = 18  # letters that are not parted

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbf9; --card: #fff; --ink: #1b211f; --soft: #55605b; --rule: #dcdfdb; --grid: #e6e8e4;
  --line: #0a6b4e; --band: #0a6b4e24; --base: #55605b; --before: #b9c1bb; --good: #0a6b4e; --warn: #8a5a00; --bad: #b3261e; --info:
  #1d5fb8;
  --odd: #6f42b5; --h0: #ecefeb; --h1: #dbe5ee; --h2: #f2d693; --h3: #e59a55; --h4: #c4492c; --keep: #cfe3d8; --watch: #f2d693;
  --retrain: #9cc1f1; --blind: #c9cdd6; --quarantine: #cdb4f0; --roll_back: #f0a8a2; --fault: #6f42b5; }
@media (prefers-color-scheme: dark) { :root { --paper: #121614; --card: #191f1c; --ink: #e6ebe8; --soft: #a3afa9; --rule: #303834;
  --grid: #29302d; --line: #62cfa4; --band: #62cfa430; --base: #a3afa9; --before: #4d5953; --good: #62cfa4; --warn: #e3b04b; --bad:
  #ff8f84;
  --info: #8cb8ff; --odd: #c6a2ff; --h0: #222926; --h1: #26353f; --h2: #66501a; --h3: #99571f; --h4: #d9603c; --keep: #21473a; --watch:
  #6d5518;
  --retrain: #274f86; --blind: #454b57; --quarantine: #54387e; --roll_back: #84332d; --fault: #c6a2ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 1.6rem 1.2rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .5rem; padding-top: .9rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .3rem 0 .7rem; max-width: 75ch; overflow-wrap: anywhere; }
ul { margin: .3rem 0 .8rem; padding-left: 1.2rem; max-width: 80ch; } li { overflow-wrap: anywhere; }
a { color: var(--line); } code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
.soft, small { color: var(--soft); font-size: .87rem; } .num { text-align: right; font-variant-numeric: tabular-nums; white-space:
  nowrap; }
.state { font-weight: 600; font-size: 1rem; white-space: nowrap; padding: .1rem .6rem; border: 1px solid; border-radius: 1rem; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); } .info { color: var(--info); } .odd { color:
  var(--odd); }
nav { font-size: .9rem; margin: 1rem 0 0; } nav a { margin-right: 1rem; white-space: nowrap; display: inline-block; padding: .15rem 0; }
dl.facts { display: flex; flex-wrap: wrap; gap: 1px; background: var(--rule); border: 1px solid var(--rule); border-radius: .4rem;
  overflow: hidden; margin: 1.1rem 0; }
dl.facts div { flex: 1 1 190px; background: var(--card); padding: .55rem .8rem; } dl.facts dt { color: var(--soft); font-size: .82rem; }
dl.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; } dl.facts small { display: block; font-weight: 400; }
figure { margin: .9rem 0; background: var(--card); border: 1px solid var(--rule); border-radius: .4rem; padding: .8rem .9rem; min-width:
  0; }
figcaption b { display: block; overflow-wrap: anywhere; } figcaption span { color: var(--soft); font-size: .87rem; overflow-wrap:
  anywhere; }
.small { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(280px, 100%), 1fr)); gap: .9rem; } .small figure { margin:
  0; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; } table { border-collapse: collapse; font-size: .87rem; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 500; } th.num { text-align: right; }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
td { overflow-wrap: anywhere; min-width: 3.2rem; } td.wide { min-width: 16rem; } td.short { white-space: nowrap; }
details { margin-top: .4rem; } summary { cursor: pointer; color: var(--soft); font-size: .87rem; padding: .2rem 0; }
svg { display: block; width: 100%; height: auto; margin-top: .4rem; font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
svg.narrow { display: none; }
@media (max-width: 700px) { svg.wide { display: none; } svg.narrow { display: block; max-width: 460px; } main { padding: 1rem .8rem
  3rem; }
  figure { padding: .7rem .6rem; } dl.facts div { flex-basis: 140px; } }
svg text { fill: var(--soft); } svg text.name { fill: var(--ink); } svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .line { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; } svg .band { fill: var(--band); stroke: none; }
svg .bar { stroke: var(--line); stroke-width: 2; } svg .dot { fill: var(--line); } svg .dot.bad { fill: var(--bad); }
svg .base { fill: none; stroke: var(--base); stroke-width: 1.3; stroke-dasharray: 4 3; } svg .before { fill: var(--before); }
svg .now { fill: none; stroke: var(--line); stroke-width: 2; } svg .nowfill { fill: var(--band); } svg .span { fill: var(--soft);
  opacity: .12; }
svg .span.fault { fill: var(--fault); opacity: .22; } svg .span.episode { fill: var(--h3); opacity: .16; }
svg .rule { stroke: var(--soft); stroke-dasharray: 2 3; } svg .rule.good { stroke: var(--good); } svg .rule.bad { stroke: var(--bad); }
svg .sign { fill: var(--soft); } svg .sign.good { fill: var(--good); } svg .sign.warn { fill: var(--warn); } svg .sign.bad { fill:
  var(--bad); }
svg .sign.open { fill: none; stroke: var(--soft); stroke-width: 2; } svg .out { fill: none; stroke: var(--ink); stroke-width: 1.2; }
svg .h0 { fill: var(--h0); } svg .h1 { fill: var(--h1); } svg .h2 { fill: var(--h2); } svg .h3 { fill: var(--h3); } svg .h4 { fill:
  var(--h4); }
svg .keep { fill: var(--keep); } svg .watch { fill: var(--watch); } svg .retrain { fill: var(--retrain); } svg .blind { fill:
  var(--blind); }
svg .quarantine { fill: var(--quarantine); } svg .roll_back { fill: var(--roll_back); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; color: var(--soft); margin: .3rem 0 0; padding: 0;
  list-style: none; }
.key svg { display: inline-block; width: 14px; height: 14px; margin: 0 .35rem 0 0; vertical-align: -2px; }
@media print { body { background: none; } figure, tr { break-inside: avoid; } nav { display: none; } }
"""


def text(value: object) -> str:
    """Return any text as HTML and XML that mean just it.

    Examples
    --------
    >>> text('<b title="x">&'), text(chr(0) + "a"), text(chr(0x202E) + "gpj.exe")
    ('&lt;b title=&quot;x&quot;&gt;&amp;', '\ufffda', '\ufffdgpj.exe')
    """
    return escape(_NO_TEXT.sub("\ufffd", str(value)), quote=True)


def shortened(value: object, most: int) -> str:
    """Return a text of at most so many letters, the end of a longer one replaced by an ellipsis.

    Examples
    --------
    >>> shortened("departures", 6), shortened("wind", 6)
    ('depar…', 'wind')
    """
    whole = str(value)
    return whole if len(whole) <= most else whole[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class Caption:
    """What a drawing shows, in a title, and a sentence with its numbers."""

    title: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts under headings.

    Attributes
    ----------
    numeric
        The places of the columns of numbers, which stand at the right.
    wide
        The places of the columns of sentences.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    wide: frozenset[int] = frozenset()

    def html(self) -> str:
        """Return it, to be scrolled where it is wider than the page."""

        def kind(place: int, value: str) -> str:
            name = "num" if place in self.numeric else "wide" if place in self.wide else "short" if len(value) <= _SHORT else ""
            return f' class="{name}"' if name else ""

        head = "".join(f'<th scope="col"{kind(i, h)}>{text(h)}</th>' for i, h in enumerate(self.headings))
        cells = ("".join(f"<td{kind(i, value)}>{text(value)}</td>" for i, value in enumerate(row)) for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(caption: Caption, drawings: Iterable[str], table: Table) -> str:
    """Return drawings of the same thing under a caption, with its numbers in a table that opens beside it."""
    head = f"<figcaption><b>{text(caption.title)}</b> <span>{text(caption.sentence)}</span></figcaption>"
    return f"<figure>{head}{''.join(drawings)}<details><summary>numbers</summary>{table.html()}</details></figure>"


def items(sentences: Iterable[object]) -> str:
    """Return sentences as a list; nothing of none."""
    lines = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f"<ul>{lines}</ul>" if lines else ""


def facts(pairs: Iterable[tuple[str, object, object]]) -> str:
    """Return names with their values, each with a remark in small print, which may be empty."""
    shown = (
        f"<div><dt>{text(name)}</dt><dd>{text(value)}{f'<small>{text(more)}</small>' if more else ''}</dd></div>"
        for name, value, more in pairs
    )
    return f'<dl class="facts">{"".join(shown)}</dl>'


def section(name: str, title: str, *parts: str) -> str:
    """Return a part of a page that can be linked to by its name."""
    return f'<section id="{text(name)}"><h2>{text(title)}</h2>{"".join(parts)}</section>'


def document(title: str, *parts: str) -> str:
    """Return a whole page: nothing in it runs or is fetched, and a browser is told so."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body><main>{''.join(parts)}</main></body></html>\n"
    )
