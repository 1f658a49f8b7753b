//! forebay before an origin that stands for Docker Hub, with its defaults but for what nginx is told as well: how long a tag
//! counts. Its admin listener is off, and no quota is looked for, which this origin has not. Who configures it otherwise says
//! both, or has the defaults.

use toml::{Table, Value};

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
    let (tags, quota) = match &setting.forebay {
        // Tags are trusted as long as nginx trusts them.
        None => {
            let seconds = setting.tags_fresh_for.as_secs();
            let tags = format!("[tags]\nfresh_for = \"{seconds}s\"\n");
            (tags, "read_quota = false\n")
        }
        Some(_) => (String::new(), ""),
    };
    let own = format!(
        r#"[server]
listen = ["{address}"]
{tls}
[admin]
listen = "off"
[cache]
dir = {cache:?}
max_size = "100GiB"
{tags}[log]
level = "{level}"
[upstreams."docker.io"]
endpoints = ["{endpoint}"]
{trust}allow_private = true
{quota}"#
    );
    match &setting.forebay {
        None => own,
        Some(theirs) => merged(&own, theirs).unwrap_or_else(|error| format!("# {error}\n{theirs}")),
    }
}

/// Both, table by table; where both say something, `theirs` counts.
fn merged(own: &str, theirs: &str) -> Result<String, toml::de::Error> {
    let (mut all, theirs): (Table, Table) = (own.parse()?, theirs.parse()?);
    lay_over(&mut all, theirs);
    Ok(all.to_string())
}

fn lay_over(all: &mut Table, theirs: Table) {
    for (key, value) in theirs {
        match (all.get_mut(&key), value) {
            (Some(Value::Table(known)), Value::Table(more)) => lay_over(known, more),
            (_, value) => drop(all.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_otherwise_counts_and_the_rest_stays() {
        let merged = merged(
            "[server]\nlisten = [\"a\"]\n[log]\nlevel = \"warn\"\n",
            "[server]\ndrain = \"10s\"\n[log]\nlevel = \"info\"\n[tags]\nfresh_for = \"1s\"\n",
        );
        let merged: Table = merged.unwrap().parse().unwrap();
        let wanted = "[server]\nlisten = [\"a\"]\ndrain = \"10s\"\n[log]\nlevel = \"info\"\n\
                      [tags]\nfresh_for = \"1s\"\n";
        assert_eq!(merged, wanted.parse().unwrap());
    }
}
