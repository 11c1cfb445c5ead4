// The stream of the device's messages, and the chip that says whether the device is there.

/**
 * Calls `opened` when the stream begins, with the last messages to come again; `missed` when some were lost; `heard` with each:
 * its topic, what it is about (`jobs`, `alarms`, ...), its text, and what the text says.
 */
export function listen({ opened, missed, heard }) {
  const events = new EventSource("/events");
  events.onopen = opened;
  events.onerror = () => refused(events);
  events.onmessage = (event) => {
    const { topic, payload } = JSON.parse(event.data);
    const [, , , , kind] = topic.split("/"); // sagitta/v1/{site}/{device}/...
    const message = parse(payload);
    if (kind === "state" && message.state) presence(message.state, message.state);
    heard({ topic, kind, payload, message });
  };
  events.addEventListener("dropped", missed);
}

/** The browser tries again by itself, but where the device has answered and does not want to. */
async function refused(events) {
  if (events.readyState !== EventSource.CLOSED) return presence("no contact", "lost");
  presence("too many pages are open", "lost");
  if (await sessionIsOver()) location.reload(); // to the login, with nothing of before left on the screen
}

async function sessionIsOver() {
  const answer = await fetch("/api/me").catch(() => null);
  return answer?.status === 401;
}

/** An answer of the device as an object; null where there is none. Leads to the login where that is what is missing. */
export async function ask(path) {
  try {
    const answer = await fetch(path);
    if (answer.status === 401) location.reload();
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // the service restarts: the stream of messages comes back and asks again
  }
}

export function presence(text, state) {
  const chip = document.getElementById("presence");
  chip.textContent = text;
  chip.dataset.state = state;
}

function parse(payload) {
  try {
    return JSON.parse(payload) ?? {};
  } catch {
    return {};
  }
}
