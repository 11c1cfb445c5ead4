// How the device is: its alarms, which a person acknowledges, and the figures it sends every few seconds.
import { ask } from "./events.js";
import { seconds, words } from "./jobs.js";
import { may, post } from "./login.js";

/** What is shown of a health report: label, value, unit. What is not known has no line. */
const FIGURES = [
  ["Engine", ({ service }) => service.engine && `${service.engine} ${service.precision}`],
  ["Job, p50 / p95", ({ service }) => {
    const total = service.latency_ms.total;
    return total && `${seconds(total.p50)} / ${seconds(total.p95)}`;
  }],
  ["Jobs done, refused, failed", ({ service }) =>
    `${service.jobs_done}, ${service.jobs_refused}, ${service.jobs_failed}`],
  ["Instances refused", ({ service }) => service.instances_refused || null],
  ["Waiting for broker, PACS", ({ service }) => `${service.outbox_messages}, ${service.deliveries_waiting}`],
  ["Hottest", ({ machine }) => known(machine.hottest_c, "°C")],
  ["Power", ({ machine }) => known(machine.power_w, "W")],
  ["GPU", ({ machine }) => known(machine.gpu_load_percent, "%")],
  ["Memory", ({ machine }) => known(machine.memory_used_percent, "%")],
  ["Disk", ({ machine }) => known(machine.disk_used_percent, "%")],
  ["Disk worn", ({ machine }) => known(machine.disk_worn_percent, "%")],
  ["Boot slot", ({ machine }) => machine.boot_slot?.toUpperCase()],
];

const known = (value, unit) => (value === null ? null : `${value} ${unit}`);

/** Shows a health report. */
export function showHealth(report) {
  const rows = [];
  for (const [label, read] of FIGURES) {
    const value = read(report);
    if (!value) continue;
    rows.push(text("dt", label), text("dd", value));
  }
  document.getElementById("health").replaceChildren(...rows);
  document.getElementById("health-empty").hidden = rows.length > 0;
}

/** Asks for the last report, for a page that has just opened. */
export async function refreshHealth() {
  const report = await ask("/api/health");
  if (report) showHealth(report);
}

/** Asks for the alarms and shows them. */
export async function refreshAlarms() {
  const alarms = await ask("/api/alarms");
  if (!alarms) return;
  document.getElementById("alarms").replaceChildren(...alarms.map(item));
  document.getElementById("alarms-empty").hidden = alarms.length > 0;
}

function item(alarm) {
  const line = document.createElement("li");
  line.className = "alarm";
  line.dataset.severity = alarm.active ? alarm.severity : "over";
  const when = alarm.active ? `since ${time(alarm.raised)}` : `over since ${time(alarm.cleared)}`;
  const times = alarm.count > 1 ? `, ${alarm.count} times` : "";
  line.append(text("strong", words(alarm.code)), text("span", `${when}${times}`), text("p", alarm.action));
  if (!alarm.acknowledged && may("engineer")) line.append(acknowledge(alarm.code));
  return line;
}

function acknowledge(code) {
  const button = text("button", "Acknowledge");
  button.setAttribute("aria-label", `Acknowledge ${words(code)}`);
  button.onclick = async () => {
    button.disabled = true;
    await post(`/api/alarms/${code}/acknowledge`).catch(() => null);
    refreshAlarms(); // what was not taken has its button again
  };
  return button;
}

const time = (at) => new Date(at).toLocaleTimeString([], { hour12: false });

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}
