//! The answers to a pull, said in short in a transcript and written out here, to the letter.
//!
//! `<< pong`, `<< 200 manifest index; fwd=miss`, `<< 200 blob layer; hit`, `<< 206 blob layer 0-499; hit`: which head,
//! of which content, which part of it, and what `Cache-Status` says. `<< 404 absent 181` is a manifest that its upstream
//! does not have, told in 181 bytes. A GET gets that content as its body, a HEAD gets
//! none; who asks to have the connection closed is told that it will be.

const PONG: &str = "
    < HTTP/1.1 200 OK
    < content-type: application/json
    < docker-distribution-api-version: registry/2.0
    < content-length: 2
    < date: {date}
    = {}
";

const MANIFEST: &str = r#"
    < HTTP/1.1 200 OK
    < content-type: {NAME.type}
    < cache-status: forebay; CACHE
    < oci-namespace: {namespace}
    < docker-content-digest: {NAME}
    < etag: "{NAME}"
    < docker-distribution-api-version: registry/2.0
    < content-length: {NAME.size}
    < date: {date}
    = NAME
"#;

const BLOB: &str = r#"
    < HTTP/1.1 200 OK
    < content-type: application/octet-stream
    < cache-status: forebay; CACHE
    < oci-namespace: {namespace}
    < docker-content-digest: {NAME}
    < etag: "{NAME}"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < docker-distribution-api-version: registry/2.0
    < content-length: {NAME.size}
    < date: {date}
    = NAME
"#;

const PART: &str = r#"
    < HTTP/1.1 206 Partial Content
    < content-type: application/octet-stream
    < cache-status: forebay; CACHE
    < oci-namespace: {namespace}
    < docker-content-digest: {NAME}
    < etag: "{NAME}"
    < accept-ranges: bytes
    < x-content-type-options: nosniff
    < content-range: bytes RANGE/{NAME.size}
    < docker-distribution-api-version: registry/2.0
    < content-length: LENGTH
    < date: {date}
    = NAME RANGE
"#;

const ABSENT: &str = "
    < HTTP/1.1 404 Not Found
    < content-type: application/json
    < oci-namespace: {namespace}
    < docker-distribution-api-version: registry/2.0
    < content-length: LENGTH
    < date: {date}
    = @MANIFEST_UNKNOWN
";

/// A transcript with every answer written out.
pub(super) fn written_out(transcript: &str) -> String {
    let mut out = Vec::new();
    let mut request = Vec::new();
    let mut asking = false;
    for line in transcript.lines().map(str::trim) {
        if line.starts_with('>') && !asking {
            request.clear();
        }
        asking = line.starts_with('>');
        if asking {
            request.push(line);
        }
        match line.strip_prefix("<< ") {
            Some(short) => out.extend(answer(short, &request)),
            None => out.push(line.to_owned()),
        }
    }
    out.join("\n")
}

fn answer(short: &str, request: &[&str]) -> Vec<String> {
    let (what, cache) = short.split_once("; ").unwrap_or((short, ""));
    let words: Vec<_> = what.split(' ').collect();
    let (template, name, part, length) = match words[..] {
        ["pong"] => (PONG, "", "", String::new()),
        ["200", "manifest", name] => (MANIFEST, name, "", String::new()),
        ["200", "blob", name] => (BLOB, name, "", String::new()),
        ["206", "blob", name, part] => (PART, name, part, length(part).to_string()),
        ["404", "absent", length] => (ABSENT, "", "", length.to_owned()),
        _ => panic!("no answer is called `{short}`"),
    };
    let text = template
        .replace("NAME", name)
        .replace("CACHE", cache)
        .replace("RANGE", part)
        .replace("LENGTH", &length);
    let has_body = !request[0].starts_with("> HEAD ");
    let closes = request.contains(&"> Connection: close");
    let mut lines = Vec::new();
    for line in text.trim().lines().map(str::trim) {
        if closes && line.starts_with("< date: ") {
            lines.push("< connection: close".to_owned());
        }
        if has_body || !line.starts_with('=') {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// How many bytes `first-last` are.
fn length(part: &str) -> u64 {
    let (first, last) = part.split_once('-').expect("a part is `first-last`");
    let number = |text: &str| text.parse::<u64>().expect("a part is in numbers");
    number(last) + 1 - number(first)
}
