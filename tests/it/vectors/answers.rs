//! What an upstream sends to do harm: bytes that end a line, a text or a colour, in every header that the mirror reads and in
//! what it says itself. None of it reaches a client's head, nor comes raw in a body or the log, in either of its formats.

use std::fmt::Write as _;

use forebay_loadtest::origin::{Builder, Fault, ImageSpec, Kind, Origin, Reply};
use futures_util::future::join_all;
use serde_json::json;

use super::unharmed;
use crate::harness::{Forebay, Setup, Wire, plain_origin};

/// What follows a header's beginning, and whether there is a message at all then. Where there is none, the client is told
/// that the upstream is in trouble.
const INJECTED: &[(&[u8], bool)] = &[
    // Another header, which nobody asked for.
    (b"\r\nX-Injected: 1", true),
    (b"\nX-Injected: 1", true),
    // No header's bytes.
    (b"\rX-Injected: 1", false),
    (b"\0X-Injected: 1", false),
    (b"\x1b[31mX-Injected: 1", false),
    (b"\x07", false),
    (b"\x7f", false),
    // A line that goes on in the next one.
    (b"\r\n X-Injected: 1", false),
    // A header's bytes, and no text.
    (b"\xff\xfe\x80", true),
    ("\u{85}\u{9b}31m\u{202e}".as_bytes(), true),
];

/// Headers that the mirror reads, and the beginning of each.
const HEADERS: &[(&str, &str)] = &[
    ("docker-content-digest", "sha256:beef"),
    ("content-type", "application/vnd.oci.image.manifest.v1+json"),
    ("location", "http://127.0.0.1:1/x"),
    ("link", "</v2/x/tags/list?last=v1&n=1>; rel=\"next\""),
    ("etag", "\"x\""),
    ("ratelimit-limit", "100;w=21600"),
    ("docker-ratelimit-source", "192.0.2.1"),
    ("oci-filters-applied", "artifactType"),
    ("www-authenticate", "Bearer realm=\"http://127.0.0.1:1/\""),
];

/// One upstream's ways: a table of its own, and a repository `row/<number>`.
struct Row {
    what: String,
    faults: Vec<Fault>,
    /// The status of a manifest by its tag, where it has to be this one: 0 for any that tells of an upstream in trouble.
    manifest: Option<u16>,
}

fn row(what: impl Into<String>, faults: Vec<Fault>, manifest: impl Into<Option<u16>>) -> Row {
    Row {
        what: what.into(),
        faults,
        manifest: manifest.into(),
    }
}

fn headers() -> impl Iterator<Item = Row> {
    HEADERS.iter().flat_map(|&(name, begins)| {
        INJECTED.iter().map(move |&(injected, is_message)| {
            let value = [begins.as_bytes(), injected].concat();
            let what = format!("{name}: {}", value.escape_ascii());
            let raw = Fault::Raw(name, value);
            let redirect = (name == "location").then(|| Fault::status(307));
            let asked = (name == "www-authenticate").then(|| Fault::status(401));
            let leads_on = redirect.is_some() || asked.is_some();
            let faults = redirect.into_iter().chain(asked).chain([raw]).collect();
            let manifest = match (is_message, leads_on) {
                (false, _) => Some(0),
                (true, true) => None,
                (true, false) => Some(200),
            };
            row(what, faults, manifest)
        })
    })
}

/// What an upstream says in words.
fn words() -> Vec<Row> {
    let word = "a\r\nX-Injected: 1\n\u{1b}[31m\0\u{7f}\u{85}\u{9b}2J\u{202e}b";
    let mut rows: Vec<_> = [
        (401, 0),
        (403, 403),
        (404, 404),
        (429, 429),
        (418, 0),
        (500, 0),
    ]
    .into_iter()
    .flat_map(|(status, manifest)| {
        let answer = |reply: Reply| vec![Fault::Answer(reply)];
        let error = Reply::error(status, word, word);
        let after = Reply::error(status, "DENIED", word);
        let after = [
            Fault::Answer(after),
            Fault::Raw("retry-after", b"9\xff\r\nX-Injected: 1".to_vec()),
        ];
        let raw = format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":\"{word}\"}}]}}");
        let bytes = b"{\"errors\":[{\"code\":\"DENIED\",\"message\":\"\xff\x1b\x80\"}]}";
        [
            row(format!("{status} of words"), answer(error), manifest),
            row(format!("{status} and when"), after.into(), manifest),
            row(
                format!("{status} of raw words"),
                answer(Reply::status(status).body(raw)),
                manifest,
            ),
            row(
                format!("{status} of bytes"),
                answer(Reply::status(status).body(bytes.as_slice())),
                manifest,
            ),
        ]
    })
    .collect();
    let tags = json!({"name": word, "tags": ["v1", word, "v2\r\n", "\u{1b}[31m", "v\u{fc}", "../x", "v3"]});
    rows.push(row(
        "tags",
        vec![Fault::Answer(Reply::status(200).json(&tags))],
        None,
    ));
    let link = "</v2/x/tags/list?last=%0d%0aX-Injected:%201%1b[31m%00%ff&n=1>; rel=\"next\"";
    let endless = Reply::status(200).json(&json!({"name": "x", "tags": ["v1"]}));
    rows.push(row(
        "tags without an end",
        vec![Fault::Answer(endless.header("link", link))],
        None,
    ));
    let manifest = |body: serde_json::Value| {
        let reply = Reply::status(200).json(&body);
        vec![Fault::Answer(reply)]
    };
    rows.push(row(
        "a manifest's type",
        manifest(json!({"schemaVersion": 2, "mediaType": word, "config": {}})),
        502,
    ));
    rows.push(row(
        "a descriptor's digest",
        manifest(json!({"schemaVersion": 2, "manifests": [{"mediaType": word, "digest": word, "size": 1}]})),
        502,
    ));
    rows
}

fn with_row(builder: Builder, number: usize) -> Builder {
    let spec = ImageSpec {
        layers: 1,
        layer_size: 1000,
        seed: Some(number as u64),
        ..ImageSpec::default()
    };
    builder.repository(&format!("row/{number}"), |row| row.image("v1", &spec))
}

/// Asks a row's upstream all that there is to ask, and tells what is wrong with the answers.
async fn played(forebay: &Forebay, origin: &Origin, number: usize, row: &Row) -> String {
    let name = format!("row{number}.example/row/{number}");
    let image = origin.image(&format!("row/{number}"), "v1");
    let (manifest, layer) = (&image.manifests[0], &image.manifests[0].layers[0].digest);
    let digest = &manifest.descriptor.digest;
    let mut wrong = String::new();
    for path in [
        format!("/v2/{name}/manifests/v1"),
        format!("/v2/{name}/manifests/{digest}"),
        format!("/v2/{name}/blobs/{layer}"),
        format!("/v2/{name}/tags/list"),
        format!("/v2/{name}/tags/list?n=1"),
        format!("/v2/{name}/referrers/{digest}"),
    ] {
        for method in ["GET", "HEAD"] {
            let mut wire = Wire::open(forebay).await;
            let close = "Connection: close";
            wire.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: mirror\r\n{close}\r\n\r\n"
            ))
            .await;
            let head = wire.head().await;
            let (body, _) = wire.rest().await;
            // Content goes out as it came.
            let is_content = head.status() == "200" && !path.contains("/tags/");
            let lines = head.lines.join("\n");
            let is_plain = lines
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~' | b'\n'));
            let body = if is_content { &b""[..] } else { &body };
            let told = unharmed(&lines, body);
            if !is_plain || told.is_err() {
                let _ = writeln!(wrong, "{}: {path}: {lines:?} {told:?}", row.what);
            }
            let is_as_told = match row.manifest {
                Some(0) => head.status().starts_with('5') || head.status() == "403",
                Some(status) => head.status() == status.to_string(),
                None => true,
            };
            if path.ends_with("manifests/v1") && !is_as_told {
                let body = String::from_utf8_lossy(body);
                let _ = writeln!(wrong, "{}: {method} {path}: {lines} {body}", row.what);
            }
        }
    }
    wrong
}

/// Plays all rows, and gives the log once it is whole.
async fn play(format: &'static str) -> String {
    let rows: Vec<_> = headers().chain(words()).collect();
    let builder = (0..rows.len()).fold(plain_origin(), with_row);
    let origin = builder.start().await.unwrap();
    let mut setup = Setup::new(&origin)
        .env("FOREBAY_LOG__FORMAT", format)
        .env("FOREBAY_LOG__LEVEL", "debug");
    for (number, row) in rows.iter().enumerate() {
        let name = format!("row/{number}");
        for (kind, fault) in Kind::OF_REPOSITORIES
            .iter()
            .flat_map(|kind| row.faults.iter().map(|fault| (*kind, fault)))
        {
            origin.on(kind).repository(&name).always(fault.clone());
        }
        let registry = format!("row{number}.example");
        setup = setup.also(&registry, &origin, "read_quota = false");
    }
    let forebay = setup.start().await;
    let played = rows
        .iter()
        .enumerate()
        .map(|(number, row)| played(&forebay, &origin, number, row));
    let wrong = join_all(played).await.concat();
    assert!(wrong.is_empty(), "{wrong}");
    forebay.client().get("/the/last/one").await;
    let is_whole = |log: &String| log.contains("/the/last/one");
    forebay.until_logged("the last one", is_whole).await;
    forebay.log()
}

/// What a terminal obeys, or what turns a line around.
fn is_raw(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Every text in a line of the log.
fn texts(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => found.push(text.clone()),
        serde_json::Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        serde_json::Value::Object(fields) => {
            found.extend(fields.keys().cloned());
            fields.values().for_each(|value| texts(value, found));
        }
        _ => {}
    }
}

/// Not even a reader who prints the decoded text of a line obeys it.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_injects_reaches_neither_heads_nor_the_log_in_json() {
    let log = play("json").await;
    for line in log.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let mut found = Vec::new();
        texts(&event, &mut found);
        let raw = found.iter().find(|text| text.contains(is_raw));
        assert_eq!(raw, None, "{line}");
        assert!(line.len() < 4_000, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upstream_injects_reaches_neither_heads_nor_the_log_in_text() {
    let log = play("text").await;
    for line in log.lines() {
        assert!(!line.contains(is_raw), "{line:?}");
        // Each begins with its time: none is another's end.
        assert!(line.starts_with("20"), "{line:?}");
        assert!(line.len() < 4_000, "{line}");
    }
}
