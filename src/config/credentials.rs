//! Reads how to log in to an upstream: the key `credentials` and the keys of each kind.

mod clouds;

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::ecr::EcrHost;
use super::pattern::RegistryPattern;
use super::secret::Secret;
use super::section::{Reported, Section};
use super::types::{Acr, Credentials, DockerConfig, Ecr, Gcp};
use super::values::{endpoint, file, path, text, timeout, word};

/// How long a credential helper is waited for, unless something else is said.
const HELPER_TIMEOUT: Duration = Duration::from_secs(5);

/// The kinds, by the words that `credentials` takes.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    None,
    DockerConfig,
    Ecr,
    Gcp,
    Acr,
}

const KINDS: [(&str, Kind); 5] = [
    ("none", Kind::None),
    ("docker-config", Kind::DockerConfig),
    ("ecr", Kind::Ecr),
    ("gcp", Kind::Gcp),
    ("acr", Kind::Acr),
];

/// To whom a login would be given.
pub(super) struct Asked<'a> {
    pub(super) registry: Option<&'a RegistryPattern>,
    pub(super) endpoints: Option<&'a [Url]>,
    pub(super) trusted_realms: Option<&'a [String]>,
}

/// How to log in to an upstream. A word in `credentials` says who knows it; without one, a user's name and password do.
pub(super) fn read(
    section: &Section<'_>,
    asked: &Asked<'_>,
    user_logins: Option<&Path>,
) -> Result<Credentials, Reported> {
    let kind = section.optional("credentials", |node| word(&KINDS, node));
    let is = |wanted| kind == Ok(Some(wanted));
    let pair = pair(section);
    let docker = docker(section, is(Kind::DockerConfig), user_logins);
    let ecr = ecr(section, is(Kind::Ecr), asked.registry);
    let gcp = gcp(section, is(Kind::Gcp), asked);
    let acr = acr(section, is(Kind::Acr), asked);
    let (kind, pair, docker, ecr) = (kind?, pair?, docker?, ecr?);
    let (gcp, acr) = (gcp?, acr?);
    if kind.is_some() && pair != Credentials::None {
        let message = "`username` and a password are set as well: write one or the other";
        return Err(section.complain("credentials", message.into()));
    }
    Ok(docker
        .map(Credentials::DockerConfig)
        .or(ecr.map(Credentials::Ecr))
        .or(gcp.map(Credentials::Gcp))
        .or(acr.map(Credentials::Acr))
        .unwrap_or(pair))
}

/// `docker_config` and `helper_timeout`, which only count with `credentials = "docker-config"`.
fn docker(
    section: &Section<'_>,
    wanted: bool,
    user_logins: Option<&Path>,
) -> Result<Option<DockerConfig>, Reported> {
    let own = section.optional("docker_config", path);
    let helper_timeout = section.optional("helper_timeout", timeout);
    if !wanted {
        return unwanted(
            section,
            "docker-config",
            &["docker_config", "helper_timeout"],
        )
        .map(|()| None);
    }
    let (key, path) = match (own?, user_logins) {
        (Some(path), _) => ("docker_config", path),
        (None, Some(path)) => ("credentials", path.to_owned()),
        (None, None) => {
            let message = "it is not known where docker's logins are, since HOME is not set: write \
                           `docker_config` too";
            return Err(section.complain("credentials", message.into()));
        }
    };
    file(&path).map_err(|message| {
        let message = format!(
            "{message}: log in with `docker login`, or write the path of another such file in `docker_config` (what \
             `podman login` writes is $XDG_RUNTIME_DIR/containers/auth.json)"
        );
        section.complain(key, message)
    })?;
    Ok(Some(DockerConfig {
        path,
        helper_timeout: helper_timeout?.unwrap_or(HELPER_TIMEOUT),
    }))
}

/// `ecr_endpoint` and `aws_profile`, which only count with `credentials = "ecr"`.
fn ecr(
    section: &Section<'_>,
    wanted: bool,
    registry: Option<&RegistryPattern>,
) -> Result<Option<Ecr>, Reported> {
    let at = section.optional("ecr_endpoint", endpoint);
    let profile = section.optional("aws_profile", |node| text(node).map(str::to_owned));
    if !wanted {
        return unwanted(section, "ecr", &["ecr_endpoint", "aws_profile"]).map(|()| None);
    }
    built_with(section, cfg!(feature = "aws"), "aws")?;
    // What a pattern stands for is not known yet; a member that is none of ECR's can't log in.
    let exact = registry.and_then(RegistryPattern::exact);
    if let Some(registry) = exact
        && EcrHost::of(registry).is_none()
    {
        let message = format!(
            "`{registry}` is no private registry of Amazon ECR: those are called \
             <account>.dkr.ecr.<region>.amazonaws.com"
        );
        return Err(section.complain("credentials", message));
    }
    Ok(Some(Ecr {
        endpoint: at?,
        profile: profile?,
    }))
}

/// `gcp_key_file`, which only counts with `credentials = "gcp"`.
fn gcp(section: &Section<'_>, wanted: bool, asked: &Asked<'_>) -> Result<Option<Gcp>, Reported> {
    let key_file = section.optional("gcp_key_file", |node| {
        let path = path(node)?;
        file(&path).map(|_| path)
    });
    if !wanted {
        return unwanted(section, "gcp", &["gcp_key_file"]).map(|()| None);
    }
    built_with(section, cfg!(feature = "gcp"), "gcp")?;
    clouds::check(section, asked, &clouds::GOOGLE)?;
    Ok(Some(Gcp {
        key_file: key_file?,
    }))
}

/// `azure_client_id`, which only counts with `credentials = "acr"`.
fn acr(section: &Section<'_>, wanted: bool, asked: &Asked<'_>) -> Result<Option<Acr>, Reported> {
    let client_id = section.optional("azure_client_id", |node| text(node).map(str::to_owned));
    if !wanted {
        return unwanted(section, "acr", &["azure_client_id"]).map(|()| None);
    }
    built_with(section, cfg!(feature = "azure"), "azure")?;
    clouds::check(section, asked, &clouds::AZURE)?;
    Ok(Some(Acr {
        client_id: client_id?,
    }))
}

/// Complains of a kind that this build lacks.
fn built_with(section: &Section<'_>, has: bool, feature: &str) -> Result<(), Reported> {
    if has {
        return Ok(());
    }
    let message = format!(
        "this forebay was built without it: build it with the feature `{feature}`, or write \"docker-config\" and \
         use a credential helper"
    );
    Err(section.complain("credentials", message))
}

/// Complains of the keys of a kind that is not the one in `credentials`.
fn unwanted(section: &Section<'_>, kind: &str, keys: &[&str]) -> Result<(), Reported> {
    let mut reported = Ok(());
    for key in keys.iter().filter(|key| section.has(key)) {
        let message = format!("this counts only with `credentials = \"{kind}\"`: write that too");
        reported = Err(section.complain(key, message));
    }
    reported
}

/// `username` with `password` or `password_file`.
fn pair(section: &Section<'_>) -> Result<Credentials, Reported> {
    let username = section.optional("username", |node| match text(node)? {
        name if name.contains(':') => {
            Err("a user's name has no colon: write the name alone".into())
        }
        name => Ok(name.to_owned()),
    });
    let password = password(section);
    match (username?, password?) {
        (Some(username), Some((password, file))) => Ok(Credentials::Password {
            username,
            password,
            file,
        }),
        (None, None) => Ok(Credentials::None),
        (Some(_), None) => Err(section.complain(
            "username",
            "there is no password for it: write `password_file` or `password`".into(),
        )),
        (None, Some(_)) => {
            let key = if section.has("password") {
                "password"
            } else {
                "password_file"
            };
            Err(section.complain(key, "there is no `username` for it: write one".into()))
        }
    }
}

/// A secret, and the file that it was read from.
pub(super) type Read = (Secret, Option<PathBuf>);

/// The password, or that of the file.
fn password(section: &Section<'_>) -> Result<Option<Read>, Reported> {
    let inline = section.optional("password", |node| text(node).map(Secret::new));
    let path = section.optional("password_file", path);
    either(section, ("password", "password_file"), inline?, path?)
}

/// What a key says, or the file that another key names. Where different sources say one each, the later source counts.
pub(super) fn either(
    section: &Section<'_>,
    (inline_key, file_key): (&str, &str),
    inline: Option<Secret>,
    path: Option<PathBuf>,
) -> Result<Option<Read>, Reported> {
    let inline_at = &section.origin(inline_key).source;
    let path_at = &section.origin(file_key).source;
    let (inline, path) = match (inline, path) {
        (Some(inline), Some(_)) if inline_at.overrides(path_at) => (Some(inline), None),
        (Some(_), Some(path)) if path_at.overrides(inline_at) => (None, Some(path)),
        (Some(_), Some(_)) => {
            let message = format!("`{file_key}` is set too: write one of them");
            return Err(section.complain(inline_key, message));
        }
        either => either,
    };
    match path {
        Some(path) => match read_password(&path) {
            Ok(password) => Ok(Some((password, Some(path)))),
            Err(message) => Err(section.complain(file_key, message)),
        },
        None => Ok(inline.map(|password| (password, None))),
    }
}

/// Reads a password's file, all of it but the end of its last line: a key may be a password of many lines. Nothing of it
/// stands in an error.
pub fn read_password(path: &Path) -> Result<Secret, String> {
    let text = file(path)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(format!(
            "{} is empty: write the password into it",
            path.display()
        ));
    }
    Ok(Secret::new(password))
}
