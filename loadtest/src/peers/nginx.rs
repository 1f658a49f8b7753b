//! nginx's `proxy_cache`, at the settings that were fastest of those that were tried. What it has is served while the origin
//! fails or refuses, and tags that move have a time of their own.

use rustix::process::geteuid;

use super::{LONG, ORIGIN, Place, Setting};

pub(super) fn config(setting: &Setting, place: &Place, sendfile: bool) -> String {
    let Setting { origin, .. } = setting;
    let (address, cache) = (place.address, place.cache().display().to_string());
    let dir = place.dir.display();
    // Started by root it would give its files to somebody who can't get at them here.
    let user = if geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let log = if setting.logged {
        format!("access_log {dir}/access.log combined buffer=64k flush=1s;")
    } else {
        "access_log off;".to_owned()
    };
    let buffers = if setting.tls.is_some() {
        "1 32k"
    } else {
        // More than with 32k, which is its default: what goes out at once fits into one segment. From the disk as well, and
        // more without `aio threads` than with it, though nobody else is served while it waits.
        "1 60k"
    };
    // `sendfile_max_chunk 60k` for the same reason: with 56, 63, 120 and 240 it was less.
    let sendfile = if sendfile { "on" } else { "off" };
    let (ssl, certificate) = tls(setting);
    let (scheme, trust) = way(setting);
    let tags = moving_tags(setting, scheme);
    format!(
        "daemon off;
{user}
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 16384; }}
http {{
    {log}
    sendfile {sendfile};
    sendfile_max_chunk 60k;
    output_buffers {buffers};
    keepalive_timeout 1h;
    keepalive_requests 100000000;
    open_file_cache max=10000 inactive=1h;
    open_file_cache_valid 1h;
    client_body_temp_path {dir}/body;
    fastcgi_temp_path {dir}/fastcgi;
    proxy_temp_path {dir}/proxy;
    scgi_temp_path {dir}/scgi;
    uwsgi_temp_path {dir}/uwsgi;
    proxy_cache_path {cache} levels=1:2 keys_zone=all:16m max_size=100g inactive=30d use_temp_path=off;
    upstream origin {{
        server {origin};
        keepalive 64;
    }}
    server {{
        listen {address}{ssl} backlog=4096;
        {certificate}
        {trust}
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_buffers 16 32k;
        proxy_cache all;
        proxy_cache_key $uri;
        proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires;
        proxy_cache_lock on;
        proxy_cache_lock_age 1h;
        proxy_cache_lock_timeout 1h;
        proxy_cache_use_stale error timeout updating http_429 http_500 http_502 http_503 http_504;
        location / {{
            proxy_pass {scheme}://origin;
            proxy_cache_valid 200 1h;
        }}
{tags}    }}
}}
"
    )
}

/// What makes a port one for TLS, and its certificate.
fn tls(setting: &Setting) -> (&'static str, String) {
    let Some([certificate, key]) = &setting.tls else {
        return ("", String::new());
    };
    let (certificate, key) = (certificate.display(), key.display());
    let files = format!("ssl_certificate {certificate};\n        ssl_certificate_key {key};");
    let told = format!("{files}\n        ssl_protocols TLSv1.2 TLSv1.3;");
    (" ssl", told)
}

/// How the origin is asked, and whose word counts for its certificate.
fn way(setting: &Setting) -> (&'static str, String) {
    let Some(ca) = &setting.origin_ca else {
        return ("http", String::new());
    };
    let trust = format!(
        "proxy_ssl_verify on;
        proxy_ssl_name {ORIGIN};
        proxy_ssl_server_name on;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        proxy_ssl_trusted_certificate {};",
        ca.display()
    );
    ("https", trust)
}

/// Tags with a time of their own. What is asked for by its digest is good for as long as it is there; a digest has a colon, and
/// a tag has none.
fn moving_tags(setting: &Setting, scheme: &str) -> String {
    if setting.tags_fresh_for == LONG {
        return String::new();
    }
    // It counts in whole seconds, and 0 would be never.
    let seconds = setting.tags_fresh_for.as_secs_f64().ceil().max(1.0);
    format!(
        "        location ~ ^/v2/.+/manifests/[^:/]+$ {{
            proxy_pass {scheme}://origin;
            proxy_cache_valid 200 {seconds}s;
        }}
"
    )
}
