// The list of MQTT messages as they come. Their text goes in as text, never as markup.
import { about, part, words } from "./jobs.js";

/** Messages kept on the page. */
const KEPT = 200;

/** The service sends its last messages again when a stream begins. */
export function clearMessages() {
  document.getElementById("messages").replaceChildren();
}

export function showMessage({ topic, kind, payload, message }) {
  const list = document.getElementById("messages");
  list.prepend(item(topic, kind, payload, message));
  while (list.children.length > KEPT) list.lastChild.remove();
  document.getElementById("messages-empty").hidden = true;
}

function item(topic, kind, payload, message) {
  const [last, job] = topic.split("/").reverse();
  const time = element("time", "", new Date(message.ts).toLocaleTimeString([], { hour12: false }));
  time.dateTime = message.ts ?? "";
  const state = element("span", "state", last === "result" ? "result" : message.state ?? last);
  state.dataset.state = state.textContent;
  const summary = document.createElement("summary");
  const line = element("span", "about", "");
  if (kind === "jobs") line.append(part("job-id", job.slice(0, 8)));
  line.append(kind === "jobs" ? news(last, message) : ofDevice(message));
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
