// The slices of one job: fetched from the middle outwards, kept while there is room.

/** Bytes kept: a whole spine of 40 slices of 1500 x 600. */
const ROOM = 160e6;
/** Requests under way: the device packs two slices at once. */
const AT_ONCE = 2;

export class Slices {
  #job;
  #view;
  #news;
  #kept = new Map(); // slice -> planes, null where it cannot be had
  #coming = new Set();
  #wanted = 0;

  /** `news` is called when a slice has come. */
  constructor(job, view, news) {
    this.#job = job;
    this.#view = view;
    this.#news = news;
  }

  /** The planes of slice `k`: undefined while they come, null when there are none. */
  at(k) {
    this.#wanted = k;
    this.#fetch();
    return this.#kept.get(k);
  }

  #bytes() {
    const [columns, rows] = this.#view.dims;
    return 4 * columns * rows;
  }

  /** The nearest slice that is not here, as long as there is room. */
  #next() {
    const count = this.#view.dims[2];
    const room = Math.max(3, Math.floor(ROOM / this.#bytes()));
    for (let step = 0; step < Math.min(2 * count, room); step++) {
      const k = this.#wanted + (step % 2 ? 1 : -1) * Math.ceil(step / 2);
      if (k >= 0 && k < count && !this.#kept.has(k) && !this.#coming.has(k)) return k;
    }
    return null;
  }

  async #fetch() {
    if (this.#coming.size >= AT_ONCE) return;
    const k = this.#next();
    if (k === null) return;
    this.#coming.add(k);
    const planes = await this.#ask(k);
    this.#coming.delete(k);
    this.#kept.set(k, planes);
    this.#forget();
    this.#news(k);
    this.#fetch();
  }

  async #ask(k) {
    try {
      const answer = await fetch(`/api/jobs/${this.#job}/slices/${k}`);
      if (!answer.ok) return null;
      return this.#planes(await answer.arrayBuffer());
    } catch {
      return null;
    }
  }

  /** Greys of two bytes, semantic mask, instance mask. */
  #planes(buffer) {
    const [columns, rows] = this.#view.dims;
    const count = columns * rows;
    if (buffer.byteLength !== this.#bytes()) return null;
    return {
      grey: new Uint16Array(buffer, 0, count),
      semantic: new Uint8Array(buffer, 2 * count, count),
      instances: new Uint8Array(buffer, 3 * count, count),
    };
  }

  /** Lets go of what is farthest from the slice that is looked at. */
  #forget() {
    while (this.#kept.size > 3 && this.#kept.size * this.#bytes() > ROOM) {
      const far = (k) => Math.abs(k - this.#wanted);
      this.#kept.delete([...this.#kept.keys()].reduce((a, b) => (far(b) > far(a) ? b : a)));
    }
  }
}
