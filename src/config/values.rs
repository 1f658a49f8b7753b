//! Reads single values. Each error says what was found and what to write instead, and never repeats
//! what could be a secret.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::tree::{Node, Source, Value};
use super::types::{ForwardedHeader, LogFormat, LogLevel, Quota};
use super::units;
use crate::oci::Registry;

/// Largest file that a value is read from.
const MAX_FILE: u64 = 1 << 20;

fn expected(what: &str, node: &Node) -> String {
    format!("expected {what}, found {}", node.kind())
}

/// A string that is not empty.
pub(super) fn text(node: &Node) -> Result<&str, String> {
    match &node.value {
        Value::Text(text) if text.is_empty() => Err("expected a string, found an empty one".into()),
        Value::Text(text) => Ok(text),
        Value::List(_) => Err(format!(
            "{}: write it without brackets",
            expected("a string", node)
        )),
        _ => Err(expected("a string", node)),
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Boolean(value) => Ok(*value),
        Value::Text(text) if node.origin.is_environment() => text
            .parse()
            .map_err(|_| format!("`{}` is neither true nor false", text.escape_debug())),
        _ => Err(expected("true or false", node)),
    }
}

/// A whole number within bounds.
pub(super) fn count(bounds: RangeInclusive<usize>) -> impl Fn(&Node) -> Result<usize, String> {
    move |node| {
        let what = || format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let value = match &node.value {
            Value::Integer(value) => usize::try_from(*value).ok(),
            Value::Text(text) if node.origin.is_environment() => text.parse().ok(),
            _ => return Err(expected(&what(), node)),
        };
        value
            .filter(|value| bounds.contains(value))
            .ok_or_else(|| format!("write {}", what()))
    }
}

/// A size in bytes.
pub(super) fn size(node: &Node) -> Result<u64, String> {
    match &node.value {
        Value::Text(text) => units::parse_size(text),
        Value::Integer(bytes) => {
            u64::try_from(*bytes).map_err(|_| "a size cannot be negative".into())
        }
        _ => Err(expected("a size such as \"20GiB\"", node)),
    }
}

/// A size of at least `least` bytes.
pub(super) fn size_from(least: u64) -> impl Fn(&Node) -> Result<u64, String> {
    move |node| match size(node)? {
        size if size >= least => Ok(size),
        _ => Err(format!(
            "this is too little: write at least \"{}\"",
            units::print_size(least)
        )),
    }
}

/// A duration, which may be none at all.
pub(super) fn duration(node: &Node) -> Result<Duration, String> {
    match &node.value {
        Value::Text(text) => units::parse_duration(text),
        Value::Integer(number) => Err(format!(
            "a duration needs a unit: write \"{number}s\" for seconds"
        )),
        _ => Err(expected("a duration such as \"90s\"", node)),
    }
}

/// A quota.
pub(super) fn quota(node: &Node) -> Result<Quota, String> {
    let text = text(node).map_err(|_| expected("a quota such as \"100/6h\"", node))?;
    let (pulls, window) = units::parse_quota(text)?;
    Ok(Quota { pulls, window })
}

/// A duration in which something has to happen.
pub(super) fn timeout(node: &Node) -> Result<Duration, String> {
    match duration(node)? {
        Duration::ZERO => {
            Err("this leaves no time at all: write a duration such as \"30s\"".into())
        }
        duration => Ok(duration),
    }
}

/// An address to listen on.
pub(super) fn address(node: &Node) -> Result<SocketAddr, String> {
    parse_address(text(node)?)
}

/// An address to listen on, from a file or a flag.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "`{}` is not an address: write an IP address and a port, such as \"127.0.0.1:5000\", or \
             \"0.0.0.0:5000\" for every interface",
            text.escape_debug()
        )
    })
}

/// An address to listen on, or `off`.
pub(super) fn address_or_off(node: &Node) -> Result<Option<SocketAddr>, String> {
    match text(node)? {
        "off" => Ok(None),
        _ => address(node)
            .map(Some)
            .map_err(|message| format!("{message}, or \"off\"")),
    }
}

/// A path. In a file it is relative to the file's own directory.
pub(super) fn path(node: &Node) -> Result<PathBuf, String> {
    let text = text(node)?;
    if text.starts_with('~') {
        return Err(format!(
            "`{}`: a home directory has to be written out in full",
            text.escape_debug()
        ));
    }
    match &node.origin.source {
        Source::File(file) => Ok(file.parent().unwrap_or(Path::new("")).join(text)),
        _ => Ok(text.into()),
    }
}

/// What the small text file of a key holds.
pub(super) fn file(path: &Path) -> Result<String, String> {
    read_text(path).map_err(|message| format!("{} {message}", path.display()))
}

/// What a small text file holds; the error goes after its name.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_up_to(MAX_FILE + 1, path);
    let bytes = bytes.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {}", units::print_size(MAX_FILE)));
    }
    String::from_utf8(bytes).map_err(|_| "is not a text file in UTF-8".into())
}

/// The beginning of a file: it may have no end, as a device.
fn read_up_to(most: u64, path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A registry.
pub(super) fn registry(node: &Node) -> Result<Registry, String> {
    text(node)?
        .parse()
        .map_err(|error: crate::oci::NameError| error.to_string())
}

/// A host with an optional port, lower case.
pub(super) fn host_and_port(node: &Node) -> Result<String, String> {
    registry(node)
        .map(|registry| registry.to_string())
        .map_err(|message| format!("{message}, without scheme and path"))
}

/// A host without a port, lower case.
pub(super) fn host(node: &Node) -> Result<String, String> {
    let registry =
        registry(node).map_err(|message| format!("{message}, without scheme and path"))?;
    match registry.port() {
        None => Ok(registry.to_string()),
        Some(_) => Err(format!(
            "the port of a host is ignored: write \"{}\"",
            registry.host()
        )),
    }
}

/// A dot-free name for an upstream, which can stand as the first component of a path.
pub(super) fn alias(node: &Node) -> Result<String, String> {
    const RESERVED: [&str; 3] = ["v2", "library", "localhost"];
    let text = text(node)?;
    let word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if RESERVED.contains(&text) {
        return Err(format!(
            "`{text}` already means something as the first part of a path: write another name"
        ));
    }
    if text.len() <= 63 && text.split('-').all(word) {
        return Ok(text.into());
    }
    Err(format!(
        "`{}` is not an alias: write lower-case letters, digits and single hyphens, such as \"my-registry\"",
        text.escape_debug()
    ))
}

/// The URL of a registry's API: scheme, host and port.
pub(super) fn endpoint(node: &Node) -> Result<Url, String> {
    let text = text(node)?;
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    // Not quoted before this is known: people write passwords into URLs.
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none();
    match url {
        Some(url) if !plain(&url) => Err("a URL holds no credentials here: write `username` and `password_file`".into()),
        Some(url) if url.path() == "/" && url.query().is_none() && url.fragment().is_none() => Ok(url),
        Some(url) => Err(format!("write scheme, host and port only: \"{}\"", url.origin().ascii_serialization())),
        None => Err("this is not a URL: write scheme, host and port, such as \"https://registry.example.com\"".into()),
    }
}

/// One of a few words.
pub(super) fn word<T: Copy>(words: &[(&str, T)], node: &Node) -> Result<T, String> {
    let text = text(node)?;
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let words: Vec<_> = words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect();
            format!(
                "`{}` is not known: write one of {}",
                text.escape_debug(),
                words.join(", ")
            )
        })
}

/// `log.level`, each with its one spelling.
pub(super) const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

/// `log.format`, each with its one spelling.
pub(super) const LOG_FORMATS: [(&str, LogFormat); 3] = [
    ("auto", LogFormat::Auto),
    ("text", LogFormat::Text),
    ("json", LogFormat::Json),
];

/// `server.forwarded_header`, each with its one spelling.
pub(super) const FORWARDED_HEADERS: [(&str, ForwardedHeader); 2] = [
    ("x-forwarded-for", ForwardedHeader::XForwardedFor),
    ("forwarded", ForwardedHeader::Forwarded),
];

pub(super) fn forwarded_header(node: &Node) -> Result<ForwardedHeader, String> {
    word(&FORWARDED_HEADERS, node)
}

pub(super) fn log_level(node: &Node) -> Result<LogLevel, String> {
    word(&LOG_LEVELS, node)
}

pub(super) fn log_format(node: &Node) -> Result<LogFormat, String> {
    word(&LOG_FORMATS, node)
}
