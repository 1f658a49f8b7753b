//! containerd: a `hosts.toml` for each registry, and `config_path`, which makes its CRI plugin read them.

mod directories;

use toml::{Table, Value};

use super::block;
use super::edit::{Edit, Known, Refusal, is_blank, parse_toml};
use super::hosts::Hosts;
use super::{Existing, File, Plan, Request, Scope};

/// containerd's own configuration.
pub(super) const CONFIG: &str = "/etc/containerd/config.toml";
/// Where its hosts files are, unless that says otherwise.
pub(super) const HOSTS: &str = "/etc/containerd/certs.d";

/// The plugin that has the setting, in versions 1 and 2 of containerd's configuration, and in later ones.
const PLUGIN_V2: &str = "io.containerd.grpc.v1.cri";
const PLUGIN_V3: &str = "io.containerd.cri.v1.images";

/// Ends a line that we put into a table of somebody else's; what the line was may follow.
const MARK: &str = " # forebay client";
const WAS: &str = ", was: ";

pub(super) use directories::{host_of, is_certificate};

pub(super) fn plan(request: &Request, existing: &Existing) -> Plan {
    let directory = existing.hosts_roots.first().map_or(HOSTS, String::as_str);
    let mut plan = hosts_files(request, directory, existing);
    plan.files.push(File {
        opens: Some(HOSTS),
        ..File::new(CONFIG, ConfigPath)
    });
    plan.reload = vec![
        "systemctl restart containerd    # for config.toml only; hosts.toml is read at each pull"
            .into(),
    ];
    plan.notes.push(
        "containers go on running while containerd restarts; where config.toml has its config_path already, no restart is \
         needed"
            .into(),
    );
    plan
}

/// nerdctl reads the same files, by itself.
pub(super) fn nerdctl(request: &Request, existing: &Existing) -> Plan {
    let mut plan = hosts_files(request, HOSTS, existing);
    plan.notes
        .push("a rootless nerdctl reads ~/.config/containerd/certs.d instead".into());
    plan
}

/// A file for each registry below `directory`, and what to know of them.
pub(super) fn hosts_files(request: &Request, directory: &str, existing: &Existing) -> Plan {
    let url = request.mirror.url();
    let file = |scope: &Scope| {
        let name = directories::name(scope, directory, existing);
        let server = if request.fallback {
            scope.server()
        } else {
            Some(url.clone())
        };
        // Certificates are the registry's, which is not asked without fallback.
        let trust = if request.fallback {
            directories::trust(scope, existing)
        } else {
            String::new()
        };
        let hosts = Hosts {
            mirror: url.clone(),
            ca: request.ca_path(),
            server,
            trust,
            only: !request.fallback,
        };
        File::in_own_directory(format!("{directory}/{name}/hosts.toml"), hosts)
    };
    let mut notes = Vec::new();
    notes.extend(request.ca_hint());
    if !request.mirror.is_plain() {
        notes.push(format!(
            "where the mirror wants a login: add to each hosts.toml, at its end, a table [host.\"{url}\".header] with \
             authorization = \"Bearer TOKEN\", or \"Basic ...\"; for a certificate put client = [[\"CERTIFICATE\", \"KEY\"]] \
             under [host.\"{url}\"], and again after each --write"
        ));
    }
    if !request.fallback {
        notes.push("pushes go to `server` too, and the mirror refuses them".into());
    }
    Plan {
        files: request.scopes.iter().map(file).collect(),
        notes,
        ..Plan::default()
    }
}

/// Where containerd reads hosts files, in its order, where its configuration says so.
pub(super) fn hosts_roots(config: &str) -> Result<Vec<String>, Refusal> {
    let table = parse_toml(config)?;
    let mut plugins = [PLUGIN_V3, PLUGIN_V2].into_iter();
    let path = plugins.find_map(|plugin| config_path(&table, plugin));
    // A list, divided as PATH is.
    let parts = path.into_iter().flat_map(|path| path.split(':'));
    let parts = parts.map(|part| part.trim_end_matches('/'));
    Ok(parts
        .filter(|part| !part.is_empty())
        .map(Into::into)
        .collect())
}

fn registry<'a>(config: &'a Table, plugin: &str) -> Option<&'a Table> {
    config
        .get("plugins")?
        .get(plugin)?
        .get("registry")?
        .as_table()
}

/// The setting, where it says something.
fn config_path<'a>(config: &'a Table, plugin: &str) -> Option<&'a str> {
    let path = registry(config, plugin)?.get("config_path")?.as_str()?;
    (!path.is_empty()).then_some(path)
}

/// `config_path` of `config.toml`.
#[derive(Debug)]
struct ConfigPath;

impl ConfigPath {
    fn block(plugin: &str) -> String {
        block::wrap(&format!(
            "[plugins.\"{plugin}\".registry]\n  {}\n",
            setting(MARK_NOTHING)
        ))
    }

    /// `config.toml` with our part, in each way that could be right.
    fn candidates(existing: &str, plugin: &str) -> Vec<String> {
        let mut candidates = Vec::new();
        let mut before = String::new();
        for line in existing.split_inclusive('\n') {
            let after = &existing[before.len() + line.len()..];
            let text = line.trim();
            let indent = &line[..line.len() - line.trim_start().len()];
            if is_empty_setting(text) {
                let ours = setting(&format!("{MARK}{WAS}{text}"));
                candidates.push(format!("{before}{indent}{ours}\n{after}"));
            }
            if text.starts_with('[') && text.contains("registry") {
                let gap = if line.ends_with('\n') { "" } else { "\n" };
                let ours = setting(MARK);
                candidates.push(format!("{before}{line}{gap}{indent}  {ours}\n{after}"));
            }
            before.push_str(line);
        }
        let gap = if existing.ends_with('\n') { "" } else { "\n" };
        candidates.push(format!("{existing}{gap}{}", Self::block(plugin)));
        candidates
    }
}

/// The end of a line that stands in our own block.
const MARK_NOTHING: &str = "";

/// What containerd reads by itself from 2.2 on: less would take away what it trusts already.
const ROOTS: &str = "/etc/containerd/certs.d:/etc/docker/certs.d";

fn setting(end: &str) -> String {
    format!("config_path = \"{ROOTS}\"{end}")
}

/// Whether a line sets `config_path` to nothing, as containerd's own default file does.
fn is_empty_setting(line: &str) -> bool {
    let value = line.strip_prefix("config_path").map(str::trim_start);
    let value = value.and_then(|rest| rest.strip_prefix('='));
    value.is_some_and(|value| {
        ["\"\"", "''"]
            .iter()
            .any(|empty| value.trim_start().starts_with(empty))
    })
}

/// Whether the configuration turns off the plugin that would read the setting.
fn is_off(config: &Table) -> bool {
    let disabled = config.get("disabled_plugins").and_then(Value::as_array);
    let names = disabled.into_iter().flatten().filter_map(Value::as_str);
    names
        .into_iter()
        .any(|name| ["cri", PLUGIN_V2, PLUGIN_V3].contains(&name))
}

/// What means something else in the configuration's first version.
const VERSIONED: [&str; 3] = ["plugins", "disabled_plugins", "required_plugins"];

fn depends_on_version(config: &Table) -> bool {
    VERSIONED.iter().any(|key| config.contains_key(*key))
}

/// What containerd refuses to have beside `config_path`.
fn check_conflicts(registry: Option<&Table>) -> Result<(), Refusal> {
    let table = |key| {
        registry
            .and_then(|registry| registry.get(key))
            .and_then(Value::as_table)
    };
    let mirrors = table("mirrors").is_some_and(|mirrors| !mirrors.is_empty());
    let tls = table("configs")
        .is_some_and(|configs| configs.values().any(|host| host.get("tls").is_some()));
    if !mirrors && !tls {
        return Ok(());
    }
    let refusal = Refusal::new(
        "sets `registry.mirrors` or `registry.configs.*.tls`, beside which containerd allows no `config_path`",
        format!("turn them into hosts.toml files below {HOSTS}, and put this in their place"),
    );
    Err(refusal.add(setting(MARK_NOTHING)))
}

/// The configuration as it has to be.
fn expected(mut config: Table, plugin: &str) -> Option<Table> {
    fn below<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Table> {
        let entry = table
            .entry(key)
            .or_insert_with(|| Value::Table(Table::new()));
        entry.as_table_mut()
    }
    let registry = below(below(below(&mut config, "plugins")?, plugin)?, "registry")?;
    registry.insert("config_path".into(), ROOTS.into());
    Some(config)
}

impl Edit for ConfigPath {
    fn fresh(&self) -> String {
        format!("version = 2{MARK}\n{}", Self::block(PLUGIN_V2))
    }

    fn merge(&self, existing: &str) -> Result<String, Refusal> {
        block::split(existing)?;
        let config = parse_toml(existing)?;
        if config.is_empty() {
            return Ok(existing.to_owned() + &self.fresh());
        }
        let version = config.get("version").and_then(Value::as_integer);
        let plugin = if version.unwrap_or(1) >= 3 {
            PLUGIN_V3
        } else {
            PLUGIN_V2
        };
        if is_off(&config) || config_path(&config, plugin).is_some() {
            return Ok(existing.into());
        }
        check_conflicts(registry(&config, plugin))?;
        if version.unwrap_or(1) < 2 && depends_on_version(&config) {
            let advice =
                "turn it into version 2 (`containerd config migrate` prints it), and try again";
            return Err(Refusal::new(
                "is in version 1 of containerd's configuration",
                advice,
            ));
        }
        let base = match version {
            None => format!("version = 2{MARK}\n{existing}"),
            Some(_) => existing.to_owned(),
        };
        let expected = parse_toml(&base)
            .ok()
            .and_then(|config| expected(config, plugin));
        let mut candidates = Self::candidates(&base, plugin).into_iter();
        let found =
            candidates.find(|text| text.parse::<Table>().ok() == expected && expected.is_some());
        found.ok_or_else(|| {
            let refusal = Refusal::new(
                "is written in a way that forebay does not change",
                format!("add this to [plugins.\"{plugin}\".registry] yourself"),
            );
            refusal.add(setting(MARK_NOTHING))
        })
    }

    fn remove(&self, current: &str, _: Known<'_>) -> Result<String, Refusal> {
        let rest = block::split(current)?.rest();
        let keep = |keep_version: bool| -> String {
            let lines = rest.split_inclusive('\n');
            lines.map(|line| without_mark(line, keep_version)).collect()
        };
        let bare = keep(false);
        if is_blank(&bare) {
            return Ok(String::new());
        }
        // What a user has added since says what it says in the version that we wrote above it.
        let versioned = bare
            .parse::<Table>()
            .is_ok_and(|config| depends_on_version(&config));
        Ok(keep(versioned))
    }
}

/// A line as it was before us.
fn without_mark(line: &str, keep_version: bool) -> String {
    let Some((ours, end)) = line.split_once(MARK) else {
        return line.into();
    };
    if let Some(was) = end.strip_prefix(WAS) {
        let indent = &ours[..ours.len() - ours.trim_start().len()];
        return format!("{indent}{was}");
    }
    if keep_version && ours.starts_with("version") {
        return format!("{ours}{end}");
    }
    String::new()
}
