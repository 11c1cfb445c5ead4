// Joins the parts of the page: the list chooses a job, viewer and waterfall show it, messages bring news.
import { JobList } from "./jobs.js";
import { Viewer } from "./viewer.js";
import { showStages } from "./waterfall.js";
import { listen } from "./messages.js";
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

await loggedIn();
listen({ jobs: refreshSoon, alarms: refreshAlarms, health: showHealth });
list.refresh();
refreshHealth();
