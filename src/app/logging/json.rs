//! Lines of JSON, one an event, as collectors of logs read them: `timestamp`, `level`, `fields` with the `message` among
//! them, and `target`.
//!
//! As `tracing_subscriber` writes them, but for spans, of which there are none here. There is a line for each request, so
//! that it is put together where no call stands between its parts, and handed on as a whole.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Debug, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{self, FormatTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// See the file's own words.
#[derive(Debug)]
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Empty where the line is one that a value of another line's writes while it is shown.
        let mut line = LINE.take();
        line.clear();
        let written = write(&mut line, event).and_then(|()| to.write_str(&line));
        if line.capacity() <= KEPT {
            LINE.set(line);
        }
        written
    }
}

/// The longest line whose memory is used again.
const KEPT: usize = 4 << 10;

thread_local! {
    static LINE: Cell<String> = const { Cell::new(String::new()) };
    static TIME: RefCell<Time> = RefCell::default();
}

fn write(line: &mut String, event: &Event<'_>) -> fmt::Result {
    let about = event.metadata();
    line.push_str("{\"timestamp\":\"");
    Time::write(line)?;
    line.push_str("\",\"level\":\"");
    line.push_str(about.level().as_str());
    line.push_str("\",\"fields\":{");
    event.record(&mut Fields {
        line,
        next: "\"",
        shown: String::new(),
    });
    line.push_str("},\"target\":");
    text(line, about.target());
    line.push_str("}\n");
    Ok(())
}

/// The time of a line, as `2006-01-02T15:04:05.000000Z`. All of a second's lines begin with the same.
#[derive(Default)]
struct Time {
    second: u64,
    /// Up to the second.
    text: String,
}

impl Time {
    fn write(line: &mut String) -> fmt::Result {
        TIME.with_borrow_mut(|time| {
            let mut now = since_1970();
            if time.second != now.as_secs() || time.text.is_empty() {
                now = time.read(now)?;
            }
            line.push_str(&time.text);
            line.push('.');
            // With a digit before them there are six of them.
            let micros = 1_000_000 + now.subsec_micros();
            line.push_str(&itoa::Buffer::new().format(micros)[1..]);
            line.push('Z');
            Ok(())
        })
    }

    /// Reads the clock as the library writes it, until it does so within one second, and says when that was.
    fn read(&mut self, mut now: Duration) -> Result<Duration, fmt::Error> {
        loop {
            self.text.clear();
            time::SystemTime.format_time(&mut Writer::new(&mut self.text))?;
            let then = std::mem::replace(&mut now, since_1970());
            if then.as_secs() == now.as_secs() {
                break;
            }
        }
        self.text.truncate(SECONDS);
        self.second = now.as_secs();
        Ok(now)
    }
}

/// `2006-01-02T15:04:05`.
const SECONDS: usize = 19;

fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

/// Writes a string of JSON. Most need no escapes.
fn text(line: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // All of them, so that the compiler has several looked at in a go.
    if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        line.push('"');
        line.push_str(text);
        line.push('"');
        return;
    }
    // A string can always be written.
    line.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// An event's fields, as they are written.
struct Fields<'a> {
    line: &'a mut String,
    /// What comes before the next one's name.
    next: &'static str,
    /// What a value looks like that is no text.
    shown: String,
}

impl Fields<'_> {
    /// Writes a field's name. An identifier is plain.
    fn name(&mut self, field: &Field) -> &mut String {
        self.line.push_str(self.next);
        self.line.push_str(field.name());
        self.line.push_str("\":");
        self.next = ",\"";
        self.line
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // What is no number is `null`, as everywhere in JSON.
        let value = serde_json::Value::from(value).to_string();
        self.name(field).push_str(&value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.name(field).push_str(digits.format(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let mut digits = itoa::Buffer::new();
        self.name(field).push_str(digits.format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field)
            .push_str(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        text(self.name(field), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut shown = std::mem::take(&mut self.shown);
        shown.clear();
        // Writing to a string does not fail, and what fails to show itself is shown as far as it got.
        let _ = write!(shown, "{value:?}");
        text(self.name(field), &shown);
        self.shown = shown;
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{fmt as layers, registry};

    use super::*;
    use crate::sync::lock;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        /// Each line without its time.
        fn read(&self) -> Vec<Value> {
            let text = String::from_utf8(lock(&self.0).clone()).unwrap();
            let lines = text.lines().map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                let time = line["timestamp"].take();
                assert!(
                    time.as_str()
                        .is_some_and(|it| it.ends_with('Z') && it.len() == 27)
                );
                line
            });
            lines.collect()
        }
    }

    #[test]
    fn lines_are_those_of_the_library() {
        let (ours, theirs) = (Lines::default(), Lines::default());
        let subscriber = registry()
            .with(layers::layer().event_format(Json).with_writer(ours.clone()))
            .with(layers::layer().json().with_writer(theirs.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("plain");
            tracing::warn!(target: "forebay::other", a = 1_u64, b = -2, c = 0.5, d = true, "typed");
            let (none, some) = (None::<&str>, Some("\"quoted\"\\ \u{1}\u{1b}[31m\n\u{e4}"));
            tracing::error!(none, some, shown = %"a\tb", meant = ?"c\"", "escaped {}", "\u{7}");
            tracing::debug!(error = &io::Error::other("no \"luck\"") as &dyn std::error::Error);
        });
        assert_eq!(ours.read().len(), 4);
        assert_eq!(ours.read(), theirs.read());
    }
}
