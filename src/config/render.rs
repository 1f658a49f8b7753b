//! Prints a resolved configuration as TOML that reads back as the same, but for its secrets.

use std::fmt::Display;
use std::fmt::Write as _;
use std::time::Duration;

use super::access::Access;
use super::merge::join;
use super::passthrough::ACCESS;
use super::proxy::{DIRECT, Proxy};
use super::secret::Secret;
use super::tag_rules::TagRule;
use super::tags::TagPolicy;
use super::tls::CLIENT_CERTIFICATES;
use super::types::{Config, Credentials, Limits, Timeouts, Tls, Upstream};
use super::units::{print_duration, print_quota, print_size};
use super::values::{FORWARDED_HEADERS, LOG_FORMATS, LOG_LEVELS};

/// The whole configuration.
pub fn render(config: &Config) -> String {
    let mut out = Toml::default();
    out.text("default_registry", &config.default_registry);
    server(&mut out, config);
    cache(&mut out, config);
    fetch(&mut out, config);
    limits(&mut out, &config.limits);
    if let Some(each) = &config.access {
        access(&mut out, each);
    }
    out.table("log");
    out.text("level", word(&LOG_LEVELS, config.log.level));
    out.text("format", word(&LOG_FORMATS, config.log.format));
    out.duration("wait", config.log.wait);
    for each in &config.upstreams {
        upstream(&mut out, each, config);
    }
    // Without a word of them, those of the defaults would be on again.
    for registry in &config.disabled {
        out.table(&join("upstreams", &registry.to_string()));
        out.value("enabled", false);
    }
    out.0
}

fn server(out: &mut Toml, config: &Config) {
    let server = &config.server;
    out.table("server");
    out.list("listen", &server.listen);
    out.duration("header_timeout", server.header_timeout);
    out.duration("idle_timeout", server.idle_timeout);
    out.duration("write_idle_timeout", server.write_idle_timeout);
    out.duration("drain", server.drain);
    out.value("catalog", server.catalog);
    let proxies = &server.proxies;
    out.list("trusted_proxies", &proxies.trusted);
    out.value("proxy_protocol", proxies.proxy_protocol);
    out.value("proxies_pass_tls", proxies.pass_tls);
    out.text("forwarded_header", word(&FORWARDED_HEADERS, proxies.header));
    tls(out, "server.tls", server.tls.as_ref());
    out.table("admin");
    match config.admin.listen {
        Some(listen) => out.text("listen", listen),
        None => out.text("listen", "off"),
    }
    tls(out, "admin.tls", config.admin.tls.as_ref());
}

fn tls(out: &mut Toml, table: &str, tls: Option<&Tls>) {
    let Some(tls) = tls else { return };
    out.table(table);
    out.text("cert_file", tls.certificate.display());
    out.text("key_file", tls.key.display());
    if let Some(clients) = &tls.clients {
        out.text("client_ca_file", clients.file.display());
        let required = word(&CLIENT_CERTIFICATES, clients.required);
        out.text("client_certificates", required);
    }
}

fn cache(out: &mut Toml, config: &Config) {
    let cache = &config.cache;
    out.table("cache");
    out.text("dir", cache.dir.display());
    out.duration("lock_wait", cache.lock_wait);
    out.text("max_size", print_size(cache.max_size));
    out.text("min_free", print_size(cache.min_free));
    out.text("memory", print_size(cache.memory));
    out.value("open_files", cache.open_files);
    out.value("strict_ranges", cache.strict_ranges);
}

fn fetch(out: &mut Toml, config: &Config) {
    out.table("tags");
    tags(out, &config.tags);
    let fetch = &config.fetch;
    out.table("fetch");
    out.duration("linger", fetch.linger);
    out.value("connections_per_fill", fetch.connections_per_fill);
    out.value("connections_per_upstream", fetch.connections_per_upstream);
    out.value("connections_total", fetch.connections_total);
    out.value("max_fills", fetch.max_fills);
    out.duration("wait", fetch.wait);
    out.table("timeouts");
    timeouts(out, &config.timeouts);
}

fn limits(out: &mut Toml, limits: &Limits) {
    out.table("limits");
    match limits.max_connections {
        Some(max) => out.value("max_connections", max),
        None => out.comment("max_connections: as many as the descriptor limit allows"),
    }
    if let Some(rate) = limits.per_client_requests {
        out.text("per_client_requests", rate);
    }
    if let Some(most) = limits.per_client_in_flight {
        out.value("per_client_in_flight", most);
    }
    if let Some(rate) = limits.per_client_bytes {
        out.text("per_client_bytes", rate);
    }
    if let Some(most) = limits.per_client_connections {
        out.value("per_client_connections", most);
    }
    out.duration("max_delay", limits.max_delay);
    out.list("exempt", &limits.exempt);
}

fn access(out: &mut Toml, access: &Access) {
    out.table("access");
    if let Some(passwords) = &access.passwords {
        out.text("htpasswd_file", passwords.path.display());
    }
    out.list("trusted", &access.trusted);
    for token in &access.tokens {
        out.table("[access.tokens]");
        out.text("name", &token.name);
        out.text("file", token.path.display());
    }
    for rule in &access.rules {
        out.table("[access.rules]");
        out.list("clients", &rule.clients);
        out.list("repositories", &rule.repositories);
        out.value("allow", rule.allow);
    }
}

fn tags(out: &mut Toml, tags: &TagPolicy) {
    out.duration("fresh_for", tags.fresh_for);
    out.duration("stale_while_revalidate", tags.stale_while_revalidate);
    out.duration("stale_for", tags.stale_for);
    out.duration("negative_for", tags.negative_for);
    out.duration("confirm_wait", tags.confirm_wait);
    out.value("keep_deleted", tags.keep_deleted);
}

fn tag_rule(out: &mut Toml, rule: &TagRule) {
    out.text("match", rule.pattern.as_str());
    let policy = &rule.policy;
    if policy.immutable {
        out.value("immutable", true);
    } else {
        out.duration("fresh_for", policy.fresh_for);
        out.duration("stale_while_revalidate", policy.stale_while_revalidate);
        out.duration("stale_for", policy.stale_for);
        out.value("keep_deleted", policy.keep_deleted);
    }
    out.duration("negative_for", policy.negative_for);
}

fn timeouts(out: &mut Toml, timeouts: &Timeouts) {
    out.duration("connect", timeouts.connect);
    out.duration("first_byte", timeouts.first_byte);
    out.duration("body_idle", timeouts.body_idle);
}

fn upstream(out: &mut Toml, upstream: &Upstream, config: &Config) {
    let table = join("upstreams", &upstream.registry.to_string());
    out.table(&table);
    if !upstream.endpoints.is_empty() {
        let urls = upstream
            .endpoints
            .iter()
            .map(|url| url.origin().ascii_serialization());
        out.list("endpoints", &urls.collect::<Vec<_>>());
    }
    out.list("hosts", &upstream.hosts);
    if let Some(alias) = &upstream.alias {
        out.text("alias", alias);
    }
    match &upstream.credentials {
        Credentials::None => {}
        Credentials::Password {
            username,
            password: _,
            file,
        } => {
            out.text("username", username);
            match file {
                Some(path) => out.text("password_file", path.display()),
                None => out.text("password", Secret::REDACTED),
            }
        }
        Credentials::DockerConfig(settings) => {
            out.text("credentials", "docker-config");
            out.text("docker_config", settings.path.display());
            out.duration("helper_timeout", settings.helper_timeout);
        }
        Credentials::Gcp(settings) => {
            out.text("credentials", "gcp");
            if let Some(path) = &settings.key_file {
                out.text("gcp_key_file", path.display());
            }
        }
        Credentials::Acr(settings) => {
            out.text("credentials", "acr");
            if let Some(id) = &settings.client_id {
                out.text("azure_client_id", id);
            }
        }
        Credentials::Ecr(settings) => {
            out.text("credentials", "ecr");
            if let Some(endpoint) = &settings.endpoint {
                out.text("ecr_endpoint", endpoint.origin().ascii_serialization());
            }
            if let Some(profile) = &settings.profile {
                out.text("aws_profile", profile);
            }
        }
    }
    out.text("access", word(&ACCESS, upstream.passthrough.is_some()));
    if let Some(grant_for) = upstream.passthrough {
        out.duration("grant_for", grant_for);
    }
    out.list("public", upstream.public.patterns());
    if let Some(allow) = &upstream.pulls.allow {
        out.list("allow", allow.patterns());
    }
    out.list("deny", upstream.pulls.deny.patterns());
    out.value("allow_private", upstream.allow_private);
    out.list("trusted_realms", &upstream.trusted_realms);
    if let Some(ca_file) = &upstream.ca_file {
        out.text("ca_file", ca_file.display());
    }
    if let Some(shown) = &upstream.client_certificate {
        out.text("client_cert", shown.certificate.display());
        out.text("client_key", shown.key.display());
    }
    match &upstream.proxy {
        Proxy::System => {}
        Proxy::Direct => out.text("http_proxy", DIRECT),
        Proxy::Server(server) => out.text("http_proxy", server.redacted()),
    }
    if let Some(quota) = upstream.quota {
        out.text("quota", print_quota(quota.pulls, quota.window));
    }
    out.value("read_quota", upstream.read_quota);
    out.value("max_connections", upstream.max_connections);
    if upstream.timeouts != config.timeouts {
        out.table(&format!("{table}.timeouts"));
        timeouts(out, &upstream.timeouts);
    }
    if upstream.tags != config.tags {
        out.table(&format!("{table}.tags"));
        tags(out, &upstream.tags);
    }
    for rule in upstream.tag_rules.all() {
        out.table(&format!("[{table}.tag_rules]"));
        tag_rule(out, rule);
    }
}

fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("", |(word, _)| word)
}

/// TOML, line by line.
#[derive(Default)]
struct Toml(String);

impl Toml {
    fn table(&mut self, path: &str) {
        let _ = writeln!(self.0, "\n[{path}]");
    }

    fn value(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }

    fn text(&mut self, key: &str, text: impl Display) {
        self.value(key, quoted(text));
    }

    fn duration(&mut self, key: &str, duration: Duration) {
        self.text(key, print_duration(duration));
    }

    fn list(&mut self, key: &str, items: &[impl Display]) {
        let items: Vec<_> = items.iter().map(quoted).collect();
        self.value(key, format_args!("[{}]", items.join(", ")));
    }

    fn comment(&mut self, text: &str) {
        let _ = writeln!(self.0, "# {text}");
    }
}

fn quoted(text: impl Display) -> String {
    toml::Value::from(text.to_string()).to_string()
}
