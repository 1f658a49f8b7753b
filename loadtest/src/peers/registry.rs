//! The reference registry as a pull-through cache, with its descriptors in memory. It asks its origin for each tag each time,
//! and serves what it has where that fails: there is nothing to set of it.

use super::{ORIGIN, Place, Setting};

pub(super) fn config(setting: &Setting, place: &Place) -> String {
    let (address, cache) = (place.address, place.cache().display().to_string());
    let level = if setting.logged { "info" } else { "error" };
    let silent = !setting.logged;
    let tls = match &setting.tls {
        None => String::new(),
        Some([certificate, key]) => format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            certificate.display(),
            key.display()
        ),
    };
    let origin = match &setting.origin_ca {
        None => format!("http://{}", setting.origin),
        Some(_) => format!("https://{ORIGIN}:{}", setting.origin.port()),
    };
    format!(
        "version: 0.1
log:
  level: {level}
  accesslog: {{disabled: {silent}}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {cache}}}
http:
  addr: {address}
  secret: none
{tls}proxy:
  remoteurl: {origin}
"
    )
}
