// The page of --timeline: what stands before the rows, and what stands behind them.
#pragma once

#include <string_view>

namespace sennit::tools {

inline constexpr std::string_view timeline_head = R"page(<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>sennit @TOOL@: @TITLE@</title>
<style>
:root { --bg: #f6f7f9; --panel: #fff; --text: #1c2430; --soft: #64707f; --line: #e0e4ea; --grid: #edf0f4;
  --ok1: #4b8fd6; --ok2: #7db1e6; --bad: #d43d3d; --retry: #e39a2d; --late: #a65bc4; --mark: #111827; --idle: #f0f2f6; --brush: rgba(75,143,214,.16); }
@media (prefers-color-scheme: dark) { :root { --bg: #12161c; --panel: #1a2029; --text: #e3e8ef; --soft: #94a1b2; --line: #2b3440; --grid: #232b36;
  --ok1: #3f7fc2; --ok2: #5f9fdf; --bad: #f05a5a; --retry: #e8a845; --late: #c07ddb; --mark: #fff; --idle: #161b23; --brush: rgba(95,159,223,.22); } }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--text); font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width: 1600px; margin: 0 auto; padding: 20px 24px 40px }
h1 { font-size: 18px; font-weight: 600; margin: 0 0 2px } h1 span { color: var(--soft); font-weight: 400 }
code, .mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px }
.command { color: var(--soft); margin: 0 0 16px; overflow-wrap: anywhere }
.ended { color: var(--bad); font-weight: 600 }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 10px; margin-bottom: 14px }
.tile, .panel { background: var(--panel); border: 1px solid var(--line); border-radius: 8px }
.tile { padding: 9px 14px } .tile b { display: block; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap } .tile span { color: var(--soft); font-size: 12px }
.tile.bad b { color: var(--bad) }
.panel { padding: 12px 14px; margin-bottom: 14px }
.bar { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin-bottom: 8px; color: var(--soft); font-size: 12.5px }
.bar .grow { flex: 1 } .key { display: inline-flex; align-items: center; gap: 5px } .key i { width: 11px; height: 11px; border-radius: 2px; display: inline-block }
button, input { font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line); border-radius: 6px; padding: 3px 9px }
button { cursor: pointer } button:hover { border-color: var(--soft) } input { width: 210px } input::placeholder { color: var(--soft) }
canvas { display: block; width: 100% } #lanes { cursor: grab; touch-action: none } #lanes.drag { cursor: grabbing } #whole { cursor: crosshair; touch-action: none; margin-bottom: 8px }
.scroll { max-height: 66vh; overflow-y: auto }
.lists { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 14px; align-items: start }
h2 { font-size: 13px; margin: 0 0 6px; font-weight: 600 } table { width: 100%; border-collapse: collapse; table-layout: fixed } td, th { padding: 3px 6px; text-align: left; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; border-top: 1px solid var(--grid) }
th { color: var(--soft); font-weight: 400; font-size: 12px; border: 0 } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } tr[data-job] { cursor: pointer } tr[data-job]:hover td { background: var(--grid) }
.none { color: var(--soft) } .out { color: var(--bad) }
#tip { position: fixed; z-index: 2; pointer-events: none; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 8px 11px; max-width: 460px; box-shadow: 0 4px 18px rgba(0,0,0,.18); font-size: 12.5px; display: none }
#tip .mono { overflow-wrap: anywhere; display: block; margin-bottom: 4px } #tip dl { display: grid; grid-template-columns: auto 1fr; gap: 0 10px; margin: 0 } #tip dt { color: var(--soft) } #tip dd { margin: 0; font-variant-numeric: tabular-nums }
noscript { color: var(--bad) }
</style></head><body><main>
<h1>sennit @TOOL@ <span id="when"></span></h1>
<p class="command"><code>@TITLE@</code> <span class="ended" id="ended"></span></p>
<noscript>This page draws its picture with the script that it carries; switch scripts on to see it.</noscript>
<div class="tiles" id="tiles"></div>
<div class="panel">
<div class="bar"><span id="range"></span><span class="grow"></span><span id="keys" class="bar" style="margin:0"></span>
<input id="find" type="search" placeholder="number or text" aria-label="find"><button id="in" title="closer (+)">+</button><button id="out" title="farther (-)">&minus;</button><button id="all" title="the whole run (0)">all</button></div>
<canvas id="whole" height="54"></canvas>
<div class="scroll"><canvas id="lanes"></canvas></div>
<div class="bar" style="margin:8px 0 0">wheel: closer and farther &middot; drag: move &middot; double click on one: fill the width with it &middot; drag in the upper strip: choose a part</div>
</div>
<div class="lists"><div class="panel"><h2 id="failedTitle">Failures</h2><div id="failed"></div></div><div class="panel"><h2>Slowest</h2><div id="slowest"></div></div></div>
</main><div id="tip"></div>
)page";

inline constexpr std::string_view timeline_tail = R"page(<script>
"use strict";
const $ = id => document.getElementById(id);
const rows = JSON.parse($("rows").textContent), run = JSON.parse($("run").textContent);
const N = rows.length, slots = Math.max(1, run.slots, rows.reduce((m, r) => Math.max(m, r[1]), 0));
const SEQ = 0, SLOT = 1, START = 2, LONG = 3, OUTCOME = 4, CPU = 5, MEM = 6, BYTES = 7, RETRIED = 8, COMMAND = 9;
// 0 success, 1 failure, 2 failed but tried again, 3 time-out
const kind = r => r[OUTCOME] === 0 ? 0 : r[RETRIED] ? 2 : r[OUTCOME] === "time-out" ? 3 : 1;
const end = Math.max(1, run.wall, rows.reduce((m, r) => Math.max(m, r[START] + r[LONG]), 0));
const lanes = Array.from({length: slots}, () => []);
for (const r of rows) lanes[Math.max(0, r[SLOT] - 1)].push(r);
for (const l of lanes) l.sort((a, b) => a[START] - b[START]);
while (lanes.length > 1 && !lanes[lanes.length - 1].length) lanes.pop(); // slots that were never needed

const fmt = n => n.toLocaleString("en");
function time(us) {
  if (us < 1000) return us.toFixed(0) + " µs";
  if (us < 1e6) return (us / 1000).toPrecision(3) + " ms";
  if (us < 6e7) return (us / 1e6).toPrecision(us < 1e7 ? 3 : 4) + " s";
  const s = Math.floor(us / 1e6), two = n => String(n).padStart(2, "0");
  return s < 3600 ? Math.floor(s / 60) + ":" + two(s % 60) : Math.floor(s / 3600) + ":" + two(Math.floor(s / 60) % 60) + ":" + two(s % 60);
}
function bytes(n) { let u = 0; const names = ["B", "KiB", "MiB", "GiB", "TiB"]; while (n >= 1024 && u < 4) n /= 1024, ++u; return (u ? n.toFixed(1) : n) + " " + names[u]; }
const signals = {1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE", 14: "ALRM", 15: "TERM", 24: "XCPU"};
function outcome(r) { const o = r[OUTCOME]; return typeof o === "string" ? o : o === 0 ? "success" : o > 0 ? "exit " + o : "signal " + -o + (signals[-o] ? " (" + signals[-o] + ")" : ""); }
function element(name, text, cls) { const e = document.createElement(name); if (text !== undefined) e.textContent = text; if (cls) e.className = cls; return e; }

// ---- numbers on top
const final = rows.filter(r => !r[RETRIED]), failures = final.filter(r => r[OUTCOME] !== 0);
const cpu = rows.reduce((s, r) => s + r[CPU], 0) + run.ownCpu, busy = rows.reduce((s, r) => s + r[LONG], 0);
$("when").textContent = new Date(run.started).toLocaleString();
$("ended").textContent = run.ended ? "\u00b7 " + run.ended : "";
function tile(value, name, cls) { const t = element("div", undefined, "tile " + (cls || "")); t.append(element("b", value), element("span", name)); $("tiles").append(t); }
tile(fmt(final.length), final.length === 1 ? run.one : run.many);
tile(fmt(failures.length), "failed", failures.length ? "bad" : "");
tile(time(run.wall), "wall time");
tile(fmt(+(final.length / run.wall * 1e6).toPrecision(4)), run.many + " a second");
tile((busy / run.wall).toFixed(2), "at once, of " + fmt(run.slots) + (run.slots === 1 ? " slot" : " slots"));
if (!run.processes) tile(bytes(rows.reduce((s, r) => s + r[BYTES], 0) / run.wall * 1e6) + "/s", "on average");
tile((cpu / run.wall / run.cores * 100).toFixed(0) + " %", "CPU use of " + run.cores + (run.cores === 1 ? " core" : " cores"));
const sorted = final.map(r => r[LONG]).sort((a, b) => a - b);
tile(sorted.length ? time(sorted[Math.floor(sorted.length / 2)]) : "\u2013", "median " + run.one);
if (run.rows > N) $("ended").textContent += " \u00b7 the first " + fmt(N) + " of " + fmt(run.rows) + " rows are drawn";

// ---- drawing
let from = 0, to = end, found = null, query = "";
const scale = () => window.devicePixelRatio || 1;
let color = {};
function readColors() { const s = getComputedStyle(document.documentElement); for (const n of ["text", "soft", "line", "grid", "ok1", "ok2", "bad", "retry", "late", "mark", "idle", "panel", "brush"]) color[n] = s.getPropertyValue("--" + n).trim(); color.kinds = [color.ok1, color.bad, color.retry, color.late]; }
const axis = 22, gutter = 40;
const laneHeight = lanes.length <= 12 ? 30 : lanes.length <= 32 ? 20 : lanes.length <= 96 ? 12 : Math.max(3, Math.min(8, Math.floor(16000 / lanes.length)));
function fit(canvas, height) {
  const w = Math.max(200, canvas.parentElement.clientWidth - (canvas.id === "whole" ? 28 : 0)), k = scale();
  if (canvas.width !== Math.round(w * k) || canvas.height !== Math.round(height * k)) { canvas.width = Math.round(w * k); canvas.height = Math.round(height * k); canvas.style.height = height + "px"; canvas.style.width = w + "px"; }
  const g = canvas.getContext("2d"); g.setTransform(k, 0, 0, k, 0, 0); return [g, w];
}
function step(span, count) { const raw = span / count, p = Math.pow(10, Math.floor(Math.log10(raw))); for (const m of [1, 2, 5, 10]) if (m * p >= raw) return m * p; }
function tickText(us, unit) { return unit >= 6e7 ? time(us) : unit >= 1e6 ? +(us / 1e6).toFixed(0) + " s" : unit >= 1000 ? (span() > 1e6 ? (us / 1e6).toFixed(unit >= 1e5 ? 1 : unit >= 1e4 ? 2 : 3) + " s" : +(us / 1000).toFixed(0) + " ms") : +(us).toFixed(0) + " µs"; }
const span = () => to - from;
function firstAfter(lane, t) { let a = 0, b = lane.length; while (a < b) { const m = (a + b) >> 1; if (lane[m][START] + lane[m][LONG] < t) a = m + 1; else b = m; } return a; }

let cells = null; // for the upper strip: busy share and failures of a column
function drawWhole() {
  const [g, w] = fit($("whole"), 54), h = 54, columns = Math.floor(w - gutter);
  if (!cells || cells.columns !== columns) {
    const sum = new Float64Array(columns), bad = new Uint8Array(columns), per = end / columns;
    for (const r of rows) {
      const a = r[START], b = Math.max(r[START] + r[LONG], a + 1); let i = Math.min(columns - 1, Math.floor(a / per)); const last = Math.min(columns - 1, Math.floor((b - 1e-9) / per));
      if (kind(r) === 1 || kind(r) === 3) bad[last] = 1;
      for (; i <= last; ++i) sum[i] += Math.max(0, Math.min(b, (i + 1) * per) - Math.max(a, i * per)) / per;
    }
    cells = {columns, sum, bad, top: Math.max(1, lanes.length, ...sum)};
  }
  g.clearRect(0, 0, w, h); g.fillStyle = color.idle; g.fillRect(gutter, 0, columns, h);
  g.fillStyle = color.ok2; for (let i = 0; i < columns; ++i) { const y = cells.sum[i] / cells.top * (h - 4); if (y > 0) g.fillRect(gutter + i, h - y, 1, y); }
  g.fillStyle = color.bad; for (let i = 0; i < columns; ++i) if (cells.bad[i]) g.fillRect(gutter + i - 0.5, 0, 2, 7);
  g.fillStyle = color.soft; g.font = "11px system-ui, sans-serif"; g.textAlign = "right"; g.textBaseline = "top"; g.fillText(String(Math.round(cells.top)), gutter - 6, 1); g.textBaseline = "bottom"; g.fillText("0", gutter - 6, h);
  if (from > 0 || to < end) { const a = gutter + from / end * columns, b = gutter + to / end * columns; g.fillStyle = color.brush; g.fillRect(a, 0, Math.max(2, b - a), h); g.strokeStyle = color.ok1; g.strokeRect(a + .5, .5, Math.max(2, b - a) - 1, h - 1); }
}
function drawLanes() {
  const height = axis + lanes.length * laneHeight + 2, [g, w] = fit($("lanes"), height), wide = w - gutter, k = wide / span();
  g.clearRect(0, 0, w, height);
  g.font = "11px system-ui, sans-serif"; g.textBaseline = "middle";
  const unit = step(span(), Math.max(2, wide / 110));
  g.textAlign = "left";
  for (let t = Math.ceil(from / unit) * unit; t <= to; t += unit) { const x = gutter + (t - from) * k; g.fillStyle = color.line; g.fillRect(Math.round(x), axis - 5, 1, height); g.fillStyle = color.soft; if (x < w - 40) g.fillText(tickText(t, unit), x + 4, axis / 2); }
  const gap = laneHeight >= 12 ? 3 : laneHeight >= 6 ? 1 : 0, every = Math.max(1, Math.ceil(13 / laneHeight)), px = 1 / scale();
  for (let l = 0; l < lanes.length; ++l) {
    const y = axis + l * laneHeight + gap / 2, h = laneHeight - gap, lane = lanes[l];
    g.fillStyle = color.idle; g.fillRect(gutter, y, wide, h);
    if (l % every === 0) { g.fillStyle = color.soft; g.textAlign = "right"; g.fillText(String(l + 1), gutter - 6, y + h / 2); g.textAlign = "left"; }
    // Jobs narrower than a pixel or two share them: a pixel's strength is the share of time that they fill, and failures stay visible.
    const fill = new Float64Array(Math.ceil(wide) + 3), worst = new Uint8Array(fill.length); let narrow = false;
    for (let i = firstAfter(lane, from); i < lane.length; ++i) {
      const r = lane[i], a = r[START], b = a + r[LONG]; if (a > to) break;
      const x0 = Math.max(0, (a - from) * k), x1 = Math.min(wide, (b - from) * k), q = kind(r), dim = query && !matches(r);
      if (x1 - x0 < 1.6) {
        narrow = true;
        if (!dim) for (let c = Math.floor(x0); c < x1; ++c) fill[c] += Math.min(x1, c + 1) - Math.max(x0, c);
        if (!dim) fill[Math.floor(x0)] += 1e-3; // seen, however short
        if (q && !dim) { const c = Math.min(Math.floor(wide) - 1, Math.floor(x0)); worst[c] = worst[c] === 1 ? 1 : q; }
        if (found === r) mark(g, gutter + x0, y, 3, h); continue;
      }
      g.globalAlpha = dim ? .22 : 1; g.fillStyle = q ? color.kinds[q] : (r[SEQ] & 1 ? color.ok1 : color.ok2);
      g.fillRect(gutter + x0, y, Math.max(px, x1 - x0 - Math.min(1, (x1 - x0) * .2)), h);
      if (h >= 12 && x1 - x0 > 46) { g.save(); g.beginPath(); g.rect(gutter + x0, y, x1 - x0 - 3, h); g.clip(); g.fillStyle = q || (r[SEQ] & 1) ? "#fff" : "#0c1a2b"; g.fillText("#" + r[SEQ] + (x1 - x0 > 110 ? "  " + r[COMMAND] : ""), gutter + x0 + 5, y + h / 2 + .5); g.restore(); }
      g.globalAlpha = 1;
      if (found === r) mark(g, gutter + x0, y, Math.max(3, x1 - x0), h);
    }
    if (narrow) {
      g.fillStyle = color.ok1;
      for (let c = 0; c < wide; ++c) if (fill[c] > 0) { g.globalAlpha = Math.min(1, .25 + .75 * fill[c]); g.fillRect(gutter + c, y, Math.min(1, wide - c), h); }
      g.globalAlpha = 1;
      for (let c = 0; c < wide; ++c) if (worst[c]) { g.fillStyle = color.kinds[worst[c]]; g.fillRect(gutter + c, y, 2, h); }
    }
  }
  $("range").textContent = from === 0 && to === end ? "the whole run, " + time(end) : time(from) + " \u2013 " + time(to) + "  (" + time(span()) + " of " + time(end) + ")";
}
function mark(g, x, y, w, h) { g.strokeStyle = color.mark; g.lineWidth = 2; g.strokeRect(x - 1, y - 1, w + 2, h + 2); g.lineWidth = 1; }
let asked = false;
function draw() { if (asked) return; asked = true; requestAnimationFrame(() => { asked = false; drawLanes(); drawWhole(); }); }

// ---- moving about
function show(a, b) { let s = Math.min(end, Math.max(20, b - a)); const middle = (a + b) / 2; from = Math.max(0, Math.min(end - s, middle - s / 2)); to = from + s; draw(); }
function zoom(factor, at) { const s = span() * factor; if (at === undefined) at = (from + to) / 2; const part = (at - from) / span(), n = Math.min(end, Math.max(20, s)); from = Math.max(0, Math.min(end - n, at - part * n)); to = from + n; draw(); }
const canvas = $("lanes"), timeAt = x => from + (x - canvas.getBoundingClientRect().left - gutter) / (canvas.clientWidth - gutter) * span();
function jobAt(e) {
  const box = canvas.getBoundingClientRect(), l = Math.floor((e.clientY - box.top - axis) / laneHeight), lane = lanes[l]; if (!lane || e.clientX - box.left < gutter) return null;
  const t = timeAt(e.clientX), slack = span() / (canvas.clientWidth - gutter) * 2; let best = null, far = slack;
  for (let i = firstAfter(lane, t - slack); i < lane.length && lane[i][START] <= t + slack; ++i) { const r = lane[i], d = t < r[START] ? r[START] - t : t > r[START] + r[LONG] ? t - r[START] - r[LONG] : 0; if (d === 0 && r[LONG] > slack) return r; if (d <= far && (!best || d < far || kind(r))) best = r, far = d; }
  return best;
}
canvas.addEventListener("wheel", e => { if (e.ctrlKey || e.metaKey || Math.abs(e.deltaY) >= Math.abs(e.deltaX)) { e.preventDefault(); zoom(Math.pow(1.0018, Math.max(-400, Math.min(400, e.deltaY * (e.deltaMode ? 30 : 1)))), timeAt(e.clientX)); } else { e.preventDefault(); const d = e.deltaX / canvas.clientWidth * span(); show(from + d, to + d); } hide(); }, {passive: false});
let grip = null;
canvas.addEventListener("pointerdown", e => { grip = {x: e.clientX, from, to}; canvas.setPointerCapture(e.pointerId); canvas.classList.add("drag"); hide(); });
canvas.addEventListener("pointermove", e => { if (grip) { const d = (grip.x - e.clientX) / (canvas.clientWidth - gutter) * (grip.to - grip.from); const s = grip.to - grip.from; from = Math.max(0, Math.min(end - s, grip.from + d)); to = from + s; draw(); } else tip(jobAt(e), e); });
for (const n of ["pointerup", "pointercancel"]) canvas.addEventListener(n, () => { grip = null; canvas.classList.remove("drag"); });
canvas.addEventListener("pointerleave", hide);
canvas.addEventListener("dblclick", e => { const r = jobAt(e); if (r) focus(r); else show(0, end); });
function focus(r) { found = r; const pad = Math.max(r[LONG] * .6, 20); show(r[START] - pad, r[START] + r[LONG] + pad); }
const whole = $("whole"); let brush = null;
const wholeTime = e => { const b = whole.getBoundingClientRect(); return Math.max(0, Math.min(end, (e.clientX - b.left - gutter) / (b.width - gutter) * end)); };
whole.addEventListener("pointerdown", e => { brush = wholeTime(e); whole.setPointerCapture(e.pointerId); });
whole.addEventListener("pointermove", e => { if (brush !== null) { const t = wholeTime(e); if (Math.abs(t - brush) > end / 500) { from = Math.min(t, brush); to = Math.max(from + 20, Math.max(t, brush)); draw(); } } });
whole.addEventListener("pointerup", e => { if (brush !== null && Math.abs(wholeTime(e) - brush) <= end / 500) { const s = span() < end ? span() : end / 8; show(brush - s / 2, brush + s / 2); } brush = null; });
addEventListener("keydown", e => { if (e.target.tagName === "INPUT" || e.ctrlKey || e.metaKey || e.altKey) return; const d = span() / 6; if (e.key === "+" || e.key === "=") zoom(.6); else if (e.key === "-") zoom(1 / .6); else if (e.key === "0") show(0, end); else if (e.key === "ArrowLeft") show(from - d, to - d); else if (e.key === "ArrowRight") show(from + d, to + d); else return; e.preventDefault(); });
$("in").onclick = () => zoom(.5); $("out").onclick = () => zoom(2); $("all").onclick = () => show(0, end);

// ---- what a job was
function hide() { $("tip").style.display = "none"; }
function tip(r, e) {
  const t = $("tip"); if (!r) return hide();
  const list = element("dl"), line = (a, b) => list.append(element("dt", a), element("dd", b));
  line(run.one, "#" + fmt(r[SEQ]) + (r[RETRIED] ? ", attempt " + r[RETRIED] : "") + ", slot " + r[SLOT]); line("outcome", outcome(r) + (r[RETRIED] ? ", tried again" : ""));
  line("time", time(r[LONG]) + ", from " + time(r[START]) + " on"); if (run.processes) { line("CPU", time(r[CPU]) + (r[LONG] ? " = " + (r[CPU] / r[LONG] * 100).toFixed(0) + " %" : "")); line("memory", bytes(r[MEM] * 1024)); } line(run.bytes, bytes(r[BYTES]));
  t.replaceChildren(element("span", r[COMMAND], "mono"), list); t.style.display = "block";
  const b = t.getBoundingClientRect(); t.style.left = Math.max(4, Math.min(innerWidth - b.width - 8, e.clientX + 14)) + "px"; t.style.top = (e.clientY + 18 + b.height > innerHeight ? Math.max(4, e.clientY - b.height - 12) : e.clientY + 18) + "px";
}
function table(where, list, none) {
  if (!list.length) { $(where).append(element("div", none, "none")); return; }
  const t = element("table"), head = element("tr");
  for (const [name, width, cls] of [[run.one, "76px"], ["time", "82px", "n"], ["outcome", "112px"], [run.label, "auto"]]) { const h = element("th", name, cls); h.style.width = width; head.append(h); }
  t.append(head);
  for (const r of list) { const row = element("tr"); row.dataset.job = r[SEQ]; row.append(element("td", "#" + r[SEQ]), element("td", time(r[LONG]), "n"), element("td", outcome(r), r[OUTCOME] === 0 ? "none" : "out"), element("td", r[COMMAND], "mono")); row.lastChild.title = r[COMMAND]; row.onclick = () => { focus(r); canvas.scrollIntoView({block: "nearest", behavior: "smooth"}); }; t.append(row); }
  $(where).append(t);
}
$("failedTitle").textContent = failures.length > 200 ? "Failures (the first 200 of " + fmt(failures.length) + ")" : "Failures";
table("failed", failures.slice().sort((a, b) => a[SEQ] - b[SEQ]).slice(0, 200), "None.");
table("slowest", final.slice().sort((a, b) => b[LONG] - a[LONG]).slice(0, 20), "None.");
const keys = [["success", 0], ["failure", 1], ["time-out", 3], ["failed, tried again", 2]].filter(([, k]) => k === 0 || rows.some(r => kind(r) === k));

// ---- finding
const matches = r => /^#?\d+$/.test(query) ? String(r[SEQ]) === query.replace("#", "") : r[COMMAND].toLowerCase().includes(query);
let hit = -1;
$("find").addEventListener("input", e => { query = e.target.value.trim().toLowerCase(); hit = -1; found = null; draw(); });
$("find").addEventListener("keydown", e => { if (e.key !== "Enter" || !query) return; for (let i = 1; i <= N; ++i) { const j = (hit + i) % N; if (matches(rows[j])) { hit = j; focus(rows[j]); return; } } });

function theme() { readColors(); $("keys").replaceChildren(...keys.map(([name, k]) => { const s = element("span", undefined, "key"), i = element("i"); i.style.background = color.kinds[k]; s.append(i, name); return s; })); cells = null; draw(); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", theme);
addEventListener("resize", draw);
theme();
</script></body></html>
)page";

} // namespace sennit::tools
