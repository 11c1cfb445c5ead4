// Paints a slice: grey under a window, tinted structures, their outlines, names of levels, measures.
import { outlines } from "./outline.js";

/** As in the pictures that the device sends: share of a structure's colour, and of white or black in every other vertebra. */
const [TINT, LIGHTEN, DARKEN] = [0.35, 0.3, 0.12];
/** Canal and cord lie over what a reader looks for. */
const [CANAL, CORD, CANAL_SHARE] = [61, 60, 0.7];
/** Stripes over vertebrae whose numbers are not levels. */
const STRIPE_SHARE = 0.35;
/** Where along a line its number may stand. */
const NUMBER_PLACES = [0.5, 0.2, 0.8, 0, 1];
const [TEXT, WARNING, MEASURE] = ["#dee3e9", "#ffbe54", "#7fe3ff"];

export class Painter {
  #view;
  #below;
  #above;
  #outlines = new WeakMap(); // planes -> paths
  #drawn = {}; // what the two pictures hold

  constructor(view) {
    this.#view = view;
    const [columns, rows] = view.dims;
    [this.#below, this.#above] = [0, 1].map(() => Object.assign(document.createElement("canvas"), { width: columns, height: rows }));
  }

  /** Where a slice lies on a canvas of this size: as large as it fits, in the middle, millimetres square. */
  place(width, height) {
    const [columns, rows] = this.#view.dims;
    const [across, down] = this.#view.spacing_mm;
    const scale = Math.min(width / (columns * across), height / (rows * down));
    const [sx, sy] = [across * scale, down * scale];
    return { sx, sy, x: (width - columns * sx) / 2, y: (height - rows * sy) / 2 };
  }

  /** `look`: window, opacity (0 to 1), hidden structures, measures (whether), vertebra (the chosen one's id), density. */
  paint(context, planes, k, look) {
    const { width, height } = context.canvas;
    const place = this.place(width, height);
    const [columns, rows] = this.#view.dims;
    context.imageSmoothingQuality = "high";
    this.#grey(planes, look.window);
    context.drawImage(this.#below, place.x, place.y, columns * place.sx, rows * place.sy);
    if (look.opacity === 0) return;
    this.#tint(planes, look);
    context.globalAlpha = look.opacity;
    context.drawImage(this.#above, place.x, place.y, columns * place.sx, rows * place.sy);
    this.#stroke(context, planes, place, look);
    context.globalAlpha = 1;
    this.#names(context, k, place, look);
    if (look.measures) this.#measures(context, k, place, look);
  }

  #grey(planes, [low, high]) {
    if (this.#drawn.grey === planes && this.#drawn.low === low && this.#drawn.high === high) return;
    Object.assign(this.#drawn, { grey: planes, low, high });
    const table = new Uint32Array(this.#view.greys);
    const step = 255 / Math.max(1, high - low);
    for (let grey = 0; grey < table.length; grey++) {
      const level = Math.min(255, Math.max(0, Math.round((grey - low) * step)));
      table[grey] = 0xff000000 | (level << 16) | (level << 8) | level;
    }
    put(this.#below, (pixels) => {
      for (let n = 0; n < pixels.length; n++) pixels[n] = table[planes.grey[n]];
    });
  }

  #tint(planes, { hidden }) {
    const wanted = [...hidden].join();
    if (this.#drawn.tint === planes && this.#drawn.hidden === wanted) return;
    Object.assign(this.#drawn, { tint: planes, hidden: wanted });
    const [inks, stripes] = [TINT, TINT * STRIPE_SHARE].map((share) => this.#inks(hidden, share));
    const columns = this.#view.dims[0];
    const vertebra = (value) => value >= 41 && value <= 49;
    put(this.#above, (pixels) => {
      for (let n = 0; n < pixels.length; n++) {
        const value = planes.semantic[n];
        if (!value) { pixels[n] = 0; continue; }
        const striped = !this.#view.verified && vertebra(value) && ((n % columns) + Math.floor(n / columns)) % 6 < 3;
        pixels[n] = (striped ? stripes : inks)[value * 2 + (planes.instances[n] & 1)];
      }
    });
  }

  /** The colour of a structure and of even and odd vertebrae, as the bytes of a pixel. */
  #inks(hidden, share) {
    const inks = new Uint32Array(512);
    for (const { value, colour, vertebra } of this.#view.structures) {
      if (hidden.has(value)) continue;
      const alpha = Math.round(255 * share * (value === CANAL || value === CORD ? CANAL_SHARE : 1));
      for (const odd of [0, 1]) {
        const [r, g, b] = vertebra ? mixed(colour, odd) : colour;
        inks[value * 2 + odd] = (alpha << 24) | (b << 16) | (g << 8) | r;
      }
    }
    return inks;
  }

  #stroke(context, planes, place, { hidden, density }) {
    if (!this.#outlines.has(planes)) this.#outlines.set(planes, outlines(planes, this.#view.dims[0]));
    context.save();
    context.setTransform(place.sx, 0, 0, place.sy, place.x, place.y);
    context.lineWidth = (1.3 * density) / place.sx;
    for (const { value, colour } of this.#view.structures) {
      const path = this.#outlines.get(planes).get(value);
      if (!path || hidden.has(value)) continue;
      context.strokeStyle = `rgb(${colour.join()})`;
      context.stroke(path);
    }
    context.restore();
  }

  #names(context, k, place, { density, vertebra: chosen }) {
    /** Millimetres from the middle of a body to its name in front of it, and slices that a name belongs to. */
    const [BEFORE_MM, NEAR_MM] = [26, 14];
    const [across, , between] = this.#view.spacing_mm;
    for (const { id, name, centre } of this.#view.vertebrae) {
      if (Math.abs(centre[2] - k) * between > NEAR_MM) continue;
      const [x, y] = at(place, [centre[0] - BEFORE_MM / across, centre[1]]);
      const size = (id === chosen ? 17 : 13) * density;
      text(context, name, x, y, size, this.#view.verified ? TEXT : WARNING, "right");
    }
  }

  #measures(context, k, place, { density, vertebra }) {
    context.strokeStyle = MEASURE;
    context.lineWidth = 1.5 * density;
    const near = this.#view.lines.filter((line) => Math.abs(line.ends[0][2] - k) <= Math.max(0.5, line.aside));
    const numbered = [];
    for (const line of near) {
      const [[x, y], [u, v]] = line.ends.map((end) => at(place, end));
      context.beginPath();
      for (const [px, py] of [[x, y], [u, v]]) {
        context.moveTo(px - 4 * density, py);
        context.lineTo(px + 4 * density, py);
      }
      context.moveTo(x, y);
      context.lineTo(u, v);
      context.stroke();
      const chosen = line.vertebra === vertebra;
      if (chosen || line.extent === "middle_height" || line.extent === "disc_height") numbered.push({ line, chosen, x, y, u, v });
    }
    // The chosen vertebra's take their places first.
    const taken = [];
    for (const one of numbered.sort((a, b) => b.chosen - a.chosen)) number(context, one, taken, density);
  }
}

/** A measure's number beside its line, at the first of some places that no other number has; the table has them all. */
function number(context, { line, x, y, u, v }, taken, density) {
  const [words, size] = [line.mm.toFixed(1), 11 * density];
  context.font = font(size);
  const [width, height] = [context.measureText(words).width, 1.2 * size];
  for (const share of NUMBER_PLACES) {
    const [left, middle] = [x + share * (u - x) + 5 * density, y + share * (v - y)];
    const free = ([l, m, w]) => left + width < l || l + w < left || Math.abs(middle - m) >= height;
    if (!taken.every(free)) continue;
    taken.push([left, middle, width]);
    return text(context, words, left, middle, size, MEASURE, "left");
  }
}

/** The canvas point of a fractional index: a voxel's centre lies half a voxel inside. */
const at = (place, [i, j]) => [place.x + (i + 0.5) * place.sx, place.y + (j + 0.5) * place.sy];

const mixed = (colour, odd) =>
  colour.map((part) => Math.round(odd ? part * (1 - DARKEN) : part + (255 - part) * LIGHTEN));

function put(canvas, fill) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  fill(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
}

const font = (size) => `600 ${size}px ui-monospace, "DejaVu Sans Mono", monospace`;

function text(context, words, x, y, size, colour, align) {
  context.font = font(size);
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineWidth = size / 4;
  context.lineJoin = "round";
  context.strokeStyle = "#000b";
  context.strokeText(words, x, y);
  context.fillStyle = colour;
  context.fillText(words, x, y);
  context.strokeStyle = MEASURE;
  context.lineWidth = size / 8;
}
