// Who looks: asks for name and password where the device wants them, and knows what the role may do.

const ROLES = ["viewer", "engineer"];
/** Between two attempts to reach a device that does not answer: a restart takes seconds. */
const AGAIN_MS = 2000;
const FORM = `<form method="dialog">
  <h2 id="login-title">Log in</h2>
  <label>Name <input name="name" autocomplete="username" required autofocus></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
  <p id="login-error" role="alert"></p>
  <button>Log in</button>
</form>`;
let role = null;

/** Whether whoever looks may do what `needed` may. */
export const may = (needed) => ROLES.indexOf(role) >= ROLES.indexOf(needed);

/** Ends when the device knows who looks. */
export async function loggedIn() {
  for (;;) {
    const answer = await fetch("/api/me").catch(() => null);
    if (answer?.ok) return enter(await answer.json());
    if (answer?.status === 401) return asked();
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

/** Ends when somebody has logged in. */
function asked() {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "login-title");
  dialog.innerHTML = FORM;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    // Escape for a second time closes a dialog without asking.
    dialog.addEventListener("close", () => role ?? dialog.showModal());
    dialog.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      if (await login(new FormData(event.target))) {
        dialog.close();
        done();
      }
    });
  });
}

async function login(form) {
  const error = document.getElementById("login-error");
  error.textContent = "";
  const answer = await post("/api/login", JSON.stringify(Object.fromEntries(form))).catch(() => null);
  if (answer?.ok) {
    enter(await answer.json());
    return true;
  }
  const waits = answer?.status === 429;
  error.textContent = waits ? "Too many wrong passwords: wait a minute." : answer ? "Name or password is wrong." : "No contact.";
  return false;
}

/** A request that changes something: with the header that only our own page can send. */
export function post(path, body) {
  return fetch(path, { method: "POST", headers: { "X-Sagitta": "1", "Content-Type": "application/json" }, body });
}

function enter(who) {
  role = who.role;
  const button = document.getElementById("logout");
  button.hidden = !who.name;
  button.textContent = `${who.name} (${who.role}) · log out`;
  button.onclick = async () => {
    await post("/api/logout");
    location.reload();
  };
}
