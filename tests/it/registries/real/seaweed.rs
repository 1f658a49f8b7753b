//! An S3 store that we did not write: `SeaweedFS`.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::clients::docker_registry::kept;
use crate::clients::tools;
use crate::harness::wait_for_exit;

pub(super) const PROGRAMS: &[&str] = &["weed"];

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is started before it is given up.
const ATTEMPTS: u32 = 5;

const KEY: &str = "AKIDREGISTRY";
const SECRET: &str = "canary-key-of-the-store";
const BUCKET: &str = "registry";

/// A running store.
pub(super) struct Seaweed {
    child: Child,
    s3: u16,
    _root: TempDir,
}

impl Seaweed {
    /// Starts one with an empty bucket. Another program may be first at one of the ports that it is told.
    pub(super) async fn start() -> Self {
        for _ in 1..ATTEMPTS {
            if let Ok(started) = Self::try_start().await {
                return started;
            }
        }
        Self::try_start()
            .await
            .unwrap_or_else(|log| panic!("it does not start: {log}"))
    }

    /// The error is its log.
    async fn try_start() -> Result<Self, String> {
        let root = tempfile::tempdir().unwrap();
        let identities = root.path().join("s3.json");
        let text = serde_json::json!({"identities": [{
            "name": "registry",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        std::fs::write(&identities, text.to_string()).unwrap();
        let ports = free_ports();
        let [_master, _volume, filer, s3, ..] = ports;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("weed");
        command
            .env("PATH", format!("{path}:{}", tools().display()))
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-volume.max=8", "-master.volumeSizeLimitMB=64"])
            .arg(format!("-dir={}", root.path().display()))
            .arg(format!("-s3.config={}", identities.display()));
        let names = ["master", "volume", "filer", "s3"];
        let suffixes = ["", ".grpc"];
        let flags = suffixes
            .iter()
            .flat_map(|suffix| names.map(|name| format!("-{name}.port{suffix}")));
        for (flag, port) in flags.zip(ports) {
            command.arg(format!("{flag}={port}"));
        }
        let mut child = command
            .current_dir(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = kept(child.stderr.take().unwrap());
        let up = log.wait_for(|log| {
            log.contains("added volume server") && log.contains("Start Seaweed S3 API Server")
        });
        let up = matches!(tokio::time::timeout(PATIENCE, up).await, Ok(Ok(_)));
        if !up {
            return Err(log.borrow().clone());
        }
        // A directory of the filer is a bucket.
        let bucket = format!("http://127.0.0.1:{filer}/buckets/{BUCKET}/");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let made = client.post(bucket).send().await.unwrap();
        assert!(made.status().is_success(), "{}", made.status());
        Ok(Self {
            child,
            s3,
            _root: root,
        })
    }

    /// The registry's configuration of it.
    pub(super) fn storage(&self) -> String {
        let endpoint = format!("http://127.0.0.1:{}", self.s3);
        format!(
            "storage:\n  s3:\n    accesskey: {KEY}\n    secretkey: {SECRET}\n    region: us-east-1\n    \
             regionendpoint: {endpoint}\n    bucket: {BUCKET}\n    secure: false\n"
        )
    }

    /// Switches it off, for good.
    pub(super) async fn stop(mut self) {
        self.child.start_kill().unwrap();
        wait_for_exit(&mut self.child).await;
    }
}

/// Ports that were free a moment ago: it takes no others, nor says which it chose itself.
fn free_ports() -> [u16; 8] {
    let listeners = [(); 8].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
