//! forebay before an origin that stands for Docker Hub, with its defaults but for what nginx is told as well: how long a tag
//! counts. Its admin listener is off, and no quota is looked for, which this origin has not.

use super::{ORIGIN, Place, Setting};

pub(super) fn config(setting: &Setting, place: &Place) -> String {
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
    let (endpoint, trust) = match &setting.origin_ca {
        None => (format!("http://{}", setting.origin), String::new()),
        Some(ca) => (
            format!("https://{ORIGIN}:{}", setting.origin.port()),
            format!("ca_file = \"{}\"\n", ca.display()),
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
endpoints = ["{endpoint}"]
{trust}allow_private = true
read_quota = false
"#
    )
}
