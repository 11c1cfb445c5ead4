// Who looks: asks for name and password where the device wants them, and knows what the role may do.

const ROLES = ["viewer", "engineer", "admin"];
let role = null;

/** Whether whoever looks may do what `needed` may. */
export const may = (needed) => ROLES.indexOf(role) >= ROLES.indexOf(needed);

/** Ends when somebody is logged in. */
export async function loggedIn() {
  const answer = await fetch("/api/me").catch(() => null);
  if (answer?.ok) return enter(await answer.json());
  if (answer?.status !== 401) return enter({ name: null, role: "viewer" });
  const dialog = document.getElementById("login");
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault());
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
