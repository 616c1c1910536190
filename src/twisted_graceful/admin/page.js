// The live page: it asks for /status every second. What comes from clients is only ever set as text.
"use strict";

const SECONDS = 300; // what the charts show
const WIDTH = 300, HEIGHT = 100;
const SVG = "http://www.w3.org/2000/svg";
const history = []; // {rate, median, high, generation}
let before = null;
let mostInDrain = 0;

const element = (id) => document.getElementById(id);

function made(tag, text, className) {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function buckets(counters) {
  return Object.entries(counters)
    .filter(([name]) => name.startsWith("bucket,"))
    .map(([name, count]) => [name === "bucket,inf" ? Infinity : Number(name.slice(7)), count])
    .sort((one, other) => one[0] - other[0]);
}

// The duration, in milliseconds, that a part of the requests since the last look did not exceed.
function quantile(part, now, then) {
  const counts = now.map(([bound, count], index) => [bound, count - (then[index]?.[1] ?? 0)]);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  let soFar = 0, lower = 0;
  if (total <= 0) return null;
  for (const [bound, count] of counts) {
    if (count > 0 && soFar + count >= part * total) {
      if (bound === Infinity) return lower * 1000;
      return (lower + ((bound - lower) * (part * total - soFar)) / count) * 1000;
    }
    soFar += count;
    lower = bound;
  }
  return lower * 1000;
}

function chart(id, names) {
  const svg = element(id);
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const highest = Math.max(1e-9, ...history.flatMap((each) => names.map((name) => each[name] ?? 0)));
  const x = (index) => WIDTH - (history.length - 1 - index) * (WIDTH / SECONDS);
  const parts = names.map((name, number) => {
    const line = document.createElementNS(SVG, "polyline");
    if (number) line.setAttribute("class", "high");
    const points = history
      .map((each, index) => [x(index), each[name]])
      .filter(([, value]) => value !== null)
      .map(([at, value]) => `${at},${HEIGHT - 4 - (value / highest) * (HEIGHT - 8)}`);
    line.setAttribute("points", points.join(" "));
    return line;
  });
  history.forEach((each, index) => {
    if (index && each.generation !== history[index - 1].generation) { // an upgrade
      const mark = document.createElementNS(SVG, "line");
      const at = { x1: x(index), x2: x(index), y1: 0, y2: HEIGHT };
      for (const [name, value] of Object.entries(at)) mark.setAttribute(name, value);
      parts.push(mark);
    }
  });
  svg.replaceChildren(...parts);
}

function lane(generation) {
  const drains = generation.draining !== null && generation.draining !== undefined;
  const node = made("p", [
    `generation ${generation.generation}`,
    `pid ${generation.pid}`,
    generation.state,
    `up ${Math.round(generation.uptime)} s`,
    `${generation.connections} connections`,
    `${generation.in_flight} requests in flight`,
    `${generation.handed_over} connections handed over`,
  ].join(" · "), drains ? "lane draining" : "lane");
  if (drains) {
    mostInDrain = Math.max(mostInDrain, generation.connections);
    const progress = document.createElement("progress");
    progress.max = Math.max(1, mostInDrain);
    progress.value = progress.max - generation.connections;
    node.append(` · drains for ${Math.round(generation.draining)} s `, progress);
  }
  return node;
}

function row(...cells) {
  const node = document.createElement("tr");
  node.append(...cells.map((each) => made("td", each)));
  return node;
}

function show(status, now) {
  const counters = status.counters;
  const answered = Object.entries(counters)
    .filter(([name]) => name.startsWith("requests,"))
    .reduce((sum, [, count]) => sum + count, 0);
  const current = { now, answered, buckets: buckets(counters) };
  if (before) {
    history.push({
      rate: Math.max(0, (answered - before.answered) / ((now - before.now) / 1000)),
      median: quantile(0.5, current.buckets, before.buckets),
      high: quantile(0.99, current.buckets, before.buckets),
      generation: status.generations[0].generation,
    });
    history.splice(0, history.length - SECONDS);
    const last = history[history.length - 1];
    element("rate").textContent = last.rate.toFixed(0);
    element("latency").textContent =
      last.median === null ? "" : `${last.median.toFixed(1)} and ${last.high.toFixed(1)}`;
    chart("rates", ["rate"]);
    chart("latencies", ["median", "high"]);
  }
  before = current;
  element("charts").hidden = false;
  const ready = status.ready ? "ready" : "not ready";
  element("ready").textContent = ready;
  element("ready").className = ready;
  if (!status.generations.some((each) => each.draining != null)) mostInDrain = 0;
  const byNumber = [...status.generations].sort((one, other) => one.generation - other.generation);
  element("lanes").replaceChildren(...byNumber.map(lane));
  element("requests").replaceChildren(...status.generations.flatMap((generation) =>
    (generation.requests ?? []).map((each) =>
      row(generation.generation, each.method, each.path, each.age, each.doing))));
  element("totals").replaceChildren(...Object.entries({ ...counters, ...status.gauges })
    .filter(([name]) => !name.startsWith("bucket"))
    .sort()
    .map(([name, number]) => row(name.replaceAll(",", " "), number)));
}

async function look() {
  try {
    const response = await fetch("status", { cache: "no-store" });
    if (!response.ok) throw new Error(response.statusText);
    show(await response.json(), performance.now());
  } catch {
    element("ready").textContent = "no answer";
    element("ready").className = "";
  }
  setTimeout(look, 1000);
}

look();
