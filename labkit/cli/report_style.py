"""How the report looks: light and dark, wide and narrow, on paper; all in the page itself."""

from labkit.view.style import VERDICTS

DARK = {  # colours of verdicts on dark paper; those on light paper are the figures' own
    "healthy": "#3ecf9f", "stagnating": "#6cb8f0", "overshooting": "#f0a94a", "overfitting": "#e59bc9",
    "diverged": "#ff8a5c", "not enough evidence": "#b4b4b4",
}
SHEET = """
:root {{ color-scheme: light dark; --paper: #fff; --page: #f4f4f2; --ink: #222; --quiet: #5b5b5b; --rule: #dcdcd8;
  --link: #0b57a4; {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #1f2022; --page: #141516; --ink: #e8e8e6;
  --quiet: #a9a9a6; --rule: #3a3b3d; --link: #8ab8f0; {dark} }} }}
* {{ box-sizing: border-box }}
body {{ font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 }}
header, main, footer {{ max-width: 68rem; margin: 0 auto; padding: 0 1.25rem }}
header {{ padding-top: 2rem }} footer {{ color: var(--quiet); font-size: .875rem; padding-bottom: 3rem }}
h1, h2, h3, li {{ overflow-wrap: anywhere }} h1 {{ font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem }}
h2 {{ font-size: 1.45rem; line-height: 1.25; margin: 0 }}
h3 {{ font-size: 1.1rem; margin: 2rem 0 .5rem }} p {{ margin: .4rem 0; max-width: 46rem; overflow-wrap: anywhere }}
a {{ color: var(--link) }} :focus-visible {{ outline: 3px solid var(--link); outline-offset: 2px }}
.hidden {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }}
.quiet {{ color: var(--quiet) }} .note {{ border-left: 4px solid var(--rule); padding-left: .8rem }}
nav ul {{ list-style: none; padding: 0; margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .4rem 1.4rem }}
.card {{ background: var(--paper); border: 1px solid var(--rule); border-radius: 12px; padding: 1.6rem 1.75rem 1.4rem;
  margin: 1.5rem 0 2rem }}
.question {{ font-size: 1.15rem; margin: .2rem 0 .5rem; max-width: none }}
.failed {{ border-left: 6px solid var(--diverged); padding-left: .8rem }}
.verdict {{ font-weight: 650; color: var(--tint) }}
.best {{ display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1.15fr); gap: 1.25rem 2rem;
  align-items: start }}
.best > .curve {{ margin-top: 0 }} .best > .words p:first-child {{ margin-top: 0 }} .advice {{ font-size: 1.1rem }}
figure {{ margin: 0 }} figcaption {{ color: var(--quiet); font-size: .875rem; margin-top: .3rem }}
.pictures {{ display: grid; gap: .3rem .5rem; grid-template-columns: repeat(var(--columns), minmax(0, 1fr)) }}
.pictures span {{ color: var(--quiet); font-size: .875rem }}
.pictures .prompt {{ grid-column: 1 / -1; font-style: italic; margin-top: .3rem }}
.pictures img {{ width: 100%; height: auto; border-radius: 4px; display: block }}
svg {{ display: block; overflow: visible }} .curve {{ margin-top: 1rem }}
.curve svg {{ width: 100%; height: 150px; border-bottom: 1px solid var(--rule) }}
.curve .ends {{ display: flex; justify-content: space-between; max-width: none; margin: .1rem 0; font-size: .8125rem;
  color: var(--quiet) }}
svg .held {{ stroke: var(--tint) }} svg .trained {{ stroke: var(--quiet); stroke-dasharray: 5 3 }}
svg polyline {{ fill: none; stroke-width: 2; stroke-linejoin: round; vector-effect: non-scaling-stroke }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; line-height: 1.4 }}
caption {{ text-align: left; color: var(--quiet); padding-bottom: .5rem; overflow-wrap: anywhere }}
th, td {{ border-top: 1px solid var(--rule); padding: .55rem .9rem .55rem 0; text-align: left; vertical-align: top;
  font-weight: 400 }}
.runs > thead th {{ border: 0; color: var(--quiet); font-size: .875rem; padding-bottom: .2rem }}
.runs > tbody th span {{ display: block; white-space: nowrap; font-weight: 650 }}
.runs td:has(> .verdict) {{ min-width: 9rem }} .runs td > p {{ margin: .1rem 0 }}
.runs .told {{ width: 100%; padding-right: 0 }}
.thumbs {{ display: flex; gap: .3rem }} .thumbs img {{ width: 76px; height: 76px; border-radius: 3px; display: block }}
.loss {{ white-space: nowrap }}
summary {{ cursor: pointer; width: fit-content; max-width: 46rem }} summary::marker {{ color: var(--link) }}
.words summary {{ color: var(--link); margin-top: .6rem }} .told summary:hover {{ text-decoration: underline }}
details[open] {{ padding-bottom: .5rem }} details > p {{ overflow-wrap: anywhere }}
.numbers {{ width: auto; font-size: .9rem; margin: .4rem 0 }}
.numbers th, .numbers td {{ padding: .15rem 1.2rem .15rem 0 }}
.numbers th {{ color: var(--quiet) }} code {{ font-size: .85em; overflow-wrap: anywhere }}
@media (max-width: 62rem) {{
  .runs, .runs > tbody {{ display: block }} .runs > caption {{ display: block }}
  .runs > thead {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }}
  .runs > tbody > tr {{ display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1.2rem;
    border-top: 1px solid var(--rule); padding: .8rem 0 }}
  .runs > tbody > tr > * {{ border: 0; padding: 0; grid-column: 2 }}
  .runs > tbody > tr > th, .runs:not(:has(.pictured)) > tbody > tr > * {{ grid-column: 1 / -1 }}
  .runs > tbody > tr > .pictured {{ grid-area: 2 / 1 / span 4 }} .runs > tbody th span {{ display: inline }}
  .loss::before {{ content: "loss "; color: var(--quiet) }}
  .loss svg {{ display: inline-block; vertical-align: middle; margin-left: .8rem }}
}}
@media (max-width: 40rem) {{
  header, main {{ padding-left: .75rem; padding-right: .75rem }} .card {{ padding: 1.1rem 1rem }}
  .best {{ grid-template-columns: minmax(0, 1fr) }} .thumbs img {{ width: 96px; height: 96px }}
  .runs > tbody > tr > *, .runs > tbody > tr > .pictured {{ grid-area: auto / 1 / auto / -1 }}
}}
@media print {{ body {{ background: #fff }} .card {{ border: 0; padding: 0 }} tr, figure {{ break-inside: avoid }} }}
"""


def style() -> str:
    """Return the style sheet."""
    light = {label: color for label, (_, color) in VERDICTS.items()}
    return SHEET.format(light=_variables(light), dark=_variables(DARK))


def tint(label: str) -> str:
    """Return the inline style that gives an element its verdict's colour."""
    return f"--tint: var(--{_name(label)})"


def _variables(colors: dict[str, str]) -> str:
    return " ".join(f"--{_name(label)}: {color};" for label, color in colors.items())


def _name(label: str) -> str:
    return label.replace(" ", "-")
