//! Recorded exchanges, and their replay against the mirror.
//!
//! A transcript is text as a capture shows it. Lines that begin with `>` go out, each ended by CRLF, in their order; those
//! with `<` are the whole head that has to come back, to the letter; `=` says what the body is: a content of the stage by
//! its name, a part of one (`layer 0-499`), plain text, or `@` and a word that is in it. `<<` is an answer that many
//! transcripts have, head and body, by its name in `answer`. `{name}` stands for what is known at run time only. A response
//! that says `connection: close` ends the connection; the next exchange opens another one, as its client does.
//!
//! Played warm, a transcript is the same but for one line: every `cache-status` is a hit.

use bytes::Bytes;

use super::answer::written_out;
use super::stage::Stage;
use crate::harness::{End, Wire};

/// What the mirror has of what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cache {
    Cold,
    Warm,
}

/// One request and its answer, as written in a transcript.
#[derive(Debug, Default, Clone)]
struct Exchange {
    request: Vec<String>,
    response: Vec<String>,
    body: Option<String>,
}

impl Stage {
    /// Plays a transcript, in order, on as few connections as its client would.
    pub(super) async fn play(&self, cache: Cache, transcript: impl AsRef<str>) {
        let mut wire = None;
        let transcript = self.known(&written_out(&self.known(transcript.as_ref())));
        for exchange in parse(&transcript) {
            let mut open = match wire.take() {
                Some(open) => open,
                None => Wire::open(&self.forebay).await,
            };
            if self.exchange(&mut open, cache, &exchange).await {
                wire = Some(open);
            } else {
                assert_eq!(open.rest().await, (Bytes::new(), End::Fin), "{exchange:?}");
            }
        }
        if let Some(mut open) = wire {
            // Nothing is left over: no body behind a HEAD, no byte more than was announced.
            open.finish().await;
            assert_eq!(open.rest().await, (Bytes::new(), End::Fin), "{transcript}");
        }
    }

    /// Plays one exchange, and says whether the connection goes on.
    async fn exchange(&self, wire: &mut Wire, cache: Cache, exchange: &Exchange) -> bool {
        let mut request = exchange.request.join("\r\n");
        request.push_str("\r\n\r\n");
        wire.send(&request).await;
        let head = wire.head().await;
        let expected = expected(&exchange.response, cache).join("\n");
        assert_eq!(head.text(), expected, "in answer to\n{request}");
        let length = match (&exchange.body, request.starts_with("HEAD ")) {
            (None, _) | (_, true) => 0,
            (Some(_), false) => head.length(),
        };
        let body = wire.body(length).await;
        if let Some(described) = &exchange.body {
            self.compare(&body, described, &request);
        }
        head.header("connection") != "close"
    }

    /// Holds a body against what a transcript says of it.
    fn compare(&self, body: &[u8], described: &str, request: &str) {
        if let Some(word) = described.strip_prefix('@') {
            let text = String::from_utf8_lossy(body);
            assert!(text.contains(word), "{word} is not in {text}");
            return;
        }
        // Megabytes say nothing to a reader of a failure.
        let same = body == self.content(described);
        assert!(same, "the body is not {described} after\n{request}");
    }

    /// `text` with every `{name}` replaced by what it stands for.
    fn known(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.names {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    /// The body that a transcript describes.
    fn content(&self, described: &str) -> Bytes {
        let (name, part) = described.split_once(' ').unwrap_or((described, ""));
        let Some(content) = self.contents.get(name) else {
            return Bytes::copy_from_slice(described.as_bytes());
        };
        let Some((first, last)) = part.split_once('-') else {
            return content.clone();
        };
        let number = |text: &str| text.parse::<usize>().expect("a part is `first-last`");
        content.slice(number(first)..=number(last))
    }
}

/// The head that has to come.
fn expected(response: &[String], cache: Cache) -> Vec<String> {
    let line = |line: &String| match cache {
        Cache::Warm if line.starts_with("cache-status: ") => {
            "cache-status: forebay; hit".to_owned()
        }
        _ => line.clone(),
    };
    response.iter().map(line).collect()
}

fn parse(transcript: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut asking = false;
    for line in transcript.lines().map(str::trim) {
        let (kind, text) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "" => continue,
            ">" if !asking => exchanges.push(Exchange::default()),
            ">" | "<" | "=" => {}
            _ => panic!("a transcript has no line `{line}`"),
        }
        asking = kind == ">";
        let exchange = exchanges.last_mut().expect("a request comes first");
        match kind {
            ">" => exchange.request.push(text.to_owned()),
            "<" => exchange.response.push(text.to_owned()),
            _ => exchange.body = Some(text.to_owned()),
        }
    }
    exchanges
}
