// Makes the first page live: changes as they come, the chart, the figures. Without it the page is
// what it was when it was asked for. Everything comes from this service; texts stay texts.
import { element, shown } from "./shown.js";

const ROWS_MAX = 20; // as many as the page comes with: what is below it stays in place
const STATUS_MS = 10_000;
const AGAIN_MS = 15_000; // after a refusal: too many streams to one address
const MINUTE = 60;
const numbers = new Intl.NumberFormat("en-US");

const feed = document.getElementById("feed");
const state = document.getElementById("feed-state");
const pause = document.getElementById("feed-pause");
const box = document.getElementById("chart");

// --- the chart ---
const counts = JSON.parse(box.dataset.counts);
let end = Number(box.dataset.end); // seconds at which the last minute begins
let ahead = null; // the server's clock against this one, in seconds
let plot = null;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function series() {
  return [counts.map((_, place) => end - (counts.length - 1 - place) * MINUTE), counts];
}

function drawn() {
  if (!window.uPlot || box.clientWidth === 0) return;
  plot?.destroy();
  box.replaceChildren();
  const axis = { stroke: colour("--quiet"), font: "12px system-ui", ticks: { show: false } };
  plot = new window.uPlot(
    {
      width: box.clientWidth,
      height: box.clientHeight,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { setScale: false }, points: { show: false } },
      scales: { x: { range: (_, least, most) => [least - MINUTE / 2, most + MINUTE / 2] }, y: { range: (_, least, most) => [0, Math.max(4, most * 1.08)] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 60, values: (_, ticks) => ticks.map(clock) },
        {
          ...axis,
          size: 44,
          grid: { stroke: colour("--line"), width: 1 },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000],
          values: (_, ticks) => ticks.map((tick) => numbers.format(tick)),
        },
      ],
      series: [
        {},
        {
          fill: colour("--bar"),
          stroke: colour("--bar"),
          width: 0,
          points: { show: false },
          paths: window.uPlot.paths.bars({ size: [0.8, 40] }),
        },
      ],
      hooks: { setCursor: [pointed] },
    },
    series(),
    box,
  );
}

function clock(seconds) {
  return new Date(seconds * 1000).toISOString().slice(11, 16);
}

function pointed(which) {
  const place = which.cursor.idx;
  const over = place === null || place === undefined || which.cursor.left < 0;
  box.title = over ? "" : `${clock(series()[0][place])}: ${numbers.format(counts[place])}`;
}

function told() {
  const total = counts.reduce((sum, count) => sum + count, 0);
  document.getElementById("chart-total").textContent = numbers.format(total);
  document.getElementById("chart-most").textContent = numbers.format(Math.max(...counts));
  plot?.setData(series());
}

function forward(seconds) {
  const last = Math.floor(seconds / MINUTE) * MINUTE;
  const steps = Math.min(counts.length, Math.round((last - end) / MINUTE));
  if (steps <= 0) return;
  counts.splice(0, steps);
  counts.push(...new Array(steps).fill(0));
  end = last;
}

function counted(seconds) {
  const place = counts.length - 1 - Math.round((end - Math.floor(seconds / MINUTE) * MINUTE) / MINUTE);
  if (place >= 0 && place < counts.length) counts[place] += 1;
}

// --- the feed ---
let source = null;
let serial = feed.dataset.serial;
let paused = false;
let waiting = [];
let asked = 0;

function row(change) {
  const item = element("li", "new");
  const line = element("span", "line");
  const kind = /^[a-z-]{1,40}$/.test(change.kind) ? change.kind : "change";
  line.append(element("span", `kind ${kind}`, kind.replaceAll("-", " ")), " ");
  const link = element("a");
  link.href = `/project/${encodeURIComponent(change.project)}/`;
  link.append(element("bdi", "", shown(change.name, 80)));
  line.append(link, " ");
  if (change.version) {
    const version = element("span", "version");
    version.append(element("bdi", "", shown(change.version, 60)));
    line.append(version);
  }
  item.append(line);
  if (change.action !== kind.replaceAll("-", " ")) {
    const action = element("span", "action");
    action.append(element("bdi", "", shown(change.action, 160)));
    item.append(action);
  }
  const meta = element("span", "meta");
  const time = element("time", "", String(change.time).slice(0, 19).replace("T", " "));
  time.dateTime = String(change.time);
  meta.append(time, " ", element("span", "serial", `#${change.serial}`));
  item.append(meta);
  return item;
}

function flushed() {
  asked = 0;
  if (paused || waiting.length === 0) return;
  feed.querySelector(":scope > .empty")?.remove();
  const rows = waiting.slice(-ROWS_MAX).map(row).reverse();
  waiting = [];
  feed.prepend(...rows);
  while (feed.children.length > ROWS_MAX) feed.lastElementChild.remove();
  told();
}

function said(text, on) {
  state.textContent = text;
  state.classList.toggle("on", on);
}

function arrived(event) {
  if (event.lastEventId) serial = event.lastEventId;
  const change = JSON.parse(event.data);
  const seconds = Date.parse(change.time) / 1000;
  if (seconds >= end + MINUTE && seconds < now() + MINUTE) forward(seconds);
  counted(seconds);
  waiting.push(change);
  if (waiting.length > 2 * ROWS_MAX) waiting = waiting.slice(-ROWS_MAX);
  if (paused) said(`paused, ${numbers.format(waiting.length)} waiting`, false);
  else asked ||= requestAnimationFrame(flushed);
}

function listen() {
  if (source || document.hidden) return;
  source = new EventSource(`/v1/stream/changes?since=${encodeURIComponent(serial)}`);
  source.onopen = () => said(paused ? "paused" : "live", !paused);
  source.onmessage = arrived;
  source.onerror = () => {
    said("connecting again", false);
    if (source.readyState !== EventSource.CLOSED) return;
    source = null;
    setTimeout(listen, AGAIN_MS);
  };
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", String(paused));
  said(paused ? "paused" : "live", !paused);
  if (!paused) flushed();
});

// A page in the background lets go of its connection: browsers have six for all tabs of a host.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    listen();
    figures();
  }
});

// --- the figures ---
function now() {
  return Date.now() / 1000 + (ahead ?? 0);
}

function duration(seconds) {
  if (seconds === null) return "\u2013";
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
}

function figure(name, value) {
  const place = document.querySelector(`[data-status="${name}"]`);
  if (place && value !== undefined) place.textContent = value;
}

function amount(value) {
  return value === null || value === undefined ? "\u2013" : numbers.format(value);
}

async function figures() {
  try {
    const answer = await fetch("/v1/status", { cache: "no-store" });
    if (!answer.ok) return;
    const date = Date.parse(answer.headers.get("date") ?? "");
    if (date) ahead = (date - Date.now()) / 1000;
    const status = await answer.json();
    for (const name of ["projects", "watermark", "exceptions", "lag_serials", "head"]) figure(name, amount(status[name]));
    figure("lag_seconds", duration(status.lag_seconds));
    figure("coverage", status.coverage === null ? "\u2013" : `${status.coverage} %`);
    if (status.head_time) figure("head_time", status.head_time.slice(0, 19).replace("T", " "));
  } catch {
    // the next look may have an answer; the feed says when there is no connection
  }
}

drawn();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawn);
new ResizeObserver(() => {
  if (plot && Math.abs(plot.width - box.clientWidth) > 1) drawn();
}).observe(box);
listen();
setInterval(() => {
  if (document.hidden) return;
  forward(now());
  told();
  figures();
}, STATUS_MS);
