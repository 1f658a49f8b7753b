//! What is sent to do harm: raw bytes, the status that they get, and what becomes of their connection. Each row is played on
//! the real process, with a good request behind it, which is answered as itself or not at all.
//!
//! `answers` come from upstreams; `doors` are the listeners, and what is behind each.
//! `messages` are requests that two readers may read differently, `paths` lead elsewhere or carry something along.

mod answers;
mod doors;
mod messages;
mod paths;

use std::time::Duration;

use forebay_loadtest::origin::{Descriptor, Origin};

use crate::harness::{End, Forebay, Setup, Wire, origin_with_blob};

/// The good request.
const NEXT: &str = "GET /v2/ HTTP/1.1\r\nHost: mirror\r\n\r\n";

/// Within what a refusal has come on a busy machine. Every wait of the mirror's is longer here.
const AT_ONCE: Duration = Duration::from_secs(5);

/// What becomes of the connection, and of the good request that was sent behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// It ends, the good request unanswered.
    Ends,
    /// It goes on, and the good request is answered.
    GoesOn,
}

use After::{Ends, GoesOn};

/// A row: a message, the status that it gets, none where it gets no answer, and what becomes of its connection.
type Row<'a> = (&'a [u8], &'a str, After);

/// A mirror, and an upstream with `library/app`.
struct Stage {
    origin: Origin,
    forebay: Forebay,
    blob: Descriptor,
}

impl Stage {
    /// A mirror that waits longer than the test does: what ends is ended on purpose.
    async fn patient() -> Self {
        Self::with("").await
    }

    /// One that takes clients' logins for its upstream: where it gives out tokens it reads what it is sent.
    async fn taking_logins() -> Self {
        Self::with("access = \"passthrough\"").await
    }

    async fn with(upstream: &str) -> Self {
        let (origin, blob) = origin_with_blob(1, 1000).await;
        let forebay = Setup::new(&origin)
            .upstream(upstream)
            .config("[server]\nheader_timeout = \"10m\"\nidle_timeout = \"10m\"")
            .start()
            .await;
        Self {
            origin,
            forebay,
            blob,
        }
    }

    /// Plays a table. None of it costs the upstream anything.
    async fn refuses(&self, table: &[Row<'_>]) {
        let mut wrong = Vec::new();
        for &(message, expected, after) in table {
            let got = self.played(message, after).await;
            if got.as_deref() != Ok(expected) {
                let shown = message.get(..120).unwrap_or(message).escape_ascii();
                wrong.push(format!("{shown}\n    {got:?} instead of {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let asked = self.origin.requests();
        assert!(asked.is_empty(), "the upstream was asked: {asked:?}");
    }

    /// Sends `message` and a good request behind it: the status that it gets, or what is wrong with what comes.
    async fn played(&self, message: &[u8], after: After) -> Result<String, String> {
        let mut wire = Wire::open(&self.forebay).await;
        wire.push(message).await;
        wire.push(NEXT).await;
        if after == GoesOn {
            let head = wire.head().await;
            let body = wire.body(head.length()).await;
            unharmed(&head.lines.join("\n"), &body)?;
            let next = wire.head().await;
            let pong = wire.body(next.length()).await;
            return match (next.status(), &pong[..]) {
                ("200", b"{}") => Ok(head.status().to_owned()),
                _ => Err(format!("then {next:?} {pong:?}")),
            };
        }
        let status = ended(wire).await?;
        // The mirror might have waited for what is behind.
        let mut alone = Wire::open(&self.forebay).await;
        alone.push(message).await;
        match ended(alone).await? {
            same if same == status => Ok(status),
            other => Err(format!("{other} alone, {status} before another")),
        }
    }
}

/// The status of the one answer that comes before the end.
async fn ended(wire: Wire) -> Result<String, String> {
    let rest = tokio::time::timeout(AT_ONCE, wire.rest()).await;
    let (bytes, end) = rest.map_err(|_| "it waits for more".to_owned())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if end != End::Fin {
        return Err(format!("{end:?} after {text}"));
    }
    if text.matches("HTTP/1.").count() > 1 {
        return Err(format!("the next was answered: {text}"));
    }
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    unharmed(head, &bytes[head.len()..])?;
    Ok(text.get(9..12).unwrap_or_default().to_owned())
}

/// Nothing that was sent has come back as a header, or as a character that terminals obey.
fn unharmed(head: &str, body: &[u8]) -> Result<(), String> {
    let injected = head.to_ascii_lowercase().contains("\nx-injected");
    let body = body.strip_prefix(b"\r\n\r\n").unwrap_or(body);
    let raw = body.iter().any(|byte| *byte < b' ' || *byte == 0x7f);
    if injected || raw {
        return Err(format!("{head} {:?}", String::from_utf8_lossy(body)));
    }
    Ok(())
}
