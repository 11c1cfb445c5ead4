//! The page over real HTTP: its files and policy, jobs, pictures, live events, and what it refuses.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

#[path = "support/page.rs"]
mod page;
mod support;

use page::{DrawnSpine, SLICES};
use sagitta::dashboard::{self, Access, OverlaySource};
use sagitta::publish::mqtt::LiveMessage;
use sagitta::users::{Role, Users};
use serde_json::Value;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use support::{PATIENCE, job};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

struct Server {
    address: SocketAddr,
    live: broadcast::Sender<LiveMessage>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<(), dashboard::DashboardError>>,
}

impl Server {
    async fn start() -> Server {
        Server::start_for(Access::ThisMachine).await
    }

    async fn start_for(access: Access) -> Server {
        let listener = dashboard::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (live, messages) = broadcast::channel(16);
        let (stop, stopped) = watch::channel(false);
        let served = dashboard::serve(listener, access, Arc::new(DrawnSpine), messages, stopped);
        Server { address, live, stop, task: tokio::spawn(served) }
    }

    async fn request(&self, path: &str, host: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Status, headers in lower case, body.
    async fn get_as(&self, path: &str, host: &str) -> (u16, String, Vec<u8>) {
        let mut answer = Vec::new();
        let mut stream = self.request(path, host).await;
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head, answer[end + 4..].to_vec())
    }

    async fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        self.get_as(path, &self.address.to_string()).await
    }
}

fn message(n: u32) -> LiveMessage {
    let payload = format!("{{\"seq\":{n}}}");
    LiveMessage { topic: "sagitta/v1/north/mr1/state".to_owned(), payload, retained: false }
}

#[tokio::test]
async fn the_page_and_all_it_asks_for_are_served_under_a_strict_policy() {
    let server = Server::start().await;
    let mut files: Vec<String> = Vec::new();
    for page in ["/", "/health", "/wall"] {
        let (status, head, body) = server.get(page).await;
        let html = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{page}");
        assert!(head.contains("content-security-policy: default-src 'self'"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        assert!(html.contains("Not for diagnostic use"), "{page}");
        assert!(!html.contains("http://") && !html.contains("https://"), "no foreign address");
        assert!(
            !html.contains("style=") && !html.contains("<script>"),
            "the policy would block it"
        );
        let named = html.split('"').filter(|text| text.starts_with('/') && text.contains('.'));
        files.extend(named.map(str::to_owned));
    }
    files.sort();
    files.dedup();
    let mut seen = 0;
    while let Some(path) = files.get(seen).cloned() {
        seen += 1;
        let (status, _, body) = server.get(&path).await;
        assert_eq!(status, 200, "{path}");
        // Modules ask for their neighbours.
        for name in String::from_utf8(body).unwrap().split("from \"./").skip(1) {
            let name = format!("/{}", name.split('"').next().unwrap());
            if !files.contains(&name) {
                files.push(name);
            }
        }
    }
    assert_eq!(seen, 17, "{files:?}");
}

#[tokio::test]
async fn jobs_and_pictures_are_served() {
    let server = Server::start().await;
    let (status, _, body) = server.get("/api/jobs").await;
    let jobs: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, jobs.as_array().unwrap().len()), (200, 7));
    assert_eq!(jobs[0]["result"]["vertebrae_count"], 2);
    assert_eq!((&jobs[3]["state"], &jobs[3]["code"]), (&"refused".into(), &"not_sagittal".into()));
    let job = job("1.2.3");
    let (status, _, body) = server.get(&format!("/api/jobs/{job}/view")).await;
    let view: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, view["dims"][2].as_u64()), (200, Some(SLICES as u64)));
    assert_eq!(view["vertebrae"].as_array().unwrap().len(), 8);
    let (status, head, body) = server.get(&format!("/api/jobs/{job}/slices/7")).await;
    assert!(status == 200 && head.contains("content-encoding: gzip"), "{head}");
    let mut voxels = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut voxels).unwrap();
    assert_eq!(Some(voxels), DrawnSpine.voxels(&job, 7));
    let (status, head, body) = server.get(&format!("/api/jobs/{job}/overview.png")).await;
    assert!(status == 200 && head.contains("content-type: image/png"), "{head}");
    assert!(body.starts_with(b"\x89PNG"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    let id = job("1.2.3");
    for path in [
        format!("/api/jobs/{id}/slices/{SLICES}"),
        format!("/api/jobs/{id}/slices/-1"),
        format!("/api/jobs/{id}/slices/3.png"),
        format!("/api/jobs/{}/slices/3", job("other")),
        "/api/jobs/1.2.840.1/slices/3".to_owned(),
        format!("/api/jobs/{}/view", job("1.2.4")),
        "/api/jobs/..%2f..%2fetc/overview.png".to_owned(),
        "/../Cargo.toml".to_owned(),
    ] {
        let (status, head, _) = server.get(&path).await;
        assert_eq!(status, 404, "{path}");
        assert!(head.contains("content-security-policy"), "{path}");
    }
}

#[tokio::test]
async fn another_sites_name_for_this_machine_is_refused() {
    let server = Server::start().await;
    assert_eq!(server.get_as("/api/jobs", "attacker.example").await.0, 421);
    assert_eq!(server.get_as("/api/jobs", "localhost:8080").await.0, 200);
}

#[tokio::test]
async fn a_browser_gets_the_last_messages_and_then_each_new_one_once() {
    let server = Server::start().await;
    server.live.send(message(1)).unwrap();
    let mut lines = BufReader::new(server.request("/events", "localhost").await).lines();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).unwrap();
            let payload: Value = serde_json::from_str(event["payload"].as_str().unwrap()).unwrap();
            seen.push(payload["seq"].as_u64().unwrap());
            let next = message(seen.len() as u32 + 1);
            server.live.send(next).unwrap();
        }
    }
    assert_eq!(seen, [1, 2, 3]);
    // An open stream does not keep the service from ending.
    server.stop.send_replace(true);
    timeout(PATIENCE, server.task).await.expect("the page ends").unwrap().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = Server::start().await;
    let error = dashboard::bind(server.address).await.unwrap_err().to_string();
    assert!(error.contains(&server.address.to_string()) && error.contains("in use"), "{error}");
}

#[tokio::test]
async fn figures_and_alarms_are_shown_scraped_and_acknowledged() {
    let server = Server::start().await;
    let (status, _, body) = server.get("/api/alarms").await;
    let alarms: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &alarms[0]["code"]), (200, &"destination_away".into()));
    let (_, _, body) = server.get("/api/health").await;
    let health: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(health["machine"]["hottest_c"], 61.5);
    let (status, head, body) = server.get("/metrics").await;
    let text = String::from_utf8(body).unwrap();
    assert!(status == 200 && head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "sagitta_machine_hottest_c 61.5",
        "sagitta_service_jobs_refused 3",
        "sagitta_service_latency_ms{stage=\"total\",quantile=\"0.95\"} 1910",
        "sagitta_alarm_active{code=\"destination_away\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    assert!(!text.contains("gpu_c"), "what is not known is left out");

    let post = async |path: &str, own: &str| {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let host = server.address;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        stream.write_all(format!("{head}{own}Content-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let own = "X-Sagitta: 1\r\n";
    let path = |code: &str| format!("/api/alarms/{code}/acknowledge");
    assert_eq!(post(&path("destination_away"), "").await, 403, "a form of another site");
    assert_eq!(post(&path("destination_away"), own).await, 204);
    assert_eq!(post(&path("too_hot"), own).await, 404, "there is none to see");
    assert_eq!(post(&path("no_such"), own).await, 404);
    server.stop.send_replace(true);
}

impl Server {
    /// Status and the cookie that was set, of a request with our own header.
    async fn send(&self, request: &str, cookie: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let (host, length) = (self.address, body.len());
        let text = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Sagitta: 1\r\n\
             Cookie: {cookie}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, set.unwrap_or_default().to_owned())
    }

    async fn login(&self, name: &str, password: &str) -> (u16, String) {
        let body = serde_json::json!({ "name": name, "password": password }).to_string();
        self.send("POST /api/login", "", &body).await
    }
}

#[tokio::test]
async fn roles_hold_and_a_session_ends_at_logout() {
    let mut users = Users::default();
    users.set("vera", Role::Viewer, "look only please").unwrap();
    users.set("egon", Role::Engineer, "may acknowledge").unwrap();
    let server = Server::start_for(Access::Users { users: Arc::new(users), metrics: None }).await;
    assert_eq!(server.send("GET /", "", "").await.0, 200, "the page itself asks for the login");
    let guarded = ["/api/jobs", "/api/me", "/events", "/metrics", "/api/health"];
    let slice = format!("/api/jobs/{}/slices/7", job("1.2.3"));
    for path in guarded.into_iter().chain([slice.as_str()]) {
        assert_eq!(server.send(&format!("GET {path}"), "", "").await.0, 401, "{path}");
    }
    let acknowledge = "POST /api/alarms/destination_away/acknowledge";
    assert_eq!(server.send(acknowledge, "", "").await.0, 401);
    for (name, slice_status, acknowledged) in [("vera", 200, 403), ("egon", 200, 204)] {
        let password = if name == "vera" { "look only please" } else { "may acknowledge" };
        let (status, set) = server.login(name, password).await;
        assert_eq!(status, 200);
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
        let cookie = set.split(';').next().unwrap();
        assert_eq!(server.send(&format!("GET {slice}"), cookie, "").await.0, slice_status);
        assert_eq!(server.send(acknowledge, cookie, "").await.0, acknowledged, "{name}");
        assert_eq!(server.send("POST /api/logout", cookie, "").await.0, 204);
        assert_eq!(server.send("GET /api/jobs", cookie, "").await.0, 401, "the session is over");
    }
}

#[tokio::test]
async fn prometheus_shows_a_token_that_opens_nothing_else() {
    let mut users = Users::default();
    users.set("vera", Role::Viewer, "look only please").unwrap();
    let folder = support::Folder::new("token");
    let path = |name: &str| folder.path().join(name);
    let token = "0123456789abcdef0123456789abcdef";
    private(&path("token"), &format!("{token}\n"));
    users.write(&path("users.toml")).unwrap();
    let settings = dashboard::Settings {
        bind: Some("127.0.0.1:0".parse().unwrap()),
        users: Some(path("users.toml")),
        metrics_token: Some(path("token")),
    };
    let server = Server::start_for(settings.access().unwrap()).await;
    let shown =
        |page: &str, token: &str| format!("GET {page} HTTP/1.1\r\nAuthorization: {token}\r\nX: ");
    let status = async |page: &str, token: &str| server.send(&shown(page, token), "", "").await.0;
    let right = format!("Bearer {token}");
    assert_eq!(status("/metrics", &right).await, 200);
    for page in ["/api/jobs", "/api/health", "/events"] {
        assert_eq!(status(page, &right).await, 401, "{page}");
    }
    for wrong in ["Bearer ", "Bearer 0123456789abcdef0123456789abcdee", token, "Basic dmVyYTp4"] {
        assert_eq!(status("/metrics", wrong).await, 401, "{wrong}");
    }
    private(&path("short"), "0123456789abcdef");
    std::fs::write(path("open"), token).unwrap();
    std::fs::set_permissions(path("open"), Permissions::from_mode(0o644)).unwrap();
    for (name, reason) in [("short", "at least"), ("open", "chmod o="), ("none", "cannot read")] {
        let settings = dashboard::Settings { metrics_token: Some(path(name)), ..settings.clone() };
        let error = settings.access().unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains("0123"), "{error}");
    }
}

/// A file that its owner alone may read.
fn private(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn the_last_hours_and_the_devices_of_the_site_are_served() {
    let server = Server::start().await;
    let history = async || {
        let (status, _, body) = server.get("/api/history").await;
        assert_eq!(status, 200);
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    let sampled = timeout(PATIENCE, async {
        loop {
            let history = history().await;
            if !history["age_s"].as_array().unwrap().is_empty() {
                return history;
            }
            tokio::task::yield_now().await;
        }
    });
    let history = sampled.await.unwrap();
    assert_eq!(history["curves"]["hottest_c"], serde_json::json!([61.5]));
    assert_eq!(history["curves"]["cpu_c"], serde_json::json!([null]), "not measured is not 0");
    assert_eq!(history["curves"]["job_p95_ms"], serde_json::json!([1910.0]));

    // Another device of the site: on the wall, and not among our messages.
    for (device, n) in [("mr2", 1), ("mr1", 2)] {
        let topic = format!("sagitta/v1/north/{device}/state");
        let payload = format!(r#"{{"seq":{n},"state":"online","software":"0.1.0"}}"#);
        server.live.send(LiveMessage { topic, payload, retained: true }).unwrap();
    }
    let mut lines = BufReader::new(server.request("/events", "localhost").await).lines();
    let first = loop {
        let line = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            break data.to_owned();
        }
    };
    assert!(first.contains("north/mr1/state"), "{first}");
    let (_, _, body) = server.get("/api/fleet").await;
    let fleet: Value = serde_json::from_slice(&body).unwrap();
    let names: Vec<_> = fleet["devices"].as_array().unwrap().iter().map(|d| &d["device"]).collect();
    assert_eq!(names, ["mr1", "mr2"]);
}

#[tokio::test]
async fn a_stream_of_messages_ends_with_its_session() {
    let mut users = Users::default();
    users.set("vera", Role::Viewer, "look only please").unwrap();
    let users = Arc::new(users);
    let server = Server::start_for(Access::Users { users, metrics: None }).await;
    let (_, set) = server.login("vera", "look only please").await;
    let cookie = set.split(';').next().unwrap();
    let mut stream = server.request("/events", &format!("localhost\r\nCookie: {cookie}")).await;
    server.live.send(message(1)).unwrap();
    let mut text = String::new();
    let mut part = [0; 1024];
    while !text.contains("data: ") {
        let n = timeout(PATIENCE, stream.read(&mut part)).await.unwrap().unwrap();
        assert!(n > 0, "{text}");
        text += std::str::from_utf8(&part[..n]).unwrap();
    }
    assert_eq!(server.send("POST /api/logout", cookie, "").await.0, 204);
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_others_do_not() {
    let mut users = Users::default();
    users.set("vera", Role::Viewer, "look only please").unwrap();
    users.set("egon", Role::Engineer, "may acknowledge").unwrap();
    let server = Server::start_for(Access::Users { users: Arc::new(users), metrics: None }).await;
    for _ in 0..5 {
        assert_eq!(server.login("vera", "a wrong password").await.0, 401);
    }
    assert_eq!(server.login("vera", "look only please").await.0, 429, "even the right one");
    assert_eq!(server.login("egon", "may acknowledge").await.0, 200);
    assert_eq!(server.login("nobody", "may acknowledge").await.0, 401);
}

#[test]
fn without_users_the_page_listens_on_this_machine_only() {
    let settings = |bind: &str| dashboard::Settings {
        bind: Some(bind.parse().unwrap()),
        ..Default::default()
    };
    assert!(matches!(settings("127.0.0.1:0").access(), Ok(Access::ThisMachine)));
    let error = settings("0.0.0.0:0").access().unwrap_err().to_string();
    assert!(error.contains("sagitta user add"), "{error}");
}
