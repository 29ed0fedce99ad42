"""Makes docs/alert.svg: one picture of the page that the demo writes, as a file of its own.

    cargo run --release -- demo
    python3 docs/alert.py tapewatch-demo.html stale_feed > docs/alert.svg

The page shows of each kind of fault the event whose alert opened with the highest score; the second argument names the
kind. Everything in the picture is the page's: prices, sizes, score, thresholds, and where the alert opened.
"""

import re
import sys

STYLE = """
 svg { --card: #ffffff; --ink: #1f2328; --quiet: #59636e; --grid: #e3e6ea; --edge: #b9bec6; --price: #0969da; --ask: #8250df;
  --found: #cf222e; --stem: #b4bac4; --loud: #1f2328; font-family: system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif }
 @media (prefers-color-scheme: dark) { svg { --card: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --grid: #242b35; --edge: #4a515d;
  --price: #58a6ff; --ask: #bc8cff; --found: #ff7b72; --stem: #5a6371; --loud: #e6edf3 } }
 .card { fill: var(--card); stroke: var(--edge) } text { fill: var(--ink) } .quiet { fill: var(--quiet) }
 g.shot text { font-size: 5.8px; fill: var(--quiet) } .end { text-anchor: end } .mid { text-anchor: middle }
 path { fill: none } .grid { stroke: var(--grid); stroke-width: .6 } .edge { stroke: var(--edge); stroke-width: .6 }
 .bid { stroke: var(--price); stroke-width: .8 } .ask { stroke: var(--ask); stroke-width: .8 }
 .thread { stroke: var(--price); stroke-width: .5; opacity: .6 } .price { stroke: var(--price); stroke-width: .8 }
 .trades { stroke: var(--ink); stroke-width: 2.2; stroke-linecap: round } .sizes { stroke: var(--ink); stroke-width: .8; opacity: .7 }
 .stems { stroke: var(--stem); stroke-width: 1.4 } .stems.loud { stroke: var(--loud) }
 .level { stroke: var(--ink); stroke-width: .6; opacity: .75 } .rare, .often { display: none }
 .span { fill: var(--found); opacity: .12 } .opened { fill: var(--found); stroke: none } .key { stroke-width: 2 }
"""

LEGEND = [
    ('<path class="key bid" d="M0 0h22"/>', "bid"),
    ('<path class="key ask" d="M0 0h22"/>', "ask"),
    ('<circle cx="11" r="4" fill="var(--ink)"/>', "trade"),
    ('<path class="opened" d="M11 6L5 -5H17Z"/>', "alert opened"),
    ('<path class="key level" d="M0 0h22"/>', "score from which an alert opens"),
    ('<rect class="span" y="-7" width="22" height="14"/>', "the fault"),
]


def main(page, kind):
    text = open(page, encoding="utf-8").read()
    finds = text.split('id="finds"')[1].split("</section>")[0]
    figures = [figure for figure in finds.split("<figure>")[1:] if f"<strong>{kind}</strong>" in figure]
    if not figures:
        sys.exit(f"no event of kind {kind} got an alert")
    caption = figures[0].split("<figcaption>")[1].split("</figcaption>")[0]
    lines = [re.sub("<[^>]*>", "", line) for line in caption.split("<ul>")[0].split("<br>")]
    heading, place, scores, said = (lines + [""] * 4)[:4]
    shot = re.search(r"<svg[^>]*>(.*?)</svg>", figures[0], re.S).group(1)
    subject = re.search("<code>(the demo's[^<]*)</code>", text).group(1)
    legend, left = "", 24
    for mark, name in LEGEND:
        legend += f'<g transform="translate({left} 106)">{mark}<text class="quiet" x="29" y="4" font-size="12">{name}</text></g>'
        left += 52 + 6.7 * len(name)
    print(f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 760" width="860" height="760" role="img">
<!-- Made by docs/alert.py from the page that the demo writes. -->
<title>{heading}: prices, sizes, the score of each tick, and the alert</title>
<style>{STYLE}</style>
<rect class="card" x=".5" y=".5" width="859" height="759" rx="8"/>
<text x="24" y="34" font-size="17" font-weight="600">{heading}, {place.split(';')[0]} of {subject}</text>
<text class="quiet" x="24" y="58" font-size="13">{said}</text>
<text class="quiet" x="24" y="79" font-size="13">{scores}</text>
{legend}
<g class="shot" transform="translate(2 116) scale(2.42)">{shot}</g>
</svg>""")


if __name__ == "__main__":
    main(*sys.argv[1:])
