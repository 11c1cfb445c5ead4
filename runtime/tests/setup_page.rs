//! The page of the first set-up: for who knows the code, once.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use sagitta::config::Config;
use sagitta::setup::page::{PageError, SetupPage};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

struct Device {
    folder: PathBuf,
    address: SocketAddr,
    code: String,
    served: JoinHandle<Result<(), PageError>>,
}

impl Device {
    async fn new(name: &str) -> Device {
        let folder = std::env::temp_dir().join(format!("sagitta-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let local = "127.0.0.1:0".parse().unwrap();
        let page = SetupPage::open(local, &folder.join("sagitta.toml")).await.unwrap();
        let (address, code) = (page.address, page.code.clone());
        Device { folder, address, code, served: tokio::spawn(page.serve()) }
    }

    /// Status and body of a request.
    async fn ask(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let text = format!(
            "{head}\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            self.address
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    async fn answer(&self, code: &str, answers: &Value) -> (u16, String) {
        let body = json!({ "code": code, "answers": answers }).to_string();
        self.ask("POST /api/setup HTTP/1.1\r\nX-Sagitta: 1", &body).await
    }

    fn answers(&self) -> Value {
        json!({ "site": "north", "device": "mr1", "data": self.folder.join("data"),
            "scanner": [{ "ae_title": "MR1", "address": null }],
            "user": { "name": "ann", "password": "correct horse" } })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_takes_one_configuration_from_who_knows_the_code() {
    let mut device = Device::new("setup-page").await;
    let (status, page) = device.ask("GET / HTTP/1.1", "").await;
    assert!(status == 200 && page.contains("First set-up"), "{status}");
    // Another site's page cannot send our header.
    let (status, _) = device.ask("POST /api/setup HTTP/1.1", "{}").await;
    assert_eq!(status, 403);
    let (status, _) = device.answer("wrong", &device.answers()).await;
    assert_eq!(status, 401);
    let mut wrong = device.answers();
    wrong["site"] = "North".into();
    let (status, said) = device.answer(&device.code, &wrong).await;
    assert!(status == 422 && said.contains("site or device name"), "{status} {said}");

    let (status, found) = device.answer(&device.code, &device.answers()).await;
    assert_eq!(status, 200, "{found}");
    assert!(found.contains("\"part\":\"engine\""), "{found}");
    (&mut device.served).await.unwrap().unwrap();
    let place = device.folder.join("sagitta.toml");
    assert_eq!(Config::read(&place).unwrap().mqtt.device.as_str(), "mr1");
    let again = SetupPage::open(device.address, &place).await.unwrap_err();
    assert!(again.to_string().contains("somebody made"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_end_the_page() {
    let mut device = Device::new("setup-guessed").await;
    for _ in 0..5 {
        let (status, _) = device.answer("aaaaaaaa", &device.answers()).await;
        assert_eq!(status, 401);
    }
    let ended = (&mut device.served).await.unwrap().unwrap_err();
    assert!(matches!(ended, PageError::Guessed), "{ended}");
    assert!(!device.folder.join("sagitta.toml").exists());
    let far = SetupPage::open("0.0.0.0:0".parse().unwrap(), &device.folder.join("x")).await;
    assert!(matches!(far, Err(PageError::Far(_))));
}
