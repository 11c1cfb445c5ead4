// A plot of the last hours on a canvas: a few curves on one axis, a legend that reads them, a cursor by pointer or keys.

/** Room beside and below the curves for numbers, CSS pixels. */
const [LEFT, BOTTOM, TOP, RIGHT] = [40, 18, 10, 8];
/** The axis of time grows from a quarter of an hour to all that the device keeps; its marks, seconds apart. */
const LEAST_S = 900;
const MARKS_S = [300, 900, 3600];
const MOST_MARKS = 8;
/** Lines across; samples farther apart than so many steps are not joined. */
const [LINES, GAP_STEPS] = [3, 4];
/** Samples that an arrow key moves the cursor by, with Shift. */
const STRIDE = 20;

export class Plot {
  #what;
  #figure = document.createElement("figure");
  #canvas = document.createElement("canvas");
  #values = [];
  #time = document.createElement("time");
  #history = null;
  #cursor = null; // a sample

  /** `what`: title, unit, curves ([name, label]), factor, and `most`, a value that the axis reaches at least. */
  constructor(what) {
    this.#what = what;
    const caption = document.createElement("figcaption");
    const title = Object.assign(document.createElement("strong"), { textContent: `${what.title}, ${what.unit}` });
    caption.append(title, ...what.curves.map(([, label], n) => this.#entry(label, n)), this.#time);
    const canvas = this.#canvas;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    canvas.addEventListener("pointermove", (event) => this.#moveTo(this.#nearest(event.offsetX)));
    canvas.addEventListener("pointerleave", () => this.#moveTo(null));
    canvas.addEventListener("blur", () => this.#moveTo(null));
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    this.#figure.className = "plot";
    this.#figure.append(caption, canvas);
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  get element() {
    return this.#figure;
  }

  /** `history` as the device keeps it: age_s, curves, step_s, span_s. */
  show(history) {
    const { curves, factor = 1 } = this.#what;
    const scaled = (values) => values.map((value) => (value === null ? null : value * factor));
    const span = Math.min(history.span_s, Math.max(LEAST_S, history.age_s[0] ?? 0));
    this.#history = { ...history, span_s: span, drawn: curves.map(([name]) => scaled(history.curves[name])) };
    // Nobody measures it here.
    this.#figure.hidden = this.#history.drawn.flat().every((value) => value === null);
    this.#moveTo(null);
  }

  #entry(label, n) {
    const value = document.createElement("output");
    this.#values.push(value);
    const entry = document.createElement("span");
    entry.className = "entry";
    entry.dataset.curve = n;
    entry.append(label, " ", value);
    return entry;
  }

  #onKey(event) {
    const last = this.#history.age_s.length - 1;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || last < 0) return;
    event.preventDefault();
    const to = (this.#cursor ?? last) + by * (event.shiftKey ? STRIDE : 1);
    this.#moveTo(Math.min(last, Math.max(0, to)));
  }

  #nearest(x) {
    const { age_s: ages, span_s: span } = this.#history;
    if (!ages.length) return null;
    const width = this.#canvas.clientWidth - LEFT - RIGHT;
    const age = (1 - (x - LEFT) / width) * span;
    return ages.reduce((best, other, n) => (Math.abs(other - age) < Math.abs(ages[best] - age) ? n : best), 0);
  }

  #moveTo(sample) {
    this.#cursor = sample;
    const { age_s: ages, drawn } = this.#history;
    const at = sample ?? ages.length - 1;
    drawn.forEach((values, n) => {
      this.#values[n].textContent = number(values[at] ?? null);
      this.#values[n].parentElement.hidden = values.every((value) => value === null);
    });
    this.#time.textContent = sample === null ? "" : clock(ages[sample]);
    this.#canvas.setAttribute("aria-label", this.#inWords(drawn, at));
    this.#draw();
  }

  #inWords(drawn, at) {
    const known = drawn.map((values, n) => [values.filter((value) => value !== null), n]).filter(([values]) => values.length);
    const parts = known.map(([values, n]) =>
      `${this.#what.curves[n][1]} ${number(drawn[n][at])}, from ${number(Math.min(...values))} to ${number(Math.max(...values))}`);
    return `${this.#what.title} in ${this.#what.unit}: ${parts.join("; ")}. Arrow keys move the cursor.`;
  }

  #draw() {
    if (!this.#history || this.#figure.hidden || !this.#canvas.clientWidth) return;
    const canvas = this.#canvas;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    Object.assign(canvas, { width: Math.round(width * density), height: Math.round(height * density) });
    const context = canvas.getContext("2d");
    context.scale(density, density);
    const axis = this.#axis();
    const { span_s: span } = this.#history;
    const place = {
      x: (age) => LEFT + (1 - age / span) * (width - LEFT - RIGHT),
      y: (value) => TOP + (1 - (value - axis.low) / (axis.high - axis.low)) * (height - TOP - BOTTOM),
      width, height,
    };
    this.#grid(context, axis, place);
    this.#history.drawn.forEach((values, n) => this.#curve(context, values, n, place));
    if (this.#cursor !== null) this.#line(context, place);
  }

  /** From 0, or from below the least value where 0 means nothing; round numbers. */
  #axis() {
    const known = this.#history.drawn.flat().filter((value) => value !== null);
    const { least = Math.min(...known), most = -Infinity } = this.#what;
    const rough = Math.max(1e-9, (Math.max(...known, most) - least) / LINES);
    const decade = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * decade).find((step) => step >= rough);
    const low = Math.floor(least / step) * step;
    return { low, step, high: low + step * Math.max(1, Math.ceil((Math.max(...known, most) - low) / step - 1e-9)) };
  }

  #grid(context, axis, place) {
    context.font = `11px ${colour("--mono")}`;
    context.fillStyle = colour("--quiet");
    context.strokeStyle = colour("--line");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let value = axis.low; value <= axis.high + axis.step / 2; value += axis.step) {
      const y = Math.round(place.y(value)) + 0.5;
      stroke(context, [[LEFT, y], [place.width - RIGHT, y]]);
      context.fillText(number(value), LEFT - 6, Math.max(6, y));
    }
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    const { span_s: span } = this.#history;
    const step = MARKS_S.find((step) => span / step <= MOST_MARKS) ?? MARKS_S.at(-1);
    for (let age = (Date.now() / 1000) % step; age < span; age += step) {
      const x = Math.round(place.x(age)) + 0.5;
      if (x < LEFT + 16) continue;
      stroke(context, [[x, place.height - BOTTOM], [x, place.height - BOTTOM + 4]]);
      context.fillText(clock(age), Math.min(x, place.width - 18), place.height - 3);
    }
  }

  #curve(context, values, n, place) {
    const { age_s: ages, step_s: step, span_s: span } = this.#history;
    context.strokeStyle = context.fillStyle = colour(`--curve-${n}`);
    context.lineWidth = 1.5;
    context.beginPath();
    let before = null;
    values.forEach((value, at) => {
      if (value === null || ages[at] > span) return;
      const [x, y] = [place.x(ages[at]), place.y(value)];
      if (before === null || ages[before] - ages[at] > GAP_STEPS * step) {
        context.fillRect(x - 1, y - 1, 2, 2); // a sample without neighbours is seen, too
        context.moveTo(x, y);
      } else {
        context.lineTo(x, y);
      }
      before = at;
    });
    context.stroke();
  }

  #line(context, place) {
    const x = Math.round(place.x(this.#history.age_s[this.#cursor])) + 0.5;
    context.strokeStyle = colour("--text");
    context.lineWidth = 1;
    stroke(context, [[x, TOP], [x, place.height - BOTTOM]]);
  }
}

function stroke(context, [[x, y], [u, v]]) {
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(u, v);
  context.stroke();
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Three digits that matter. */
const number = (value) => (value === null ? "–" : Number(value.toPrecision(3)).toString());

const clock = (age) =>
  new Date(Date.now() - age * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
