// The slice on the canvas: grey picture below, the same with overlay above it at the chosen opacity.
import { about, part, words } from "./jobs.js";

/** Wheel travel for one slice, CSS pixels: one notch of a mouse wheel is about 100. */
const WHEEL_STEP = 60;
const OPACITY_STEP = 10;

const byId = (id) => document.getElementById(id);

export class Viewer {
  #canvas = byId("canvas");
  #slice = byId("slice");
  #overlay = byId("overlay");
  #opacity = byId("opacity");
  #job = null;
  #shown = ""; // what the pictures belong to: job, generation, slices
  #pictures = new Map();
  #wheel = 0;
  #pending = false;

  constructor() {
    for (const input of [this.#slice, this.#overlay, this.#opacity]) {
      input.addEventListener("input", () => this.#redraw());
    }
    this.#canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    this.#canvas.addEventListener("keydown", (event) => this.#onKey(event));
    new ResizeObserver(() => this.#redraw()).observe(this.#canvas);
  }

  show(job) {
    this.#job = job;
    const shown = `${job.job} ${job.generation} ${job.slices}`;
    if (shown !== this.#shown) {
      this.#shown = shown;
      this.#pictures.clear();
      this.#slice.max = Math.max(0, job.slices - 1);
      this.#slice.value = Math.floor(job.slices / 2);
      this.#prefetch(shown);
    }
    byId("job-title").replaceChildren("Job ", part("job-id", job.job.slice(0, 8)));
    byId("job-facts").textContent = facts(job);
    this.#redraw();
  }

  #onWheel(event) {
    event.preventDefault();
    this.#wheel += event.deltaY;
    const steps = Math.trunc(this.#wheel / WHEEL_STEP);
    this.#wheel -= steps * WHEEL_STEP;
    this.#turn(this.#slice, steps);
  }

  #onKey(event) {
    const moves = {
      ArrowUp: [this.#slice, -1], ArrowDown: [this.#slice, 1],
      PageUp: [this.#slice, -5], PageDown: [this.#slice, 5],
      Home: [this.#slice, -Infinity], End: [this.#slice, Infinity],
      "+": [this.#opacity, OPACITY_STEP], "-": [this.#opacity, -OPACITY_STEP],
    };
    if (event.key in moves) {
      this.#turn(...moves[event.key]);
    } else if (event.key.toLowerCase() === "o") {
      this.#overlay.checked = !this.#overlay.checked;
      this.#redraw();
    } else {
      return;
    }
    event.preventDefault();
  }

  #turn(input, by) {
    const value = Number(input.value) + by;
    input.value = Math.min(Number(input.max), Math.max(Number(input.min), value));
    this.#redraw();
  }

  /** The picture of slice `k`: undefined while it comes, null when there is none. */
  #picture(k, overlay) {
    const url = `/api/jobs/${this.#job.job}/slices/${k}.png${overlay ? "?overlay=1" : ""}`;
    if (!this.#pictures.has(url)) {
      const pictures = this.#pictures;
      pictures.set(url, undefined);
      fetch(url)
        .then((answer) => (answer.ok ? answer.blob() : Promise.reject(answer.status)))
        .then((blob) => createImageBitmap(blob))
        .then((bitmap) => pictures.set(url, bitmap), () => pictures.set(url, null))
        .then(() => this.#redraw());
    }
    return this.#pictures.get(url);
  }

  /** Fetches the slices from the middle outwards, one after the other, so that scrolling never waits. */
  async #prefetch(shown) {
    const middle = Number(this.#slice.value);
    for (let distance = 0; distance <= this.#job.slices; distance++) {
      for (const k of new Set([middle - distance, middle + distance])) {
        if (k < 0 || k >= this.#job.slices) continue;
        for (const overlay of [false, true]) {
          if (shown !== this.#shown) return;
          this.#picture(k, overlay);
        }
      }
      await new Promise((resume) => setTimeout(resume, 30));
    }
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
    const job = this.#job;
    const canvas = this.#canvas;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * density, canvas.clientHeight * density].map(Math.round);
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const k = Number(this.#slice.value);
    byId("screen-note").hidden = job.slices > 0;
    byId("screen-note").textContent = job.slices > 0 ? "" : note(job);
    byId("slice-number").textContent = job.slices > 0 ? `${k + 1} / ${job.slices}` : "";
    if (job.slices === 0) return;
    const below = this.#picture(k, false);
    const above = this.#overlay.checked ? this.#picture(k, true) : null;
    context.imageSmoothingQuality = "high";
    if (below) place(context, below, width, height, 1);
    if (above) place(context, above, width, height, Number(this.#opacity.value) / 100);
    canvas.setAttribute("aria-label", `Slice ${k + 1} of ${job.slices}${above ? " with overlay" : ""}`);
  }
}

/** Draws a picture as large as it fits, in the middle. */
function place(context, picture, width, height, opacity) {
  const scale = Math.min(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  context.globalAlpha = opacity;
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
  context.globalAlpha = 1;
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
  if (job.state === "refused") return `Refused: ${words(job.code)}`;
  if (job.state === "failed") return `Failed: ${about(job)}`;
  if (job.state === "incomplete") return `Incomplete: ${about(job)}`;
  return "The overlay appears when the series is segmented.";
}
