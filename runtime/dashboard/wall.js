// The devices of the site, to be read from the other side of a room.
import { ask, presence } from "./events.js";
import { part, seconds, words } from "./jobs.js";
import { loggedIn } from "./login.js";

/** As often as devices tell how they are. */
const REFRESH_MS = 5_000;
/** A device that is there tells every five seconds. */
const SILENT_S = 30;

/** What is told of a device: label, value. What is not known has no line. */
const FIGURES = [
  ["Jobs done", ({ service }) => `${service.jobs_done ?? "?"}`],
  ["Refused, failed", ({ service }) => service.jobs_refused || service.jobs_failed ? `${service.jobs_refused}, ${service.jobs_failed}` : null],
  ["At work", ({ service }) => service.jobs_open],
  ["Waiting to be sent", ({ service }) => service.outbox_messages + service.deliveries_waiting],
  ["Job, p50", ({ service }) => service.latency_ms.total && seconds(service.latency_ms.total.p50)],
  ["Hottest", ({ machine }) => machine.hottest_c && `${Math.round(machine.hottest_c)} °C`],
  ["Disk", ({ machine }) => machine.disk_used_percent && `${Math.round(machine.disk_used_percent)} %`],
  ["Engine", ({ service }) => service.engine],
];

async function refresh() {
  const fleet = await ask("/api/fleet");
  if (!fleet) return presence("no contact", "lost");
  presence("live", "online");
  document.getElementById("devices").replaceChildren(...fleet.devices.map(tile));
  document.getElementById("devices-empty").hidden = fleet.devices.length > 0;
  document.getElementById("devices-full").hidden = !fleet.full;
}

function tile(device) {
  const made = document.createElement("li");
  const [level, state] = judged(device);
  made.className = "device-tile";
  made.dataset.level = level;
  const head = document.createElement("h3");
  head.append(device.device, part("device-state", state));
  const alarms = document.createElement("ul");
  alarms.append(...device.alarms.filter((alarm) => alarm.active || !alarm.acknowledged).map(alarmLine));
  // Those of a device that is away are of before.
  made.append(head, alarms, figures(device.presence?.state === "online" ? device.health : null));
  return made;
}

/** How bad it is, and in a word. */
function judged({ presence: there, health, age_s: age, alarms }) {
  if (there?.state !== "online") return ["bad", there?.state ?? "unknown"];
  if (age !== null && age > SILENT_S) return ["bad", age < 60 ? "silent" : `silent for ${Math.round(age / 60)} min`];
  if (health?.service.stuck) return ["bad", `stuck: ${words(health.service.stuck)}`];
  if (health?.service.degraded) return ["bad", "degraded"];
  const active = alarms.filter((alarm) => alarm.active);
  if (active.some((alarm) => alarm.severity === "critical")) return ["bad", "online"];
  return [active.length ? "warn" : "good", "online"];
}

function alarmLine(alarm) {
  const line = document.createElement("li");
  line.dataset.severity = alarm.active ? alarm.severity : "over";
  const suffix = alarm.active ? (alarm.acknowledged ? " (seen)" : "") : " (over)";
  line.textContent = words(alarm.code) + suffix;
  return line;
}

function figures(health) {
  const list = document.createElement("dl");
  list.className = "health";
  for (const [label, read] of health ? FIGURES : []) {
    const value = read(health);
    if (value === null || value === undefined) continue;
    const [term, detail] = [["dt", label], ["dd", value]];
    list.append(...[term, detail].map(([tag, text]) => Object.assign(document.createElement(tag), { textContent: text })));
  }
  return list;
}

await loggedIn();
refresh();
setInterval(refresh, REFRESH_MS);
