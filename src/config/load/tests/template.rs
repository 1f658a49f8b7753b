//! The template is complete and can be taken as it is, and what is printed loads again.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::config::render;

/// What a line of the template sets: its table, its key, and whether it is commented out.
fn template_keys() -> Vec<(String, String, bool)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in DEFAULT.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.strip_suffix(']').unwrap();
            table = if header.starts_with("upstreams.") {
                "upstreams.*.".into()
            } else {
                format!("{header}.")
            };
            continue;
        }
        let line_key = line.strip_prefix('#').unwrap_or(line);
        if let Some((key, _)) = line_key.split_once(" = ")
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            keys.push((table.clone(), key.to_owned(), line.starts_with('#')));
        }
    }
    keys
}

fn template_line(beginning: &str) -> &'static str {
    let mut lines = DEFAULT.lines();
    lines.find(|line| line.starts_with(beginning)).unwrap()
}

#[test]
fn the_template_has_every_key_that_is_read() {
    let table = files(None, &mut Vec::new()).unwrap();
    let report = Report::new(Vec::new());
    read::config(&Section::root(&table, &report), Some("/cache".into()), None).unwrap();
    let in_template: BTreeSet<_> = template_keys()
        .into_iter()
        .map(|(table, key, _)| table + &key)
        .collect();
    for known in report.known() {
        let is_table = report
            .known()
            .iter()
            .any(|other| other.starts_with(&format!("{known}.")));
        // An upstream's overrides have the keys of the tables for all.
        let shared = known
            .strip_prefix("upstreams.*.")
            .filter(|key| key.contains('.'));
        let key = shared.unwrap_or(&known);
        // A rule has the keys of the table for all tags, and two of its own, which its example shows.
        let of_rule = key.strip_prefix("tag_rules.").is_some_and(|name| {
            in_template.contains(&format!("tags.{name}"))
                || template_line("#tag_rules = ").contains(&format!(" {name} = "))
        });
        let of_access = known.strip_prefix("access.").is_some_and(|key| {
            key.split_once('.').is_some_and(|(list, name)| {
                template_line(&format!("#{list} = ")).contains(&format!(" {name} = "))
            })
        });
        assert!(
            is_table || of_rule || of_access || in_template.contains(key),
            "config/default.toml does not show {known}"
        );
    }
}

#[test]
fn the_templates_examples_can_be_taken_as_they_are() {
    for (_, key, commented) in template_keys() {
        if !commented {
            continue;
        }
        let marked = format!("\n#{key} = ");
        let text = DEFAULT.replacen(&marked, &format!("\n{key} = "), 1);
        assert_ne!(text, DEFAULT);
        let told = load_text(&text).map_or_else(|errors| errors.to_string(), |_| String::new());
        // An example of a file or of half a login is right as far as it goes.
        let expected = match key.as_str() {
            "username" => "there is no password for it",
            "password" => "there is no `username` for it",
            "password_file" | "htpasswd_file" | "tokens" | "ca_file" | "gcp_key_file"
            | "client_cert" | "client_key" | "cert_file" | "key_file" | "client_ca_file" => {
                "cannot be read"
            }
            "client_certificates" => "it is not known whose certificates count",
            "http_proxy_password_file" => "there is no user for it",
            "credentials" => "it is not known where docker's logins are",
            "docker_config" | "helper_timeout" | "aws_profile" | "ecr_endpoint"
            | "azure_client_id" => "this counts only with `credentials",
            "enabled" => "no upstream is configured for `docker.io`",
            _ => "",
        };
        assert!(
            told.contains(expected) && told.is_empty() == expected.is_empty(),
            "{key}: {told}"
        );
    }
}

#[test]
fn what_is_printed_loads_as_the_same() {
    for text in [
        "",
        "[upstreams.'docker.io']\npublic = []\n",
        "[admin]\nlisten = 'off'\n[limits]\nmax_connections = 5\n[cache]\nmax_size = 1234567890\n",
        "[limits]\nper_client_requests = '6000/10m'\nper_client_in_flight = 8\nper_client_bytes = '50MB/1s'\n\
         per_client_connections = 9\nmax_delay = '0s'\nexempt = ['10.0.0.0/8', '::1']\n[server]\n\
         trusted_proxies = ['192.0.2.7', '2001:db8::/32']\nproxy_protocol = true\nproxies_pass_tls = true\n\
         forwarded_header = 'forwarded'\n",
        "[upstreams.'[::1]:5000']\nendpoints = ['http://[::1]:5000', 'https://b.io']\nhosts = ['m.io']\n\
         trusted_realms = ['c.io:8443']\nallow_private = true\ntags = { fresh_for = '1ms' }\n\
         timeouts = { connect = '1h30m' }\npublic = ['**', 'a/{b,c}']\nusername = '\"quoted\"'\n\
         password = '[redacted]'\n",
        "[access]\ntrusted = ['10.0.0.0/8']\n[[access.rules]]\nclients = ['user:a\"b', 'token:ci-*', 'certificate:*.a.io', \
         'address:::1', 'anonymous']\nrepositories = ['docker.io/nginx', '*/team/**', '**', 'ecr/x']\nallow = false\n\
         [[access.rules]]\nclients = ['authenticated', '*']\nrepositories = ['*.pkg.dev/a/**']\nallow = true\n",
        "[upstreams.'a.io']\nhttp_proxy = 'direct'\n[upstreams.'b.io']\nhttp_proxy = 'https://P.io'\n\
         [upstreams.'c.io']\nhttp_proxy = 'http://d%5Cci:[redacted]@[::1]:3128'\n",
        "[tags]\nkeep_deleted = true\nconfirm_wait = '1s'\n[upstreams.'docker.io']\ntags = { stale_for = '0s', \
         confirm_wait = '3s', keep_deleted = false }\ntag_rules = [{ match = 'v*.*.*', fresh_for = '7d' }, \
         { match = 'sha-*', immutable = true, negative_for = '1s' }, { match = 'keep-[a-z]', stale_for = '1d', \
         keep_deleted = true }]\n[[upstreams.'ghcr.io'.tag_rules]]\nmatch = '*'\nstale_while_revalidate = '1h'\n",
    ] {
        let config = load_text(text).unwrap();
        let printed = render(&config);
        let read = load_text(&printed).unwrap_or_else(|errors| panic!("{printed}\n{errors}"));
        assert_eq!(read, config, "{printed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A value of the wrong kind in any key is reported, and nothing else is.
    #[test]
    fn a_wrong_value_is_told_at_its_key(at in any::<prop::sample::Index>()) {
        let keys: Vec<_> = template_keys().into_iter().filter(|(table, ..)| !table.starts_with("upstreams")).collect();
        let (table, key, _) = &keys[at.index(keys.len())];
        let header = table.strip_suffix('.').map(|table| format!("[{table}]\n")).unwrap_or_default();
        let told = errors(load_text(&format!("{header}{key} = 2020-01-01\n")));
        prop_assert_eq!(told.len(), 1);
        let wanted = if table == "access." && ["tokens", "rules"].contains(&key.as_str()) {
            "this is a list of tables"
        } else {
            "expected "
        };
        prop_assert!(told[0].contains(&format!(": {table}{key}: {wanted}")), "{}", told[0]);
    }
}
