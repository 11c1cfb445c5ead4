// The slice on the canvas: which one, under which window, with what above it. Painting and names are left to others.
import { about, part, words } from "./jobs.js";
import { showStructures, showVertebra, under } from "./inspect.js";
import { Painter } from "./paint.js";
import { Slices } from "./slices.js";

/** Wheel travel for one slice, CSS pixels: one notch of a mouse wheel is about 100. */
const WHEEL_STEP = 60;
/** Finger travel for one slice, CSS pixels. */
const SWIPE_STEP = 12;
const OPACITY_STEP = 10;
/** Share of the width of the window that a key moves or stretches it by; a drag does so per 100 CSS pixels. */
const WINDOW_STEP = 0.1;
const DRAG_STEP = 0.5;

const byId = (id) => document.getElementById(id);

export class Viewer {
  #canvas = byId("canvas");
  #slice = byId("slice");
  #overlay = byId("overlay");
  #measured = byId("show-measures");
  #opacity = byId("opacity");
  #job = null;
  #shown = ""; // what the slices belong to: job, generation, slices
  #view = null;
  #slices = null;
  #painter = null;
  #window = [0, 1];
  #hidden = new Set();
  #vertebra = null;
  #travel = 0;
  #drag = null;
  #pending = false;

  constructor() {
    for (const input of [this.#slice, this.#overlay, this.#measured, this.#opacity]) {
      input.addEventListener("input", () => this.#redraw());
    }
    byId("reset-window").addEventListener("click", () => this.#setWindow(this.#view?.window));
    const canvas = this.#canvas;
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    canvas.addEventListener("pointerup", () => (this.#drag = null));
    canvas.addEventListener("pointercancel", () => (this.#drag = null));
    canvas.addEventListener("pointerleave", () => (byId("under").textContent = ""));
    new ResizeObserver(() => this.#redraw()).observe(canvas);
  }

  show(job) {
    this.#job = job;
    const shown = `${job.job} ${job.generation} ${job.slices}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#clear();
      if (job.slices > 0) this.#open(job.job, shown);
    }
    byId("job-title").replaceChildren("Job ", part("job-id", job.job.slice(0, 8)));
    byId("job-facts").textContent = facts(job);
    this.#redraw();
  }

  #clear() {
    [this.#view, this.#slices, this.#painter, this.#vertebra] = [null, null, null, null];
    byId("viewing").hidden = true;
  }

  async #open(job, shown) {
    const answer = await fetch(`/api/jobs/${job}/view`).catch(() => null);
    if (!answer?.ok || shown !== this.#shown) return;
    const view = await answer.json();
    if (shown !== this.#shown) return;
    this.#view = view;
    this.#painter = new Painter(view);
    this.#slices = new Slices(job, view, () => this.#redraw());
    this.#slice.max = view.dims[2] - 1;
    this.#slice.value = view.midsagittal;
    byId("viewing").hidden = false;
    showStructures(view, this.#hidden, () => this.#redraw());
    showVertebra(view, null);
    this.#setWindow(view.window);
  }

  #onWheel(event) {
    event.preventDefault();
    this.#scroll(event.deltaY, WHEEL_STEP);
  }

  #scroll(travel, step) {
    this.#travel += travel;
    const steps = Math.trunc(this.#travel / step);
    this.#travel -= steps * step;
    if (steps) this.#turn(this.#slice, steps);
  }

  #onDown(event) {
    if (event.button !== 0 || !this.#view) return;
    this.#drag = { x: event.clientX, y: event.clientY };
    this.#canvas.setPointerCapture(event.pointerId);
    this.#point(event);
  }

  #onMove(event) {
    const from = this.#drag;
    if (!from || !this.#view) return this.#point(event);
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    this.#drag = { x: event.clientX, y: event.clientY };
    if (event.pointerType === "touch") return this.#scroll(dx, SWIPE_STEP);
    this.#moveWindow((dx / 100) * DRAG_STEP, (dy / 100) * DRAG_STEP);
  }

  /** `wider` and `brighter`: shares of the width. */
  #moveWindow(wider, darker) {
    const [low, high] = this.#window;
    const width = Math.min(this.#view.greys, Math.max(2, (high - low) * (1 + wider)));
    const level = (low + high) / 2 + darker * width;
    const centre = Math.min(this.#view.greys, Math.max(0, level));
    this.#setWindow([centre - width / 2, centre + width / 2]);
  }

  #setWindow(window) {
    if (!window) return;
    this.#window = window;
    const [low, high] = window.map(Math.round);
    byId("window").textContent = `W ${high - low}  L ${Math.round((low + high) / 2)}`;
    this.#redraw();
  }

  /** Says what lies under the pointer, and measures the vertebra there. */
  #point(event) {
    const planes = this.#view && this.#slices.at(Number(this.#slice.value));
    if (!planes) return;
    const density = window.devicePixelRatio || 1;
    const { x, y, sx, sy } = this.#painter.place(this.#canvas.width, this.#canvas.height);
    const [columns, rows] = this.#view.dims;
    const [i, j] = [(event.offsetX * density - x) / sx, (event.offsetY * density - y) / sy].map(Math.floor);
    const inside = i >= 0 && i < columns && j >= 0 && j < rows;
    const found = inside ? under(this.#view, planes, i + columns * j) : { text: "", vertebra: null };
    byId("under").textContent = found.text;
    if (found.vertebra) this.#choose(found.vertebra);
  }

  #choose(vertebra) {
    if (vertebra === this.#vertebra) return;
    this.#vertebra = vertebra;
    showVertebra(this.#view, vertebra);
    this.#redraw();
  }

  #step(by) {
    const all = this.#view.vertebrae;
    if (!all.length) return;
    const from = all.indexOf(this.#vertebra);
    const next = from < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, from + by));
    this.#choose(all[next]);
  }

  #onKey(event) {
    if (!this.#view || event.ctrlKey || event.metaKey || event.altKey) return;
    const toggle = (box) => () => {
      box.checked = !box.checked;
      this.#redraw();
    };
    const actions = {
      ArrowUp: () => this.#turn(this.#slice, -1), ArrowDown: () => this.#turn(this.#slice, 1),
      PageUp: () => this.#turn(this.#slice, -5), PageDown: () => this.#turn(this.#slice, 5),
      Home: () => this.#turn(this.#slice, -Infinity), End: () => this.#turn(this.#slice, Infinity),
      ArrowLeft: () => this.#step(-1), ArrowRight: () => this.#step(1),
      "+": () => this.#turn(this.#opacity, OPACITY_STEP), "-": () => this.#turn(this.#opacity, -OPACITY_STEP),
      w: () => this.#moveWindow(WINDOW_STEP, 0), s: () => this.#moveWindow(-WINDOW_STEP, 0),
      a: () => this.#moveWindow(0, WINDOW_STEP), d: () => this.#moveWindow(0, -WINDOW_STEP),
      r: () => this.#setWindow(this.#view.window),
      o: toggle(this.#overlay), m: toggle(this.#measured),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  #turn(input, by) {
    const value = Number(input.value) + by;
    input.value = Math.min(Number(input.max), Math.max(Number(input.min), value));
    this.#redraw();
  }

  #redraw() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      if (this.#job) this.#draw();
    });
  }

  #draw() {
    const canvas = this.#canvas;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * density, canvas.clientHeight * density].map(Math.round);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    byId("screen-note").hidden = Boolean(this.#view);
    byId("screen-note").textContent = note(this.#job);
    byId("slice-number").textContent = "";
    if (!this.#view) return;
    const k = Number(this.#slice.value);
    const count = this.#view.dims[2];
    byId("slice-number").textContent = `${k + 1} / ${count}`;
    const planes = this.#slices.at(k);
    if (planes) this.#painter.paint(context, planes, k, this.#look(density));
    canvas.setAttribute("aria-label", `Slice ${k + 1} of ${count}${this.#overlay.checked ? " with overlay" : ""}`);
  }

  #look(density) {
    const opacity = this.#overlay.checked ? Number(this.#opacity.value) / 100 : 0;
    const { id } = this.#vertebra ?? { id: null };
    return { window: this.#window, opacity, hidden: this.#hidden, measures: this.#measured.checked, vertebra: id, density };
  }
}

function facts(job) {
  const result = job.result;
  if (!result) return about(job);
  const levels = result.vertebrae.map((vertebra) => vertebra.level ?? vertebra.id);
  const range = levels.length ? `${levels[0]} to ${levels[levels.length - 1]}` : "none";
  const numbers = result.numbering === "unverified" ? "levels unverified" : range;
  return `${result.vertebrae_count} vertebrae, ${numbers} · ${result.engine} ${result.precision} · ${result.model} ${result.model_version}`;
}

function note(job) {
  if (job.slices > 0) return "";
  if (job.state === "refused") return `Refused: ${words(job.code)}`;
  if (job.state === "failed") return `Failed: ${about(job)}`;
  if (job.state === "incomplete") return `Incomplete: ${about(job)}`;
  return "The overlay appears when the series is segmented.";
}
