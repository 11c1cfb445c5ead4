// Joins the parts of the page: the list chooses a job, viewer and waterfall show it, messages bring news.
import { JobList } from "./jobs.js";
import { Viewer } from "./viewer.js";
import { showStages } from "./waterfall.js";
import { listen } from "./events.js";
import { clearMessages, showMessage } from "./messages.js";
import { loggedIn } from "./login.js";
import { refreshAlarms, refreshHealth, showHealth } from "./device.js";

/** Pause between a message and the look at the jobs: messages come in bursts. */
const REFRESH_PAUSE_MS = 150;

const viewer = new Viewer();
const list = new JobList((job) => {
  viewer.show(job);
  showStages(job.stages_ms);
});

let waiting = false;
function refreshSoon() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    list.refresh();
  }, REFRESH_PAUSE_MS);
}

function refresh() {
  refreshSoon();
  refreshAlarms();
}

function heard(news) {
  if (news.kind === "health") return showHealth(news.message);
  if (news.payload) showMessage(news); // an alarm that is over has none
  if (news.kind === "jobs") refreshSoon();
  if (news.kind === "alarms") refreshAlarms();
}

function opened() {
  clearMessages();
  refresh();
}

await loggedIn();
listen({ opened, missed: refresh, heard });
refresh();
refreshHealth();
