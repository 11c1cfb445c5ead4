// MQTT messages as they come. Their text goes in as text, never as markup.
import { about, part } from "./jobs.js";

/** Messages kept on the page. */
const KEPT = 200;

/** Calls `jobs` when a message tells of a job, `alarms` when one tells of an alarm, `health` with each health report. */
export function listen({ jobs, alarms, health }) {
  const events = new EventSource("/events");
  events.onopen = () => {
    document.getElementById("messages").replaceChildren(); // the service sends its last messages again
    jobs();
    alarms();
  };
  events.onerror = () => presence("no contact", "lost");
  events.onmessage = (event) => {
    const { topic, payload } = JSON.parse(event.data);
    if (topic.endsWith("/health")) return health(parse(payload));
    if (payload) add(topic, payload); // an alarm that is over has none
    if (topic.includes("/jobs/")) jobs();
    if (topic.includes("/alarms/")) alarms();
  };
  events.addEventListener("dropped", jobs);
}

function presence(text, state) {
  const chip = document.getElementById("presence");
  chip.textContent = text;
  chip.dataset.state = state;
}

function add(topic, payload) {
  const message = parse(payload);
  const [kind, job] = topic.split("/").reverse();
  if (kind === "state" && message.state) presence(message.state, message.state);
  const list = document.getElementById("messages");
  list.prepend(item(topic, kind, job, message, payload));
  while (list.children.length > KEPT) list.lastChild.remove();
  document.getElementById("messages-empty").hidden = true;
}

function parse(payload) {
  try {
    return JSON.parse(payload) ?? {};
  } catch {
    return {};
  }
}

function item(topic, kind, job, message, payload) {
  const time = element("time", "", new Date(message.ts).toLocaleTimeString([], { hour12: false }));
  time.dateTime = message.ts ?? "";
  const state = element("span", "state", kind === "result" ? "result" : message.state ?? kind);
  state.dataset.state = state.textContent;
  const summary = document.createElement("summary");
  const line = element("span", "about", "");
  if (topic.includes("/jobs/")) line.append(part("job-id", job.slice(0, 8)));
  line.append(topic.includes("/jobs/") ? news(kind, message) : ofDevice(message));
  summary.append(time, line, state);
  const details = document.createElement("details");
  const text = Object.keys(message).length ? JSON.stringify(message, null, 1) : payload;
  details.append(summary, element("p", "topic", topic), element("pre", "", text));
  const row = document.createElement("li");
  row.append(details);
  return row;
}

/** The state of the device, an event, an alarm, or what the supervisor says. */
function ofDevice(message) {
  if ("session" in message) return `device, session ${message.session}`;
  return words([message.event ?? message.link, message.code].filter(Boolean).join(": "));
}

function words(text) {
  return String(text).replaceAll("_", " ");
}

function news(kind, message) {
  if (kind === "result") return `${message.vertebrae_count ?? "?"} vertebrae`;
  return message.state === "complete" ? words(message.reason) : about(message);
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
