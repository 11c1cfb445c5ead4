// How the device was in the last hours: plots, beside its alarms and its figures of now.
import { ask, listen } from "./events.js";
import { loggedIn } from "./login.js";
import { refreshAlarms, refreshHealth, showHealth } from "./device.js";
import { Plot } from "./plot.js";

/** The device adds a sample every fifteen seconds. */
const REFRESH_MS = 15_000;
const SECONDS = { unit: "s", least: 0, most: 1 };
const PLOTS = [
  { title: "Temperature", unit: "°C", curves: [["cpu_c", "CPU"], ["gpu_c", "GPU"], ["soc_c", "SoC"], ["hottest_c", "hottest"]] },
  {
    title: "Load", unit: "%", least: 0, most: 10,
    curves: [["gpu_load_percent", "GPU"], ["cpu_pressure_percent", "waiting for CPU"], ["io_pressure_percent", "waiting for disk"]],
  },
  { title: "Memory and disk", unit: "%", least: 0, most: 100, curves: [["memory_used_percent", "memory"], ["disk_used_percent", "disk"]] },
  { title: "Power", unit: "W", least: 0, most: 10, curves: [["power_w", "module"]] },
  { title: "Delay of a job", ...SECONDS, factor: 0.001, curves: [["job_p50_ms", "p50"], ["job_p95_ms", "p95"]] },
  { title: "Longest wait to be sent", ...SECONDS, curves: [["outbox_oldest_s", "to the broker"], ["deliveries_oldest_s", "to a destination"]] },
];

const plots = PLOTS.map((what) => new Plot(what));

async function refreshPlots() {
  const history = await ask("/api/history");
  if (!history) return;
  plots.forEach((plot) => plot.show(history));
  document.getElementById("plots-empty").hidden = history.age_s.length > 0;
}

function refresh() {
  refreshAlarms();
  refreshHealth();
  refreshPlots();
}

function heard({ kind, message }) {
  if (kind === "health") showHealth(message);
  if (kind === "alarms") refreshAlarms();
}

await loggedIn();
document.getElementById("plots").append(...plots.map((plot) => plot.element));
listen({ opened: refresh, missed: refresh, heard });
refresh();
setInterval(refreshPlots, REFRESH_MS);
