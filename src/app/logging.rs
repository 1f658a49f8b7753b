//! Log lines on stderr: text for people, JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Sets up logging for the process. A second call changes nothing.
pub(super) fn init(log: Log) {
    let builder = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(EnvFilter::new(directives(log.level)));
    let text = match log.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    // It can only fail where there is a subscriber already, as in a test.
    let _ = if text {
        builder.with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder.json().with_ansi(false).try_init()
    };
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
