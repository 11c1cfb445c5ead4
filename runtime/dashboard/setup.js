// The first set-up: answers go out once, and what was found comes back.

const dialog = document.getElementById("setup");
const form = dialog.querySelector("form");
const error = document.getElementById("setup-error");

dialog.showModal();
dialog.addEventListener("cancel", (event) => event.preventDefault());
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  error.textContent = "";
  const given = Object.fromEntries(new FormData(form));
  const body = JSON.stringify({ code: given.code, answers: answers(given) });
  const headers = { "X-Sagitta": "1", "Content-Type": "application/json" };
  const answer = await fetch("/api/setup", { method: "POST", headers, body }).catch(() => null);
  if (answer?.ok) return show(await answer.json());
  const said = await answer?.json().catch(() => null);
  error.textContent = said?.error ?? "No contact: is the set-up still running?";
});

/** What the device is told: fields that were left empty are left out. */
function answers(given) {
  const told = { site: given.site, device: given.device, ae_title: given.ae_title };
  if (given.scanner) {
    told.scanner = [{ ae_title: given.scanner, address: given.scanner_address || null }];
  }
  if (given.receiver_address) {
    const { receiver_address: address, receiver: ae_title, receiver_kind: kind } = given;
    told.receiver = [{ name: kind, address, ae_title, kind }];
  }
  if (given.broker) told.broker = { host: given.broker };
  if (given.user) told.user = { name: given.user, password: given.password };
  return told;
}

function show(findings) {
  form.hidden = true;
  const section = document.getElementById("findings");
  section.hidden = false;
  const lines = findings.map(({ part, health, text, advice }) => {
    const line = document.createElement("li");
    const mark = { good: "✓", absent: "–", wrong: "!" }[health];
    line.textContent = `${mark} ${part}: ${text}`;
    if (advice && health === "wrong") line.textContent += ` → ${advice}`;
    return line;
  });
  section.querySelector("ul").replaceChildren(...lines);
}
