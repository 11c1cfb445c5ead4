// Names beside the picture: which structures are drawn, what lies under the pointer, what is measured of a vertebra.
import { words } from "./jobs.js";

const SACRUM = 26;
const [DISC, ENDPLATE] = [100, 200]; // added to a vertebra's id in the mask
const NUMBERING = {
  from_sacrum: "counted from the sacrum", from_c2: "counted from C2", from_study: "as in another series of the study",
};
/** What is shown of a vertebra: label, value of its measures, unit. */
const ROWS = [
  ["Height anterior", (m) => m.body.anterior_height_mm, "mm"],
  ["Height middle", (m) => m.body.middle_height_mm, "mm"],
  ["Height posterior", (m) => m.body.posterior_height_mm, "mm"],
  ["Depth", (m) => m.body.depth_mm, "mm"],
  ["Volume", (m) => m.body.volume_ml, "ml"],
  ["Height lost", (m) => m.body.height_loss, "%"],
  ["Disc below", (m) => m.disc.height_mm, "mm"],
  ["Bulge of it", (m) => m.disc.bulge_mm, "mm"],
  ["Slip on next", (m) => m.alignment.slip_mm, "mm"],
  ["Sac at disc", (m) => m.canal_at_disc.sac_area_mm2, "mm²"],
];

/** One box for each structure; `changed` gets the hidden values. */
export function showStructures(view, hidden, changed) {
  const boxes = view.structures.map(({ value, name, colour }) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(value) });
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](value);
      changed();
    });
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = `rgb(${colour.join()})`;
    const label = document.createElement("label");
    label.append(box, swatch, name);
    return label;
  });
  document.getElementById("structures").replaceChildren(...boxes);
}

/** What lies at a voxel, in words; empty where nothing does. */
export function under(view, planes, n) {
  const structure = view.structures.find(({ value }) => value === planes.semantic[n]);
  if (!structure) return { text: "", vertebra: null };
  const instance = planes.instances[n];
  if (structure.value === SACRUM) return { text: structure.name, vertebra: null };
  const id = instance > ENDPLATE ? instance - ENDPLATE : instance > DISC ? instance - DISC : instance;
  const vertebra = view.vertebrae.find((other) => other.id === id);
  if (!vertebra) return { text: structure.name, vertebra: null };
  const place = instance > DISC ? `below ${vertebra.name}` : vertebra.name;
  return { text: `${structure.name} ${place} · ${sure(view, vertebra)}`, vertebra };
}

/** How sure the name of a vertebra is. */
function sure(view, vertebra) {
  const parts = [view.verified ? NUMBERING[view.numbering] : "level unverified"];
  if (vertebra.likely.length) {
    const [best, next] = vertebra.likely;
    const other = next && next.level !== best.level ? ` or ${next.level}` : "";
    parts.push(`by shape ${best.level}${other}`);
  }
  const support = vertebra.measures?.quality.support;
  if (support) parts.push(`agreement ${support.agreement.toFixed(2)} of ${support.votes} views`);
  if (vertebra.measures?.quality.truncated) parts.push("cut by the field");
  return parts.join(" · ");
}

/** The table of one vertebra; `null` empties it. */
export function showVertebra(view, vertebra) {
  const title = document.getElementById("vertebra-title");
  const facts = document.getElementById("vertebra-facts");
  title.textContent = vertebra ? `Vertebra ${vertebra.name}` : "Vertebra";
  facts.textContent = vertebra ? sure(view, vertebra) : "Point at one, or choose with ← →.";
  const rows = vertebra?.measures ? ROWS.map((row) => line(vertebra.measures, row)) : [];
  document.getElementById("measures").replaceChildren(...rows.flat());
}

function line(measures, [label, read, unit]) {
  const measure = read(measures);
  const number = unit === "%" ? 100 * measure.value : measure.value;
  const digits = unit === "%" || unit === "mm²" ? 0 : 1;
  const value = "value" in measure ? `${number.toFixed(digits)} ${unit}` : words(measure.not_measurable);
  const [term, detail] = [["dt", label], ["dd", value]].map(([tag, text]) => Object.assign(document.createElement(tag), { textContent: text }));
  if (!("value" in measure)) detail.className = "not";
  return [term, detail];
}
