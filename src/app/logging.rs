//! Log lines on stderr: text for people, JSON for machines. Those of requests wait for one another (`lines`).

mod json;
mod lines;

use std::io::{self, IsTerminal, Stderr};
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;

use crate::config::{Log, LogFormat, LogLevel};
use json::Json;
use lines::Lines;

/// The process's lines, once there are any.
static LINES: OnceLock<Lines<Stderr>> = OnceLock::new();

/// Changes what is logged while the process runs.
pub(super) struct Levels(Box<dyn Fn(EnvFilter) + Send + Sync>);

impl Levels {
    pub(super) fn set(&self, level: LogLevel) {
        self.0(EnvFilter::new(directives(level)));
    }

    fn of<S: 'static>(handle: reload::Handle<EnvFilter, S>) -> Self {
        Self(Box::new(move |filter| {
            // It can only fail where there is no subscriber any more.
            let _ = handle.reload(filter);
        }))
    }
}

/// Writes what waits to be written. To be called before the process ends.
pub(super) fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush();
    }
}

/// Where lines go: one by one where someone reads along.
fn lines(wait: Duration) -> Lines<Stderr> {
    let is_read = io::stderr().is_terminal();
    let wait = if is_read { Duration::ZERO } else { wait };
    LINES.get_or_init(|| Lines::to(io::stderr(), wait)).clone()
}

/// Sets up logging for the process. A second call changes nothing.
pub(super) fn init(log: Log) -> Levels {
    let builder = tracing_subscriber::fmt().with_writer(lines(log.wait));
    let filter = EnvFilter::new(directives(log.level));
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    // To set it up can only fail where there is a subscriber already, as in a test.
    if text {
        let builder = builder.with_ansi(io::stderr().is_terminal());
        let builder = builder.with_env_filter(filter).with_filter_reloading();
        let levels = Levels::of(builder.reload_handle());
        let _ = builder.try_init();
        levels
    } else {
        let builder = builder.with_ansi(false).event_format(Json);
        let builder = builder.with_env_filter(filter).with_filter_reloading();
        let levels = Levels::of(builder.reload_handle());
        let _ = builder.try_init();
        levels
    }
}

/// Ours at the level asked for; of the libraries, what an operator may need to know.
fn directives(level: LogLevel) -> String {
    let (ours, theirs) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "info"),
        LogLevel::Trace => ("trace", "debug"),
    };
    let silent = SILENT.map(|target| format!("{target}=off")).join(",");
    format!("{theirs},forebay={ours},{silent}")
}

/// Libraries that print whole answers of the services that give out logins. What they complain of comes as an error too.
const SILENT: [&str; 7] = [
    "aws_config",
    "aws_credential_types",
    "aws_runtime",
    "aws_sdk_sts",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
];
