"use strict";
(() => {
  const DATA = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const FILES = {
    "settings": "config.yaml", "provenance": "run.json", "evaluation": "evaluation.json", "scores": "metrics.csv",
    "log": "history/history.csv",
  };
  const inMs = (curve, i, panel) => panel.hop_ms * curve.x[i];
  const AXES = {
    max_frames: {
      "frames": ["Maximum input length (frames)", (curve, i) => curve.x[i]],
      "seconds": ["Maximum input length (s)", (curve, i, panel) => inMs(curve, i, panel) / 1000],
      "tokens": ["Tokens of a clip of this length", (curve, i) => curve.tokens[i]],
    },
    compression: {
      "hop": ["Hop (ms)", inMs],
      "compression": ["Compression ratio", (curve, i) => curve.x[i]],
      "tokens": ["Tokens of a clip of full length", (curve, i) => curve.tokens[i]],
    },
  };

  // ---- Elements. Text is always set as text, never as HTML.

  function make(parent, element, attributes = {}, text = null) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== null) element.textContent = text;
    return parent.appendChild(element);
  }
  const add = (parent, name, ...rest) => make(parent, document.createElement(name), ...rest);
  const draw = (parent, name, ...rest) => make(parent, document.createElementNS(SVG, name), ...rest);

  function addLines(parent, [first, ...rest]) {
    add(parent, "b", {}, first);
    for (const line of rest) add(parent, "div", {}, line);
  }

  const short = (number) => Number(number.toPrecision(4)).toString();
  const score = (value) => `${value.toFixed(1)} %`;

  // ---- Scales and ticks

  function niceTicks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(10)));
    return ticks;
  }

  function powerTicks(low, high, most) {
    const first = Math.ceil(Math.log2(low) - 1e-9), last = Math.floor(Math.log2(high) + 1e-9);
    const every = Math.max(1, Math.ceil((last - first + 1) / most)), ticks = [];
    for (let k = first; k <= last; k += every) ticks.push(2 ** k);
    return ticks.length > 1 ? ticks : niceTicks(low, high, most);
  }

  function scale(low, high, from, to, logarithmic) {
    const f = logarithmic ? Math.log2 : (value) => value;
    const span = f(high) - f(low) || 1;
    return (value) => from + ((f(value) - f(low)) / span) * (to - from);
  }

  function range(values, margin) {
    const low = Math.min(...values), high = Math.max(...values);
    const room = margin * (high - low) || Math.abs(high) * 0.1 || 1;
    return [low - room, high + room];
  }

  // ---- One panel: lines with points {x, y, low, high}, and what a point says

  function chart(box, { lines, title, xLabel, yLabel, logarithmic, percent, tip, choose }) {
    add(box, "h3", {}, title);
    const width = Math.max(260, box.clientWidth), height = Math.round(Math.min(360, Math.max(250, width * 0.6)));
    const svg = draw(box, "svg", { viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "img", "aria-label": `${title}, ${yLabel}` });
    const points = lines.flatMap((line) => line.points);
    if (!points.length) {
      draw(svg, "text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to show");
      return;
    }
    const heights = points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]);
    const [xLow, xHigh] = logarithmic ? [Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x))] : range(points.map((p) => p.x), 0.02);
    let [yLow, yHigh] = range(heights, 0.06);
    if (percent) [yLow, yHigh] = [Math.max(yLow, 0), Math.min(yHigh, 100)];
    if (yHigh - yLow < 1e-9) yHigh = yLow + 1;
    const x = scale(xLow, xHigh, 46, width - 14, logarithmic), y = scale(yLow, yHigh, height - 40, 8, false);
    axes(svg, { x, y, width, height, xLabel, yLabel, ys: niceTicks(yLow, yHigh, 5), xs: (logarithmic ? powerTicks : niceTicks)(xLow, xHigh, width / 70) });
    for (const line of lines) band(svg, line, x, y);
    for (const line of lines) curve(svg, line, x, y);
    respond(box, svg, lines, { x, y, width, tip, choose });
  }

  function axes(svg, { x, y, width, height, xs, ys, xLabel, yLabel }) {
    for (const tick of ys) {
      draw(svg, "line", { x1: 46, x2: width - 10, y1: y(tick), y2: y(tick), stroke: "#e6e6e6" });
      draw(svg, "text", { x: 40, y: y(tick) + 4, "text-anchor": "end" }, short(tick));
    }
    draw(svg, "line", { x1: 46, x2: width - 10, y1: height - 40, y2: height - 40, stroke: "#222" });
    for (const tick of xs) {
      draw(svg, "line", { x1: x(tick), x2: x(tick), y1: height - 40, y2: height - 36, stroke: "#222" });
      draw(svg, "text", { x: x(tick), y: height - 24, "text-anchor": "middle" }, short(tick));
    }
    draw(svg, "text", { x: (46 + width) / 2, y: height - 6, "text-anchor": "middle" }, xLabel);
    draw(svg, "text", { x: 12, y: height / 2 - 20, "text-anchor": "middle", transform: `rotate(-90 12 ${height / 2 - 20})` }, yLabel);
  }

  const path = (points, x, y) => points.map((p, i) => `${i ? "L" : "M"}${x(p.x).toFixed(1)},${y(p.y).toFixed(1)}`).join("");

  function band(svg, line, x, y) {
    const inside = line.points.filter((p) => p.low !== null && p.low !== undefined);
    if (inside.length < 2) return;
    const top = inside.map((p) => ({ x: p.x, y: p.high })), bottom = inside.map((p) => ({ x: p.x, y: p.low })).reverse();
    draw(svg, "path", { d: `${path(top, x, y)}${path(bottom, x, y).replace("M", "L")}Z`, fill: line.style.color, opacity: 0.16 });
  }

  function curve(svg, line, x, y) {
    const { color, dashes, width, marker } = line.style;
    draw(svg, "path", {
      d: path(line.points, x, y), fill: "none", stroke: color, "stroke-width": line.thin ? 1 : width * 1.2, opacity: line.thin ? 0.6 : 1,
      "stroke-dasharray": (line.dashes ?? dashes).map((dash) => dash * 1.2).join(" "), "stroke-linejoin": "round",
    });
    if (line.bare) return;
    for (const p of line.points) {
      const size = p.trained ? 10 : 6;
      draw(svg, "path", {
        d: marker, transform: `translate(${x(p.x).toFixed(1)} ${y(p.y).toFixed(1)}) scale(${size})`, fill: p.trained ? "#fff" : color,
        stroke: p.trained ? color : "#fff", "stroke-width": p.trained ? 0.16 : 0.08,
      });
    }
  }

  // pointer, touch and keys: the nearest point is marked; a click, touch or Enter chooses it
  function respond(box, svg, lines, { x, y, width, tip, choose }) {
    const ring = draw(svg, "circle", { r: 7, fill: "none", stroke: "#222", "stroke-width": 1.5, visibility: "hidden" });
    const note = add(box, "div", { class: "tip", hidden: "" });
    let at = null;
    const show = (line, point) => {
      at = [line, point];
      const left = x(point.x), top = y(point.y);
      for (const [name, value] of Object.entries({ cx: left, cy: top, visibility: "visible" })) ring.setAttribute(name, value);
      note.replaceChildren();
      addLines(note, tip(line, point));
      note.hidden = false;
      note.style.left = `${Math.min(Math.max(0, left + 12), Math.max(0, width - note.offsetWidth))}px`;
      const from = svg.getBoundingClientRect().top - box.getBoundingClientRect().top;
      const above = from + top - note.offsetHeight - 12;
      note.style.top = `${above > 0 ? above : from + top + 14}px`;
    };
    const nearest = (event) => {
      const from = svg.getBoundingClientRect(), px = event.clientX - from.left, py = event.clientY - from.top;
      let best = null, least = Infinity;
      for (const line of lines) {
        for (const point of line.points) {
          const distance = (x(point.x) - px) ** 2 + (y(point.y) - py) ** 2;
          if (distance < least) [best, least] = [[line, point], distance];
        }
      }
      show(...best);
    };
    const hide = () => { note.hidden = true; ring.setAttribute("visibility", "hidden"); };
    svg.addEventListener("pointermove", nearest);
    svg.addEventListener("pointerdown", nearest);
    svg.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
    svg.addEventListener("blur", hide);
    svg.addEventListener("click", () => choose(...at));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === "Enter" && at) choose(...at);
      if (!step) return;
      event.preventDefault();
      const [line, point] = at ?? [lines[0], lines[0].points[0]];
      const next = lines[(lines.indexOf(line) + step[0] + lines.length) % lines.length];
      const i = line.points.indexOf(point) + step[1];
      show(next, next.points[Math.min(Math.max(i, 0), next.points.length - 1)]);
    });
  }

  // ---- A figure: controls, legend, panels, and the chosen point

  function figure(section, { labels, options, axisNames, panels, describe }) {
    const host = section.querySelector(".drawn"), hidden = new Set();
    const state = { axis: axisNames[0], ...Object.fromEntries(Object.entries(options).map(([name, [on]]) => [name, on])) };
    const controls = add(host, "div", { class: "controls" });
    if (axisNames.length > 1) {
      const select = add(add(controls, "label", {}, "x axis "), "select");
      for (const name of axisNames) add(select, "option", { value: name }, name);
      select.addEventListener("change", () => { state.axis = select.value; redraw(); });
    }
    for (const [name, [on, text]] of Object.entries(options)) {
      const label = add(controls, "label"), input = add(label, "input", { type: "checkbox", ...(on ? { checked: "" } : {}) });
      label.append(` ${text}`);
      input.addEventListener("change", () => { state[name] = input.checked; redraw(); });
    }
    const grid = add(host, "div", { class: "panels" });
    legend(host, labels, hidden, () => redraw());
    const chosen = add(host, "div", { class: "chosen", "aria-live": "polite" });
    const choose = (line, point) => {
      chosen.replaceChildren();
      addLines(chosen, describe(line, point));
      runs(chosen, line.experiment, line.seed);
    };
    const redraw = () => {
      grid.style.minHeight = `${grid.offsetHeight}px`; // so that the page does not jump
      grid.replaceChildren();
      // all boxes first: their number decides how wide each is
      const boxes = panels(state).map((panel) => [panel, add(grid, "div", { class: "chart" })]);
      for (const [panel, box] of boxes) {
        chart(box, { ...panel, lines: panel.lines.filter((line) => !hidden.has(line.label) && line.points.length), tip: describe, choose });
      }
      grid.style.minHeight = "";
    };
    let before = host.clientWidth;
    redraw();
    new ResizeObserver(() => {
      if (Math.abs(host.clientWidth - before) > 2) { before = host.clientWidth; setTimeout(redraw); }
    }).observe(host);
  }

  function legend(host, labels, hidden, redraw) {
    const box = add(host, "div", { class: "legend" }), buttons = new Map();
    const set = (label, on) => {
      if (on) hidden.delete(label); else hidden.add(label);
      buttons.get(label).setAttribute("aria-pressed", on);
    };
    for (const label of labels) {
      const button = add(box, "button", { type: "button", "aria-pressed": true });
      const swatch = draw(button, "svg", { width: 34, height: 12, "aria-hidden": true });
      curve(swatch, { style: DATA.styles[label], points: [{ x: 1, y: 6 }, { x: 17, y: 6 }, { x: 33, y: 6 }], bare: true }, (v) => v, (v) => v);
      curve(swatch, { style: DATA.styles[label], points: [{ x: 17, y: 6 }] }, (v) => v, (v) => v);
      button.append(label);
      buttons.set(label, button);
      button.addEventListener("click", () => { set(label, hidden.has(label)); redraw(); });
    }
    for (const [text, on] of [["all", true], ["none", false]]) {
      add(box, "button", { type: "button" }, text).addEventListener("click", () => { for (const label of labels) set(label, on); redraw(); });
    }
  }

  // ---- Settings, provenance and files of the runs of an experiment; of one seed, if one is given

  function runs(host, experiment, seed = null) {
    const about = DATA.experiments[experiment];
    const shown = about.runs.filter((run) => seed === null || run.seed === seed);
    for (const run of shown) {
      const line = add(host, "div", { class: "files" }, `Run ${experiment}/seed${run.seed}: `);
      if (run.folder === null) line.append("its folder is not next to this page");
      else for (const [text, file] of Object.entries(FILES)) add(line, "a", { href: `${run.folder}/${file}`, target: "_blank" }, text);
    }
    if (!shown.length) add(host, "div", {}, "No run of this experiment has finished.");
    if (shown.length) provenance(fold(host, "Provenance"), shown);
    add(fold(host, "Settings"), "pre", {}, about.settings);
  }

  function fold(host, title) {
    const details = add(host, "details");
    add(details, "summary", {}, title);
    return details;
  }

  function provenance(host, shown) {
    const table = add(add(host, "div", { class: "scroll" }), "table");
    const head = add(add(table, "thead"), "tr"), body = add(table, "tbody");
    for (const text of ["", ...shown.map((run) => `seed ${run.seed}`)]) add(head, "th", {}, text);
    for (const key of Object.keys(shown[0].record)) {
      const row = add(body, "tr");
      add(row, "th", {}, key.replace(/^version_/, "version of ").replaceAll("_", " "));
      for (const run of shown) add(row, "td", {}, run.record[key] ?? "");
    }
  }

  // ---- Figures 4 and 5

  function sweepLines(panel, state) {
    const [, place] = AXES[panel.x_name][state.axis];
    const lines = [];
    for (const sweep of panel.curves) {
      const style = DATA.styles[sweep.label], base = { label: sweep.label, experiment: sweep.experiment, style, sweep, panel, seed: null };
      const points = (values, more = () => ({})) =>
        values.map((y, i) => ({ x: place(sweep, i, panel), y, i, ...more(i) })).filter((point) => point.y !== null);
      if (state.released && sweep.released) lines.push({ ...base, kind: "released values", points: points(sweep.released), thin: true, bare: true });
      if (state.other && sweep.other) lines.push({ ...base, kind: "other suite", points: points(sweep.other), thin: true, bare: true, dashes: [1, 2] });
      if (state.seeds) {
        for (const [seed, values] of Object.entries(sweep.seeds)) {
          lines.push({ ...base, kind: `seed ${seed}`, seed: Number(seed), points: points(values), thin: true, bare: true, dashes: [] });
        }
      }
      const more = (i) => ({ trained: sweep.x[i] === sweep.trained_at, ...(state.bands ? { low: sweep.low[i], high: sweep.high[i] } : {}) });
      lines.push({ ...base, kind: "mean", points: points(sweep.mean, more) });
    }
    return lines;
  }

  function describeSweep({ label, experiment, kind, sweep, panel, seed }, { i, y }) {
    const where = Object.entries(AXES[panel.x_name]).map(([name, [, place]]) => `${short(place(sweep, i, panel))} ${name === "hop" ? "ms hop" : name}`);
    const lines = [kind === "mean" ? label : `${label}, ${kind}`, where.join(" · "), `${panel.metric.replace(" (%)", "")}: ${score(y)}`];
    if (kind === "released values" || kind === "other suite") return lines;
    if (seed === null) {
      if (sweep.band && sweep.low[i] !== null) lines[2] += ` [${sweep.low[i].toFixed(1)}, ${sweep.high[i].toFixed(1)}] (${sweep.band})`;
      const seeds = Object.entries(sweep.seeds).filter(([, values]) => values[i] !== null);
      lines.push(`${seeds.map(([of, values]) => `seed ${of}: ${score(values[i])}`).join(", ")}; ${sweep.clips[i].toLocaleString("en")} clips`);
    }
    return [...lines, `run ${experiment}/${seed === null ? `seed${Object.keys(sweep.seeds).join(", ")}` : `seed${seed}`}`];
  }

  function sweepFigure(id, panels) {
    const sweeps = panels.flatMap((panel) => panel.curves);
    const options = { bands: [true, "intervals"] };
    if (sweeps.some((sweep) => Object.keys(sweep.seeds).length > 1)) options.seeds = [false, "each seed"];
    if (sweeps.some((sweep) => sweep.released)) options.released = [true, "released values"];
    if (sweeps.some((sweep) => sweep.other)) options.other = [true, "other suite"];
    const axes = AXES[panels[0].x_name];
    figure(document.getElementById(id), {
      labels: [...new Set(sweeps.map((sweep) => sweep.label))], options, axisNames: Object.keys(axes), describe: describeSweep,
      panels: (state) => panels.map((panel) => ({
        title: panel.title, xLabel: axes[state.axis][0], yLabel: panel.metric, logarithmic: panel.logarithmic, percent: true, lines: sweepLines(panel, state),
      })),
    });
  }

  // ---- Learning curves

  function learningFigure(section, panels) {
    if (!panels.length) { add(section.querySelector(".drawn"), "p", {}, "No run has a log."); return; }
    const lines = (panel) => panel.curves.map((of) => ({
      label: of.label, experiment: of.experiment, seed: of.seed, style: DATA.styles[of.label], panel, bare: true,
      points: of.x.map((x, i) => ({ x, y: of.y[i] })).filter((point) => point.y !== null),
    }));
    figure(section, {
      labels: [...new Set(panels.flatMap((panel) => panel.curves.map((of) => of.label)))], options: {}, axisNames: ["step"],
      describe: (line, point) => [`${line.label}, seed ${line.seed}`, `step ${point.x.toLocaleString("en")}`, `${line.panel.metric}: ${short(point.y)}`, `run ${line.experiment}/seed${line.seed}`],
      panels: () => panels.map((panel) => ({ title: panel.title, xLabel: "Step", yLabel: panel.metric, lines: lines(panel) })),
    });
  }

  // ---- The page

  for (const [id, panels] of Object.entries(DATA.figures)) sweepFigure(id, panels);
  learningFigure(document.getElementById("learning"), DATA.learning);
  for (const [name, about] of Object.entries(DATA.experiments)) {
    const details = fold(document.querySelector("#runs .drawn"), `${about.label} (${name})`);
    details.addEventListener("toggle", () => runs(details, name), { once: true });
  }
  // in the report this page is in a frame, whose address is not its own, and which is as high as its content
  for (const link of document.querySelectorAll("nav a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.querySelector(link.getAttribute("href")).scrollIntoView();
    });
  }
  const frame = window.frameElement;
  if (frame?.hasAttribute("srcdoc")) {
    const fit = () => { frame.style.height = `${document.body.offsetHeight + 40}px`; };
    new ResizeObserver(() => setTimeout(fit)).observe(document.body);
  }
})();
