//! A credential helper of docker's: a program that gives out logins, asked as `docker-credential-<name> get` with the
//! server's name on its standard input.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Login, LoginError};
use crate::config::{ENVIRONMENT, Secret};
use crate::upstream::error::printable;

/// The most that is read of what a helper prints.
const MAX_ANSWER: u64 = 64 << 10;
/// What a helper says, and exits with 1, when it knows no login for a server.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// What stands for the user's name when the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What a service manager has told this process alone (`sd_notify(3)`, `sd_listen_fds(3)`).
const OF_SERVICE: [&str; 6] = [
    "LISTEN_FDNAMES",
    "LISTEN_FDS",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// A helper, by the name that docker's configuration gives it.
#[derive(Debug)]
pub(super) struct Helper<'a> {
    name: &'a str,
    patience: Duration,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl<'a> Helper<'a> {
    pub(super) fn new(name: &'a str, patience: Duration) -> Helper<'a> {
        Helper { name, patience }
    }

    /// The login for a server; `None` if the helper knows of none.
    pub(super) async fn get(&self, server: &str) -> Result<Option<Login>, LoginError> {
        let program = self.program()?;
        let asked = timeout(self.patience, ask(&program, server)).await;
        let (succeeded, printed) = match asked {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(broken(&program, &format!("can't be run: {error}"))),
            // Dropping it has killed it.
            Err(_) => {
                let message = format!("has not answered within {:?}", self.patience);
                return Err(broken(&program, &message));
            }
        };
        if !succeeded {
            // That it failed is told on its standard output.
            let told = String::from_utf8_lossy(&printed);
            let told = told.trim();
            if told.starts_with(NOT_FOUND) {
                return Ok(None);
            }
            return Err(broken(&program, &failure(told)));
        }
        // What it printed is not repeated: it is a secret, or close to one.
        let answer: Answer = serde_json::from_slice(&printed)
            .map_err(|_| broken(&program, "prints something else than a login"))?;
        let secret = Secret::new(answer.secret);
        Ok(Some(if answer.username == TOKEN_USER {
            Login::IdentityToken(secret)
        } else {
            Login::Password {
                username: answer.username,
                password: secret,
            }
        }))
    }

    /// A name is a part of a program's name, and never a path to one.
    fn program(&self) -> Result<String, LoginError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.name.is_empty() || !self.name.bytes().all(plain) {
            let message =
                "docker's configuration names a credential helper that is no program's name";
            return Err(LoginError::Broken(message.to_owned()));
        }
        Ok(format!("docker-credential-{}", self.name))
    }
}

/// How a helper fails, in its own words unless they may hold a login: a wrapper can print one and fail after that.
fn failure(told: &str) -> String {
    let lower = told.to_ascii_lowercase();
    let telling = ["{", "secret", "password"];
    match told {
        "" => "fails, and says nothing".to_owned(),
        _ if telling.iter().any(|part| lower.contains(part)) => {
            "fails; what it prints is withheld, since a login may be in it".to_owned()
        }
        _ => format!("fails: {}", printable(told)),
    }
}

fn broken(program: &str, what: &str) -> LoginError {
    LoginError::Broken(format!("the credential helper {program} {what}"))
}

/// A helper's process, and with it whatever it has started: most helpers are scripts that call other programs.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Without an id it has been waited for, and the number may be another's.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It fails only where there is nothing left to kill.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Whether it succeeded, and what it printed.
async fn ask(program: &str, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let Running(child) = &mut start(program.to_owned()).await?;
    let mut input = child.stdin.take().expect("it is piped");
    let output = child.stdout.take().expect("it is piped");
    // A helper that does not read its input may have the answer anyway.
    let _ = input.write_all(server.as_bytes()).await;
    drop(input);
    let mut printed = Vec::new();
    output.take(MAX_ANSWER).read_to_end(&mut printed).await?;
    let status = child.wait().await?;
    Ok((status.success(), printed))
}

/// Starting a program takes its time, so a thread that may block does it.
async fn start(program: String) -> std::io::Result<Running> {
    let spawn = move || {
        let mut command = Command::new(program);
        command
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        // The passwords of other upstreams are none of its business.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(ENVIRONMENT) {
                command.env_remove(name);
            }
        }
        // A helper that tells a service manager of itself would speak for the mirror.
        for name in OF_SERVICE {
            command.env_remove(name);
        }
        command.spawn().map(Running)
    };
    tokio::task::spawn_blocking(spawn)
        .await
        .map_err(std::io::Error::other)?
}
