"""How the pages look: on a phone, on a desk, in the dark and on paper."""

from __future__ import annotations

# Contrast is at least 4.5 : 1 for text and 3 : 1 for marks in both modes (WCAG 2.2, AA).
STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f6f8fa; --text: #16202b; --quiet: #55606c;
  --line: #d5dbe1; --note: #fff4d6; --note-edge: #c98a00; --accent: #0b62a8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --panel: #161c24; --text: #f0f3f6; --quiet: #a6b0bb; --line: #303a45;
    --note: #33290f; --note-edge: #e0a526; --accent: #6cb6ff; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--text); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .2rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .6rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; }
p { margin: 0 0 .7rem; max-width: 48rem; }
a { color: var(--accent); }
section { margin-top: 2.25rem; }
.kicker, footer, figcaption, .quiet { color: var(--quiet); font-size: .9rem; }
.kicker { margin: 0; }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .8rem; }
.disclaimer { margin: 0; max-width: none; padding: .7rem 1rem; font-weight: 700; border-radius: .4rem;
  background: var(--note); border-left: .35rem solid var(--note-edge); }
.warnings { padding: .8rem 1rem; border: 1px solid var(--note-edge); border-radius: .4rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; list-style: none; padding: 0; margin: 1rem 0 0; }
nav a { display: inline-block; padding: .25rem 0; }
ul { margin: 0; padding-left: 1.1rem; }
figure { margin: 0; min-width: 0; }
.wide { overflow-x: auto; border-radius: .4rem; }
.wide:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
img { display: block; width: 100%; height: auto; border-radius: .4rem; }
.montage img { min-width: 42rem; }
figcaption { margin-top: .4rem; }
table { border-collapse: collapse; width: 100%; background: var(--panel); border-radius: .4rem; }
caption { text-align: left; padding-bottom: .5rem; font-weight: 700; font-size: 1.05rem; color: var(--text); }
.wide + p { margin-top: .5rem; }
th, td { padding: .45rem .75rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, .record td, .record th { text-align: left; }
thead th { color: var(--quiet); font-size: .85rem; vertical-align: bottom; }
thead th[colspan] { text-align: center; }
tbody th { font-weight: 600; }
tbody:last-child tr:last-child > * { border-bottom: 0; }
.record td { overflow-wrap: anywhere; }
.record td ul { list-style: none; padding: 0; }
.record th:first-child { width: 11rem; }
.grid tbody th, .grid thead tr:first-child th:first-child { position: sticky; left: 0; z-index: 1;
  background: var(--panel); box-shadow: inset -1px 0 var(--line); }
.grid thead tr + tr th { text-align: right; white-space: nowrap; }
.grid td { white-space: nowrap; }
.grid .group th { box-shadow: none; }
.untitled caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.grid .group th { color: var(--quiet); font-size: .85rem; padding-top: 1rem; }
.name { overflow-wrap: anywhere; min-width: 7rem; max-width: 16rem; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th button::after { content: "\\2195"; opacity: .5; padding-left: .25em; }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
.region { display: inline-flex; gap: .5em; align-items: baseline; }
.patch { flex: none; display: inline-block; width: .8em; height: .8em; border-radius: .15em;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.patch.ring { background: #444; border: .14em solid; box-shadow: 0 0 0 1px #444; }
abbr { color: var(--quiet); font-weight: 400; text-decoration: none; }
.grid abbr { color: inherit; font-weight: 600; }
code { font-size: .88em; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0 0; }
.facts dt { color: var(--quiet); font-size: .85rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.spaced { margin-top: 1.5rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; }
.tile { background: var(--panel); border-radius: .5rem; padding: .8rem 1rem; border-top: .3rem solid;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.tile h3 { margin: 0 0 .5rem; }
.tile dl { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; margin: 0; }
.tile div { display: flex; flex-direction: column; }
.tile dt { color: var(--quiet); font-size: .85rem; }
.tile dd { margin: 0; }
.tile .big { font-size: 1.6rem; font-weight: 700; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile .small { font-size: .85rem; color: var(--quiet); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: 1.2rem 1rem; }
.plots + .quiet { margin-top: .8rem; }
.plots svg { display: block; width: 100%; height: auto; }
.panels { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .5rem; }
.panels figcaption { font-size: .8rem; margin: .2rem 0 .4rem; line-height: 1.3; }
.panels img { background: #000; border-radius: .25rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; margin: 0 0 .6rem; }
.legend li { display: inline-flex; gap: .4em; align-items: center; font-size: .9rem; }
.card h3 { margin-top: 1.2rem; }
.card table { font-size: .92rem; }
.card td { text-align: left; }
.card .wide, .card p { margin-top: .6rem; }
@media (max-width: 44rem) { .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 36rem) {
  h1 { font-size: 1.4rem; } th, td { padding: .4rem .5rem; } .record th:first-child { width: 6rem; }
  .name { min-width: 6rem; max-width: 8rem; font-size: .85rem; } .grid { font-size: .92rem; } }
@media print {
  :root { color-scheme: light; --ground: #fff; --panel: #fff; --text: #000; --quiet: #444; --line: #bbb;
    --note: #fff; --note-edge: #000; --accent: #000; }
  @page { size: A4; margin: 15mm; }
  main { max-width: none; padding: 0; }
  html { font-size: 9pt; }
  nav, th button::after { display: none; }
  .montage img { min-width: 0; }
  img, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wide { overflow: visible; }
  .grid { font-size: 8pt; }
  .grid th, .grid td { padding: .2rem .35rem; }
  .grid th:first-child { position: static !important; box-shadow: none !important; }
  .plots { grid-template-columns: repeat(3, 1fr); }
  .panels { grid-template-columns: repeat(4, minmax(0, 1fr)); max-width: 134mm; gap: 0 .4rem; }
  .panels figcaption { font-size: 7pt; }
  .tiles { grid-template-columns: repeat(3, 1fr); }
  .tile { border: 1px solid var(--line); border-top-width: .3rem; }
  h2, h3, caption { break-after: avoid; }
  figure, tr, .tile, .warnings, .record table { break-inside: avoid; }
  thead { display: table-header-group; }
  .together { break-inside: avoid; } }
"""
