//! forebay with its defaults, before an origin that stands for Docker Hub.

use super::{Place, Setting};

pub(super) fn config(setting: &Setting, place: &Place) -> String {
    let Setting { origin, .. } = setting;
    let (address, cache) = (place.address, place.cache().display().to_string());
    let level = if setting.logged { "info" } else { "warn" };
    let tls = match &setting.tls {
        None => String::new(),
        Some([certificate, key]) => format!(
            "[server.tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
            certificate.display(),
            key.display()
        ),
    };
    // Tags are trusted as long as nginx trusts them.
    format!(
        r#"[server]
listen = ["{address}"]
{tls}
[admin]
listen = "off"
[cache]
dir = {cache:?}
max_size = "100GiB"
[tags]
fresh_for = "1h"
[log]
level = "{level}"
[upstreams."docker.io"]
endpoints = ["http://{origin}"]
allow_private = true
read_quota = false
"#
    )
}
