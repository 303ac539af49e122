// The script of a run's page and of `grpo watch`: curves that can be hovered over and zoomed, and the table of groups.
// Texts of models are hostile. They enter the page as textContent only, never as HTML.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("live");
const AXES = ["rollouts", "prompts", "step", "seconds"];
const SMOOTHED = 25, POLL = 2000, ROWS = 10;
const PLOT = {height: 220, left: 56, right: 10, top: 8, bottom: 24};

const view = {axis: "rollouts", range: null, smooth: true};
const runs = data.runs.map((run) => ({after: "", state: null, curves: null, groups: [], ...run}));

const elementOf = (element) => (tag, attributes = {}, ...children) => {
  const made = element(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
};
const h = elementOf((tag) => document.createElement(tag));
const s = elementOf((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
const known = (value) => value !== null && Number.isFinite(value);
const number = (value) => !known(value) ? "–"
  : value === 0 || (Math.abs(value) >= 0.001 && Math.abs(value) < 1e6) || Number.isInteger(value)
    ? value.toLocaleString("en", {maximumSignificantDigits: Number.isInteger(value) ? 15 : 4})
    : Number(value.toPrecision(3)).toExponential();
const counted = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
const choice = (label, options, chosen, act) => h("label", {}, label + " ",
  h("select", {onchange: (event) => act(event.target.value)},
    ...options.map(([value, text]) => h("option", {value, selected: value === chosen}, text))));

// Curves ------------------------------------------------------------------------------------------------------------

// Append the columns that came since the last question. A curve that is new has no values in earlier steps.
function extend(curves, more) {
  const before = curves.step.length;
  for (const name of AXES) curves[name] = curves[name].concat(more[name]);
  for (const [title, panel] of Object.entries(more.trained)) for (const label of Object.keys(panel))
    (curves.trained[title] ??= {})[label] ??= Array(before).fill(null);
  for (const [title, panel] of Object.entries(curves.trained)) for (const label of Object.keys(panel))
    panel[label] = panel[label].concat(more.trained[title]?.[label] ?? Array(more.step.length).fill(null));
  for (const [title, panel] of Object.entries(more.evaluated)) for (const [label, rows] of Object.entries(panel)) {
    const there = curves.evaluated[title] ??= {};
    there[label] = (there[label] ?? []).concat(rows);
  }
}

// Return running means over the last steps. Steps without a value are skipped.
function smoothed(values) {
  return values.map((_, index) => {
    const window = values.slice(Math.max(0, index - SMOOTHED + 1), index + 1).filter(known);
    return window.length ? window.reduce((sum, value) => sum + value, 0) / window.length : null;
  });
}

// Return the curves of a panel: {label, run, place, points: [{x, y, low, high, step, seconds}], few}. A few evaluations,
// such as those of the test problems before and after training, are points: a line would say what lies between them.
function curvesOf(title) {
  const found = [];
  for (const run of runs.filter((one) => one.curves)) {
    const {curves} = run;
    let place = 0;
    const add = (label, points, few = false) => points.length && found.push({label, run, place: place++, points, few});
    const at = new Map(curves.step.map((step, index) => [step, index]));
    for (const [label, rows] of Object.entries(curves.evaluated[title] ?? {}))
      add(label, rows.filter(([step]) => step === 0 || at.has(step) || view.axis === "step").map(([step, y, low, high]) => {
        const index = at.get(step);
        const x = view.axis === "step" ? step : step === 0 ? 0 : curves[view.axis][index];
        return {x, y, low, high, step, seconds: step === 0 ? 0 : curves.seconds[index]};
      }), rows.length < 3);
    for (const [label, values] of Object.entries(curves.trained[title] ?? {})) {
      const shown = view.smooth ? smoothed(values) : values;
      add(label, shown.map((y, index) => (
        {x: curves[view.axis][index], y, step: curves.step[index], seconds: curves.seconds[index]}
      )).filter((point) => known(point.y)));
    }
  }
  return found;
}

function ticks(low, high, count) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Number(value.toPrecision(10)));
  return found;
}

function makePanel(title) {
  const legend = h("ul", {class: "legend", "aria-live": "off"});
  const where = h("p", {class: "where"}, "\u00a0");
  const svg = s("svg", {tabindex: 0, role: "img", height: PLOT.height});
  const figure = h("figure", {}, h("h3", {}, title), legend, svg, where);
  const panel = {title, figure, draw};
  let drawn = null, cursor = null, drag = null;

  function draw() {
    const curves = curvesOf(title);
    figure.hidden = !curves.length;
    if (figure.hidden) return;
    const width = Math.max(svg.clientWidth, 200);
    const extent = curves.flatMap(({points}) => [points[0].x, points.at(-1).x]);
    const [first, last] = view.range ?? [Math.min(...extent), Math.max(...extent)];
    for (const curve of curves) curve.points = curve.points.filter(({x}) => x >= first && x <= last);
    const values = curves.flatMap(({points}) => points.flatMap((p) => p.low == null ? [p.y] : [p.low, p.high]));
    let low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const log = low > 0 && data.logarithmic.includes(title);
    if (!values.length) [low, high] = [0, 1];
    if (!log) {
      const margin = 0.05 * (high - low) || Math.abs(high) * 0.05 || 0.05;
      [low, high] = [low >= 0 ? (low < 0.6 * high ? 0 : Math.max(0, low - margin)) : low - margin, high + margin];
    }
    const scaled = log ? Math.log10 : (value) => value;
    const x = (value) => PLOT.left + (width - PLOT.left - PLOT.right) * (value - first) / (last - first || 1);
    const y = (value) => PLOT.height - PLOT.bottom
      - (PLOT.height - PLOT.top - PLOT.bottom) * (scaled(value) - scaled(low)) / (scaled(high) - scaled(low) || 1);
    const floor = PLOT.height - PLOT.bottom;
    const marks = log ? ticks(Math.log10(low), Math.log10(high), 4).filter(Number.isInteger).map((power) => 10 ** power) : ticks(low, high, 4);
    svg.setAttribute("viewBox", `0 0 ${width} ${PLOT.height}`);
    svg.replaceChildren(
      ...marks.map((value) => s("g", {}, s("line", {class: "grid", x1: PLOT.left, x2: width - PLOT.right, y1: y(value), y2: y(value)}),
        s("text", {x: PLOT.left - 6, y: y(value) + 4, "text-anchor": "end"}, log ? value.toExponential(0) : number(value)))),
      ...ticks(first, last, width / 110).map((value) => s("text", {x: x(value), y: floor + 17, "text-anchor": "middle"}, number(value))),
      s("line", {class: "axis", x1: PLOT.left, x2: width - PLOT.right, y1: floor, y2: floor}),
    );
    for (const curve of curves) {
      curve.color = `color${(runs.length > 1 ? curve.run.index : curve.place) % 8}`;
      curve.dash = runs.length > 1 ? ["", "6 3", "2 3", "8 3 2 3"][curve.place % 4] : "";
      const every = Math.ceil(curve.points.length / (2 * width));
      const points = curve.points.filter((_, index) => index % every === 0 || index === curve.points.length - 1);
      const path = (of) => points.map((p) => `${x(p.x).toFixed(1)},${y(of(p)).toFixed(1)}`);
      if (curve.few) for (const p of points)
        svg.append(s("line", {class: `curve ${curve.color}`, x1: x(p.x), x2: x(p.x), y1: y(p.low), y2: y(p.high)}));
      else if (points[0]?.low != null)
        svg.append(s("polygon", {class: `band ${curve.color}`, points: [...path((p) => p.low), ...path((p) => p.high).reverse()].join(" ")}));
      if (!curve.few) svg.append(s("polyline", {class: `curve ${curve.color}`, points: path((p) => p.y).join(" "), "stroke-dasharray": curve.dash}));
      if (points.length < 40) for (const p of points) svg.append(s("circle", {class: curve.color, cx: x(p.x), cy: y(p.y), r: curve.few ? 4 : 2}));
    }
    const selection = s("rect", {class: "selection", y: PLOT.top, height: floor - PLOT.top, width: 0});
    const hair = s("line", {class: "hair", y1: PLOT.top, y2: floor, visibility: "hidden"});
    svg.append(selection, hair);
    const back = (pixel) => first + (last - first) * (pixel - PLOT.left) / (width - PLOT.left - PLOT.right);
    drawn = {curves, first, last, x, back, hair, selection};
    show(cursor);
  }

  // Show the values nearest to a place of the horizontal axis; without a place, the newest ones.
  function show(place) {
    cursor = place;
    const {curves, x, hair, first, last} = drawn;
    const seen = place !== null && place >= first && place <= last;
    const nearest = (points) => !seen ? points.at(-1) : points.reduce((a, b) => Math.abs(b.x - place) < Math.abs(a.x - place) ? b : a, points[0]);
    const said = [];
    legend.replaceChildren(...curves.filter(({points}) => points.length).map((curve) => {
      const p = nearest(curve.points);
      const name = runs.length > 1 ? `${curve.run.name}: ${curve.label}` : curve.label;
      const text = number(p.y) + (p.low == null ? "" : ` (${number(p.low)} to ${number(p.high)})`);
      said.push(`${name} ${text}`);
      const swatch = s("svg", {class: "swatch", width: 18, height: 8, "aria-hidden": "true"},
        curve.few ? s("circle", {class: curve.color, cx: 9, cy: 4, r: 4})
          : s("line", {class: `curve ${curve.color}`, x1: 0, x2: 18, y1: 4, y2: 4, "stroke-dasharray": curve.dash}));
      return h("li", {}, swatch, `${name} `, h("b", {}, text));
    }));
    const longest = curves.reduce((a, b) => b.points.length > a.points.length ? b : a);
    const p = longest.points.length ? nearest(longest.points) : null;
    where.textContent = !p ? "\u00a0" : `${seen ? "at" : "newest:"} ${view.axis} ${number(p.x)}`
      + (view.axis === "step" ? "" : `, step ${number(p.step)}`) + (view.axis === "seconds" ? "" : `, ${number(p.seconds)} s`);
    svg.setAttribute("aria-label", `${title}. ${where.textContent}: ${said.join("; ")}. Arrow keys move, + and - zoom, Escape shows all.`);
    hair.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen && p) for (const end of ["x1", "x2"]) hair.setAttribute(end, x(p.x));
  }

  const pixel = (event) => event.clientX - svg.getBoundingClientRect().left;
  svg.addEventListener("pointermove", (event) => {
    show(drawn.back(pixel(event)));
    if (drag !== null) {
      drawn.selection.setAttribute("x", Math.min(drag, pixel(event)));
      drawn.selection.setAttribute("width", Math.abs(pixel(event) - drag));
    }
  });
  svg.addEventListener("pointerdown", (event) => { drag = pixel(event); });
  svg.addEventListener("pointerup", (event) => {
    if (drag !== null && Math.abs(pixel(event) - drag) > 8) zoom([drag, pixel(event)].sort((a, b) => a - b).map(drawn.back));
    drag = null;
  });
  svg.addEventListener("pointerleave", () => { drag = null; drawn.selection.setAttribute("width", 0); show(null); });
  svg.addEventListener("dblclick", () => zoom(null));
  svg.addEventListener("focus", () => legend.setAttribute("aria-live", "polite"));
  svg.addEventListener("blur", () => { legend.setAttribute("aria-live", "off"); show(null); });
  svg.addEventListener("keydown", (event) => {
    const {first, last, curves} = drawn, size = last - first, at = cursor ?? last;
    const xs = curves.reduce((a, b) => b.points.length > a.points.length ? b : a).points.map((p) => p.x);
    const act = {
      ArrowLeft: () => show(xs.findLast((x) => x < at) ?? xs[0]),
      ArrowRight: () => show(xs.find((x) => x > at) ?? xs.at(-1)),
      Home: () => show(xs[0]),
      End: () => show(xs.at(-1)),
      "+": () => zoom([at - size / 4, at + size / 4]),
      "-": () => zoom([at - size, at + size]),
      Escape: () => zoom(null),
    }[event.key];
    if (act && xs.length) { event.preventDefault(); act(); }
  });
  return panel;
}

const panels = new Map();
const figures = h("div", {class: "figures"});
const reset = h("button", {type: "button", disabled: true, onclick: () => zoom(null)}, "Show all");

function draw() {
  const titles = new Set(runs.flatMap(({curves}) => curves ? [...Object.keys(curves.evaluated), ...Object.keys(curves.trained)] : []));
  for (const title of titles) if (!panels.has(title)) {
    panels.set(title, makePanel(title));
    figures.append(panels.get(title).figure);
  }
  for (const panel of panels.values()) panel.draw();
}

function zoom(range) {
  view.range = range;
  reset.disabled = !range;
  draw();
}

const controls = h("div", {class: "controls"},
  choice("Horizontal axis", AXES.map((name) => [name, name === "seconds" ? "seconds of training" : name]), view.axis,
    (axis) => { view.axis = axis; zoom(null); }),
  h("label", {}, h("input", {type: "checkbox", checked: true, onchange: (event) => { view.smooth = event.target.checked; draw(); }}),
    ` mean of ${SMOOTHED} steps`),
  reset, h("span", {class: "hint"}, "Drag to zoom. Evaluations have 95 % intervals."));

// Groups ------------------------------------------------------------------------------------------------------------

const any = (test) => (group) => group.completions.some(test);
const FILTERS = {
  "with signal": any((one) => one.advantage !== 0),
  "all": () => true,
  "right and wrong": (group) => any((one) => one.right === true)(group) && any((one) => one.right === false)(group),
  "any right": any((one) => one.right === true),
  "any wrong": any((one) => one.right === false),
  "any cut off": any((one) => one.cut_off),
  "any unscored": any((one) => one.reward === null),
};
const most = (of) => (group) => Math.max(...group.completions.map(of));
const ORDERS = {
  "newest": (group) => group.step,
  "longest": most((one) => one.length),
  "largest advantage": most((one) => Math.abs(one.advantage)),
};
const COLOURS = ["nothing", "log-probability", "advantage"];
const table = {run: 0, filter: "with signal", order: "newest", colour: "nothing", rows: ROWS};

// Return how many characters two texts have in common at their beginning.
function alike(one, other) {
  let shared = 0;
  while (shared < Math.min(one.length, other.length) && one[shared] === other[shared]) shared++;
  return shared;
}

// Return the class of a token's colour: from heat0, nothing to see, to heat5.
const heat = (strength) => `heat${Math.min(5, Math.max(0, Math.round(strength)))}`;

function textOf(one, characters, shared) {
  const tokens = table.colour === "log-probability" && one.token_ends ? one.token_ends : [];
  const cuts = [...new Set([0, shared, shared + 1, ...tokens, characters.length])].filter((at) => at <= characters.length).sort((a, b) => a - b);
  const code = h("code");
  cuts.slice(0, -1).forEach((begin, index) => {
    const token = tokens.findIndex((end) => end > begin), classes = begin < shared ? ["same"] : [];
    if (token >= 0) classes.push(heat(-one.token_logprobs[token]));
    if (table.colour === "advantage" && one.advantage) classes.push(one.advantage > 0 ? "up" : "down", heat(2 * Math.abs(one.advantage)));
    const title = token >= 0 ? `log-probability ${number(one.token_logprobs[token])}` : null;
    code.append(h(begin === shared ? "mark" : "span", {class: classes.join(" ") || null, title},
      characters.slice(begin, cuts[index + 1]).join("")));
  });
  if (shared === characters.length) code.append(h("mark", {title: "ends here"}, "∎"));
  return code;
}

function cell(one, characters, shared) {
  const judged = one.right === true ? "right" : one.right === false ? "wrong" : "undecided";
  const facts = [judged, one.reward === null ? "unscored" : `reward ${number(one.reward)}`, one.cut_off ? "cut off" : null,
    counted(one.length, "token"), `log-probability ${number(one.logprob)}`, `advantage ${number(one.advantage)}`];
  return h("td", {class: judged}, textOf(one, characters, shared), h("small", {}, facts.filter(Boolean).join(", ")));
}

function row(group) {
  const ordered = [...group.completions].sort((a, b) => b.advantage - a.advantage);
  const both = [ordered[0], ordered.at(-1)], texts = both.map((one) => Array.from(one.text)), shared = alike(...texts);
  return h("tr", {}, h("th", {scope: "row"}, number(group.step)),
    h("td", {class: "asked"}, group.prompt, h("small", {}, `answer ${group.gold}`)),
    ...both.map((one, index) => cell(one, texts[index], shared)));
}

const body = h("tbody"), found = h("p", {role: "status"});
const more = h("button", {type: "button", onclick: () => { table.rows += ROWS; fill(); }}, "Show more");

function fill() {
  const chosen = runs[table.run].groups.filter(FILTERS[table.filter]);
  const order = ORDERS[table.order];
  chosen.sort((a, b) => order(b) - order(a) || b.step - a.step);
  body.replaceChildren(...chosen.slice(0, table.rows).map(row));
  more.hidden = chosen.length <= table.rows;
  found.textContent = `${Math.min(table.rows, chosen.length)} of ${counted(chosen.length, "group")}, from a sample of ${runs[table.run].groups.length}.`;
}

const selected = (label, name, options) => choice(label, options, table[name], (value) => { table[name] = value; table.rows = ROWS; fill(); });
const same = (names) => names.map((name) => [name, name]);
const groups = h("section", {"aria-label": "Groups"}, h("h2", {}, "Groups"),
  h("p", {}, "The completions of highest and lowest advantage. Their common beginning is grey, and their first difference is marked."),
  h("div", {class: "controls"},
    runs.length > 1 ? selected("Run", "run", runs.map((run) => [String(run.index), run.name])) : null,
    selected("Show", "filter", same(Object.keys(FILTERS))), selected("Order", "order", same(Object.keys(ORDERS))),
    selected("Colour by", "colour", same(COLOURS)),
    data.asks ? h("button", {type: "button", onclick: askGroups}, "Load the newest") : null),
  found,
  h("div", {class: "wide", tabindex: 0, role: "region", "aria-label": "Table of groups"},
    h("table", {class: "groups"}, h("thead", {}, h("tr", {}, ...["step", "prompt", "highest advantage", "lowest advantage"].map((name) =>
      h("th", {scope: "col"}, name)))), body)), more);

// Runs that go on ---------------------------------------------------------------------------------------------------

const states = h("tbody"), trouble = h("p", {role: "alert"});

function duration(seconds) {
  const whole = Math.round(seconds), parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts[0] ? `${parts[0]} h ${parts[1]} min` : parts[1] ? `${parts[1]} min ${parts[2]} s` : `${parts[2]} s`;
}

function stateRow(run) {
  const {state, curves} = run, newest = (values) => values?.at(-1) ?? null;
  const step = state?.step ?? 0, left = known(state?.seconds_left ?? null) ? duration(state.seconds_left) : "–";
  const score = newest(curves?.evaluated["pass@1"]?.validation);
  const again = state?.starts > 1 ? `, start ${state.starts}` : "";
  return h("tr", {}, h("th", {scope: "row"}, run.name), h("td", {}, (state?.said ?? "…") + again),
    h("td", {class: "number"}, state?.steps ? `${number(step)} of ${number(state.steps)}` : "–",
      h("progress", {max: state?.steps || 1, value: step, "aria-label": `steps of ${run.name}`})),
    h("td", {class: "number"}, left),
    h("td", {class: "number"}, score ? `${number(score[1])} (${number(score[2])} to ${number(score[3])})` : "–"),
    h("td", {class: "number"}, number(newest(curves?.trained["tokens a second"]?.["sampled and learned"]))));
}

async function ask(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

async function poll(run) {
  try {
    const news = await ask(`/lines?run=${run.index}&after=${encodeURIComponent(run.after)}`);
    Object.assign(run, {state: news.state, after: news.after});
    if (news.again) run.curves = news.curves;
    else if (news.curves) extend(run.curves, news.curves);
    if (news.curves || news.again) draw();
    if (news.curves && !run.groups.length) await askGroups();
    trouble.textContent = "";
  } catch (error) {
    trouble.textContent = `No answer (${error.message.trim()}). Is grpo watch still running? Asking again.`;
  }
  states.replaceChildren(...runs.map(stateRow));
  setTimeout(poll, POLL, run);
}

async function askGroups() {
  for (const run of runs) run.groups = await ask(`/groups?run=${run.index}`);
  fill();
}

if (data.asks) root.append(trouble, h("div", {class: "wide", tabindex: 0, role: "region", "aria-label": "Table of runs"}, h("table", {},
  h("thead", {}, h("tr", {}, ...["run", "state", "step", "training left", "validation pass@1", "tokens a second"].map((name) =>
    h("th", {scope: "col"}, name)))), states)));
root.append(h("section", {"aria-label": "Curves"}, h("h2", {}, "Curves"), controls, figures), groups);
root.hidden = false;
for (const still of document.querySelectorAll(".without-script")) still.remove();
draw();
fill();
let width = figures.clientWidth;
new ResizeObserver(() => { if (figures.clientWidth !== width) { width = figures.clientWidth; draw(); } }).observe(figures);
if (data.asks) for (const run of runs) poll(run);
})();
