// The stages of a job, one bar after the other on one time axis.
import { seconds } from "./jobs.js";

const WAITING = new Set(["complete"]);
const GOING_OUT = new Set(["outputs", "deliver"]);

/** `stages`: name -> milliseconds, in order. */
export function showStages(stages) {
  const rows = Object.entries(stages);
  const total = rows.reduce((sum, [, ms]) => sum + ms, 0);
  document.getElementById("stages-empty").hidden = rows.length > 0;
  document.getElementById("stages-total").textContent = rows.length ? `${seconds(total)} in all` : "";
  let begin = 0;
  const drawn = rows.map(([name, ms]) => {
    const drawn = row(name, ms, begin, total || 1);
    begin += ms;
    return drawn;
  });
  document.querySelector("#stages tbody").replaceChildren(...drawn);
}

function row(name, ms, begin, total) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.dataset.part = WAITING.has(name) ? "wait" : GOING_OUT.has(name) ? "out" : "work";
  bar.style.left = `${(begin / total) * 100}%`;
  bar.style.width = `${(ms / total) * 100}%`;
  const track = document.createElement("div");
  track.className = "track";
  track.append(bar);
  const middle = document.createElement("td");
  middle.append(track);
  const time = document.createElement("td");
  time.textContent = ms < 10 ? `${ms.toFixed(1)} ms` : seconds(ms);
  line.append(head, middle, time);
  return line;
}
