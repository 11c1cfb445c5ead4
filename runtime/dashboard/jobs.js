// The list of jobs. Keeps the chosen one; follows the newest until somebody chooses.
import { ask } from "./events.js";

const WORDS = {
  receiving: "receiving", complete: "complete", running: "running", sending: "sending",
  done: "done", refused: "refused", failed: "failed", incomplete: "incomplete",
};

/** `not_sagittal` -> `not sagittal`. */
export const words = (code) => String(code).replaceAll("_", " ");

/** One line about a job's state. */
export function about(job) {
  switch (job.state) {
    case "complete": return `complete: ${words(job.reason)}`;
    case "running": return words(job.stage);
    case "refused": return words(job.code);
    case "failed": return `${words(job.code)}, ${job.move === "sagitta" ? "please report" : `the ${job.move}'s move`}`;
    case "done": return short(job) ?? `${job.instances} instances`;
    case "incomplete": return `${job.have} of ${job.expect ?? "?"} instances`;
    default: return `${job.instances} instances`;
  }
}

/** Where a destination did not take all: how many of which. */
function short(job) {
  const lacking = (job.destinations ?? []).filter((destination) => destination.refused);
  const texts = lacking.map(({ destination, taken, refused }) => `destination ${destination} refused ${refused} of ${taken + refused}`);
  return texts.length ? texts.join(", ") : null;
}

function detail(job, successor) {
  if (!job.result) return about(job);
  if (successor) return `superseded by ${successor.slice(0, 8)}`;
  if (short(job)) return short(job);
  const count = job.result.vertebrae_count;
  return `${count} ${count === 1 ? "vertebra" : "vertebrae"} · ${job.slices} slices · ${seconds(job.result.total_ms)}`;
}

export const seconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

export class JobList {
  #list = document.getElementById("jobs");
  #empty = document.getElementById("jobs-empty");
  #choose;
  #jobs = [];
  #chosen = null; // null: follow the newest

  constructor(choose) {
    this.#choose = choose;
  }

  async refresh() {
    const jobs = await ask("/api/jobs");
    if (!jobs) return;
    this.#jobs = jobs;
    this.#draw();
    const job = this.#current();
    if (job) this.#choose(job);
  }

  #current() {
    return this.#jobs.find((job) => job.job === this.#chosen) ?? this.#jobs[0];
  }

  #draw() {
    const focused = document.activeElement?.dataset?.job;
    const current = this.#current();
    this.#empty.hidden = this.#jobs.length > 0;
    // A better image of the same acquisition came later: its result takes the place of the other's.
    const better = new Map(this.#jobs.map((job) => [job.result?.replaces, job.job]));
    const row = (job) => this.#row(job, job === current, better.get(job.job));
    this.#list.replaceChildren(...this.#jobs.map(row));
    if (focused) this.#list.querySelector(`[data-job="${focused}"]`)?.focus();
  }

  #row(job, current, successor) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.job = job.job;
    button.setAttribute("aria-current", current);
    const id = part("job-id", job.job.slice(0, 8));
    id.title = job.job;
    const state = part("state", WORDS[job.state] ?? job.state);
    state.dataset.state = job.state;
    button.append(id, state, part("job-detail", detail(job, successor)));
    button.addEventListener("click", () => {
      this.#chosen = job.job;
      this.#draw();
      this.#choose(job);
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
}

/** A `span` of a class. */
export function part(name, text) {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}
