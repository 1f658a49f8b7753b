//! Lines of JSON, one an event, as collectors of logs read them: `timestamp`, `level`, `fields` with the `message` among
//! them, and `target`.
//!
//! As `tracing_subscriber` writes them, but for spans, of which there are none here. There is a line for each request, so
//! that each part of it is written once, to where it stays.

use std::fmt::{self, Debug, Write as _};
use std::io;

use serde::Serializer as _;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
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
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(about.level().as_str())?;
        line.write_str("\",\"fields\":{")?;
        let mut fields = Fields {
            line: &mut line,
            next: "",
            written: Ok(()),
        };
        event.record(&mut fields);
        fields.written?;
        line.write_str("},\"target\":")?;
        json(&mut line, |to| to.serialize_str(about.target()))?;
        line.write_str("}\n")
    }
}

type Target<'a, 'line> = &'a mut serde_json::Serializer<Text<'a, 'line>>;

/// Writes one value.
fn json(
    line: &mut Writer<'_>,
    write: impl FnOnce(Target<'_, '_>) -> serde_json::Result<()>,
) -> fmt::Result {
    let mut to = serde_json::Serializer::new(Text(line));
    write(&mut to).map_err(|_| fmt::Error)
}

/// A line, for a serializer that writes bytes. What it writes at a time is text.
struct Text<'a, 'line>(&'a mut Writer<'line>);

impl io::Write for Text<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event's fields, as they are written.
struct Fields<'a, 'line> {
    line: &'a mut Writer<'line>,
    /// What comes before the next one.
    next: &'static str,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    fn put(&mut self, field: &Field, write: impl FnOnce(Target<'_, '_>) -> serde_json::Result<()>) {
        let Self {
            line,
            next,
            written,
        } = self;
        *written = written
            .and_then(|()| line.write_str(next))
            .and_then(|()| json(line, |to| to.serialize_str(field.name())))
            .and_then(|()| line.write_char(':'))
            .and_then(|()| json(line, write));
        *next = ",";
    }
}

impl Visit for Fields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, |to| to.serialize_f64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |to| to.serialize_i64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |to| to.serialize_u64(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |to| to.serialize_bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |to| to.serialize_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, |to| to.collect_str(&format_args!("{value:?}")));
    }
}

#[cfg(test)]
mod tests {
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
