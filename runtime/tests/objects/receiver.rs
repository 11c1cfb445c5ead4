//! A receiver of objects to test against.

use crate::fixture::Folder;
use sagitta::objects::OutputKind;
use sagitta::publish::store::Destination;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A DCMTK receiver on a port of its own; ends with the test.
pub(crate) struct Receiver {
    child: Child,
    pub(crate) destination: Destination,
}

impl Receiver {
    pub(crate) fn start(folder: &Folder, options: &[&str]) -> Receiver {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let child = Command::new("storescp")
            .args(["-od", folder.path().to_str().unwrap(), "-aet", "ARCHIVE"])
            .args(options)
            .arg(address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| {
                panic!("storescp cannot run ({e}): install the Debian package dcmtk")
            });
        let destination = Destination {
            name: "archive".to_owned(),
            address: address.to_string(),
            called_ae: "ARCHIVE".to_owned(),
            calling_ae: "SAGITTA".to_owned(),
            tls: false,
            tls_name: None,
            profile: OutputKind::ALL.to_vec(),
        };
        Receiver { child, destination }
    }

    /// Waits until something listens; what it answers is the test's business.
    pub(crate) async fn ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect(&self.destination.address).await.is_err() {
            assert!(Instant::now() < deadline, "storescp did not begin to listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
